"""The log of what went over a server's connections, written by its thread and read by tests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from langsmith_realtime.testing.script.script import Event
from langsmith_realtime.testing.state.client_events import problems_of

Direction: TypeAlias = Literal["client", "server"]
MOST_PROBLEMS = 1000
"""So many are kept: a server may run long."""


@dataclass(frozen=True)
class LoggedFrame:
    """One frame that went over a connection (0 is the first); `direction` says who sent it.

    `at` is `time.monotonic()` when it was received, or handed to the socket. `event` is empty if the client's frame
    was not a JSON object; `raw` is the frame itself.
    """

    connection: int
    direction: Direction
    at: float
    event: Event
    raw: str | bytes

    @property
    def type(self) -> str:
        """The event's type; empty if it has none."""
        found = self.event.get("type")
        return found if isinstance(found, str) else ""


@dataclass(frozen=True)
class Problem:
    """Something wrong with a frame that a client sent over a connection; `message` says what.

    `type` is the event's, `event_id` the one its client gave it; both empty if there is none.
    """

    connection: int
    type: str
    event_id: str
    message: str

    def __str__(self) -> str:
        name = " ".join(part for part in (self.type or "a frame", self.event_id) if part)
        return f"connection {self.connection}, {name}: {self.message}"


class WrongFramesError(AssertionError):
    """A client sent what the Realtime API does not take. `problems` are in the order they came."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(["the client sent wrong frames:", *map(str, problems)]))
        self.problems = problems


class FrameLog:
    """Frames in order, and what is wrong with the clients'. With `keep` off only the latter is kept."""

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._frames: list[LoggedFrame] = []
        self._problems: list[Problem] = []
        self._grown = threading.Condition()

    def note(self, connection: int, direction: Direction, raw: str | bytes) -> None:
        """Log a frame that went over the wire just now."""
        found = problems_of(raw) if direction == "client" else []
        if not (self._keep or found):
            return
        frame = LoggedFrame(connection, direction, time.monotonic(), _object_in(raw), raw)
        event_id = frame.event.get("event_id")
        name = event_id if isinstance(event_id, str) else ""
        with self._grown:
            room = MOST_PROBLEMS - len(self._problems)
            self._problems += [Problem(connection, frame.type, name, message) for message in found[:room]]
            if self._keep:
                self._frames.append(frame)
            self._grown.notify_all()

    def of(self, direction: Direction) -> list[LoggedFrame]:
        """The frames sent by this side so far."""
        with self._grown:
            return [frame for frame in self._frames if frame.direction == direction]

    @property
    def problems(self) -> list[Problem]:
        """What was wrong so far."""
        with self._grown:
            return list(self._problems)

    def wait_for(self, predicate: Callable[[LoggedFrame], bool], timeout: float) -> LoggedFrame:
        """The first frame of which `predicate` is true. Raises TimeoutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        looked_at = 0
        with self._grown:
            while True:
                for frame in self._frames[looked_at:]:
                    if predicate(frame):
                        return frame
                looked_at = len(self._frames)
                if not self._grown.wait(deadline - time.monotonic()):
                    seen = ", ".join(f"{frame.direction}:{frame.type}" for frame in self._frames)
                    raise TimeoutError(f"no such frame within {timeout} s; seen: {seen}")


def _object_in(raw: str | bytes) -> Event:
    try:
        event = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}

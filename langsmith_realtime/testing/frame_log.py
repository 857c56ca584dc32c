"""Logs the frames of a server's connections, and the problems of client frames. Any thread may use the log."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from langsmith_realtime.testing.script.script import Event
from langsmith_realtime.testing.state.client_events import problems_of

Direction: TypeAlias = Literal["client", "server"]
MOST_PROBLEMS = 1000
"""Largest number of problems in a log, because a server may run for days."""


@dataclass(frozen=True)
class LoggedFrame:
    """One frame that a server sent or received.

    Attributes:
        connection: Number of the connection; the first connection is 0.
        direction: The sender, ``client`` or ``server``.
        at: `time.monotonic()` in seconds, when the server received the frame, or just before it sent the frame.
        event: The frame as a JSON object; empty if the frame is not a JSON object.
        raw: The frame as received or sent.
    """

    connection: int
    direction: Direction
    at: float
    event: Event
    raw: str | bytes

    @property
    def type(self) -> str:
        """The event's type; empty if the event has none."""
        type_ = self.event.get("type")
        return type_ if isinstance(type_, str) else ""


@dataclass(frozen=True)
class Problem:
    """One way in which a client's frame breaks the Realtime API's reference.

    Attributes:
        connection: Number of the connection; the first connection is 0.
        type: The event's type; empty if the event has none.
        event_id: The event's id; empty if the client set none.
        message: What the event must have, and what it has.
    """

    connection: int
    type: str
    event_id: str
    message: str

    def __str__(self) -> str:
        name = " ".join(part for part in (self.type or "a frame", self.event_id) if part)
        return f"connection {self.connection}, {name}: {self.message}"


class WrongFramesError(AssertionError):
    """A client sent frames that the Realtime API does not accept; `problems` lists the problems in order."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(
            "\n".join(["the client sent frames that the Realtime API does not accept:", *map(str, problems)])
        )
        self.problems = problems


class FrameLog:
    """The frames in order, and the problems of client frames. With ``keep=False``, only the problems.

    ``texts`` are the fields that a dialect adds to client events, as in
    :func:`~langsmith_realtime.testing.state.client_events.problems_of`.
    """

    def __init__(self, *, keep: bool = True, texts: Mapping[str, Collection[str]] = {}) -> None:
        self._keep = keep
        self._texts = texts
        self._frames: list[LoggedFrame] = []
        self._problems: list[Problem] = []
        self._changed = threading.Condition()

    def add(self, connection: int, direction: Direction, raw: str | bytes) -> None:
        """Add a frame that was sent or received at this moment."""
        problems = problems_of(raw, self._texts) if direction == "client" else []
        if not (self._keep or problems):
            return
        frame = LoggedFrame(connection, direction, time.monotonic(), _object_in(raw), raw)
        event_id = frame.event.get("event_id")
        event_id = event_id if isinstance(event_id, str) else ""
        with self._changed:
            room = MOST_PROBLEMS - len(self._problems)
            self._problems += [Problem(connection, frame.type, event_id, message) for message in problems[:room]]
            if self._keep:
                self._frames.append(frame)
            self._changed.notify_all()

    def of(self, direction: Direction) -> list[LoggedFrame]:
        """Return the frames of one direction so far."""
        with self._changed:
            return [frame for frame in self._frames if frame.direction == direction]

    @property
    def problems(self) -> list[Problem]:
        """The first 1000 problems so far, in the order of the frames."""
        with self._changed:
            return list(self._problems)

    def wait_for(self, predicate: Callable[[LoggedFrame], bool], timeout: float) -> LoggedFrame:
        """Return the first frame for which `predicate` is true. Raises TimeoutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        checked = 0
        with self._changed:
            while True:
                for frame in self._frames[checked:]:
                    if predicate(frame):
                        return frame
                checked = len(self._frames)
                if not self._changed.wait(deadline - time.monotonic()):
                    seen = ", ".join(f"{frame.direction}:{frame.type}" for frame in self._frames)
                    raise TimeoutError(f"the predicate was true for no frame within {timeout} s; seen: {seen}")


def _object_in(raw: str | bytes) -> Event:
    try:
        event = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}

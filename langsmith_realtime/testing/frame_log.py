"""The log of what went over a server's connections, written by its thread and read by tests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from langsmith_realtime.testing.script import Event

Direction: TypeAlias = Literal["client", "server"]


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


class FrameLog:
    """Frames in order. With `keep` off nothing is logged."""

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._frames: list[LoggedFrame] = []
        self._grown = threading.Condition()

    def note(self, connection: int, direction: Direction, raw: str | bytes) -> None:
        """Log a frame that went over the wire just now."""
        if not self._keep:
            return
        frame = LoggedFrame(connection, direction, time.monotonic(), _object_in(raw), raw)
        with self._grown:
            self._frames.append(frame)
            self._grown.notify_all()

    def of(self, direction: Direction) -> list[LoggedFrame]:
        """The frames sent by this side so far."""
        with self._grown:
            return [frame for frame in self._frames if frame.direction == direction]

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

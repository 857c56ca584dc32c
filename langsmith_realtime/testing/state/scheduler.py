"""Schedules the events of one connection without a clock.

Each activity of the server, such as a response or a transcription, is a process: a generator that sends events and
yields the seconds to wait. The scheduler runs processes in the order of their times, up to a given time.
"""

from __future__ import annotations

import copy
import heapq
import itertools
import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from langsmith_realtime.testing.script.script import Close, Drop, Event, Raw
from langsmith_realtime.testing.state.wire import Ids

Process: TypeAlias = Generator[float, None, None]
"""A generator that yields the seconds after which the scheduler continues it."""


@dataclass(frozen=True)
class Outgoing:
    """A frame to send, or the end of the connection (`what`), and the time in seconds at which it is due (`at`)."""

    at: float
    what: Event | Raw | Close | Drop

    @property
    def event(self) -> Event:
        """The event to send; empty if `what` is a `Raw` frame or the end of the connection."""
        return self.what if isinstance(self.what, dict) else {}


class Scheduler:
    """Runs the processes of one connection, and collects the frames that they send.

    `now` is the scheduled time of the running process, in seconds. `translate` converts an event to the client's
    dialect, and returns None for an event that the dialect does not have.
    """

    def __init__(self, ids: Ids, now: float = 0.0, translate: Callable[[Event], Event | None] | None = None) -> None:
        self.now = now
        self.ended = False
        self._ids = ids
        self._translate = translate
        self._waiting: list[tuple[float, int, Process]] = []
        self._order = itertools.count()
        self._outbox: list[Outgoing] = []

    def send(self, type_: str, **fields: Any) -> None:
        """Send an event of this type, with a new ``event_id``."""
        event: Event = {"type": type_, **fields}
        translated = event if self._translate is None else self._translate(event)
        if translated is not None:
            self.emit(translated)

    def emit(self, event: Mapping[str, Any]) -> None:
        """Send an event without translation. Adds a missing ``event_id``, and removes an ``event_id`` of None."""
        if not self.ended:
            # A copy, because items change after an event has sent them.
            sent = {"event_id": self._ids.new("event"), **copy.deepcopy(dict(event))}
            if sent["event_id"] is None:
                del sent["event_id"]
            self._outbox.append(Outgoing(self.now, sent))

    def emit_raw(self, frame: Raw) -> None:
        """Send a frame as it is."""
        if not self.ended:
            self._outbox.append(Outgoing(self.now, frame))

    def end(self, how: Close | Drop) -> None:
        """End the connection. The scheduler sends and runs nothing afterwards."""
        if not self.ended:
            self._outbox.append(Outgoing(self.now, how))
            self.ended = True
            self._waiting.clear()

    def start(self, process: Process, delay: float = 0.0) -> Process:
        """Start a process in `delay` seconds. Processes with equal times run in the order of their starts."""
        if not self.ended:
            heapq.heappush(self._waiting, (self.now + delay, next(self._order), process))
        return process

    def stop(self, process: Process) -> None:
        """Remove a process, so that the scheduler never continues it."""
        self._waiting = [entry for entry in self._waiting if entry[2] is not process]
        heapq.heapify(self._waiting)

    def run(self, until: float) -> None:
        """Continue every process that is due by `until`; with ``math.inf``, until every process has ended."""
        while self._waiting and self._waiting[0][0] <= until:
            at, _, process = heapq.heappop(self._waiting)
            self.now = max(self.now, at)
            wait = 0.0
            try:
                while wait <= 0:
                    wait = next(process)
            except StopIteration:
                continue
            self.start(process, wait)
        if math.isfinite(until):
            self.now = max(self.now, until)

    def take(self) -> list[Outgoing]:
        """Return the frames sent since the last call, in order."""
        frames, self._outbox = self._outbox, []
        return frames

    @property
    def next_at(self) -> float | None:
        """The time at which the next process is due; None if no process waits."""
        return self._waiting[0][0] if self._waiting else None

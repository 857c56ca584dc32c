"""Time without a clock: what is to be sent, and when.

The server's behaviour is a handful of processes: generators that send events and yield the seconds they want
to wait. The agenda runs them in the order of their times, up to the time it is told.
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
"""Yields the seconds to wait until it is continued."""


@dataclass(frozen=True)
class Outgoing:
    """An event or another frame to send, or the end of the connection, and the time in seconds at which it is due."""

    at: float
    what: Event | Raw | Close | Drop

    @property
    def event(self) -> Event:
        """The event; empty if this is another frame or the end of the connection."""
        return self.what if isinstance(self.what, dict) else {}


class Scheduler:
    """The processes of one connection and what they have sent. `now` is the time of whatever runs at the moment.

    `translate` turns an event into what the client's dialect has for it; None is not sent.
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
        said = event if self._translate is None else self._translate(event)
        if said is not None:
            self.emit(said)

    def emit(self, event: Mapping[str, Any]) -> None:
        """Send this event; it gets an ``event_id`` unless it has one. None for it leaves it out."""
        if not self.ended:
            # A copy: items change after they were announced.
            sent = {"event_id": self._ids.new("event"), **copy.deepcopy(dict(event))}
            if sent["event_id"] is None:
                del sent["event_id"]
            self._outbox.append(Outgoing(self.now, sent))

    def emit_raw(self, frame: Raw) -> None:
        """Send this frame as it is."""
        if not self.ended:
            self._outbox.append(Outgoing(self.now, frame))

    def end(self, how: Close | Drop) -> None:
        """End the connection: nothing is sent or run after this."""
        if not self.ended:
            self._outbox.append(Outgoing(self.now, how))
            self.ended = True
            self._waiting.clear()

    def start(self, process: Process, delay: float = 0.0) -> Process:
        """Run this process, first in `delay` seconds. Processes started for the same time run in that order."""
        if not self.ended:
            heapq.heappush(self._waiting, (self.now + delay, next(self._order), process))
        return process

    def stop(self, process: Process) -> None:
        """Never continue this process."""
        self._waiting = [entry for entry in self._waiting if entry[2] is not process]
        heapq.heapify(self._waiting)

    def run(self, until: float) -> None:
        """Continue every process that is due by `until`; infinity runs until none is left."""
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
        """What has been sent since this was last called, in order."""
        taken, self._outbox = self._outbox, []
        return taken

    @property
    def next_at(self) -> float | None:
        """When something is due next; None if nothing happens before the client speaks."""
        return self._waiting[0][0] if self._waiting else None

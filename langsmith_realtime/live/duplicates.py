"""Which frames were handed over before: one that is parsed twice is one event.

Pure. Nothing forbids a peer to use an id twice, or one for all: only the same frame is the same. The latest are kept to
tell; of older ones their names and lengths are, which is enough where ids are what they should be.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

R = TypeVar("R")

#: A frame parsed twice comes soon after the first time: at least so many are remembered, and less than twice as many.
REMEMBERED = 256
#: So many of the latest are kept themselves, or as many as have so many bytes together; the latest is in any case.
KEPT, KEPT_BYTES = 16, 64_000


@dataclass(slots=True)
class KnownFrame(Generic[R]):
    """A frame that was handed over: its event's name, its bytes (of text, or of its sound), and what became of it."""

    name: str
    size: int
    run: R
    frame: object  # None when it is not kept any more


class RecentFrames(Generic[R]):
    """The frames of one conversation, by their events' ids."""

    def __init__(self) -> None:
        self._known: dict[str, KnownFrame[R]] = {}
        self._before: dict[str, KnownFrame[R]] = {}  # those it held until there were enough
        self._latest: deque[KnownFrame[R]] = deque()
        self._bytes = 0  # of those
        self._nameless: KnownFrame[R] | None = None  # the latest that had no id

    def find(self, event_id: object, name: str, size: int, frame: object) -> KnownFrame[R] | None:
        """That frame, if it was handed over before; without an id, if it is the latest such itself."""
        if not event_id or not isinstance(event_id, str):
            known = self._nameless
            return known if known is not None and known.frame is frame else None
        known = self._known.get(event_id) or self._before.get(event_id)
        if known is None or known.name != name or known.size != size:
            return None
        return known if known.frame is None or known.frame == frame else None

    def remember(self, event_id: object, name: str, size: int, frame: object, run: R) -> None:
        """It is handed over, and became ``run``."""
        known = KnownFrame(name, size, run, frame)
        if not event_id or not isinstance(event_id, str):
            self._nameless = known
            return
        self._keep(known)
        self._known[event_id] = known
        if len(self._known) >= REMEMBERED:
            self._before, self._known = self._known, {}

    def _keep(self, known: KnownFrame[R]) -> None:
        self._latest.append(known)
        self._bytes += known.size
        while len(self._latest) > KEPT or (self._bytes > KEPT_BYTES and len(self._latest) > 1):
            oldest = self._latest.popleft()
            oldest.frame = None
            self._bytes -= oldest.size

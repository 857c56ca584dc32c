"""Recognises a frame that the application hands over twice, so that it becomes one run.

An application may parse one frame twice with ``parse_event``, or pass one event to ``server_event`` twice. An event id
alone does not identify a frame, because nothing forbids a server to reuse an id. A frame whose id is known is a
duplicate if its type and its size are equal, too, and, as long as the earlier frame is kept whole, its content. The
module reads no clock and does no I/O.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

R = TypeVar("R")

#: A duplicate comes soon after its frame: at least the latest 256 frames are remembered, and less than twice as many.
REMEMBERED = 256
#: Number of the latest frames kept whole, and their bytes together. The latest frame is kept whatever its size.
KEPT, KEPT_BYTES = 16, 64_000


@dataclass(slots=True)
class SeenFrame(Generic[R]):
    """A frame that was handed over before.

    Attributes:
        name: type of its event.
        size: length of the frame if it is text or bytes, else of its base64 ``delta``, 0 without one.
        run: run that the frame became; None for a delta.
        frame: the frame itself; None when it is not kept any more.
    """

    name: str
    size: int
    run: R
    frame: object


class RecentFrames(Generic[R]):
    """The latest frames of one conversation, to tell when a frame is handed over twice.

    Of the frames with an event id it knows the latest 256 to 511, by that id; of those without one, only the latest.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, SeenFrame[R]] = {}
        self._older_by_id: dict[str, SeenFrame[R]] = {}  # the 256 before those in _by_id
        self._kept: deque[SeenFrame[R]] = deque()  # whose frame is not None
        self._kept_bytes = 0
        self._latest_without_id: SeenFrame[R] | None = None

    def find(self, event_id: object, name: str, size: int, frame: object) -> SeenFrame[R] | None:
        """Return the earlier hand-over of a frame; None if it is new.

        A frame without an event id is found if it is the same object as the latest frame without one.
        """
        if not event_id or not isinstance(event_id, str):
            seen = self._latest_without_id
            return seen if seen is not None and seen.frame is frame else None
        seen = self._by_id.get(event_id) or self._older_by_id.get(event_id)
        if seen is None or seen.name != name or seen.size != size:
            return None
        return seen if seen.frame is None or seen.frame == frame else None

    def remember(self, event_id: object, name: str, size: int, frame: object, run: R) -> None:
        """Add a new frame and the run that it became."""
        seen = SeenFrame(name, size, run, frame)
        if not event_id or not isinstance(event_id, str):
            self._latest_without_id = seen
            return
        self._keep(seen)
        self._by_id[event_id] = seen
        if len(self._by_id) >= REMEMBERED:
            self._older_by_id, self._by_id = self._by_id, {}

    def _keep(self, seen: SeenFrame[R]) -> None:
        self._kept.append(seen)
        self._kept_bytes += seen.size
        while len(self._kept) > KEPT or (self._kept_bytes > KEPT_BYTES and len(self._kept) > 1):
            oldest = self._kept.popleft()
            oldest.frame = None
            self._kept_bytes -= oldest.size

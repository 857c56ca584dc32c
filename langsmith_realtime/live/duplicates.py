"""Recognises a frame that the application hands over twice, so that it becomes one run.

An application may parse one frame twice with ``parse_event``, or pass one event to ``server_event`` twice. An event id
alone does not identify a frame, because nothing forbids a server to reuse an id; its content does. The module reads no
clock and does no I/O.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

R = TypeVar("R")

#: Number of the latest frames that are kept, and their bytes together: a duplicate comes soon after its frame. The
#: latest frame is kept whatever its size.
KEPT, KEPT_BYTES = 64, 128_000


@dataclass(slots=True)
class SeenFrame(Generic[R]):
    """A frame that was handed over before.

    Attributes:
        size: length of its text or of its audio, in bytes.
        frame: the frame itself.
        run: run that the frame became.
    """

    size: int
    frame: object
    run: R


class RecentFrames(Generic[R]):
    """The latest frames of one conversation, by event id, and the latest one without an id."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, SeenFrame[R]] = OrderedDict()
        self._bytes = 0
        self._latest_without_id: SeenFrame[R] | None = None

    def find(self, event_id: object, size: int, frame: object) -> SeenFrame[R] | None:
        """Return the earlier hand-over of a frame; None if it is new, or its frame is not kept any more.

        A frame without an event id is found if it is the same object as the latest frame without one.
        """
        if not event_id or not isinstance(event_id, str):
            seen = self._latest_without_id
            return seen if seen is not None and seen.frame is frame else None
        seen = self._by_id.get(event_id)
        return seen if seen is not None and seen.size == size and _equal(seen.frame, frame) else None

    def remember(self, event_id: object, size: int, frame: object, run: R) -> None:
        """Add a new frame and the run that it became."""
        seen = SeenFrame(size, frame, run)
        if not event_id or not isinstance(event_id, str):
            self._latest_without_id = seen
            return
        earlier = self._by_id.pop(event_id, None)
        self._by_id[event_id] = seen
        self._bytes += size - (0 if earlier is None else earlier.size)
        while len(self._by_id) > KEPT or (self._bytes > KEPT_BYTES and len(self._by_id) > 1):
            self._bytes -= self._by_id.popitem(last=False)[1].size


def _equal(one: object, other: object) -> bool:
    if isinstance(one, (bytes, str)) or one is other:
        return one == other
    return repr(one) == repr(other)  # 1 and True are equal, but not the same in JSON

"""The agent's channel: where its speech is played, and what of it a barge-in or a truncation cut.

Pure. Times are seconds since the recording began (frame 0); positions are frames at ``rate`` Hz, offsets
frames of one item.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from langsmith_realtime.audio.formats import Samples
from langsmith_realtime.audio.timeline import Write, silence


@dataclass(frozen=True, slots=True)
class Cut:
    """An item whose speech was cut off: ``heard_ms`` of it were played."""

    item_id: str
    heard_ms: float


@dataclass(slots=True)
class _Item:
    """One item's speech: its chunks, where they play, and how many of its frames are heard.

    What barge-ins cut and what truncations say is kept apart: a truncation is exact, so it counts
    while it stands, and the rest counts again when it is refused.
    """

    item_id: str
    known_since: int  # position
    chunks: deque[tuple[int, int, Samples]] = field(default_factory=deque)  # offset, position, samples
    begin: int | None = None  # where its first frame plays
    frames: int = 0
    forgotten: int = 0  # frames at its beginning whose samples are no longer remembered
    cut: int | None = None  # frames heard, as far as barge-ins tell; None: all
    truncations: list[int] = field(default_factory=list)  # frames heard, as its truncations say
    audible: int = 0  # frames that are heard
    end: int = 0  # where the last of them plays

    @property
    def heard(self) -> int | None:
        return self.truncations[-1] if self.truncations else self.cut

    @property
    def last(self) -> int:
        """Where its last frame plays, heard or not."""
        _, position, samples = self.chunks[-1]
        return position + len(samples)

    def append(self, position: int, samples: Samples) -> None:
        if self.begin is None:
            self.begin = position
        self.chunks.append((self.frames, position, samples))
        self.frames += len(samples)

    def hear(self) -> None:
        """Settle what is audible after a cut, or after its end."""
        self.audible = self.frames if self.heard is None else min(self.heard, self.frames)
        self.end = self.position(self.audible)

    def position(self, offset: int) -> int:
        """Where the frame before ``offset`` has been played; where the item begins when there is none."""
        for begin, place, _ in reversed(self.chunks):
            if begin < offset:
                return place + offset - begin
        return self.chunks[0][1] if self.chunks else 0

    def between(self, first: int, last: int) -> Iterator[tuple[int, Samples]]:
        """Its frames ``first`` to ``last``, as far as they are remembered, with their positions."""
        for offset, place, samples in self.chunks:
            begin, end = max(first - offset, 0), min(last - offset, len(samples))
            if begin < end:
                yield place + begin, samples[begin:end]

    def frames_before(self, position: int) -> int:
        """How many of its frames play before ``position``."""
        return self.forgotten + sum(max(0, min(len(samples), position - place)) for _, place, samples in self.chunks)


class Playback:
    """Speech as a client plays it: one piece after the other, in real time.

    Deltas arrive faster than real time, so a chunk begins when the one before it ends, or when it
    arrives if that is later by more than :attr:`SLACK` seconds (less is the jitter of a client that
    hands over what it plays as it plays it). A barge-in cuts what is still to be played. What was cut is
    kept for :attr:`MEMORY` seconds, because ``conversation.item.truncate`` may still say that more, or
    less, of an item was heard.
    """

    MEMORY = 30.0
    SLACK = 0.02

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._items: dict[str, _Item] = {}
        self._queued_until: int | None = 0  # where what is heard ends; None when a cut changed it
        self._tidied = 0.0
        #: Frames written up to here, even if they were cut since.
        self.written_until = 0
        self.writes: list[Write] = []

    def chunk(self, t: float, item_id: str, samples: Samples) -> None:
        """``samples`` of an item arrived at ``t``."""
        if not len(samples):
            return
        self._forget(t)
        item = self._item(t, item_id)
        heard = item.heard
        # What nobody hears takes no time: its place is only remembered.
        queued = item.last if heard is not None and item.chunks else self._queue_end()
        start = round(t * self._rate)
        if start - queued <= self.SLACK * self._rate and (queued or start <= 0):
            start = queued
        offset = item.frames
        item.append(start, samples)
        audible = len(samples) if heard is None else min(max(0, heard - offset), len(samples))
        if audible:
            item.audible, item.end = offset + audible, start + audible
            if self._queued_until is not None:
                self._queued_until = max(self._queued_until, item.end)
            self._put(start, samples[:audible])

    def mute(self, t: float, item_id: str) -> None:
        """No more of the item is heard than what arrived up to now, whatever still comes."""
        item = self._item(t, item_id)
        if item.cut is None:
            item.cut = item.frames

    def cut(self, t: float, *, final: bool = False) -> list[Cut]:
        """Everything still to be played at ``t`` is not heard; tells which items that cut short.

        A truncation knows better, unless the cut is ``final``: playing stopped altogether.
        """
        position = round(t * self._rate)
        cuts = []
        for item in self._items.values():
            played = item.frames_before(position)
            if final and played < item.audible:
                item.truncations.clear()
                item.cut = None
            if played < (item.frames if item.cut is None else min(item.cut, item.frames)):
                item.cut = played
                if not item.truncations:
                    cuts.append(self._settle(item))
        return cuts

    def truncate(self, t: float, item_id: str, heard_ms: float) -> Cut | None:
        """``heard_ms`` of the item were heard, as the truncation sent at ``t`` says.

        It holds for what still arrives of the item, too. None when nothing arrived so far.
        """
        item = self._item(t, item_id)
        item.truncations.append(max(0, round(heard_ms / 1000 * self._rate)))
        return self._settle(item) if item.frames else None

    def truncation_refused(self, item_id: str) -> Cut | None:
        """The item's latest truncation was none: as it was before. None when nothing was cut then."""
        item = self._items.get(item_id)
        if item is None or not item.truncations:
            return None
        item.truncations.pop()
        cut = self._settle(item)
        return None if item.heard is None else cut

    def begins(self, item_id: str) -> float | None:
        """When the item's first frame plays, in seconds; None when the item is not known."""
        item = self._items.get(item_id)
        return None if item is None or item.begin is None else item.begin / self._rate

    def played_ms(self, item_id: str, t: float) -> float:
        """How many milliseconds of the item play before ``t``, heard or not."""
        item = self._items.get(item_id)
        return 0.0 if item is None else item.frames_before(round(t * self._rate)) * 1000 / self._rate

    def playing_until(self, item_id: str) -> float | None:
        """When the last frame of the item is heard, in seconds; None when none is."""
        item = self._items.get(item_id)
        return item.end / self._rate if item is not None and item.audible else None

    def _item(self, t: float, item_id: str) -> _Item:
        item = self._items.get(item_id)
        if item is None:
            item = self._items[item_id] = _Item(item_id, round(t * self._rate))
        return item

    def _settle(self, item: _Item) -> Cut:
        """Write, or silence, what became audible or inaudible of the item."""
        before = item.audible
        item.hear()
        self._queued_until = None
        if item.audible < before:
            self._silence(item, item.audible, before)
        else:
            self._write(item, before, item.audible)
        return Cut(item.item_id, item.audible * 1000 / self._rate)

    def _write(self, item: _Item, first: int, last: int) -> None:
        for place, samples in item.between(first, last):
            self._put(place, samples)

    def _silence(self, item: _Item, first: int, last: int) -> None:
        begin = end = 0
        for place, samples in item.between(first, last):
            if place != end:
                self._put(begin, silence(end - begin))
                begin = place
            end = place + len(samples)
        self._put(begin, silence(end - begin))

    def _put(self, start: int, samples: Samples) -> None:
        if not len(samples):
            return
        self.written_until = max(self.written_until, start + len(samples))
        self.writes.append(Write(start, samples))

    def _queue_end(self) -> int:
        if self._queued_until is None:
            self._queued_until = max((item.end for item in self._items.values() if item.audible), default=0)
        return self._queued_until

    def _forget(self, t: float) -> None:
        if t < self._tidied + 1:  # once a second is often enough
            return
        self._tidied = t
        horizon = round((t - self.MEMORY) * self._rate)
        for item_id, item in list(self._items.items()):
            while item.chunks and item.chunks[0][1] + len(item.chunks[0][2]) < horizon:
                item.forgotten += len(item.chunks.popleft()[2])
            if not item.chunks and item.known_since < horizon:
                del self._items[item_id]

"""Which frame of which channel was heard when: the microphone's side and the agent's.

Pure. Times are seconds since the recording began (frame 0); positions are frames at ``rate`` Hz. Both
channels hand out :class:`Write` operations, final or to be overwritten by a later one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from langsmith_realtime.audio.formats import Samples


@dataclass(frozen=True, slots=True)
class Write:
    """Put ``samples`` (PCM16 mono) at frame ``start`` of one channel."""

    start: int
    samples: Samples


@dataclass(frozen=True, slots=True)
class Cut:
    """An item whose speech was cut off: ``heard_ms`` of it were played."""

    item_id: str
    heard_ms: float


class Timed:
    """Chunks that came with the time of their first frame; they are the truth and never move.

    Clocks of sound cards jitter: within :attr:`JITTER` seconds a chunk follows the one before it
    without a gap; beyond it goes where its time says.
    """

    JITTER = 0.005

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._end: int | None = None

    def place(self, at: float, samples: Samples) -> Write:
        start = round(at * self._rate)
        if self._end is not None and abs(start - self._end) <= self.JITTER * self._rate:
            start = self._end
        self._end = start + len(samples)
        return Write(start, samples)


class Microphone:
    """The user's channel, from chunks of which only the hand-over time is known.

    A chunk *ended* when it was handed over, or earlier: scheduling holds chunks up and releases them in
    bursts. The latest moment a chunk can have ended follows from every chunk after it (they did not
    overlap), so a chunk is placed after looking :attr:`LOOK_AHEAD` seconds ahead. What remains between
    two chunks is a pause when it is longer than :attr:`SLACK` seconds, else jitter.
    """

    LOOK_AHEAD = 1.0
    SLACK = 0.015

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._waiting: deque[tuple[float, int, Samples]] = deque()  # handed over (s), frames so far, samples
        # Of the chunks waiting, those no later chunk undercuts: (index, latest start of the whole stream).
        self._latest: deque[tuple[int, float]] = deque()
        self._first = 0  # index of the first chunk waiting
        self._count = 0
        self._frames = 0
        self._end = 0  # frames placed up to here
        self.timed = Timed(rate)
        self.writes: list[Write] = []

    def chunk(self, t: float, samples: Samples) -> None:
        """``samples`` were handed over at ``t``."""
        if not len(samples):
            return
        self.advance(t)
        self._frames += len(samples)
        origin = t * self._rate - self._frames
        while self._latest and self._latest[-1][1] >= origin:
            self._latest.pop()
        self._latest.append((self._count, origin))
        self._count += 1
        self._waiting.append((t, self._frames, samples))

    def chunk_at(self, at: float, samples: Samples) -> None:
        """``samples`` were captured from ``at`` on."""
        if len(samples):
            self.writes.append(self.timed.place(at, samples))

    def advance(self, t: float) -> None:
        """Place what can no longer be moved by anything arriving after ``t``."""
        while self._waiting and t > self._waiting[0][0] + self.LOOK_AHEAD:
            self._place_first()

    def close(self) -> None:
        while self._waiting:
            self._place_first()

    def forget(self) -> None:
        """Drop what waits: the channel is fed from elsewhere now."""
        self._first += len(self._waiting)
        self._waiting.clear()
        self._latest.clear()

    def _place_first(self) -> None:
        _, frames, samples = self._waiting.popleft()
        while self._latest[0][0] < self._first:
            self._latest.popleft()
        self._first += 1
        start = round(self._latest[0][1]) + frames - len(samples)
        if start - self._end <= self.SLACK * self._rate and (self._end or start <= 0):
            start = self._end
        self._end = start + len(samples)
        self.writes.append(Write(start, samples))


@dataclass(slots=True)
class _Item:
    """One item's speech: its chunks, where they play, and how many of its frames are heard."""

    item_id: str
    chunks: deque[tuple[int, int, Samples]] = field(default_factory=deque)  # offset in item, position, samples
    frames: int = 0
    heard: int | None = None  # None: all of it
    forgotten: int = 0  # frames at its beginning that are no longer remembered

    @property
    def audible(self) -> int:
        return self.frames if self.heard is None else min(self.heard, self.frames)

    @property
    def start(self) -> int:
        return self.chunks[0][1]

    @property
    def end(self) -> int:
        return self.position(self.audible)

    def position(self, offset: int) -> int:
        """Where on the channel the item's frame ``offset`` plays (its end, for the last)."""
        for begin, place, _ in reversed(self.chunks):
            if begin < offset:
                return place + offset - begin
        return self.start

    def frames_before(self, position: int) -> int:
        """How many of its frames play before ``position``."""
        return self.forgotten + sum(max(0, min(len(samples), position - place)) for _, place, samples in self.chunks)


class Playback:
    """The agent's channel as a client plays it: one piece after the other, in real time.

    Deltas arrive faster than real time, so a chunk begins when the one before it ends, or when it
    arrives if that is later. A barge-in cuts what is still to be played. What was cut is kept for
    :attr:`MEMORY` seconds, because ``conversation.item.truncate`` may still say that more, or less,
    of an item was heard.
    """

    MEMORY = 30.0

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._items: dict[str, _Item] = {}
        self._before_truncate: dict[str, int | None] = {}
        self.writes: list[Write] = []

    def chunk(self, t: float, item_id: str, samples: Samples) -> None:
        """``samples`` of an item arrived at ``t``."""
        if not len(samples):
            return
        self._forget(t)
        item = self._items.get(item_id)
        if item is None:
            item = self._items[item_id] = _Item(item_id)
        start = max(round(t * self._rate), self._queue_end(item))
        item.chunks.append((item.frames, start, samples))
        item.frames += len(samples)
        audible = samples[: max(0, item.audible - (item.frames - len(samples)))]
        if len(audible):
            self.writes.append(Write(start, audible))

    def mute(self, item_id: str) -> None:
        """No more of the item is heard than what arrived up to now, whatever still comes."""
        item = self._items.setdefault(item_id, _Item(item_id))
        if item.heard is None:
            item.heard = item.frames

    def cut(self, t: float) -> list[Cut]:
        """Everything still to be played at ``t`` is not heard; tells which items that cut short."""
        position = round(t * self._rate)
        return [self._hear(item, item.frames_before(position)) for item in self._unfinished(position)]

    def cut_item(self, item_id: str, heard_ms: float) -> Cut | None:
        """``heard_ms`` of the item were heard, as its truncation says; None when the item is not known."""
        item = self._items.get(item_id)
        if item is None or not item.chunks:
            return None
        self._before_truncate[item_id] = item.heard
        return self._hear(item, max(0, round(heard_ms / 1000 * self._rate)))

    def uncut_item(self, item_id: str) -> Cut | None:
        """The truncation was refused: as it was before. None when nothing was cut then."""
        item = self._items.get(item_id)
        if item is None or item_id not in self._before_truncate:
            return None
        before = self._before_truncate.pop(item_id)
        cut = self._hear(item, item.frames if before is None else before)
        item.heard = before
        return None if before is None else cut

    def cut_at(self, position_s: float) -> None:
        """Move the latest cut to ``position_s``, in both directions, for channels fed without item ids."""
        position = round(position_s * self._rate)
        for item in self._items.values():
            if item.chunks and (item.heard is not None or item.start <= position):
                self._hear(item, item.frames_before(position))

    def position_s(self, item_id: str, ms: float) -> float | None:
        """When the item's millisecond ``ms`` plays; None when the item is not known."""
        item = self._items.get(item_id)
        if item is None or not item.chunks:
            return None
        return item.position(min(round(ms / 1000 * self._rate), item.frames)) / self._rate

    def playing_until(self, item_id: str) -> float | None:
        """When the last frame of the item is heard; None when none is."""
        item = self._items.get(item_id)
        return item.end / self._rate if item is not None and item.audible else None

    def heard_ms(self, item_id: str) -> float | None:
        item = self._items.get(item_id)
        return None if item is None else item.audible * 1000 / self._rate

    def erase(self) -> None:
        """Take back what is remembered: the channel is fed from elsewhere now. Items go on being followed."""
        for item in self._items.values():
            if item.chunks:
                self._silence(item, 0, item.audible)

    def _hear(self, item: _Item, heard: int) -> Cut:
        before = item.audible
        item.heard = heard
        if item.audible < before:
            self._silence(item, item.audible, before)
        else:
            self._write(item, before, item.audible)
        return Cut(item.item_id, item.audible * 1000 / self._rate)

    def _unfinished(self, position: int) -> list[_Item]:
        return [item for item in self._items.values() if item.audible and item.end > position]

    def _queue_end(self, item: _Item) -> int:
        if item.heard is not None and item.chunks:  # nobody hears it: its place is only remembered
            _, place, samples = item.chunks[-1]
            return place + len(samples)
        return max((other.end for other in self._items.values() if other.audible), default=0)

    def _write(self, item: _Item, begin: int, end: int) -> None:
        """Write the item's frames ``begin`` to ``end``."""
        for offset, place, samples in item.chunks:
            first, last = max(begin - offset, 0), min(end - offset, len(samples))
            if first < last:
                self.writes.append(Write(place + first, samples[first:last]))

    def _silence(self, item: _Item, begin: int, end: int) -> None:
        for offset, place, samples in item.chunks:
            first, last = max(begin - offset, 0), min(end - offset, len(samples))
            if first < last:
                self.writes.append(Write(place + first, np.zeros(last - first, dtype=np.int16)))

    def _forget(self, t: float) -> None:
        horizon = round((t - self.MEMORY) * self._rate)
        for item_id, item in list(self._items.items()):
            while item.chunks and item.chunks[0][1] + len(item.chunks[0][2]) < horizon:
                item.forgotten += len(item.chunks.popleft()[2])
            if item.forgotten and not item.chunks:
                del self._items[item_id]
                self._before_truncate.pop(item_id, None)

"""Which frame was heard when, for chunks that came with their time, and for the microphone's.

Pure. Times are seconds since the recording began (frame 0); positions are frames at ``rate`` Hz.
Channels hand out :class:`Write` operations; a later one overwrites an earlier one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from langsmith_realtime.audio.formats import Samples


@dataclass(frozen=True, slots=True)
class Write:
    """Put ``samples`` (PCM16 mono) at frame ``start`` of one channel."""

    start: int
    samples: Samples


def silence(frames: int) -> Samples:
    """That many zeros, however many, in the memory of one."""
    return np.broadcast_to(np.zeros(1, dtype=np.int16), (frames,))


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
    two chunks is a pause when it is longer than :attr:`JITTER` seconds. A shorter one, down to
    :attr:`SLACK`, may as well be a late hand-over: it is a pause when hand-overs have not been that late
    of late (:attr:`CALM` seconds), and most of the next :attr:`PROOF` seconds go on from where it ends.
    """

    LOOK_AHEAD = 2.0
    SLACK = 0.015
    JITTER = 0.2
    CALM = 10.0
    PROOF = 0.5

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._waiting: deque[tuple[float, int, Samples]] = deque()  # handed over (s), frames so far, samples
        # Of the chunks waiting, those no later chunk undercuts: (index, latest start of the whole stream).
        self._latest: deque[tuple[int, float]] = deque()
        self._first = 0  # index of the first chunk waiting
        self._count = 0
        self._frames = 0
        self._end = 0  # frames placed up to here
        self._lateness = 0.0  # frames between the end of a chunk and its hand-over, of late
        self._timed = Timed(rate)
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
            self.writes.append(self._timed.place(at, samples))

    def advance(self, t: float) -> None:
        """Place what can no longer be moved by anything arriving after ``t``."""
        while self._waiting and t > self._waiting[0][0] + self.LOOK_AHEAD:
            self._place_first()

    def close(self) -> None:
        """Nothing comes any more: place what waits."""
        while self._waiting:
            self._place_first()

    def restart(self) -> None:
        """Take back everything so far: the channel is fed from elsewhere now."""
        self._first += len(self._waiting)
        self._waiting.clear()
        self._latest.clear()
        if self._end:
            self.writes.append(Write(0, silence(self._end)))
        self._end, self._lateness = 0, 0.0

    def _place_first(self) -> None:
        handed_over, frames, samples = self._waiting.popleft()
        while self._latest[0][0] < self._first:
            self._latest.popleft()
        self._first += 1
        start = round(self._latest[0][1]) + frames - len(samples)
        gap = start - self._end
        if gap <= 0 or (self._end and not self._is_pause(gap, frames)):
            start = self._end
        self._end = start + len(samples)
        self.writes.append(Write(start, samples))
        late = min(handed_over * self._rate - self._end, self.JITTER * self._rate)
        self._lateness = max(late, self._lateness - len(samples) * self.JITTER / self.CALM)

    def _is_pause(self, gap: int, frames: int) -> bool:
        if gap > self.JITTER * self._rate:
            return True
        if gap <= max(self.SLACK * self._rate, self._lateness):
            return False
        latest, on_time = self._latest[0][1] + gap / 2, 0
        for seen, (handed_over, later, _) in enumerate(self._waiting, 1):
            on_time += handed_over * self._rate - later <= latest
            if later - frames >= self.PROOF * self._rate:
                return on_time > seen / 2
        return False

"""Two clocks that should agree and do not quite: how far they drifted apart, and how sound follows that.

Pure. A sound card's clock is off by up to some hundred parts per million, which is a second in an hour.
Positions are frames.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import soxr

from langsmith_realtime.core.audio.decoding import NO_SAMPLES, Samples
from langsmith_realtime.core.audio.writes import Write

#: Faster clocks are no sound card's.
MAX_DRIFT = 500e-6


class Origin:
    """Where a stream began, from when its chunks were handed over, though its clock drifts from ours.

    A hand-over tells a latest beginning: its frames before that moment. It is late by what scheduling
    held it up, never early. So of each :attr:`BLOCK` seconds only the least late hand-over counts, and the
    beginning is the latest line that no hand-over undercuts. Its slope is the drift: what lies between the
    lower quartiles of the earlier and of the later half of the last :attr:`MEMORY` seconds, which stalls
    do not move. In less than :attr:`ENOUGH` seconds jitter tells more than drift: they count as if there were none.
    """

    BLOCK = 2.0
    MEMORY = 1200.0
    ENOUGH = 40.0

    def __init__(self, rate: int) -> None:
        self._block_frames = round(self.BLOCK * rate)
        self._lowest: deque[tuple[int, float]] = deque(maxlen=round(self.MEMORY / self.BLOCK))  # of each block
        self._block = -1
        self._slope, self._level = 0.0, math.inf

    def handed_over(self, frames: int, origin: float) -> None:
        """With these ``frames`` of the stream handed over, it began at ``origin`` at the latest."""
        block = frames // self._block_frames
        if block != self._block:
            self._block = block
            self._fit()
            self._lowest.append((frames, origin))
        elif origin < self._lowest[-1][1]:
            self._lowest[-1] = (frames, origin)
        self._level = min(self._level, origin - self._slope * frames)

    def at(self, frames: int) -> float:
        """Where it began, as its clock tells that has counted ``frames``."""
        return self._level + self._slope * frames

    def _fit(self) -> None:
        points = list(self._lowest)
        if len(points) >= self.ENOUGH / self.BLOCK:
            levels = [y - self._slope * x for x, y in points]
            half = len(points) // 2
            rise = _quartile(levels[-half:]) - _quartile(levels[:half])
            slope = self._slope + rise / (points[-half][0] - points[0][0])
            self._slope = max(-MAX_DRIFT, min(slope, MAX_DRIFT))
        self._level = min((y - self._slope * x for x, y in points), default=math.inf)


def _quartile(levels: list[float]) -> float:
    return sorted(levels)[len(levels) // 4]


class Pace:
    """Makes sound a little longer or shorter, until it is where it should be again.

    It begins when the offset is above ``tolerance`` frames, and changes 1 frame in :attr:`SHARE` at most,
    which nobody hears.
    """

    SHARE = 1000

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._allowed = 0.0
        self._following = False

    def follow(self, offset: float, samples: Samples, earned: float) -> Samples:
        """The samples, a frame more or less if they should end ``offset`` frames later.

        ``earned`` are the frames that went by since the last call.
        """
        self._allowed = min(self._allowed, 1.0) + earned / self.SHARE
        self._following = abs(offset) > (self._tolerance / 5 if self._following else self._tolerance)
        if not self._following:
            return samples
        change = min(int(self._allowed), int(abs(offset)), len(samples) // 8)
        self._allowed -= change
        return fitted(samples, len(samples) + (change if offset > 0 else -change)) if change else samples


def fitted(samples: Samples, frames: int) -> Samples:
    """The same sound in so many frames, by linear interpolation; the first and the last stay."""
    places = np.linspace(0, len(samples) - 1, frames)
    return np.rint(np.interp(places, np.arange(len(samples)), samples)).astype(np.int16)


Tag = TypeVar("Tag")


class DelayLine(Generic[Tag]):
    """Chunks at ``rate`` Hz come out at ``wanted`` Hz, in order, each with the tag it was put in with.

    Of all that was put in, ``frames * wanted // rate`` frames come out, and of each chunk its share:
    whole numbers over the whole stream, so that no chunking changes a sample and no rounding adds up.
    The filter's delay is made up for: frame ``n`` of what comes out sounds ``n / wanted`` seconds after
    the first one. At the same rate chunks come out at once, as they are.
    """

    def __init__(self, rate: int, wanted: int) -> None:
        self._rate, self._wanted = rate, wanted
        self._waiting: deque[tuple[Tag, int]] = deque()  # and where the chunk ends, in frames that come out
        self._put = 0
        self._out = 0
        self._ready: Samples = NO_SAMPLES
        self._resampler: soxr.ResampleStream | None = None

    @property
    def waiting(self) -> Iterator[Tag]:
        """The tags of the chunks that are held back, in order."""
        return (tag for tag, _ in self._waiting)

    def put(self, tag: Tag, samples: Samples) -> list[tuple[Tag, Samples]]:
        """What comes out now that these came in."""
        if self._rate == self._wanted:
            return [(tag, samples)]
        self._put += len(samples)
        self._waiting.append((tag, self._put * self._wanted // self._rate))
        self._resample(samples)
        return self._come_out()

    def flush(self) -> list[tuple[Tag, Samples]]:
        """All that is held back: as if silence followed. What is put in later begins another stream."""
        if not self._waiting:
            return []
        self._resample(NO_SAMPLES, last=True)
        self._resampler = None
        owed = self._waiting[-1][1] - self._out
        # Fractions of a frame that were left by the streams before make a whole one now and then.
        self._ready = np.pad(self._ready, (0, max(0, owed - len(self._ready))))
        out = self._come_out()
        self._ready = NO_SAMPLES
        return out

    def _resample(self, samples: Samples, *, last: bool = False) -> None:
        if self._resampler is None:
            self._resampler = soxr.ResampleStream(self._rate, self._wanted, 1, dtype="float32", quality="HQ")
        made: npt.NDArray[np.float32] = self._resampler.resample_chunk(samples.astype(np.float32), last=last)
        if len(made):
            # Ringing beside a loud edge may leave the range; wrapped around it would be a bang.
            rounded = np.clip(np.rint(made), -32_768, 32_767).astype(np.int16)
            self._ready = np.concatenate((self._ready, rounded)) if len(self._ready) else rounded

    def _come_out(self) -> list[tuple[Tag, Samples]]:
        out = []
        used = 0
        while self._waiting and self._waiting[0][1] - self._out <= len(self._ready) - used:
            tag, end = self._waiting.popleft()
            frames = end - self._out
            out.append((tag, self._ready[used : used + frames]))
            used, self._out = used + frames, end
        self._ready = self._ready[used:]
        return out


class Timed:
    """Chunks that came with the time of their first frame; they are the truth.

    Clocks of sound cards jitter: within :attr:`JITTER` seconds a chunk follows the one before it without
    a gap; beyond it goes where its time says. They drift as well: once times are off by more than
    :attr:`DRIFT` seconds all along, the sound is made to follow them, a frame now and then.
    """

    JITTER = 0.005
    DRIFT = 0.002
    SETTLING = 1.0  # seconds over which the offset is taken

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._end: int | None = None
        self._begin()

    def place(self, at: float, samples: Samples) -> Write:
        start = at * self._rate
        if self._end is None or abs(start - self._end) > self.JITTER * self._rate:
            self._end = round(start)
            self._begin()
        share = min(1.0, len(samples) / (self.SETTLING * self._rate))
        self._offset += (start - self._end - self._offset) * share
        placed = self._pace.follow(self._offset, samples, len(samples))
        self._offset -= len(placed) - len(samples)
        write = Write(self._end, placed)
        self._end += len(placed)
        return write

    def _begin(self) -> None:
        self._offset = 0.0  # frames from where sound is placed to where its time says
        self._pace = Pace(self.DRIFT * self._rate)

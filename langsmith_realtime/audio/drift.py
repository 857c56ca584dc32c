"""Two clocks that should agree and do not quite: how far they drifted apart, and how sound follows that.

Pure. A sound card's clock is off by up to some hundred parts per million, which is a second in an hour.
Positions are frames.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from langsmith_realtime.audio.formats import Samples

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

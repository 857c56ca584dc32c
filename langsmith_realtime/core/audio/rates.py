"""Adapts audio to another clock: estimates and corrects the drift of a clock, and converts sample rates.

Pure. Positions are frames of the recording; they may be fractions. A sound card's clock is off by up to some hundred
parts per million, which is a second in an hour.
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

#: Largest drift that is assumed of a sound card, as a fraction of its rate.
MAX_DRIFT = 500e-6


class DriftEstimator:
    """Estimates where in the recording a stream started, from the arrival of its chunks and despite a drifting clock.

    The arrival of a chunk bounds the start of the stream: the start is not later than the arrival minus all frames up
    to then. Scheduling delays arrivals by varying amounts, so only the lowest bound of each block of :attr:`BLOCK_S`
    seconds counts. The estimate is a straight line over the frame count: the highest one that exceeds no bound.

    The slope of the line is the drift. It is the rise from the first to the second half of the last :attr:`MEMORY_S`
    seconds, each half represented by its lower quartile, which single delays do not change. It is at most
    :data:`MAX_DRIFT` in either direction. While there are less than :attr:`MIN_SPAN_S` seconds of blocks, the slope is
    0, because delays would be mistaken for drift.
    """

    BLOCK_S = 2.0
    MEMORY_S = 1200.0
    MIN_SPAN_S = 40.0

    def __init__(self, rate: int) -> None:
        self._block_frames = round(self.BLOCK_S * rate)
        # Lowest bound of each block: (frame count, position)
        self._bounds: deque[tuple[int, float]] = deque(maxlen=round(self.MEMORY_S / self.BLOCK_S))
        self._block = -1
        self._slope, self._intercept = 0.0, math.inf

    def add(self, frames: int, latest_start: float) -> None:
        """Add the bound that follows from the arrival of a chunk.

        Args:
            frames: length of the stream up to the end of the chunk.
            latest_start: position of the arrival, minus ``frames``.
        """
        block = frames // self._block_frames
        if block != self._block:
            self._block = block
            self._fit()
            self._bounds.append((frames, latest_start))
        elif latest_start < self._bounds[-1][1]:
            self._bounds[-1] = (frames, latest_start)
        self._intercept = min(self._intercept, latest_start - self._slope * frames)

    def start_at(self, frames: int) -> float:
        """Return the estimated start position of a stream of ``frames``: it ends at ``start_at(frames) + frames``."""
        return self._intercept + self._slope * frames

    def _fit(self) -> None:
        bounds = list(self._bounds)
        if len(bounds) >= self.MIN_SPAN_S / self.BLOCK_S:
            residuals = [y - self._slope * x for x, y in bounds]
            half = len(bounds) // 2
            rise = _lower_quartile(residuals[-half:]) - _lower_quartile(residuals[:half])
            slope = self._slope + rise / (bounds[-half][0] - bounds[0][0])
            self._slope = max(-MAX_DRIFT, min(slope, MAX_DRIFT))
        self._intercept = min((y - self._slope * x for x, y in bounds), default=math.inf)


def _lower_quartile(values: list[float]) -> float:
    return sorted(values)[len(values) // 4]


class DriftCorrector:
    """Makes audio longer or shorter, by interpolation, until it is where it belongs.

    Correction starts when the audio is off by more than the tolerance, and ends at a fifth of the tolerance. It adds or
    removes about one frame per :attr:`FRAMES_PER_CORRECTION` frames at most, which is inaudible.

    Args:
        tolerance: largest offset, in frames, that starts no correction.
    """

    FRAMES_PER_CORRECTION = 1000

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._allowed = 0.0  # frames that may be added or removed now
        self._is_correcting = False

    def correct(self, offset: float, samples: Samples, elapsed: float) -> Samples:
        """Return the samples, lengthened or shortened where the offset requires it.

        Args:
            offset: frames by which the audio is placed too early; negative if too late.
            samples: the next samples of the stream.
            elapsed: frames of time since the last call, which limit the correction.
        """
        self._allowed = min(self._allowed, 1.0) + elapsed / self.FRAMES_PER_CORRECTION
        self._is_correcting = abs(offset) > (self._tolerance / 5 if self._is_correcting else self._tolerance)
        if not self._is_correcting:
            return samples
        change = min(int(self._allowed), int(abs(offset)), len(samples) // 8)
        self._allowed -= change
        return stretched(samples, len(samples) + (change if offset > 0 else -change)) if change else samples


def stretched(samples: Samples, frames: int) -> Samples:
    """Resample audio to ``frames`` frames by linear interpolation; first and last sample keep their values."""
    places = np.linspace(0, len(samples) - 1, frames)
    return np.rint(np.interp(places, np.arange(len(samples)), samples)).astype(np.int16)


Tag = TypeVar("Tag")


class TaggedResampler(Generic[Tag]):
    """Resamples a stream of chunks, and returns each chunk with the tag it was added with (its time, its item).

    A good resampler needs later samples to compute earlier ones, so chunks come out late. Their tags come out with
    them: code that places the audio gets the calls it would get without resampling, only later.

    After ``frames`` input frames, ``frames * out_rate // rate`` output frames have been assigned to chunks. This is
    rounded for the stream, not for each chunk, so no chunking changes a sample, and rounding errors do not add up. The
    delay of the filter is compensated: output frame ``n`` is the audio ``n / out_rate`` seconds after the start. If
    both rates are equal, chunks come out immediately and unchanged.

    Args:
        rate: rate of the input in Hz.
        out_rate: rate of the output in Hz.
    """

    def __init__(self, rate: int, out_rate: int) -> None:
        self._rate, self._out_rate = rate, out_rate
        self._pending: deque[tuple[Tag, int]] = deque()  # tag, and output frame at which the chunk ends
        self._frames_in = 0
        self._frames_out = 0
        self._resampled: Samples = NO_SAMPLES
        self._resampler: soxr.ResampleStream | None = None

    @property
    def pending_tags(self) -> Iterator[Tag]:
        """Tags of the chunks that have not come out yet, in order."""
        return (tag for tag, _ in self._pending)

    def add(self, tag: Tag, samples: Samples) -> list[tuple[Tag, Samples]]:
        """Add a chunk, and return the chunks that are complete now."""
        if self._rate == self._out_rate:
            return [(tag, samples)]
        self._frames_in += len(samples)
        self._pending.append((tag, self._frames_in * self._out_rate // self._rate))
        self._resample(samples)
        return self._take_complete()

    def flush(self) -> list[tuple[Tag, Samples]]:
        """Return all pending chunks, as if silence followed. The next chunk starts a new stream."""
        if not self._pending:
            return []
        self._resample(NO_SAMPLES, last=True)
        self._resampler = None
        missing = self._pending[-1][1] - self._frames_out
        # Each earlier stream may have left a fraction of a frame; together they make one frame more now and then.
        self._resampled = np.pad(self._resampled, (0, max(0, missing - len(self._resampled))))
        out = self._take_complete()
        self._resampled = NO_SAMPLES
        return out

    def _resample(self, samples: Samples, *, last: bool = False) -> None:
        if self._resampler is None:
            self._resampler = soxr.ResampleStream(self._rate, self._out_rate, 1, dtype="float32", quality="HQ")
        out: npt.NDArray[np.float32] = self._resampler.resample_chunk(samples.astype(np.float32), last=last)
        if len(out):
            # The filter may exceed the range next to a loud edge; an overflow would be heard as a click.
            rounded = np.clip(np.rint(out), -32_768, 32_767).astype(np.int16)
            self._resampled = np.concatenate((self._resampled, rounded)) if len(self._resampled) else rounded

    def _take_complete(self) -> list[tuple[Tag, Samples]]:
        out = []
        used = 0
        while self._pending and self._pending[0][1] - self._frames_out <= len(self._resampled) - used:
            tag, end = self._pending.popleft()
            frames = end - self._frames_out
            out.append((tag, self._resampled[used : used + frames]))
            used, self._frames_out = used + frames, end
        self._resampled = self._resampled[used:]
        return out


class TimedPlacement:
    """Places chunks for which the application gave the time of their first frame (``at``).

    The times of a sound card jitter: a chunk that starts within :attr:`MAX_JITTER_S` of the end of the previous chunk
    follows it without gap or overlap. Beyond that, the chunk is placed at its time. The times also drift: once the
    audio is off by more than :attr:`DRIFT_TOLERANCE_S` on average over about :attr:`AVERAGING_S`, it is slowly
    lengthened or shortened, by interpolation.
    """

    MAX_JITTER_S = 0.005
    DRIFT_TOLERANCE_S = 0.002
    AVERAGING_S = 1.0

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._end: int | None = None
        self._reset_drift()

    def place(self, at: float, samples: Samples) -> Write:
        """Return the write for a chunk from ``at`` seconds on; it starts within :attr:`MAX_JITTER_S` of that."""
        start = at * self._rate
        if self._end is None or abs(start - self._end) > self.MAX_JITTER_S * self._rate:
            self._end = round(start)
            self._reset_drift()
        weight = min(1.0, len(samples) / (self.AVERAGING_S * self._rate))
        self._offset += (start - self._end - self._offset) * weight
        corrected = self._corrector.correct(self._offset, samples, len(samples))
        self._offset -= len(corrected) - len(samples)
        write = Write(self._end, corrected)
        self._end += len(corrected)
        return write

    def _reset_drift(self) -> None:
        self._offset = 0.0  # average frames by which the audio is placed before its time
        self._corrector = DriftCorrector(self.DRIFT_TOLERANCE_S * self._rate)

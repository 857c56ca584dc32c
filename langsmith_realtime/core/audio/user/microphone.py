"""Places the user's audio in the recording, from the arrival times of its chunks or from times the application gives.

Pure. Times are seconds since the recording began (frame 0); positions are frames of the recording.
"""

from __future__ import annotations

from collections import deque

from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.audio.rates import DriftCorrector, DriftEstimator, TimedPlacement
from langsmith_realtime.core.audio.writes import Write, WriteJoiner, silence


class Microphone:
    """The user's channel. For most chunks only the arrival time is known: when the application sent or fed the chunk.

    A chunk ended when it arrived, or earlier: scheduling delays chunks and releases them in bursts. Chunks do not
    overlap, so every later chunk bounds the end of the earlier ones. A chunk is therefore placed after waiting
    :attr:`LOOK_AHEAD_S` for later chunks, together with the chunks that arrived within :attr:`GROUP_S` of it.

    A gap that remains between two chunks is either a pause or a delayed arrival:

    - up to :attr:`MIN_PAUSE_S` it is a delay, above :attr:`MAX_DELAY_S` a pause;
    - between these it is a pause if it is longer than the delays of the last :attr:`DELAY_MEMORY_S` seconds, and most
      chunks of the next :attr:`CONFIRM_S` seconds continue from where it ends;
    - if recent delays are as long, it is a pause if most chunks of the next :attr:`CONFIRM_DELAYED_S` seconds continue
      within :attr:`MIN_PAUSE_S` of where it ends, because successive delays differ in length.

    Between pauses audio is continuous. The microphone's clock drifts, and the first seconds may all have arrived late.
    So after :attr:`MIN_DRIFT_SPAN_S` of continuous audio, an offset above :attr:`DRIFT_TOLERANCE_S` is slowly corrected
    by interpolation. An offset above :attr:`MAX_DRIFT_OFFSET_S` has another cause and is not corrected.

    Args:
        rate: rate of the recording in Hz.
    """

    LOOK_AHEAD_S = 2.0
    GROUP_S = 0.1
    #: Longest audio that is joined into one write.
    MAX_WRITE_S = 1.0
    MIN_PAUSE_S = 0.015
    MAX_DELAY_S = 0.2
    DELAY_MEMORY_S = 10.0
    CONFIRM_S = 0.5
    CONFIRM_DELAYED_S = 1.5
    MIN_DRIFT_SPAN_S = 10.0
    DRIFT_TOLERANCE_S = 0.005
    MAX_DRIFT_OFFSET_S = 0.1

    def __init__(self, rate: int) -> None:
        self._rate = rate
        # Chunks to be placed: (arrival in s, frames of the stream up to their end, samples)
        self._pending: deque[tuple[float, int, Samples]] = deque()
        # Bounds of pending chunks that no later chunk lowers: (index of the chunk, latest start of the stream)
        self._start_bounds: deque[tuple[int, float]] = deque()
        self._first_index = 0  # of the pending chunks
        self._next_index = 0
        self._frames = 0  # of the stream so far
        self._end = 0  # position up to which chunks are placed
        self._delay = 0.0  # frames between the end of a chunk and its arrival, recently
        self._stretch_start: tuple[float, int] | None = None  # continuous audio starts: (arrival in s, frames)
        self._last_arrival = 0.0  # of the chunks placed, in s
        self._elapsed = 0.0  # frames of time that drift correction has not used yet
        self._drift = DriftEstimator(rate)
        self._corrector = DriftCorrector(self.DRIFT_TOLERANCE_S * rate)
        self._timed = TimedPlacement(rate)
        self._joiner = WriteJoiner()

    def take_writes(self) -> list[Write]:
        """Return the writes since the last call, in order."""
        return self._joiner.take_writes()

    def add(self, t: float, samples: Samples) -> None:
        """Add a chunk that arrived at ``t``."""
        if not len(samples):
            return
        self.advance(t)
        self._frames += len(samples)
        latest_start = t * self._rate - self._frames
        while self._start_bounds and self._start_bounds[-1][1] >= latest_start:
            self._start_bounds.pop()
        self._start_bounds.append((self._next_index, latest_start))
        self._next_index += 1
        self._pending.append((t, self._frames, samples))
        self._drift.add(self._frames, latest_start)

    def add_timed(self, at: float, samples: Samples) -> None:
        """Add a chunk that was captured from ``at`` on, as the application says."""
        if len(samples):
            self._write(self._timed.place(at, samples), self.GROUP_S)

    def advance(self, t: float) -> None:
        """Place the chunks that no chunk arriving at ``t`` or later can move."""
        while self._pending and t > self._pending[0][0] + self.GROUP_S + self.LOOK_AHEAD_S:
            until = self._pending[0][0] + self.GROUP_S
            while self._pending and self._pending[0][0] <= until:
                self._place_first()
            self._joiner.flush()
        if self._joiner.pending_frames and t > self._joiner.end / self._rate + self.GROUP_S:
            self._joiner.flush()  # no chunk continues the last write

    def close(self) -> None:
        """Place all pending chunks, at the end of the conversation."""
        while self._pending:
            self._place_first()
        self._joiner.flush()

    def erase(self) -> None:
        """Silence all audio so far and drop pending chunks, because the application starts to feed this channel."""
        self._first_index += len(self._pending)
        self._pending.clear()
        self._start_bounds.clear()
        if self._end:
            self._joiner.add(Write(0, silence(self._end)))
            self._joiner.flush()
        self._end, self._delay = 0, 0.0
        self._stretch_start = None

    def _place_first(self) -> None:
        arrival, frames, samples = self._pending.popleft()
        while self._start_bounds[0][0] < self._first_index:
            self._start_bounds.popleft()
        self._first_index += 1
        start = round(self._start_bounds[0][1]) + frames - len(samples)
        gap = start - self._end
        if self._stretch_start is None or (gap > 0 and self._is_pause(gap, frames)):
            self._end = max(start, self._end)
            self._start_stretch(arrival, frames)
        else:
            samples = self._correct_drift(arrival, frames, samples)
        self._write(Write(self._end, samples), self.MAX_WRITE_S)
        self._end += len(samples)
        delay = min(arrival * self._rate - self._end, self.MAX_DELAY_S * self._rate)
        self._delay = max(delay, self._delay - len(samples) * self.MAX_DELAY_S / self.DELAY_MEMORY_S)

    def _write(self, write: Write, max_s: float) -> None:
        """Join a write to the pending one if it continues that one; complete it once it has ``max_s`` seconds."""
        self._joiner.add(write)
        if self._joiner.pending_frames >= max_s * self._rate:
            self._joiner.flush()

    def _is_pause(self, gap: int, frames: int) -> bool:
        """Tell whether a gap, before the chunk that ends at ``frames`` of the stream, is a pause."""
        if gap > self.MAX_DELAY_S * self._rate:
            return True
        min_pause = self.MIN_PAUSE_S * self._rate
        if gap <= min_pause:
            return False
        confirm_s, within = self.CONFIRM_S, gap / 2
        if gap <= self._delay:
            confirm_s, within = self.CONFIRM_DELAYED_S, min(within, min_pause)
        latest, on_time = self._start_bounds[0][1] + within, 0
        for count, (arrival, end, _) in enumerate(self._pending, 1):
            on_time += arrival * self._rate - end <= latest
            if end - frames >= confirm_s * self._rate:
                return on_time > count / 2
        return False

    def _start_stretch(self, arrival: float, frames: int) -> None:
        """Start continuous audio with a chunk. Drift is estimated anew, from the chunks of the stretch alone."""
        self._stretch_start = arrival, frames
        self._last_arrival, self._elapsed = arrival, 0.0
        self._corrector = DriftCorrector(self.DRIFT_TOLERANCE_S * self._rate)
        self._drift = DriftEstimator(self._rate)
        self._drift.add(frames, arrival * self._rate - frames)
        for t, later, _ in self._pending:
            self._drift.add(later, t * self._rate - later)

    def _correct_drift(self, arrival: float, frames: int, samples: Samples) -> Samples:
        """Return a chunk of the stretch, lengthened or shortened towards where the drift estimate places it."""
        # Audio of a file arrives within no time; drift needs time.
        self._elapsed = min(self._elapsed + (arrival - self._last_arrival) * self._rate, self.LOOK_AHEAD_S * self._rate)
        self._last_arrival = arrival
        elapsed = min(self._elapsed, len(samples))
        self._elapsed -= elapsed
        assert self._stretch_start is not None
        first_arrival, first_frames = self._stretch_start
        offset = self._drift.start_at(frames) + frames - self._end - len(samples)
        min_span = self.MIN_DRIFT_SPAN_S
        is_long = arrival - first_arrival >= min_span and frames - first_frames >= min_span * self._rate
        if not is_long or abs(offset) > self.MAX_DRIFT_OFFSET_S * self._rate:
            offset = 0.0
        return self._corrector.correct(offset, samples, elapsed)

"""Maps offsets in a session's input buffer to the times at which the audio was captured.

Pure. Server events give offsets in ms of audio appended to the input buffer (``audio_start_ms``, ``audio_end_ms``): a
muted microphone takes no time there, and a file appended at once takes its full length. Times are seconds since the
conversation opened.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque


class InputBuffer:
    """The input buffer of one server session.

    A chunk ended when it was appended, or earlier: scheduling delays chunks and releases them in bursts. Chunks do not
    overlap, so the chunks of the next :attr:`LOOK_AHEAD_S` seconds bound the end of a chunk. A gap of at most
    :attr:`MAX_DELAY_S` before a chunk is a delay, unless the next :attr:`CONFIRM_S` seconds of audio are as late. Audio
    appended faster than real time (a file) has no time of capture: the time of the append stands for it.

    Args:
        opened: when the session began, in seconds.
    """

    LOOK_AHEAD_S = 2.0
    MAX_DELAY_S = 0.2
    CONFIRM_S = 1.0
    #: Seconds after which the mapping of older audio is dropped.
    MEMORY_S = 600.0
    #: Differences below this, in seconds, start no new segment.
    RESOLUTION_S = 0.002

    def __init__(self, opened: float = 0.0) -> None:
        self._length = 0.0  # seconds
        self._start = opened  # time at which continuous audio would have started
        # Chunks not mapped yet: (time of the append, begin and end in the buffer in s)
        self._pending: deque[tuple[float, float, float]] = deque()
        # Bounds of pending chunks that no later chunk lowers: (begin in the buffer, latest start)
        self._start_bounds: deque[tuple[float, float]] = deque()
        # Segments: begin in the buffer; time of that, and whether later audio of the segment has later times
        self._segment_begins: list[float] = []
        self._segments: list[tuple[float, bool]] = []

    @property
    def appended_ms(self) -> float:
        """Length of the audio appended so far, in ms."""
        return self._length * 1000

    def append(self, t: float, ms: float) -> None:
        """Add a chunk of ``ms`` milliseconds that was appended at ``t``."""
        if ms <= 0:
            return
        while self._pending and t > self._pending[0][0] + self.LOOK_AHEAD_S:
            self._map_first(t)
        begin = self._length
        self._length = round(self._length + ms / 1000, 9)  # without the rounding errors of many additions
        self._pending.append((t, begin, self._length))
        latest_start = t - self._length
        while self._start_bounds and self._start_bounds[-1][1] >= latest_start:
            self._start_bounds.pop()
        self._start_bounds.append((begin, latest_start))

    def time_of(self, ms: float, reach_ms: float = 0.0) -> float | None:
        """Return the capture time of an offset, in seconds.

        At an offset between two chunks, this is the end of the first one. The offset of a start is given with
        ``reach_ms``: if nothing was appended for more than :attr:`MAX_DELAY_S` somewhere between the offset and
        ``reach_ms`` later, it is the time at which the first audio after the last such gap was captured.

        None if the offset is 0, outside the appended audio, or so old that its mapping was dropped. The time of audio
        appended within the last :attr:`LOOK_AHEAD_S` seconds may still change.

        Args:
            ms: offset in the input buffer.
            reach_ms: how far after the offset a gap counts.
        """
        time = self._end_at(ms / 1000)
        if reach_ms <= 0:
            return time
        begins = [*self._segment_begins, *(begin for _, begin, _ in self._pending)]
        for begin in reversed(begins):
            if ms / 1000 <= begin <= (ms + reach_ms) / 1000:
                before, after = self._end_at(begin), self._end_at(begin + 1e-6)
                if after is not None and (before is None or after - before > self.MAX_DELAY_S):
                    return after
        return time

    def _end_at(self, offset: float) -> float | None:
        """Return when the audio before an offset ended, in seconds; the offset is in seconds."""
        if not 0 <= offset <= self._length:
            return None
        for appended, begin, end in self._pending:
            if begin < offset <= end:
                start = self._start_from(begin)
                return appended if start is None else start + offset
        index = bisect_left(self._segment_begins, offset) - 1
        if index < 0:
            return None
        time, is_running = self._segments[index]
        return time + offset - self._segment_begins[index] if is_running else time

    def _map_first(self, t: float) -> None:
        appended, begin, _ = self._pending[0]
        start = self._start_from(begin)
        self._pending.popleft()
        if self._start_bounds[0][0] <= begin:
            self._start_bounds.popleft()
        if start is None:
            self._add_segment(begin, appended, is_running=False)
            return
        time, is_running = self._segments[-1] if self._segments else (0.0, False)
        if not is_running or abs(time - self._segment_begins[-1] - start) >= self.RESOLUTION_S:
            self._add_segment(begin, start + begin, is_running=True)
            self._start = start
        while len(self._segments) > 1 and self._segments[1][0] < t - self.MEMORY_S:
            del self._segments[0], self._segment_begins[0]

    def _add_segment(self, begin: float, time: float, *, is_running: bool) -> None:
        self._segment_begins.append(begin)
        self._segments.append((time, is_running))

    def _start_from(self, begin: float) -> float | None:
        """Return when continuous audio would have started, by the pending chunks from ``begin`` (s in the buffer) on.

        None if these chunks are faster than real time by more than :attr:`MAX_DELAY_S`.
        """
        latest = next(bound for chunk_begin, bound in self._start_bounds if chunk_begin >= begin)
        delay = latest - self._start
        if delay < -self.MAX_DELAY_S:
            return None
        if 0 < delay <= self.MAX_DELAY_S and self._length - begin < self.CONFIRM_S:
            return self._start
        return latest

"""Compares the length of a stream of audio with the time in which it was sent, to find a rate that is not the real one.

Pure. Times are seconds since the conversation opened.
"""

from __future__ import annotations

import numpy as np

#: Length of the windows that are judged, in seconds of time.
WINDOW_S = 1.0
#: How many seconds of even windows there must be before the stream is judged.
MIN_EVEN_S = 2.0
#: How many chunks a window has at least.
MIN_CHUNKS = 5
#: How far a chunk may be from the straight line through its window, in seconds.
MAX_DEVIATION_S = 0.06
#: A gap this many times as long as the mean distance of the chunks before it ends a window, if it exceeds `MIN_GAP_S`.
GAP_FACTOR = 2.5
MIN_GAP_S = 0.2
#: Seconds of audio per second of time from which on a stream runs well ahead of its clock or, inverted, behind it.
MAX_SPEED = 1.2


class StreamClock:
    """The speed of one stream: seconds of audio, as they are read, per second of time.

    Only windows of evenly spaced chunks count: the chunks then lie on a straight line of audio over time. A microphone
    that is muted now and then, a file sent at once, and a network that delivers in bursts have no such windows, or none
    that are off. Nothing is corrected.

    Args:
        may_run_ahead: whether audio normally comes faster than real time, so that this tells nothing.
    """

    def __init__(self, *, may_run_ahead: bool) -> None:
        self._may_run_ahead = may_run_ahead
        self._length = 0.0  # seconds of audio so far
        self._window: list[tuple[float, float]] = []  # of each chunk: its time, and the audio before it, in seconds
        self._time_s = self._audio_s = 0.0  # sums over the even windows

    def add(self, t: float, seconds: float, *, at_end: bool) -> None:
        """Add a chunk of ``seconds`` seconds of audio, as they are read; ``t`` is the time of its end or its start."""
        window = self._window
        if not at_end:
            self._take(t, self._length)
        self._length += seconds
        if at_end:
            self._take(t, self._length)
        if len(window) >= MIN_CHUNKS and window[-1][0] - window[0][0] >= WINDOW_S:
            self._judge()

    @property
    def speed(self) -> float | None:
        """Seconds of audio per second of time, if that is well off 1; None if not, or if too little of it is even."""
        if self._time_s < MIN_EVEN_S:
            return None
        speed = self._audio_s / self._time_s
        is_off = speed < 1 / MAX_SPEED or (speed > MAX_SPEED and not self._may_run_ahead)
        return speed if is_off else None

    def _take(self, t: float, length: float) -> None:
        window = self._window
        if len(window) > 1:
            usual = (window[-1][0] - window[0][0]) / (len(window) - 1)
            if t - window[-1][0] > max(GAP_FACTOR * usual, MIN_GAP_S):
                window.clear()
        window.append((t, length))

    def _judge(self) -> None:
        times, lengths = np.array(self._window).T
        self._window[:-1] = []
        slope, intercept = np.polyfit(times - times[0], lengths, 1)
        expected = slope * (times - times[0]) + intercept
        # In seconds of time: a stream that is read too fast has shorter audio.
        if slope > 0 and np.abs(lengths - expected).max() <= MAX_DEVIATION_S * slope:
            self._time_s += float(times[-1] - times[0])
            self._audio_s += float(slope * (times[-1] - times[0]))

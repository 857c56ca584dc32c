"""When the audio was captured that was written to a session's input buffer.

Pure. A server's turn detection counts the audio *written* to the input buffer of its session
(``audio_start_ms``, ``audio_end_ms``), in which a muted microphone takes no time and a file that is
pushed at once takes as long as it plays. Times are seconds since the conversation opened.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque


class InputBuffer:
    """The input buffer of one server session, which began at ``opened``.

    A chunk ended when it was handed over, or earlier: scheduling holds chunks up and releases them in
    bursts. The latest moment it can have ended follows from every chunk of the next :attr:`LOOK_AHEAD`
    seconds, for they did not overlap. A chunk that seems to come less than :attr:`JITTER` seconds after a
    pause was held up instead, unless :attr:`PROOF` seconds of audio follow it that were no earlier. Audio
    that takes longer than the time it was written in was not captured then: it counts as of its hand-over.
    """

    LOOK_AHEAD = 2.0
    JITTER = 0.2
    PROOF = 1.0
    #: What is remembered, in seconds.
    MEMORY = 600.0
    #: Differences in seconds that are not worth remembering.
    RESOLUTION = 0.002

    def __init__(self, opened: float = 0.0) -> None:
        self._written = 0.0  # seconds
        self._origin = opened  # when the audio would have begun, had it been continuous
        # Chunks not placed yet: handed over, begin and end in the buffer.
        self._waiting: deque[tuple[float, float, float]] = deque()
        # Of those, the ones no later chunk undercuts: begin in the buffer, latest origin.
        self._latest: deque[tuple[float, float]] = deque()
        # From which second of the buffer on, at what time, and whether time goes on from there.
        self._froms: list[float] = []
        self._pieces: list[tuple[float, bool]] = []

    @property
    def written_ms(self) -> float:
        """How much was written, in ms."""
        return self._written * 1000

    def append(self, t: float, ms: float) -> None:
        """``ms`` of audio were handed over at ``t``."""
        if ms <= 0:
            return
        while self._waiting and t > self._waiting[0][0] + self.LOOK_AHEAD:
            self._place_first(t)
        begin = self._written
        self._written = round(self._written + ms / 1000, 9)  # a boundary is one, however many chunks lie before it
        self._waiting.append((t, begin, self._written))
        origin = t - self._written
        while self._latest and self._latest[-1][1] >= origin:
            self._latest.pop()
        self._latest.append((begin, origin))

    def time_of(self, ms: float) -> float | None:
        """When the audio before ``ms`` of the buffer was captured; None when that was not written, or is long ago.

        What was written in the last :attr:`LOOK_AHEAD` seconds may turn out to be earlier.
        """
        at = ms / 1000
        if not 0 <= at <= self._written:
            return None
        for handed_over, begin, end in self._waiting:
            if begin < at <= end:
                origin = self._origin_from(begin)
                return handed_over if origin is None else origin + at
        piece = bisect_left(self._froms, at) - 1
        if piece < 0:
            return None
        time, goes_on = self._pieces[piece]
        return time + at - self._froms[piece] if goes_on else time

    def _place_first(self, t: float) -> None:
        handed_over, begin, _ = self._waiting[0]
        origin = self._origin_from(begin)
        self._waiting.popleft()
        if self._latest[0][0] <= begin:
            self._latest.popleft()
        if origin is None:
            self._piece(begin, handed_over, goes_on=False)
            return
        time, goes_on = self._pieces[-1] if self._pieces else (0.0, False)
        if not goes_on or abs(time - self._froms[-1] - origin) >= self.RESOLUTION:
            self._piece(begin, origin + begin, goes_on=True)
            self._origin = origin
        while len(self._pieces) > 1 and self._pieces[1][0] < t - self.MEMORY:
            del self._pieces[0], self._froms[0]

    def _piece(self, begin: float, time: float, *, goes_on: bool) -> None:
        self._froms.append(begin)
        self._pieces.append((time, goes_on))

    def _origin_from(self, begin: float) -> float | None:
        """When the buffer would have begun, as the waiting chunks tell from ``begin`` on; None: never."""
        latest = next(origin for start, origin in self._latest if start >= begin)
        late = latest - self._origin
        if late < -self.JITTER:
            return None
        if 0 < late <= self.JITTER and self._written - begin < self.PROOF:
            return self._origin
        return latest

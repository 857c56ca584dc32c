"""Which frame was heard when, for chunks that came with their time, and for the microphone's.

Pure. Times are seconds since the recording began (frame 0); positions are frames at ``rate`` Hz.
Channels hand out :class:`Write` operations; a later one overwrites an earlier one.
"""

from __future__ import annotations

from collections import deque

from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.audio.rates import Origin, Pace, Timed
from langsmith_realtime.core.audio.writes import Joined, Write, silence


class Microphone:
    """The user's channel, from chunks of which only the hand-over time is known.

    A chunk *ended* when it was handed over, or earlier: scheduling holds chunks up and releases them in
    bursts. The latest moment a chunk can have ended follows from every chunk after it (they did not
    overlap), so a chunk is placed after looking :attr:`LOOK_AHEAD` seconds ahead, together with those
    that were handed over within :attr:`GROUP` seconds of it. What remains between two chunks is a pause
    when it is longer than :attr:`JITTER` seconds. A shorter one, down to :attr:`SLACK`, may as well be a
    late hand-over: it is a pause when hand-overs have not been that late of late (:attr:`CALM` seconds),
    and most of the next :attr:`PROOF` seconds go on from where it ends. When they have been, it is one when
    most of the next :attr:`MORE_PROOF` seconds do so within :attr:`SLACK`: what holds hand-overs up does not
    hold up one after the other by the same time.

    Between pauses sound is continuous. The microphone's clock drifts, and what is known of the first
    seconds may be late: once :attr:`SETTLED` seconds tell that sound lies more than :attr:`DRIFT` seconds
    off, but by no more than :attr:`NO_DRIFT`, it is made to follow, a frame now and then.
    """

    LOOK_AHEAD = 2.0
    GROUP = 0.1
    LONGEST = 1.0  # seconds of sound in one write
    SLACK = 0.015
    JITTER = 0.2
    CALM = 10.0
    PROOF = 0.5
    MORE_PROOF = 1.5
    SETTLED = 10.0
    DRIFT = 0.005
    NO_DRIFT = 0.1

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
        self._since: tuple[float, int] | None = None  # where what is continuous began: handed over (s), frames
        self._now = 0.0  # the hand-over of the last chunk placed (s)
        self._elapsed = 0.0  # frames that time went on and sound has not
        self._origin = Origin(rate)
        self._pace = Pace(self.DRIFT * rate)
        self._timed = Timed(rate)
        self._joined = Joined()

    def take_writes(self) -> list[Write]:
        """What was placed since the last call, in order."""
        return self._joined.take_writes()

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
        self._origin.handed_over(self._frames, origin)

    def chunk_at(self, at: float, samples: Samples) -> None:
        """``samples`` were captured from ``at`` on."""
        if len(samples):
            self._put(self._timed.place(at, samples), self.GROUP)

    def advance(self, t: float) -> None:
        """Place what can no longer be moved by anything arriving after ``t``."""
        while self._waiting and t > self._waiting[0][0] + self.GROUP + self.LOOK_AHEAD:
            until = self._waiting[0][0] + self.GROUP
            while self._waiting and self._waiting[0][0] <= until:
                self._place_first()
            self._joined.flush()
        if self._joined.frames and t > self._joined.end / self._rate + self.GROUP:
            self._joined.flush()  # nobody speaks on

    def close(self) -> None:
        """Nothing comes any more: place what waits."""
        while self._waiting:
            self._place_first()
        self._joined.flush()

    def restart(self) -> None:
        """Take back everything so far: the channel is fed from elsewhere now."""
        self._first += len(self._waiting)
        self._waiting.clear()
        self._latest.clear()
        if self._end:
            self._joined.put(Write(0, silence(self._end)))
            self._joined.flush()
        self._end, self._lateness = 0, 0.0
        self._since = None

    def _place_first(self) -> None:
        handed_over, frames, samples = self._waiting.popleft()
        while self._latest[0][0] < self._first:
            self._latest.popleft()
        self._first += 1
        start = round(self._latest[0][1]) + frames - len(samples)
        gap = start - self._end
        if self._since is None or (gap > 0 and self._is_pause(gap, frames)):
            self._end = max(start, self._end)
            self._begin(handed_over, frames)
        else:
            samples = self._following(handed_over, frames, samples)
        self._put(Write(self._end, samples), self.LONGEST)
        self._end += len(samples)
        late = min(handed_over * self._rate - self._end, self.JITTER * self._rate)
        self._lateness = max(late, self._lateness - len(samples) * self.JITTER / self.CALM)

    def _put(self, write: Write, enough: float) -> None:
        """Hand out, with what came before it if there are ``enough`` seconds of it."""
        self._joined.put(write)
        if self._joined.frames >= enough * self._rate:
            self._joined.flush()

    def _is_pause(self, gap: int, frames: int) -> bool:
        if gap > self.JITTER * self._rate:
            return True
        slack = self.SLACK * self._rate
        if gap <= slack:
            return False
        proof, within = (self.PROOF, gap / 2) if gap > self._lateness else (self.MORE_PROOF, min(gap / 2, slack))
        latest, on_time = self._latest[0][1] + within, 0
        for seen, (handed_over, later, _) in enumerate(self._waiting, 1):
            on_time += handed_over * self._rate - later <= latest
            if later - frames >= proof * self._rate:
                return on_time > seen / 2
        return False

    def _begin(self, handed_over: float, frames: int) -> None:
        """A continuous stretch begins: only what belongs to it tells of its clock."""
        self._since = handed_over, frames
        self._now, self._elapsed = handed_over, 0.0
        self._pace = Pace(self.DRIFT * self._rate)
        self._origin = Origin(self._rate)
        self._origin.handed_over(frames, handed_over * self._rate - frames)
        for t, later, _ in self._waiting:
            self._origin.handed_over(later, t * self._rate - later)

    def _following(self, handed_over: float, frames: int, samples: Samples) -> Samples:
        """The samples, made to follow the drift of the clock."""
        # A file pushed at once takes no time, so there is none for drift.
        self._elapsed = min(self._elapsed + (handed_over - self._now) * self._rate, self.LOOK_AHEAD * self._rate)
        self._now = handed_over
        earned = min(self._elapsed, len(samples))
        self._elapsed -= earned
        assert self._since is not None
        began, first = self._since
        offset = self._origin.at(frames) + frames - self._end - len(samples)
        settled = handed_over - began >= self.SETTLED and frames - first >= self.SETTLED * self._rate
        if not settled or abs(offset) > self.NO_DRIFT * self._rate:
            offset = 0.0
        return self._pace.follow(offset, samples, earned)

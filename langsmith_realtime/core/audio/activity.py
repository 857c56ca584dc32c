"""Measures when a channel of the recording is audible, and how much each side of a conversation talks.

Pure. Times are seconds since the recording began (frame 0); positions are frames of the recording. Blocks of 5 ms
(:data:`BLOCK_S`) are audible if their level exceeds a threshold. The threshold is 12 dB above the noise of the channel,
but at least -50 and at most -35 dBFS: so digital silence, a noisy room and speech without a pause are distinguished.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.audio.writes import Write, WriteJoiner

BLOCK_S = 0.005
#: Audible blocks closer than this, in seconds, are one interval, because the level of a low voice falls in each period.
JOIN_S = 0.03
#: Pauses shorter than this, in seconds, are part of an utterance. Servers' turn detection waits at least as long.
PAUSE_S = 0.3
#: Bounds of the threshold as RMS, relative to full scale: -50 and -35 dBFS.
MIN_THRESHOLD, MAX_THRESHOLD = 10 ** (-50 / 20), 10 ** (-35 / 20)
#: Ratio of threshold and noise: 12 dB.
THRESHOLD_TO_NOISE = 10 ** (12 / 20)
#: The noise is this percentile of the levels of the latest :data:`NOISE_BLOCKS` blocks (10 s) that are not all zeros.
NOISE_PERCENTILE, NOISE_BLOCKS = 10, 2000
#: Number of new blocks after which the noise is measured again.
NOISE_INTERVAL = 200
#: Seconds for which all intervals are stored. Older ones are merged to utterances, which limits memory.
EXACT_S = 120.0
#: Seconds of audio that are measured at once, because each measurement has a fixed cost; a query measures earlier.
MEASURED_S = 1.0
#: Largest number of frames that are measured at once, because a whole file may be one write.
MAX_MEASURED_FRAMES = 1 << 18

_FULL_SCALE = 32768.0**2


class Activity:
    """When one channel is audible, as sorted intervals. Intervals less than 30 ms (:data:`JOIN_S`) apart are joined.

    Args:
        rate: rate of the recording in Hz.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._block = max(1, round(BLOCK_S * rate))
        # Intervals, as positions
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._merged = 0  # how many of them, from the first, are utterances
        self._levels = np.zeros(NOISE_BLOCKS, dtype=np.float32)  # ring buffer: mean squares of the latest blocks
        self._blocks = self._noise_measured_at = 0  # blocks so far, and those when noise was measured last
        self._threshold = MIN_THRESHOLD**2
        self._unmeasured = WriteJoiner()

    def write(self, start: int, samples: Samples) -> None:
        """Replace ``len(samples)`` frames of audio, from position ``start`` on, by ``samples`` (PCM16 mono)."""
        if not len(samples):
            return
        if not samples.strides[0] and not samples[0]:  # made by `silence`, of any length
            self._measure_all()
            self._replace(start, start + len(samples), [])
            return
        self._unmeasured.add(Write(start, samples))
        if self._unmeasured.pending_frames >= MEASURED_S * self._rate:
            self._unmeasured.flush()
        self._measure()

    # Queries

    def intervals(self, since: float = 0.0, until: float = float("inf"), *, pause: float = 0.0) -> list[list[float]]:
        """Return the audible intervals that overlap a time span, not clipped to it.

        Args:
            since: begin of the time span in seconds.
            until: end of the time span in seconds.
            pause: intervals separated by less than this, in seconds, are joined.

        Returns:
            ``[begin, end]`` of each interval in seconds, in order.
        """
        self._measure_all()
        first = bisect_right(self._ends, since * self._rate)
        found: list[list[float]] = []
        for begin, end in zip(self._begins[first:], self._ends[first:], strict=True):
            if begin >= until * self._rate:
                break
            if found and begin / self._rate - found[-1][1] < pause:
                found[-1][1] = end / self._rate
            else:
                found.append([begin / self._rate, end / self._rate])
        return found

    def last_before(self, t: float) -> tuple[float, float] | None:
        """Return begin and end, in seconds, of the last audible interval that begins before ``t``; None if none does.

        The interval may end after ``t``.
        """
        self._measure_all()
        index = bisect_left(self._begins, t * self._rate) - 1
        return None if index < 0 else (self._begins[index] / self._rate, self._ends[index] / self._rate)

    def audible_from(self, t: float) -> float | None:
        """Return the first time, at or after ``t``, at which the channel is audible; None if there is none."""
        self._measure_all()
        index = bisect_right(self._ends, t * self._rate)
        return None if index == len(self._ends) else max(t, self._begins[index] / self._rate)

    # Measuring

    def _measure_all(self) -> None:
        self._unmeasured.flush()
        self._measure()

    def _measure(self) -> None:
        """Measure the writes to which no later write will be joined."""
        for write in self._unmeasured.take_writes():
            start, samples = write.start, write.samples
            intervals: list[tuple[int, int]] = []
            for begin in range(0, len(samples), MAX_MEASURED_FRAMES):
                intervals += self._audible_intervals(start + begin, samples[begin : begin + MAX_MEASURED_FRAMES])
            self._replace(start, start + len(samples), intervals)

    def _audible_intervals(self, start: int, samples: Samples) -> list[tuple[int, int]]:
        """Return the audible intervals of samples at a position, as positions."""
        block, frames = self._block, len(samples)
        blocks = max(1, (frames + block // 2) // block)  # less than half a block at the end is too short for a level
        whole = min(blocks, frames // block)
        values = samples.astype(np.float32)
        squares = values[: whole * block].reshape(whole, block)
        levels = np.einsum("ij,ij->i", squares, squares) / (block * _FULL_SCALE)
        if whole < blocks:
            rest = values[whole * block :]
            levels = np.append(levels, np.dot(rest, rest) / (len(rest) * _FULL_SCALE))
        self._update_threshold(levels)
        loud = levels > self._threshold
        if loud.all():
            return [(start, start + frames)]
        changes = np.flatnonzero(loud[1:] != loud[:-1]) + 1
        edges = [0, *(changes * block).tolist(), frames]
        first = 0 if loud[0] else 1
        # Python's integers: an application may give a time whose position exceeds numpy's.
        return [(start + a, start + b) for a, b in zip(edges[first::2], edges[first + 1 :: 2], strict=False)]

    def _update_threshold(self, levels: npt.NDArray[np.float32]) -> None:
        levels = levels[levels > 0]  # zeros of a muted microphone say nothing about the noise of the room
        for begin in range(0, len(levels), NOISE_BLOCKS):
            some = levels[begin : begin + NOISE_BLOCKS]
            place = self._blocks % NOISE_BLOCKS
            room = min(len(some), NOISE_BLOCKS - place)
            self._levels[place : place + room] = some[:room]
            self._levels[: len(some) - room] = some[room:]
            self._blocks += len(some)
        new = self._blocks - self._noise_measured_at
        if not new or (new < NOISE_INTERVAL < self._noise_measured_at):
            return
        self._noise_measured_at = self._blocks
        known = min(self._blocks, NOISE_BLOCKS)
        place = known * NOISE_PERCENTILE // 100
        noise = float(np.partition(self._levels[:known], place)[place])
        self._threshold = min(max(MIN_THRESHOLD**2, noise * THRESHOLD_TO_NOISE**2), MAX_THRESHOLD**2)

    def _replace(self, start: int, end: int, intervals: list[tuple[int, int]]) -> None:
        """Replace the intervals between two positions by others; join those less than :data:`JOIN_S` apart."""
        join = JOIN_S * self._rate
        first, last = bisect_left(self._ends, start - join), bisect_right(self._begins, end + join)
        known = list(zip(self._begins[first:last], self._ends[first:last], strict=True))
        before = [(a, min(b, start)) for a, b in known if a < start]
        after = [(max(a, end), b) for a, b in known if b > end]
        merged = _merged([*before, *intervals, *after], join)
        self._begins[first:last] = [a for a, _ in merged]
        self._ends[first:last] = [b for _, b in merged]
        self._merged = min(self._merged, first)
        self._merge_old()

    def _merge_old(self) -> None:
        """Once 500 intervals of any age are not merged, merge old ones less than :data:`PAUSE_S` apart.

        Old ones end more than :data:`EXACT_S` before the end of the last interval.
        """
        if len(self._ends) < self._merged + 500:
            return
        old = bisect_left(self._ends, self._ends[-1] - EXACT_S * self._rate)
        first = max(self._merged - 1, 0)
        merged = _merged(list(zip(self._begins[first:old], self._ends[first:old], strict=True)), PAUSE_S * self._rate)
        self._begins[first:old] = [a for a, _ in merged]
        self._ends[first:old] = [b for _, b in merged]
        self._merged = first + len(merged)


def _merged(intervals: list[tuple[int, int]], min_gap: float) -> list[tuple[int, int]]:
    """Return sorted intervals, joined where the gap between two is less than ``min_gap`` frames."""
    merged: list[tuple[int, int]] = []
    for begin, end in intervals:
        if merged and begin - merged[-1][1] < min_gap:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


@dataclass(frozen=True, slots=True)
class Talk:
    """How much each side of a conversation talked, in seconds.

    Attributes:
        user_s: time in which the user talked, overlap included.
        agent_s: time in which the agent talked, overlap included.
        overlap_s: time in which both talked.
        silence_s: time in which nobody talked.
        longest_silence_s: longest single silence.
    """

    user_s: float
    agent_s: float
    overlap_s: float
    silence_s: float
    longest_silence_s: float


def talk(user: Activity, agent: Activity, duration: float) -> Talk:
    """Return how much each side talked in the first ``duration`` seconds; its pauses below 0.3 s count as its talk."""
    sides = [user.intervals(until=duration, pause=PAUSE_S), agent.intervals(until=duration, pause=PAUSE_S)]
    talked = [sum(min(end, duration) - begin for begin, end in side) for side in sides]
    silence = longest = reached = 0.0
    for begin, end in sorted([*sides[0], *sides[1], [duration, duration]]):
        silence += max(0.0, begin - reached)
        longest = max(longest, begin - reached)
        reached = max(reached, min(end, duration))
    return Talk(talked[0], talked[1], sum(talked) - (max(0.0, duration) - silence), silence, longest)

"""When somebody is audible on a channel of the recording, and who talks how much.

Pure. Times are seconds since the recording began (frame 0), positions frames. What is louder than the
channel's noise is audible: blocks of :data:`BLOCK_S` seconds are compared with a threshold that follows
the noise, between :data:`LOWEST` and :data:`HIGHEST`, so that digital silence, a noisy room and speech
without a pause are all told apart.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.audio.writes import Joined, Write

BLOCK_S = 0.005
#: What is closer than this, in seconds, is one sound: the periods of a low voice.
JOIN_S = 0.03
#: A shorter pause, in seconds, belongs to what is said. The silence a server's turn detection waits for is no shorter.
PAUSE_S = 0.3
#: The threshold's bounds as RMS, a part of full scale: -50 and -35 dBFS.
LOWEST, HIGHEST = 10 ** (-50 / 20), 10 ** (-35 / 20)
#: How far the threshold lies above the noise, as a factor: 12 dB.
ABOVE_NOISE = 10 ** (12 / 20)
#: The noise is this percentile of the levels of the latest :data:`NOISE_BLOCKS` blocks (10 s) that are not all zeros.
NOISE_PERCENTILE, NOISE_BLOCKS = 10, 2000
#: How many new blocks make it worth measuring the noise again.
NOISE_AGE = 200
#: Seconds for which pauses are kept apart; what is older is kept as utterances, so that memory grows with those.
EXACT_S = 120.0
#: Seconds of sound that are measured together, unless somebody asks before: measuring costs by the call.
TOGETHER_S = 1.0
#: Frames that are measured at once: a file may be written in one piece.
PIECE = 1 << 18

_FULL_SCALE = 32768.0**2


class Activity:
    """Where one channel is audible, as sorted intervals that do not touch. ``rate`` in Hz."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._block = max(1, round(BLOCK_S * rate))
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._merged = 0  # how many of them, from the first, were merged to utterances
        self._levels = np.zeros(NOISE_BLOCKS, dtype=np.float32)  # mean squares of the latest blocks, in turn
        self._heard = self._measured = 0  # blocks
        self._threshold = LOWEST**2
        self._unmeasured = Joined()

    def write(self, start: int, samples: Samples) -> None:
        """``samples`` (PCM16 mono) are at frame ``start`` from now on, whatever was there before."""
        if not len(samples):
            return
        if not samples.strides[0] and not samples[0]:  # zeros of any length, in the memory of one
            self._measure_all()
            self._replace(start, start + len(samples), [])
            return
        self._unmeasured.put(Write(start, samples))
        if self._unmeasured.frames >= TOGETHER_S * self._rate:
            self._unmeasured.flush()
        self._measure()

    # What is asked

    def intervals(self, since: float = 0.0, until: float = float("inf"), *, pause: float = 0.0) -> list[list[float]]:
        """``[from, to]`` of every sound that reaches into the time between; pauses below ``pause`` are bridged."""
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
        """The last sound that began before ``t``; it may go on beyond."""
        self._measure_all()
        index = bisect_left(self._begins, t * self._rate) - 1
        return None if index < 0 else (self._begins[index] / self._rate, self._ends[index] / self._rate)

    def audible_from(self, t: float) -> float | None:
        """The first moment at ``t`` or after it at which something is audible."""
        self._measure_all()
        index = bisect_right(self._ends, t * self._rate)
        return None if index == len(self._ends) else max(t, self._begins[index] / self._rate)

    # Details

    def _measure_all(self) -> None:
        self._unmeasured.flush()
        self._measure()

    def _measure(self) -> None:
        """Know of what was written, but for what waits for what follows it."""
        for write in self._unmeasured.take_writes():
            start, samples = write.start, write.samples
            sounds: list[tuple[int, int]] = []
            for begin in range(0, len(samples), PIECE):
                sounds += self._sounds(start + begin, samples[begin : begin + PIECE])
            self._replace(start, start + len(samples), sounds)

    def _sounds(self, start: int, samples: Samples) -> list[tuple[int, int]]:
        """What of the samples is audible, from frame to frame."""
        block, frames = self._block, len(samples)
        blocks = max(1, (frames + block // 2) // block)  # what is left over is too short to have a level
        whole = min(blocks, frames // block)
        wide = samples.astype(np.float32)
        squares = wide[: whole * block].reshape(whole, block)
        levels = np.einsum("ij,ij->i", squares, squares) / (block * _FULL_SCALE)
        if whole < blocks:
            rest = wide[whole * block :]
            levels = np.append(levels, np.dot(rest, rest) / (len(rest) * _FULL_SCALE))
        self._hear_noise(levels)
        loud = levels > self._threshold
        if loud.all():
            return [(start, start + frames)]
        turns = np.flatnonzero(loud[1:] != loud[:-1]) + 1
        places = [0, *(turns * block).tolist(), frames]
        first = 0 if loud[0] else 1
        # Added here, because an application may place sound further away than numpy counts.
        return [(start + a, start + b) for a, b in zip(places[first::2], places[first + 1 :: 2], strict=False)]

    def _hear_noise(self, levels: npt.NDArray[np.float32]) -> None:
        levels = levels[levels > 0]  # a muted microphone tells nothing of the room
        for begin in range(0, len(levels), NOISE_BLOCKS):
            some = levels[begin : begin + NOISE_BLOCKS]
            place = self._heard % NOISE_BLOCKS
            room = min(len(some), NOISE_BLOCKS - place)
            self._levels[place : place + room] = some[:room]
            self._levels[: len(some) - room] = some[room:]
            self._heard += len(some)
        fresh = self._heard - self._measured
        if not fresh or (fresh < NOISE_AGE < self._measured):
            return
        self._measured = self._heard
        known = min(self._heard, NOISE_BLOCKS)
        place = known * NOISE_PERCENTILE // 100
        noise = float(np.partition(self._levels[:known], place)[place])
        self._threshold = min(max(LOWEST**2, noise * ABOVE_NOISE**2), HIGHEST**2)

    def _replace(self, start: int, end: int, sounds: list[tuple[int, int]]) -> None:
        join = JOIN_S * self._rate
        first, last = bisect_left(self._ends, start - join), bisect_right(self._begins, end + join)
        known = list(zip(self._begins[first:last], self._ends[first:last], strict=True))
        before = [(a, min(b, start)) for a, b in known if a < start]
        after = [(max(a, end), b) for a, b in known if b > end]
        merged = _merged([*before, *sounds, *after], join)
        self._begins[first:last] = [a for a, _ in merged]
        self._ends[first:last] = [b for _, b in merged]
        self._merged = min(self._merged, first)
        self._forget_pauses()

    def _forget_pauses(self) -> None:
        """Merge what is older than :data:`EXACT_S` to utterances, a few hundred sounds at a time."""
        if len(self._ends) < self._merged + 500:
            return
        old = bisect_left(self._ends, self._ends[-1] - EXACT_S * self._rate)
        first = max(self._merged - 1, 0)
        merged = _merged(list(zip(self._begins[first:old], self._ends[first:old], strict=True)), PAUSE_S * self._rate)
        self._begins[first:old] = [a for a, _ in merged]
        self._ends[first:old] = [b for _, b in merged]
        self._merged = first + len(merged)


def _merged(sounds: list[tuple[int, int]], closer_than: float) -> list[tuple[int, int]]:
    """Sorted intervals, those with less than ``closer_than`` between them made one."""
    merged: list[tuple[int, int]] = []
    for begin, end in sounds:
        if merged and begin - merged[-1][1] < closer_than:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


@dataclass(frozen=True, slots=True)
class Talk:
    """Who talked how much, in seconds; ``overlap_s`` is part of both sides' time."""

    user_s: float
    agent_s: float
    overlap_s: float
    silence_s: float
    longest_silence_s: float


def talk(user: Activity, agent: Activity, duration: float) -> Talk:
    """How a conversation of ``duration`` seconds divides; pauses shorter than :data:`PAUSE_S` are talk."""
    sides = [user.intervals(until=duration, pause=PAUSE_S), agent.intervals(until=duration, pause=PAUSE_S)]
    talked = [sum(min(end, duration) - begin for begin, end in side) for side in sides]
    silence = longest = reached = 0.0
    for begin, end in sorted([*sides[0], *sides[1], [duration, duration]]):
        silence += max(0.0, begin - reached)
        longest = max(longest, begin - reached)
        reached = max(reached, min(end, duration))
    return Talk(talked[0], talked[1], sum(talked) - (max(0.0, duration) - silence), silence, longest)

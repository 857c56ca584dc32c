"""Microphone: chunks are placed when they were captured, by their arrival or by given times."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.core.audio.rates import TimedPlacement
from langsmith_realtime.core.audio.user.microphone import Microphone
from langsmith_realtime.core.audio.writes import Write
from tests.support.audio.sounds import RATE, laid_out, near, numbered, properties, stretches, tone

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.newest

CHUNK = 480  # 20 ms
FRAME = 1 / RATE


class Speaker:
    """Speaks into a microphone in chunks. ``delay`` gives the seconds from a chunk's end until it arrives."""

    def __init__(self, delay: Callable[[float], float] = lambda _end: 0.0) -> None:
        self.microphone = Microphone(RATE)
        self._delay = delay
        self._now = 0.0
        self._spoken = 0
        self.chunks: list[tuple[float, int]] = []  # of each: its begin in seconds, and the frames spoken before it
        self._writes: list[Write] = []

    def speak(self, at: float, seconds: float, frames: int = CHUNK) -> float:
        """Speak without a pause from ``at`` on, in chunks of ``frames``. Return the end in seconds."""
        for index in range(round(seconds * RATE) // frames):
            begin = at + index * frames * FRAME
            end = begin + frames * FRAME
            self._now = max(self._now, end + self._delay(end))
            self.chunks.append((begin, self._spoken))
            self.microphone.add(self._now, numbered(frames, self._spoken + 1))
            self._spoken += frames
        return at + seconds

    def all_writes(self) -> list[Write]:
        """Return all writes, after closing the microphone."""
        self.microphone.close()
        self._writes += self.microphone.take_writes()
        return self._writes

    def errors_ms(self) -> list[float]:
        """Return by how many ms each chunk is placed later than it was spoken."""
        positions = np.concatenate([np.arange(w.start, w.start + len(w.samples)) for w in self.all_writes()]).tolist()
        assert len(positions) == self._spoken, "every frame is placed once"
        return [(positions[frame] * FRAME - begin) * 1000 for begin, frame in self.chunks]

    def gaps(self) -> list[float]:
        """Return the seconds between writes that are not adjacent; negative where they overlap."""
        writes = self.all_writes()
        between = [b.start - a.start - len(a.samples) for a, b in pairwise(writes)]
        return [gap * FRAME for gap in between if gap]


def placed_audio(microphone: Microphone) -> list[tuple[int, int]]:
    """Return start and length in frames of all audio without a gap."""
    joined: list[tuple[int, int]] = []
    for write in microphone.take_writes():
        if joined and sum(joined[-1]) == write.start:
            joined[-1] = (joined[-1][0], joined[-1][1] + len(write.samples))
        else:
            joined.append((write.start, len(write.samples)))
    return joined


def test_chunks_that_arrive_without_delay_are_placed_when_they_were_spoken() -> None:
    speaker = Speaker()
    speaker.speak(0.5, 5)
    assert speaker.gaps() == []
    assert max(map(abs, speaker.errors_ms())) < 0.1


def test_a_tone_is_placed_when_it_was_spoken_with_any_chunk_size() -> None:
    for frames in (1, 77, 479, 2400, 24_000):
        microphone = Microphone(RATE)
        audio = np.concatenate((np.zeros(36_000, np.int16), tone(0.1), np.zeros(12_000, np.int16)))
        for begin in range(0, len(audio), frames):
            chunk = audio[begin : begin + frames]
            microphone.add(0.25 + (begin + len(chunk)) * FRAME, chunk)
        microphone.close()
        [(start, end)] = stretches(laid_out(microphone.take_writes()))
        assert (start, end) == (near(1.75, 0.001), near(1.85, 0.001))


@properties
@given(seed=st.integers(0, 10_000), frames=st.sampled_from([240, 480, 960, 2400]), pause=st.floats(0.3, 3))
def test_occasional_delays_of_up_to_200_ms_cause_no_gap_and_move_no_audio(seed: int, frames: int, pause: float) -> None:
    dice = random.Random(seed)
    speaker = Speaker(lambda _end: dice.uniform(0, 0.2) if dice.random() < 0.2 else dice.uniform(0, 0.002))
    end = speaker.speak(1.0, 3, frames)
    speaker.speak(end + pause, 3, frames)
    [gap] = speaker.gaps()
    assert gap == near(pause, 0.04)
    assert max(map(abs, speaker.errors_ms())) < 40


@properties
@given(seed=st.integers(0, 10_000), frames=st.sampled_from([480, 960, 2400]))
def test_delays_of_up_to_200_ms_of_every_chunk_cause_no_gap(seed: int, frames: int) -> None:
    dice = random.Random(seed)
    speaker = Speaker(lambda _end: dice.uniform(0, 0.2))
    speaker.speak(0.3, 8, frames)
    assert speaker.gaps() == []
    # The chunk with the least delay dates all others; its own delay remains as an error.
    assert -0.1 < min(speaker.errors_ms()) <= max(speaker.errors_ms()) < 120


@properties
@given(before=st.floats(0, 3), stall=st.floats(0.05, 30), after=st.floats(0.1, 3))
def test_a_stall_that_ends_in_a_burst_causes_no_gap(before: float, stall: float, after: float) -> None:
    begin, end = 0.2 + before, 0.2 + before + stall
    speaker = Speaker(lambda chunk_end: max(0.0, end - chunk_end) if chunk_end >= begin else 0.0)
    speaker.speak(0.2, before + stall + after, 960)
    assert speaker.gaps() == []
    assert max(map(abs, speaker.errors_ms())) < 40.1  # one chunk, where the stream ends within the burst


def test_a_stall_causes_no_gap_although_server_events_advance_the_time() -> None:
    speaker = Speaker(lambda end: max(0.0, 9.0 - end) if end > 2 else 0.0)
    speaker.speak(0.0, 2)
    for tenths in range(20, 90):
        speaker.microphone.advance(tenths / 10)  # as server events do
    speaker.speak(2.0, 10)
    assert speaker.gaps() == []
    assert max(map(abs, speaker.errors_ms())) < 0.1


@properties
@given(pauses=st.lists(st.floats(0.21, 40), min_size=1, max_size=6), talk=st.floats(0.1, 2))
def test_pauses_of_push_to_talk_are_kept(pauses: list[float], talk: float) -> None:
    speaker = Speaker()
    at = speaker.speak(0.5, talk)
    for pause in pauses:
        at = speaker.speak(at + pause, talk)
    assert len(speaker.gaps()) == len(pauses)
    assert max(map(abs, speaker.errors_ms())) < 0.1


def test_a_short_pause_in_a_stream_without_delays_is_kept() -> None:
    speaker = Speaker()
    end = speaker.speak(0.0, 2)
    speaker.speak(end + 0.06, 2)  # as if a few chunks were not sent
    assert speaker.gaps() == [near(0.06, 0.001)]


def test_a_short_pause_shortly_before_the_end_is_taken_for_a_delay() -> None:
    speaker = Speaker()
    end = speaker.speak(0.0, 2)
    speaker.speak(end + 0.06, 0.1)
    assert speaker.gaps() == []
    assert max(map(abs, speaker.errors_ms())) == near(60, 0.1)


@properties
@given(seed=st.integers(0, 1000))
def test_lasting_delays_after_an_equal_delay_cause_no_gap(seed: int) -> None:
    dice = random.Random(seed)
    speaker = Speaker(lambda end: 0.15 if 1 < end < 1.3 else dice.uniform(0.1, 0.17) if 2 < end < 5 else 0.0)
    speaker.speak(0.0, 8)
    assert speaker.gaps() == []


@properties
@given(seed=st.integers(0, 10_000), dropout=st.floats(0.1, 0.15), calm=st.integers(0, 5))
def test_a_dropout_after_a_few_delays_is_kept_as_a_pause(seed: int, dropout: float, calm: int) -> None:
    dice = random.Random(seed)
    delays = {dice.uniform(2, 4.7): dice.uniform(0.1, 0.2) for _ in range(3)}
    speaker = Speaker(
        lambda end: max((by for at, by in delays.items() if at <= end < at + 0.02), default=dice.uniform(0, 0.004))
    )
    end = speaker.speak(0.0, 5 + calm)
    speaker.speak(end + dropout, 4)
    assert speaker.gaps() == [near(dropout, 0.01)]
    assert max(map(abs, speaker.errors_ms())) < 10


def test_a_file_sent_at_once_is_placed_after_the_audio_before_it() -> None:
    microphone = Microphone(RATE)
    microphone.add(0.1, numbered(CHUNK))
    for _ in range(500):
        microphone.add(3.0, numbered(CHUNK))
    microphone.close()
    assert placed_audio(microphone) == [(round(0.08 * RATE), 501 * CHUNK)]


def test_a_file_sent_first_is_placed_at_the_start_of_the_recording() -> None:
    microphone = Microphone(RATE)
    for _ in range(100):
        microphone.add(0.5, numbered(CHUNK))
    microphone.add(10.0, numbered(CHUNK))
    microphone.close()
    assert placed_audio(microphone) == [(0, 100 * CHUNK), (round(9.98 * RATE), CHUNK)]


def test_audio_is_not_pending_longer_than_the_look_ahead() -> None:
    speaker = Speaker()
    longest = 0
    written = 0
    for second in range(600):
        speaker.speak(second, 1, 4800)
        speaker.microphone.advance(second + 1)
        written += sum(len(write.samples) for write in speaker.microphone.take_writes())
        longest = max(longest, (second + 1) * RATE - written)
    assert longest <= (Microphone.LOOK_AHEAD_S + Microphone.GROUP_S + 0.2) * RATE


def test_an_empty_chunk_causes_no_write() -> None:
    microphone = Microphone(RATE)
    microphone.add(1.0, numbered(0))
    microphone.add_timed(1.0, numbered(0))
    microphone.close()
    assert microphone.take_writes() == []


def test_erase_silences_all_audio_so_far() -> None:
    speaker = Speaker()
    speaker.speak(0.0, 5)
    speaker.microphone.erase()
    speaker.microphone.add(2.0, numbered(RATE))
    channel = laid_out(speaker.all_writes())
    assert np.array_equal(channel[RATE : 2 * RATE], numbered(RATE))
    assert not channel[:RATE].any()
    assert not channel[2 * RATE :].any()


def test_erase_before_the_first_write_drops_the_pending_chunks() -> None:
    microphone = Microphone(RATE)
    microphone.add(1.0, numbered(CHUNK))
    microphone.erase()
    microphone.close()
    assert microphone.take_writes() == []


# Clocks that drift


def delays(kind: str, ends: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """Return the seconds from the end of each chunk until it arrives."""
    dice = np.random.default_rng(seed)
    if kind == "independent":
        return dice.uniform(0, 0.2, len(ends))
    if kind == "now and then":
        return dice.uniform(0, np.where(dice.random(len(ends)) < 0.2, 0.2, 0.002))
    if kind == "bursts":
        bursts = np.cumsum(dice.uniform(0.02, 0.2, len(ends) * 2))
        return np.asarray(bursts[np.searchsorted(bursts, ends)] - ends)
    values = dice.uniform(0, 0.01, len(ends))
    for minute in np.arange(0.3, ends[-1] / 60):  # stalls
        until = minute * 60 + dice.uniform(0.1, 10)
        stalled = (ends > minute * 60) & (ends < until)
        values[stalled] = until - ends[stalled]
    return values


#: Rate in Hz that makes a simulated hour fast; a frame is a millisecond.
COARSE = 1000


def an_hour(kind: str, ppm: float, *, seconds: int = 3600, seed: int = 1, frames: int = 100) -> npt.NDArray[np.float64]:
    """Return by how many ms the end of each chunk of a drifting microphone is placed later than it was spoken."""
    ends = np.arange(1, seconds * COARSE // frames + 1) * frames / COARSE / (1 + ppm * 1e-6)
    arrivals = 1.0 + np.maximum.accumulate(ends + delays(kind, ends, seed))
    microphone, writes = Microphone(COARSE), []
    chunks = [np.full(frames, level, np.int16) for level in (1000, 2000)]
    for index, t in enumerate(arrivals.tolist()):
        microphone.add(t, chunks[index % 2])
        writes += microphone.take_writes()
    microphone.close()
    writes += microphone.take_writes()
    assert all(a.start + len(a.samples) == b.start for a, b in pairwise(writes)), "there is no gap"
    channel = laid_out(writes)[writes[0].start :]
    edges = np.flatnonzero(np.diff(channel > 1500)) + 1
    assert len(edges) == len(ends) - 1, "every chunk is placed"
    return writes[0].start + edges - (1.0 + ends[:-1]) * COARSE


@pytest.mark.nocover
@pytest.mark.parametrize(
    ("kind", "ppm"), [("independent", 300), ("independent", -100), ("bursts", -300), ("stalls", 300), ("stalls", -300)]
)
def test_an_hour_of_a_drifting_microphone_is_placed_within_20_ms(kind: str, ppm: float) -> None:
    assert np.max(np.abs(an_hour(kind, ppm))) < 20


@pytest.mark.parametrize("ppm", [-100, 0, 100])
def test_with_independent_delays_of_short_chunks_the_error_falls_over_time(ppm: float) -> None:
    # Chunks do not overtake each other, so only one in 2,700, which is one a minute, arrives within 20 ms.
    errors = np.abs(an_hour("independent", ppm, seconds=300, seed=5, frames=20))
    a_minute = 60 * COARSE // 20
    assert np.max(errors) < 90
    assert np.max(errors[a_minute:]) < 40
    assert np.max(errors[3 * a_minute :]) < 28
    assert np.median(errors[3 * a_minute :]) < 20


@pytest.mark.parametrize("kind", ["now and then", "bursts", "stalls"])
def test_without_drift_no_frame_is_added_or_removed(kind: str) -> None:
    errors = an_hour(kind, 0, seconds=1200)
    assert np.ptp(errors) < 1e-6
    assert abs(errors[0]) < 10


@properties
@given(
    seed=st.integers(0, 1000),
    kind=st.sampled_from(["independent", "now and then", "bursts", "stalls"]),
    ppm=st.floats(-300, 300),
)
def test_no_jitter_and_no_drift_cause_a_gap(seed: int, kind: str, ppm: float) -> None:
    assert np.max(np.abs(an_hour(kind, ppm, seconds=40, seed=seed))) < 100


def test_a_file_sent_faster_than_real_time_is_not_corrected_for_drift() -> None:
    for speed in (1.02, 1.3, 1e9):
        microphone, audio = Microphone(RATE), numbered(60 * RATE)
        for begin in range(0, len(audio), 4800):
            microphone.add(1.0 + begin / RATE / speed, audio[begin : begin + 4800])
        microphone.close()
        channel = laid_out(microphone.take_writes())
        assert np.array_equal(channel[-len(audio) :], audio)


# Chunks with times


@properties
@given(seed=st.integers(0, 1000))
def test_jitter_of_given_times_causes_no_gap(seed: int) -> None:
    dice, timed = random.Random(seed), TimedPlacement(RATE)
    writes = [timed.place(2 + k * 0.02 + dice.uniform(-0.0009, 0.0009), numbered(CHUNK)) for k in range(200)]
    assert all(b.start - a.start == CHUNK for a, b in pairwise(writes))
    assert writes[0].start == pytest.approx(2 * RATE, abs=0.001 * RATE)


def test_a_chunk_with_a_time_is_placed_there_unchanged() -> None:
    microphone = Microphone(RATE)
    microphone.add_timed(1.0, tone(0.5))
    microphone.add_timed(1.506, tone(0.5))
    microphone.add_timed(0.25, tone(0.1))
    writes = microphone.take_writes()
    assert [write.start for write in writes] == [24_000, 36_144, 6_000]
    assert stretches(laid_out(writes), gap=0.005) == [(0.25, 0.35), (1.0, 1.5), (1.506, 2.006)]


@pytest.mark.parametrize("ppm", [-300, 300])
def test_audio_follows_drifting_times_without_gaps(ppm: float) -> None:
    dice, timed = random.Random(ppm), TimedPlacement(RATE)
    ats = [2 + k * 0.02 * (1 + ppm * 1e-6) for k in range(15_000)]  # five minutes
    writes = [timed.place(at + dice.uniform(-0.0009, 0.0009), numbered(CHUNK)) for at in ats]
    assert all(a.start + len(a.samples) == b.start for a, b in pairwise(writes))
    assert max(abs(write.start * FRAME - at) for write, at in zip(writes, ats, strict=True)) < 0.004
    assert {len(write.samples) for write in writes} == {CHUNK, CHUNK + (1 if ppm > 0 else -1)}


def test_adjacent_chunks_with_times_are_joined_into_writes_of_100_ms() -> None:
    microphone = Microphone(RATE)
    for index in range(12):
        microphone.add_timed(1 + index * 0.02, numbered(CHUNK))
    writes = microphone.take_writes()
    assert [len(write.samples) for write in writes] == [5 * CHUNK] * 2
    microphone.add_timed(3.0, numbered(CHUNK))
    microphone.close()
    assert placed_audio(microphone) == [(RATE + 10 * CHUNK, 2 * CHUNK), (3 * RATE, CHUNK)]


def test_the_last_chunk_with_a_time_is_written_100_ms_after_its_end() -> None:
    microphone = Microphone(RATE)
    microphone.add_timed(1.0, numbered(CHUNK))
    microphone.advance(1.1)
    assert microphone.take_writes() == []
    microphone.advance(1.13)
    assert placed_audio(microphone) == [(RATE, CHUNK)]


def test_chunks_without_times_are_joined_into_writes_of_100_ms() -> None:
    speaker = Speaker()
    speaker.speak(0.0, 10)
    lengths = [len(write.samples) for write in speaker.all_writes()]
    assert sum(lengths) == 10 * RATE
    assert len(lengths) <= 101

"""Activity: when a channel is audible, in silence and in noise, without pauses, after overwrites, and over hours."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.core.audio.activity import BLOCK_S, JOIN_S, PAUSE_S, Activity, Talk, talk
from langsmith_realtime.core.audio.decoding import NO_SAMPLES, Samples
from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.audio.writes import silence
from tests.support.audio.sounds import RATE, near, properties, tone, wire

pytestmark = pytest.mark.newest


def noise(seconds: float, dbfs: float, seed: int = 1) -> Samples:
    level = 32768 * 10 ** (dbfs / 20)
    return np.asarray(np.random.default_rng(seed).normal(0, level, round(seconds * RATE)), dtype=np.int16)


def quiet(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), dtype=np.int16)


def measured(audio: Samples, *, chunk: float = 0.02, start: float = 0.0) -> Activity:
    """Return the activity of a channel to which the audio is written in chunks of ``chunk`` seconds."""
    activity, frames = Activity(RATE), round(chunk * RATE)
    for begin in range(0, len(audio), frames):
        activity.write(round(start * RATE) + begin, audio[begin : begin + frames])
    return activity


def near_intervals(activity: Activity, *, pause: float = 0.1) -> list[tuple[object, object]]:
    return [(near(begin, 0.006), near(end, 0.006)) for begin, end in activity.intervals(pause=pause)]


def test_samples_are_released_when_the_next_write_is_not_adjacent() -> None:
    activity, references = Activity(RATE), []
    for second in range(10):
        samples = tone(0.2)
        references.append(weakref.ref(samples))
        activity.write(second * RATE, samples)
        del samples
    assert [reference() is not None for reference in references] == [False] * 9 + [True]
    assert len(activity.intervals()) == 10


SPEECH = np.r_[quiet(1.0), tone(0.5), quiet(0.6), tone(0.7, hz=90), quiet(1.2)]
SPEECH_INTERVALS = [[1.0, 1.5], [2.1, 2.8]]


def speech_in_noise(dbfs: float) -> Samples:
    return np.asarray(np.clip(SPEECH.astype(np.int32) + noise(4.0, dbfs), -32768, 32767), dtype=np.int16)


@pytest.mark.parametrize("dbfs", [-200, -70, -60, -50, -45, -38])
@pytest.mark.parametrize("chunk", [0.01, 0.02, 0.1, 4.0])
def test_speech_is_distinguished_from_silence_and_room_noise(dbfs: float, chunk: float) -> None:
    assert near_intervals(measured(speech_in_noise(dbfs), chunk=chunk)) == [
        (begin, end) for begin, end in SPEECH_INTERVALS
    ]


def test_speech_without_a_pause_is_not_mistaken_for_noise() -> None:
    assert near_intervals(measured(tone(30.0))) == [(0.0, 30.0)]


def test_zeros_of_a_muted_microphone_do_not_lower_the_noise_estimate() -> None:
    sound = np.r_[noise(2.0, -45), quiet(10.0), noise(2.0, -45), tone(1.0), quiet(3.0), noise(1.0, -45)]
    assert near_intervals(measured(np.asarray(sound, dtype=np.int16))) == [(14.0, 15.0)]


def test_noise_that_starts_counts_as_audible_until_the_threshold_follows() -> None:
    activity = measured(np.asarray(np.r_[noise(10.0, -75), noise(60.0, -48)], dtype=np.int16))
    [(begin, end)] = [(begin, end) for begin, end in activity.intervals(pause=PAUSE_S)]
    assert begin == near(10.0, 0.02)
    assert end < 23


def test_a_later_write_replaces_an_earlier_one_also_with_silence() -> None:
    activity = measured(tone(5.0))
    activity.write(1 * RATE, silence(RATE))
    activity.write(round(3.5 * RATE), quiet(0.5))
    assert near_intervals(activity) == [(0.0, 1.0), (2.0, 3.5), (4.0, 5.0)]
    activity.write(round(1.25 * RATE), tone(0.5))
    assert near_intervals(activity) == [(0.0, 1.0), (1.25, 1.75), (2.0, 3.5), (4.0, 5.0)]
    activity.write(0, silence(RATE * 3600))
    activity.write(0, NO_SAMPLES)
    assert activity.intervals() == []


def test_queries_return_the_intervals_around_a_time() -> None:
    activity = measured(SPEECH)
    assert activity.last_before(0.9) is None
    assert activity.last_before(1.2) == (1.0, 1.5)
    assert activity.last_before(2.0) == (1.0, 1.5)
    assert activity.last_before(9.0) == (2.1, near(2.8, 0.006))
    assert activity.audible_from(0.0) == 1.0
    assert activity.audible_from(1.2) == 1.2
    assert activity.audible_from(1.5) == near(2.1, 0.006)
    assert activity.audible_from(2.9) is None
    assert activity.intervals(1.6, 2.0) == []
    assert activity.intervals(1.2, 2.2, pause=0.7) == [[1.0, near(2.8, 0.006)]]
    assert len(activity.intervals(1.2, 2.1)) == 1


@properties
@given(
    segments=st.lists(st.tuples(st.integers(50, 900), st.integers(50, 900)), min_size=1, max_size=6),
    sizes=st.lists(st.integers(100, 5000), min_size=1, max_size=5),
)
def test_any_chunking_gives_the_same_intervals_within_a_block(
    segments: list[tuple[int, int]], sizes: list[int]
) -> None:
    channel = np.concatenate([np.r_[quiet(gap / 1000), tone(loud / 1000)] for gap, loud in segments])
    activity, at = Activity(RATE), 0
    while at < len(channel):
        size = sizes[at % len(sizes)]
        activity.write(at, channel[at : at + size])
        at += size
    edge = 0.0
    for (gap, loud), (begin, end) in zip(segments, activity.intervals(), strict=True):
        assert begin == near(edge + gap / 1000, 1.5 * BLOCK_S)
        edge += (gap + loud) / 1000
        assert end == near(edge, 1.5 * BLOCK_S)
    begins, ends = activity._begins, activity._ends
    assert all(b - a >= JOIN_S * RATE for a, b in zip(ends, begins[1:], strict=False))


def test_intervals_of_hours_are_merged_to_utterances() -> None:
    activity = Activity(8000)
    syllable = tone(0.1, rate=8000)
    for utterance in range(600):
        for part in range(20):
            activity.write(utterance * 48_000 + part * 1200, syllable)
    assert len(activity._begins) < 600 + 900
    assert len(activity.intervals(pause=PAUSE_S)) == 600
    assert activity.intervals()[0] == [0.0, near(2.95)]
    assert len(activity.intervals(6 * 599, pause=0.0)) == 20, "the latest intervals are not merged"
    activity.write(0, silence(8000))
    assert activity.intervals()[0] == [1.0, near(2.95)]


@pytest.mark.parametrize("start", [-(10**9), 10**300], ids=["before the recording", "beyond any number numpy has"])
def test_a_write_at_an_absurd_position_leaves_other_intervals_unchanged(start: int) -> None:
    activity = measured(SPEECH)
    activity.write(start, SPEECH)
    activity.write(start, quiet(1.2))
    assert near_intervals(activity)[:2] == [(begin, end) for begin, end in SPEECH_INTERVALS]
    assert talk(activity, activity, 4.0).user_s == near(1.2, 0.02)


def test_audio_is_measured_once_a_second_however_small_its_chunks_are(monkeypatch: pytest.MonkeyPatch) -> None:
    activity, chunk, measured_frames = Activity(RATE), tone(0.02), []
    measure = activity._audible_intervals

    def noting(start: int, samples: Samples) -> list[tuple[int, int]]:
        measured_frames.append(len(samples))
        return measure(start, samples)

    monkeypatch.setattr(activity, "_audible_intervals", noting)
    for index in range(1000):
        activity.write(index * len(chunk), chunk)
    assert measured_frames == [RATE] * 20
    assert activity.intervals() == [[0.0, 20.0]]


def test_talk_divides_the_time_between_user_agent_overlap_and_silence() -> None:
    user, agent = measured(np.r_[quiet(1), tone(2), quiet(0.2), tone(1)]), measured(tone(4), start=4.0)
    exact = talk(user, agent, 12.0)
    assert exact == Talk(near(3.2, 0.01), near(4.0, 0.01), near(0.2, 0.01), near(5.0, 0.02), near(4.0, 0.02))
    assert talk(user, user, 4.5).overlap_s == near(3.2, 0.01)
    cut = talk(user, agent, 2.0)
    assert cut == Talk(near(1.0), 0.0, 0.0, near(1.0), near(1.0))


def test_talk_without_audio_is_all_silence() -> None:
    assert talk(Activity(RATE), Activity(RATE), 60.0) == Talk(0, 0, 0, 60.0, 60.0)
    assert talk(Activity(RATE), Activity(RATE), 0.0) == Talk(0, 0, 0, 0, 0)


def test_tracks_measure_the_activity_of_each_channel_as_it_is_written() -> None:
    tracks = Tracks()
    assert (tracks.user_activity, tracks.agent_activity) == (None, None)
    for index in range(50):
        assert tracks.user_sent(1.0 + (index + 1) * 0.02, wire(tone(0.02))) == 20.0
    tracks.agent_received(3.0, "a", wire(tone(4.0)))
    tracks.barge_in(5.0)
    tracks.advance(10.0)
    assert tracks.user_activity is not None
    assert tracks.agent_activity is not None
    assert near_intervals(tracks.user_activity) == [(1.0, 2.0)]
    assert near_intervals(tracks.agent_activity) == [(3.0, 5.0)]
    tracks.user_fed(10.0, tone(0.5).tobytes(), at=4.0)
    tracks.close(20.0)
    assert near_intervals(tracks.user_activity) == [(4.0, 4.5)], "the audio sent before is erased"

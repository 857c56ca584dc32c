"""Clocks that drift apart: how far is told from hand-overs, and sound follows so gently that nobody hears it."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.core.audio.rates import DriftCorrector, DriftEstimator, stretched
from tests.support.audio.sounds import RATE, near, numbered, properties, tone

pytestmark = pytest.mark.newest

CHUNK = RATE // 5  # 200 ms


def told(seconds: float, *, ppm: float, late: list[float], began: float = 3.0) -> tuple[float, float]:
    """Where a stream is thought to have begun, and where that would be right: seconds at its end."""
    estimator, chunks = DriftEstimator(RATE), round(seconds * RATE / CHUNK)
    ended = 0.0
    for index in range(1, chunks + 1):
        frames = index * CHUNK
        ended = began + frames / RATE / (1 + ppm * 1e-6)
        estimator.add(frames, (ended + late[index % len(late)]) * RATE - frames)
    return estimator.start_at(chunks * CHUNK) / RATE, ended - chunks * CHUNK / RATE


@pytest.mark.parametrize("ppm", [-300, -20, 0, 20, 300])
@pytest.mark.parametrize("seconds", [1, 15, 35, 60, 130, 600, 3000])
def test_the_beginning_of_a_stream_is_known_whatever_its_clock(ppm: float, seconds: float) -> None:
    thought, right = told(seconds, ppm=ppm, late=[0.0, 0.13, 0.2, 0.05, 0.001])
    # At first the least late hand-over counts, as if there were no drift.
    assert thought == near(right, 0.0015 + (0 if seconds > DriftEstimator.MIN_SPAN_S else seconds * abs(ppm) * 1e-6))


@properties
@given(seed=st.integers(0, 1000), ppm=st.floats(-300, 300))
def test_stalls_do_not_look_like_drift(seed: int, ppm: float) -> None:
    dice = random.Random(seed)
    late = [0.002 * dice.random() for _ in range(1000)]
    for _ in range(3):
        begin, length = dice.randrange(1000), dice.randrange(70)  # up to 14 s
        for index in range(begin, min(begin + length, 1000)):
            late[index] = (begin + length - index) * 0.2
    late[-2:] = [0.0, 0.0]
    thought, right = told(199.8, ppm=ppm, late=late)
    assert thought == near(right, 0.02)


def test_a_clock_that_is_no_sound_cards_is_not_followed() -> None:
    thought, right = told(300, ppm=20_000, late=[0.0])
    assert thought == near(right, 0.01), "no hand-over is undercut"
    thought, right = told(300, ppm=-20_000, late=[0.0])
    assert thought < right - 5


# Following


def test_what_is_where_it_should_be_is_left_alone() -> None:
    corrector, samples = DriftCorrector(tolerance=120), numbered(480)
    for offset in (0.0, 120.0, -120.0, 60.5):
        assert corrector.correct(offset, samples, 480) is samples


@pytest.mark.parametrize("offset", [130.0, -130.0])
def test_sound_is_followed_one_frame_in_a_thousand_until_it_is_nearly_there(offset: float) -> None:
    corrector, samples, changed = DriftCorrector(tolerance=120), tone(0.1), []
    for _ in range(100):
        followed = len(corrector.correct(offset, samples, len(samples))) - len(samples)
        offset -= followed
        changed.append(abs(followed))
    assert 23 <= abs(offset) <= 24
    assert max(changed) <= 4
    assert sum(changed[:10]) <= 25
    assert corrector.correct(offset, samples, len(samples)) is samples, "what is nearly there stays"


def test_where_no_time_goes_by_nothing_is_changed() -> None:
    corrector, samples = DriftCorrector(tolerance=120), numbered(480)
    assert all(corrector.correct(1000.0, samples, 0.0) is samples for _ in range(100))


def test_time_without_need_is_not_saved_up() -> None:
    corrector, samples = DriftCorrector(tolerance=120), numbered(480)
    for _ in range(1000):
        corrector.correct(0.0, samples, 480)
    assert len(corrector.correct(1000.0, samples, 480)) == 481


def test_a_chunk_of_a_few_frames_stays_as_it_is() -> None:
    corrector = DriftCorrector(tolerance=1)
    samples = numbered(7)
    assert all(corrector.correct(100.0, samples, 1000) is samples for _ in range(5))


@pytest.mark.parametrize("frames", [479, 480, 481])
def test_fitted_sound_begins_and_ends_as_it_did_and_sounds_the_same(frames: int) -> None:
    samples = tone(0.02, hz=400)
    made = stretched(samples, frames)
    assert len(made) == frames
    assert made.dtype == np.int16
    assert (made[0], made[-1]) == (samples[0], samples[-1])
    wished = 12_000 * np.cos(np.linspace(0, 479, frames) * 2 * np.pi * 400 / RATE)
    assert np.max(np.abs(made - wished)) < 20

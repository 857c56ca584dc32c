"""Clock drift: it is estimated from the arrival of chunks, and corrected by single frames."""

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


def estimated(seconds: float, *, ppm: float, delays: list[float], start: float = 3.0) -> tuple[float, float]:
    """Return the estimated and the true start of a stream as of its end, in seconds.

    The clock of the stream is off by ``ppm``; chunk ``n`` arrives ``delays[n]`` seconds after its end, cyclically.
    """
    estimator, chunks = DriftEstimator(RATE), round(seconds * RATE / CHUNK)
    end = 0.0
    for index in range(1, chunks + 1):
        frames = index * CHUNK
        end = start + frames / RATE / (1 + ppm * 1e-6)
        estimator.add(frames, (end + delays[index % len(delays)]) * RATE - frames)
    return estimator.start_at(chunks * CHUNK) / RATE, end - chunks * CHUNK / RATE


@pytest.mark.parametrize("ppm", [-300, -20, 0, 20, 300])
@pytest.mark.parametrize("seconds", [1, 15, 35, 60, 130, 600, 3000])
def test_the_start_of_a_stream_is_estimated_at_any_drift_of_a_sound_card(ppm: float, seconds: float) -> None:
    estimated_start, true_start = estimated(seconds, ppm=ppm, delays=[0.0, 0.13, 0.2, 0.05, 0.001])
    # In a short stream the arrival with the least delay counts, and no drift is assumed.
    assert estimated_start == near(
        true_start, 0.0015 + (0 if seconds > DriftEstimator.MIN_SPAN_S else seconds * abs(ppm) * 1e-6)
    )


@properties
@given(seed=st.integers(0, 1000), ppm=st.floats(-300, 300))
def test_stalls_are_not_mistaken_for_drift(seed: int, ppm: float) -> None:
    dice = random.Random(seed)
    delays = [0.002 * dice.random() for _ in range(1000)]
    for _ in range(3):
        begin, length = dice.randrange(1000), dice.randrange(70)  # up to 14 s
        for index in range(begin, min(begin + length, 1000)):
            delays[index] = (begin + length - index) * 0.2
    delays[-2:] = [0.0, 0.0]
    estimated_start, true_start = estimated(199.8, ppm=ppm, delays=delays)
    assert estimated_start == near(true_start, 0.02)


def test_a_drift_beyond_that_of_sound_cards_is_not_estimated() -> None:
    estimated_start, true_start = estimated(300, ppm=20_000, delays=[0.0])
    assert estimated_start == near(true_start, 0.01), "the estimate exceeds no bound"
    estimated_start, true_start = estimated(300, ppm=-20_000, delays=[0.0])
    assert estimated_start < true_start - 5


# Correction


def test_an_offset_within_the_tolerance_is_not_corrected() -> None:
    corrector, samples = DriftCorrector(tolerance=120), numbered(480)
    for offset in (0.0, 120.0, -120.0, 60.5):
        assert corrector.correct(offset, samples, 480) is samples


@pytest.mark.parametrize("offset", [130.0, -130.0])
def test_one_frame_in_a_thousand_is_corrected_until_a_fifth_of_the_tolerance(offset: float) -> None:
    corrector, samples, changes = DriftCorrector(tolerance=120), tone(0.1), []
    for _ in range(100):
        change = len(corrector.correct(offset, samples, len(samples))) - len(samples)
        offset -= change
        changes.append(abs(change))
    assert 23 <= abs(offset) <= 24
    assert max(changes) <= 4
    assert sum(changes[:10]) <= 25
    assert corrector.correct(offset, samples, len(samples)) is samples, (
        "below a fifth of the tolerance nothing is corrected"
    )


def test_without_elapsed_time_nothing_is_corrected() -> None:
    corrector, samples = DriftCorrector(tolerance=120), numbered(480)
    assert all(corrector.correct(1000.0, samples, 0.0) is samples for _ in range(100))


def test_time_without_an_offset_allows_no_larger_correction_later() -> None:
    corrector, samples = DriftCorrector(tolerance=120), numbered(480)
    for _ in range(1000):
        corrector.correct(0.0, samples, 480)
    assert len(corrector.correct(1000.0, samples, 480)) == 481


def test_a_chunk_of_a_few_frames_is_not_corrected() -> None:
    corrector = DriftCorrector(tolerance=1)
    samples = numbered(7)
    assert all(corrector.correct(100.0, samples, 1000) is samples for _ in range(5))


@pytest.mark.parametrize("frames", [479, 480, 481])
def test_stretched_audio_keeps_its_ends_and_its_waveform(frames: int) -> None:
    samples = tone(0.02, hz=400)
    output = stretched(samples, frames)
    assert len(output) == frames
    assert output.dtype == np.int16
    assert (output[0], output[-1]) == (samples[0], samples[-1])
    expected = 12_000 * np.cos(np.linspace(0, 479, frames) * 2 * np.pi * 400 / RATE)
    assert np.max(np.abs(output - expected)) < 20

"""When the audio was captured of which only is known how much was written: muted, held up, pushed at once."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.core.audio.user.input_buffer import InputBuffer
from tests.support.audio.sounds import near, properties

pytestmark = pytest.mark.newest


def stream(
    written: InputBuffer, begin: float, seconds: float, *, chunk: float = 0.02, dice: random.Random | None = None
) -> None:
    """A microphone that captured so many seconds from ``begin`` on; now and then it is held up for up to 200 ms."""
    handed_over = 0.0
    for index in range(round(seconds / chunk)):
        late = 0.0 if dice is None else dice.uniform(0.0, 0.01) if dice.random() < 0.95 else dice.uniform(0.0, 0.2)
        handed_over = max(handed_over, begin + (index + 1) * chunk + late)
        written.append(handed_over, chunk * 1000)


def test_a_stream_that_never_pauses_is_as_long_as_it_took() -> None:
    written = InputBuffer()
    stream(written, 0.5, 10.0)
    assert written.written_ms == pytest.approx(10_000)
    for ms in (1, 20, 4_000, 9_000, 10_000):
        assert written.time_of(ms) == near(0.5 + ms / 1000)


def test_a_muted_microphone_takes_no_time() -> None:
    written = InputBuffer()
    for begin in (1.0, 13.0, 25.0):
        stream(written, begin, 2.0)
    assert [written.time_of(ms) for ms in (1, 2_000, 2_001, 4_000, 5_000)] == near_all(1.001, 3.0, 13.001, 15.0, 26.0)


def near_all(*seconds: float) -> list[object]:
    return [near(second, 0.003) for second in seconds]


@properties
@given(seed=st.integers(0, 1000), chunk=st.sampled_from([0.01, 0.02, 0.04, 0.1]))
def test_chunks_that_were_held_up_are_known_to_within_30_ms_between_pauses_too(seed: int, chunk: float) -> None:
    dice = random.Random(seed)
    written = InputBuffer()
    begins = [1.0, 15.0, 16.0 + dice.uniform(3, 9)]
    for begin in begins:
        stream(written, begin, 4.0, chunk=chunk, dice=dice)
    for index, begin in enumerate(begins):
        for second in (0.5, 1.5, 3.0):
            assert written.time_of((index * 4 + second) * 1000) == near(begin + second, 0.03)


def test_the_first_answer_is_the_hand_over_and_what_follows_makes_it_earlier() -> None:
    written = InputBuffer()
    written.append(1.2, 1000)
    assert written.time_of(1000) == near(1.2)
    written.append(2.02, 1000)
    assert written.time_of(1000) == near(1.02)


def test_a_short_pause_is_one_when_enough_follows_and_a_late_hand_over_otherwise() -> None:
    paused, late = InputBuffer(), InputBuffer()
    for written in (paused, late):
        stream(written, 0.0, 3.0)
    stream(paused, 3.1, 3.0)
    late.append(3.12, 20)
    for written in (paused, late):
        written.append(100.0, 20)
    assert paused.time_of(4_000) == near(4.1)
    assert late.time_of(3_020) == near(3.02)


def test_a_file_pushed_at_once_counts_as_of_its_hand_over() -> None:
    written = InputBuffer()
    written.append(0.1, 10_000)
    assert [written.time_of(ms) for ms in (1, 5_000, 10_000)] == [0.1, 0.1, 0.1]
    stream(written, 5.0, 0.5)
    written.append(30.0, 20)
    assert written.time_of(5_000) == 0.1
    assert written.time_of(10_500) == near(5.5)
    assert written.time_of(10_520) == near(30.0)


def test_what_was_not_written_or_is_long_ago_has_no_time() -> None:
    written = InputBuffer()
    assert written.time_of(0) is None
    written.append(1.0, 0)
    written.append(1.0, 20)
    assert [written.time_of(ms) for ms in (-1, 0, 21)] == [None, None, None]
    for minute in range(30):
        stream(written, 10 + minute * 60, 1.0, chunk=0.1)
    assert written.time_of(20) is None
    assert written.time_of(29_000) == near(10 + 28 * 60 + 0.98)
    assert len(written._segments) < 13


def test_another_session_begins_at_nought() -> None:
    written = InputBuffer(100.0)
    stream(written, 100.1, 5.0)
    assert written.time_of(2_000) == near(102.1)

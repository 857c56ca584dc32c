"""InputBuffer: offsets map to capture times, with a muted microphone, delayed chunks and files."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.core.audio.user.input_buffer import InputBuffer
from tests.support.audio.sounds import near, properties

pytestmark = pytest.mark.newest


def stream(
    buffer: InputBuffer, begin: float, seconds: float, *, chunk: float = 0.02, dice: random.Random | None = None
) -> None:
    """Append the audio of a microphone from ``begin`` on; ``dice`` delays one chunk in 20 by up to 200 ms."""
    appended = 0.0
    for index in range(round(seconds / chunk)):
        delay = 0.0 if dice is None else dice.uniform(0.0, 0.01) if dice.random() < 0.95 else dice.uniform(0.0, 0.2)
        appended = max(appended, begin + (index + 1) * chunk + delay)
        buffer.append(appended, chunk * 1000)


def test_offsets_of_a_stream_without_pauses_map_to_its_start_plus_the_offset() -> None:
    buffer = InputBuffer()
    stream(buffer, 0.5, 10.0)
    assert buffer.appended_ms == pytest.approx(10_000)
    for ms in (1, 20, 4_000, 9_000, 10_000):
        assert buffer.time_of(ms) == near(0.5 + ms / 1000)


def test_the_time_of_a_muted_microphone_is_not_in_the_buffer() -> None:
    buffer = InputBuffer()
    for begin in (1.0, 13.0, 25.0):
        stream(buffer, begin, 2.0)
    assert [buffer.time_of(ms) for ms in (1, 2_000, 2_001, 4_000, 5_000)] == near_all(1.001, 3.0, 13.001, 15.0, 26.0)


def near_all(*seconds: float) -> list[object]:
    return [near(second, 0.003) for second in seconds]


@properties
@given(seed=st.integers(0, 1000), chunk=st.sampled_from([0.01, 0.02, 0.04, 0.1]))
def test_delayed_chunks_map_within_30_ms_also_between_pauses(seed: int, chunk: float) -> None:
    dice = random.Random(seed)
    buffer = InputBuffer()
    begins = [1.0, 15.0, 16.0 + dice.uniform(3, 9)]
    for begin in begins:
        stream(buffer, begin, 4.0, chunk=chunk, dice=dice)
    for index, begin in enumerate(begins):
        for second in (0.5, 1.5, 3.0):
            assert buffer.time_of((index * 4 + second) * 1000) == near(begin + second, 0.03)


def test_the_time_of_an_append_is_corrected_by_later_chunks() -> None:
    buffer = InputBuffer()
    buffer.append(1.2, 1000)
    assert buffer.time_of(1000) == near(1.2)
    buffer.append(2.02, 1000)
    assert buffer.time_of(1000) == near(1.02)


def test_a_short_gap_is_a_pause_if_enough_audio_is_as_late_and_a_delay_otherwise() -> None:
    paused, delayed = InputBuffer(), InputBuffer()
    for buffer in (paused, delayed):
        stream(buffer, 0.0, 3.0)
    stream(paused, 3.1, 3.0)
    delayed.append(3.12, 20)
    for buffer in (paused, delayed):
        buffer.append(100.0, 20)
    assert paused.time_of(4_000) == near(4.1)
    assert delayed.time_of(3_020) == near(3.02)


def test_a_file_appended_at_once_maps_to_the_time_of_the_append() -> None:
    buffer = InputBuffer()
    buffer.append(0.1, 10_000)
    assert [buffer.time_of(ms) for ms in (1, 5_000, 10_000)] == [0.1, 0.1, 0.1]
    stream(buffer, 5.0, 0.5)
    buffer.append(30.0, 20)
    assert buffer.time_of(5_000) == 0.1
    assert buffer.time_of(10_500) == near(5.5)
    assert buffer.time_of(10_520) == near(30.0)


def test_offsets_outside_the_buffer_or_long_ago_have_no_time() -> None:
    buffer = InputBuffer()
    assert buffer.time_of(0) is None
    buffer.append(1.0, 0)
    buffer.append(1.0, 20)
    assert [buffer.time_of(ms) for ms in (-1, 0, 21)] == [None, None, None]
    for minute in range(30):
        stream(buffer, 10 + minute * 60, 1.0, chunk=0.1)
    assert buffer.time_of(20) is None
    assert buffer.time_of(29_000) == near(10 + 28 * 60 + 0.98)
    assert len(buffer._segments) < 13


def test_offsets_of_a_later_session_count_from_its_begin() -> None:
    buffer = InputBuffer(100.0)
    stream(buffer, 100.1, 5.0)
    assert buffer.time_of(2_000) == near(102.1)


# Starts next to a gap


@pytest.mark.parametrize("offset", [1_700, 1_900, 1_999, 2_000])
def test_a_start_shortly_before_a_gap_is_after_it(offset: int) -> None:
    buffer = InputBuffer()
    stream(buffer, 1.0, 2.0)
    stream(buffer, 13.0, 1.0)
    assert buffer.time_of(offset, 300) == near(13.0)
    assert buffer.time_of(offset) == near(1 + offset / 1000)
    buffer.append(100.0, 20)  # now the gap is in the past
    assert buffer.time_of(offset, 300) == near(13.0)


def test_a_start_far_from_a_gap_or_next_to_a_delay_stays_where_it_is() -> None:
    buffer = InputBuffer()
    stream(buffer, 1.0, 2.0)
    stream(buffer, 3.15, 0.3)  # late, but not silent
    stream(buffer, 13.0, 1.0)
    buffer.append(100.0, 20)
    assert buffer.time_of(1_500, 300) == near(2.5)
    assert buffer.time_of(1_900, 300) == near(2.9, 0.16)
    assert buffer.time_of(2_400, 300) == near(13.1, 0.16)


def test_of_several_gaps_the_last_one_counts() -> None:
    buffer = InputBuffer()
    stream(buffer, 1.0, 2.0)
    stream(buffer, 5.0, 0.1)
    stream(buffer, 9.0, 2.0)
    assert buffer.time_of(1_900, 300) == near(9.0)
    assert buffer.time_of(1_900, 150) == near(5.0, 0.03)


def test_the_start_of_the_first_audio_is_known() -> None:
    buffer = InputBuffer()
    assert buffer.time_of(0, 300) is None
    stream(buffer, 4.0, 1.0)
    assert buffer.time_of(0, 300) == near(4.0)


def test_a_block_sent_at_once_starts_its_length_before_it_was_sent() -> None:
    buffer = InputBuffer()
    buffer.append(1.0, 2_000)
    buffer.append(20.0, 3_000)
    assert buffer.time_of(1_800, 300) == near(17.0)

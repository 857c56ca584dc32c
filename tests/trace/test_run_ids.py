"""Run ids and dotted orders have their run's start time, and sort by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, segment, start_of, time_of, uuid7

MICROSECONDS = st.integers(min_value=0, max_value=4_000_000_000_000_000)  # µs, until 2096


@given(MICROSECONDS)
def test_an_id_starts_with_the_milliseconds_of_its_time(microseconds: int) -> None:
    run_id = uuid7(microseconds)
    assert run_id.version == 7
    assert run_id.variant == UUID("0189d4b2-0000-7000-8000-000000000000").variant
    assert run_id.int >> 80 == microseconds // 1000


@given(MICROSECONDS, st.integers(min_value=1, max_value=10_000))
def test_an_id_of_a_later_microsecond_sorts_later(microseconds: int, more: int) -> None:
    assert uuid7(microseconds) < uuid7(microseconds + more)


def test_ids_of_one_microsecond_differ() -> None:
    assert len({uuid7(1_700_000_000_000_000) for _ in range(1000)}) == 1000


@given(MICROSECONDS)
def test_microseconds_survive_the_conversion_to_datetime_and_back(microseconds: int) -> None:
    time = time_of(microseconds)
    assert time.tzinfo is UTC
    assert microseconds_of(time) == microseconds
    assert microseconds_of(time.replace(tzinfo=None)) == microseconds, "LangSmith's own times may be naive, and are UTC"
    assert microseconds_of(time.astimezone(timezone(timedelta(hours=5)))) == microseconds


@given(MICROSECONDS)
def test_a_segment_has_six_fraction_digits_and_its_runs_start_time(microseconds: int) -> None:
    run_id = uuid7(microseconds)
    written = segment(time_of(microseconds), run_id)
    assert written.endswith(f"Z{run_id}")
    assert len(written.split("Z")[0]) == len("20260101T000000000000")
    assert start_of(f"20200101T000000000000Z{uuid7(0)}.{written}") == time_of(microseconds)


def test_start_of_raises_value_error_for_text_that_is_not_a_dotted_order() -> None:
    with pytest.raises(ValueError, match="does not match"):
        start_of("yesterday")


def test_a_segment_is_formatted_as_by_langsmith() -> None:
    time = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
    run_id = UUID("019cb0f6-0000-7000-8000-000000000001")
    elsewhere = time.astimezone(timezone(timedelta(hours=2)))
    for known in (time, elsewhere):
        assert segment(known, run_id) == "20260304T050607000089Z019cb0f6-0000-7000-8000-000000000001"

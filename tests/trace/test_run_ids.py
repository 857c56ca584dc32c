"""Ids whose time is their run's, and the order they sort in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, segment, start_of, time_of, uuid7

MOMENTS = st.integers(min_value=0, max_value=4_000_000_000_000_000)  # µs, until 2096


@given(MOMENTS)
def test_an_id_says_the_millisecond_of_its_time(moment: int) -> None:
    run_id = uuid7(moment)
    assert run_id.version == 7
    assert run_id.variant == UUID("0189d4b2-0000-7000-8000-000000000000").variant
    assert run_id.int >> 80 == moment // 1000


@given(MOMENTS, st.integers(min_value=1, max_value=10_000))
def test_later_ids_sort_later_microsecond_by_microsecond(moment: int, more: int) -> None:
    assert uuid7(moment) < uuid7(moment + more)


def test_ids_of_one_moment_differ() -> None:
    assert len({uuid7(1_700_000_000_000_000) for _ in range(1000)}) == 1000


@given(MOMENTS)
def test_times_are_whole_microseconds_there_and_back(moment: int) -> None:
    time = time_of(moment)
    assert time.tzinfo is UTC
    assert microseconds_of(time) == moment
    assert microseconds_of(time.replace(tzinfo=None)) == moment, "LangSmith's own times may be naive, and are UTC"
    assert microseconds_of(time.astimezone(timezone(timedelta(hours=5)))) == moment


@given(MOMENTS)
def test_a_segment_has_six_digits_of_fraction_and_says_when_its_run_started(moment: int) -> None:
    run_id = uuid7(moment)
    written = segment(time_of(moment), run_id)
    assert written.endswith(f"Z{run_id}")
    assert len(written.split("Z")[0]) == len("20260101T000000000000")
    assert start_of(f"20200101T000000000000Z{uuid7(0)}.{written}") == time_of(moment)


def test_what_is_no_dotted_order_is_refused() -> None:
    with pytest.raises(ValueError, match="does not match"):
        start_of("yesterday")


def test_a_segment_reads_as_langsmith_writes_it() -> None:
    time = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
    run_id = UUID("019cb0f6-0000-7000-8000-000000000001")
    elsewhere = time.astimezone(timezone(timedelta(hours=2)))
    for known in (time, elsewhere):
        assert segment(known, run_id) == "20260304T050607000089Z019cb0f6-0000-7000-8000-000000000001"

"""Parsing and evaluation of filter expressions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from langsmith_realtime.collector import StoredRun
from langsmith_realtime.collector.read.filters import parse
from langsmith_realtime.collector.rules import Refused
from tests.support.collector_requests import START

RUN = StoredRun(
    id="1",
    trace_id="1",
    parent_run_id=None,
    dotted_order="x1",
    name='say "hi"',
    run_type="llm",
    start_time=START,
    end_time=START + timedelta(seconds=2),
    inputs={"question": "Wetter in Köln?"},
    outputs=None,
    error=None,
    extra={"metadata": {"thread_id": "t1", "city": "Oslo", "turn": 3, "usage_metadata": {"total_tokens": 7}}},
    tags=["spoken", "beta"],
    events=[],
    project="calls",
    status="success",
    feedback=[
        {"key": "helpful", "score": 1, "comment": "calm", "feedback_source": {"type": "app"}},
        {"key": "fast", "score": 0.2},
    ],
)


@pytest.mark.parametrize(
    "expression",
    [
        'eq(run_type, "llm")',
        "eq(name, 'say \"hi\"')",
        'eq(name, "say \\"hi\\"")',
        'neq(run_type, "tool")',
        ' and( eq(run_type,"llm") , gt(latency, 1.5), lte(latency, 2) ) ',
        'or(eq(run_type, "tool"), gte(total_tokens, 7))',
        'not(eq(run_type, "tool"))',
        'in(run_type, ["tool", "llm"])',
        'has(tags, "beta")',
        'gt(start_time, "2026-03-14T15:00:00Z")',
        'lt(end_time, "2026-03-14T15:09:29Z")',
        "eq(is_root, true)",
        "eq(error, null)",
        "neq(end_time, null)",
        'eq(thread_id, "t1")',
        'search("köln")',
        'eq(metadata_key, "city")',
        'and(eq(metadata_key, "city"), eq(metadata_value, "Oslo"))',
        'and(and(eq(metadata_key,"city"),eq(metadata_value,"Oslo")),and(eq(metadata_key,"turn"),eq(metadata_value,3)))',
        'has(metadata, \'{"city": "Oslo", "turn": 3}\')',
        'has(metadata, \'{"usage_metadata": {"total_tokens": 7}}\')',
        'eq(run_type, "LLM")',
        'gt(latency, "1500ms")',
        'lt(latency, "1m")',
        'like(name, "say%")',
        'like(name, "%_hi_")',
        'like(name, "%a%_hi_%")',
        'like(name, "%%")',
        "gt(latency, 1e-3)",
        "exists(tags)",
        'exists(metadata, "city")',
        "not(exists(error))",
        "gt(metadata_value, 2)",  # beside values that are strings and objects
        'and(eq(feedback_key, "helpful"), gte(feedback_score, 1))',
        'eq(feedback_comment, "calm")',
        'eq(feedback_source, "app")',
        'and(eq(metadata_key, "city"), eq(feedback_key, "fast"), lt(feedback_score, 0.5))',
        'in(error, [null, "x"])',
    ],
)
def test_a_filter_matches_the_run(expression: str) -> None:
    assert parse(expression)(RUN)


@pytest.mark.parametrize(
    "expression",
    [
        'eq(run_type, "tool")',
        'and(eq(run_type, "llm"), gt(latency, 2))',
        'or(eq(run_type, "tool"), eq(run_type, "chain"))',
        'not(eq(run_type, "llm"))',
        'has(tags, "alpha")',
        'has(error, "x")',
        "gt(name, 5)",
        'lt(parent_run_id, "x")',
        'search("Bonn")',
        'and(eq(metadata_key, "city"), eq(metadata_value, "t1"))',
        'has(metadata, \'{"city": "Bonn"}\')',
        "eq(end_time, null)",
        'gt(latency, "5s")',
        'eq(metadata_value, "3")',
        'gt(metadata_value, "x")',
        'like(name, "hi")',
        'like(name, "say%say hi!")',
        'like(name, "%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%z")',  # one regular expression for it would take minutes
        'like(tags, "%")',
        "exists(error)",
        'exists(metadata, "country")',
        "in(run_type, [])",
        "eq(is_root, 1)",
        'and(eq(feedback_key, "fast"), gte(feedback_score, 1))',
        "gt(total_cost, 0)",
    ],
)
def test_a_filter_does_not_match_the_run(expression: str) -> None:
    assert not parse(expression)(RUN)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "eq",
        "eq(run_type)",
        'eq(run_type, "llm"',
        'eq(run_type, "llm") and more',
        "eq(run_type, llm)",
        'eq("run_type", "llm")',
        "like(name, 5)",
        'eq(is_root, "true")',
        'like(latency, "%")',
        'exists(name, "key")',
        'in(run_type, "llm")',
        'gt(latency, "5 parsecs")',
        'eq(total_tokens, "7")',
        'eq(metadata, "city")',
        'eq(colour, "red")',
        'gt(start_time, "soon")',
        "has(metadata, 'city')",
        "has(metadata, '[]')",
        'in(run_type, ["llm"',
        "eq(name, #)",
        "and(" * 5000,
        7,
    ],
    ids=lambda expression: str(expression)[:30],
)
def test_a_malformed_or_unsupported_filter_is_refused(expression: Any) -> None:
    with pytest.raises(Refused) as caught:
        parse(expression)

    assert (caught.value.rule, caught.value.status) in {("filter", 400), ("field", 422)}

"""Realtime's token counts as LangSmith takes them."""

from __future__ import annotations

import pytest
from langsmith.run_trees import RunTree

from langsmith_realtime.usage import cached_parts, usage_metadata

USAGE = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 119,
        "audio_tokens": 13,
        "image_tokens": 0,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91, "reasoning_tokens": 7},
}


def test_all_parts_arrive_under_langsmiths_names() -> None:
    assert usage_metadata(USAGE) == {
        "input_tokens": 132,
        "output_tokens": 121,
        "total_tokens": 253,
        "input_token_details": {"audio": 13, "text": 119, "image": 0, "cache_read": 64},
        "output_token_details": {"audio": 91, "text": 30, "reasoning": 7},
    }
    assert cached_parts(USAGE) == {"cached_audio_tokens": 4, "cached_text_tokens": 60, "cached_image_tokens": 0}


def test_langsmith_accepts_every_key() -> None:
    RunTree(name="model", run_type="llm").set(usage_metadata=usage_metadata(USAGE))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "usage", [None, {}, [], "many", {"input_tokens": None}, {"input_token_details": {"text_tokens": 3}}]
)
def test_no_counts_are_no_usage(usage: object) -> None:
    assert usage_metadata(usage) is None


def test_a_total_that_is_missing_is_the_sum() -> None:
    assert usage_metadata({"input_tokens": 2, "output_tokens": 3}) == {
        "input_tokens": 2,
        "output_tokens": 3,
        "total_tokens": 5,
    }
    assert usage_metadata({"output_tokens": 3}) == {"input_tokens": 0, "output_tokens": 3, "total_tokens": 3}
    assert usage_metadata({"total_tokens": 3}) == {"input_tokens": 0, "output_tokens": 0, "total_tokens": 3}


@pytest.mark.parametrize("wrong", [-1, float("nan"), 10**30, True, "12", None, [3]])
def test_what_is_no_count_is_left_out(wrong: object) -> None:
    usage = {
        "input_tokens": 2,
        "output_tokens": wrong,
        "input_token_details": {"audio_tokens": wrong, "cached_tokens": wrong, "cached_tokens_details": wrong},
        "output_token_details": {"reasoning_tokens": wrong},
    }
    assert usage_metadata(usage) == {"input_tokens": 2, "output_tokens": 0, "total_tokens": 2}
    assert cached_parts(usage) == {}


@pytest.mark.parametrize("details", [None, [], 5])
def test_details_may_be_anything(details: object) -> None:
    counts = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    given = {**counts, "input_token_details": details, "output_token_details": details}
    assert usage_metadata(given) == counts
    assert cached_parts(given) == {}

"""Realtime's usage as LangSmith's usage metadata, as charges and as sums."""

from __future__ import annotations

import pytest
from langsmith.run_trees import RunTree

from langsmith_realtime.core.protocol.usage import (
    UNKNOWN_MODEL,
    UNSPLIT,
    Usage,
    cached_parts,
    charges_of_response,
    charges_of_transcription,
    usage_metadata,
)

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


def test_all_counts_have_langsmiths_names() -> None:
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
def test_without_counts_there_is_no_usage(usage: object) -> None:
    assert usage_metadata(usage) is None


def test_a_missing_total_is_the_sum_of_input_and_output() -> None:
    assert usage_metadata({"input_tokens": 2, "output_tokens": 3}) == {
        "input_tokens": 2,
        "output_tokens": 3,
        "total_tokens": 5,
    }
    assert usage_metadata({"output_tokens": 3}) == {"input_tokens": 0, "output_tokens": 3, "total_tokens": 3}
    assert usage_metadata({"total_tokens": 3}) == {"input_tokens": 0, "output_tokens": 0, "total_tokens": 3}


@pytest.mark.parametrize("wrong", [-1, float("nan"), 10**30, True, "12", None, [3]])
def test_values_that_are_no_counts_are_left_out(wrong: object) -> None:
    usage = {
        "input_tokens": 2,
        "output_tokens": wrong,
        "input_token_details": {"audio_tokens": wrong, "cached_tokens": wrong, "cached_tokens_details": wrong},
        "output_token_details": {"reasoning_tokens": wrong},
    }
    assert usage_metadata(usage) == {"input_tokens": 2, "output_tokens": 0, "total_tokens": 2}
    assert cached_parts(usage) == {}


@pytest.mark.parametrize("details", [None, [], 5])
def test_details_of_a_wrong_type_are_ignored(details: object) -> None:
    counts = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    given = {**counts, "input_token_details": details, "output_token_details": details}
    assert usage_metadata(given) == counts
    assert cached_parts(given) == {}


# Charges


def test_each_token_is_charged_once() -> None:
    assert charges_of_response(USAGE) == {
        "text_input": 59,
        "cached_text_input": 60,
        "audio_input": 9,
        "cached_audio_input": 4,
        "text_output": 30,
        "audio_output": 91,
    }


def test_cached_tokens_without_a_modality_count_as_text_first() -> None:
    details = {"text_tokens": 10, "audio_tokens": 20, "cached_tokens": 15}
    assert charges_of_response({"input_tokens": 30, "input_token_details": details}) == {
        "cached_text_input": 10,
        "audio_input": 15,
        "cached_audio_input": 5,
    }


def test_cached_tokens_are_limited_to_the_input_tokens() -> None:
    details = {"text_tokens": 10, "cached_tokens": 99, "cached_tokens_details": {"text_tokens": 99}}
    assert charges_of_response({"input_tokens": 10, "input_token_details": details}) == {"cached_text_input": 10}


def test_output_tokens_beyond_the_modalities_are_charged_as_text() -> None:
    usage = {"output_tokens": 50, "output_token_details": {"text_tokens": 10, "audio_tokens": 30}}
    assert charges_of_response(usage) == {"text_output": 20, "audio_output": 30}


def test_tokens_without_a_modality_are_unsplit() -> None:
    assert charges_of_response({"input_tokens": 5, "output_tokens": 7}) == {UNSPLIT: 12}
    assert charges_of_response({"input_tokens": 5, "input_token_details": {"text_tokens": 3}}) == {
        "text_input": 3,
        UNSPLIT: 2,
    }
    assert charges_of_response(None) == {}


@pytest.mark.parametrize(
    ("usage", "charges"),
    [
        ({"type": "duration", "seconds": 3}, {"per_minute": 0.05}),
        (
            {"type": "tokens", "input_tokens": 26, "output_tokens": 9, "input_token_details": {"text_tokens": 6}},
            {"text_input": 6, "audio_input": 20, "text_output": 9},
        ),
        (
            {"type": "tokens", "input_tokens": 26, "output_tokens": 9},
            {"text_input": 0, "audio_input": 26, "text_output": 9},
        ),
        ({"type": "duration", "seconds": -3}, {UNSPLIT: 1}),
        ({"type": "tokens", "input_tokens": 26}, {UNSPLIT: 1}),
        (None, {UNSPLIT: 1}),
    ],
)
def test_a_transcription_is_charged_by_tokens_or_minutes(usage: object, charges: dict[str, float]) -> None:
    assert charges_of_transcription(usage) == pytest.approx(charges)


# Sums


def test_totals_are_the_sums_over_all_responses() -> None:
    usage = Usage()
    usage.add_response("gpt-realtime", USAGE)
    usage.add_response("gpt-realtime", None)  # it failed
    usage.add_response("gpt-realtime", USAGE)
    assert usage.totals() == {
        "input_tokens": 264,
        "output_tokens": 242,
        "total_tokens": 506,
        "input_audio_tokens": 26,
        "input_text_tokens": 238,
        "input_image_tokens": 0,
        "cached_tokens": 128,
        "cached_audio_tokens": 8,
        "cached_text_tokens": 120,
        "cached_image_tokens": 0,
        "output_audio_tokens": 182,
        "output_text_tokens": 60,
        "reasoning_tokens": 14,
    }
    assert usage.charges["gpt-realtime"]["audio_output"] == 182


def test_transcription_is_summed_separately() -> None:
    usage = Usage()
    usage.add_transcription("gpt-4o-transcribe", {"type": "tokens", "input_tokens": 26, "output_tokens": 9})
    usage.add_transcription("gpt-4o-transcribe", {"type": "tokens", "input_tokens": 4, "output_tokens": 1})
    usage.add_transcription("whisper-1", {"type": "duration", "seconds": 2.5})
    usage.add_transcription(None, None)
    assert usage.totals() == {
        "transcription_input_tokens": 30,
        "transcription_output_tokens": 10,
        "transcription_seconds": 2.5,
    }
    assert set(usage.charges) == {"gpt-4o-transcribe", "whisper-1", UNKNOWN_MODEL}


def test_without_usage_there_are_no_totals() -> None:
    usage = Usage()
    usage.add_response("gpt-realtime", {})
    assert usage.totals() == {}
    assert usage.charges == {}


@pytest.mark.parametrize("junk", [[], "many", {"seconds": "3"}, {"input_tokens": [], "output_tokens": {}}, 7])
def test_usage_of_a_wrong_type_is_ignored(junk: object) -> None:
    usage = Usage()
    usage.add_response("gpt-realtime", junk)
    usage.add_transcription("whisper-1", junk)
    assert usage.totals() == {}

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
    read_usage,
    usage_metadata,
    usage_of,
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
        "input_token_details": {"audio": 9, "text": 59, "image": 0, "cache_read": 64},
        "output_token_details": {"audio": 91, "text": 23, "reasoning": 7},
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


@pytest.mark.parametrize("wrong", [-1, float("nan"), 10**30, True, "twelve", "-2", None, [3]])
def test_values_that_are_no_counts_are_left_out(wrong: object) -> None:
    usage = {
        "input_tokens": 2,
        "output_tokens": wrong,
        "input_token_details": {"audio_tokens": wrong, "cached_tokens": wrong, "cached_tokens_details": wrong},
        "output_token_details": {"reasoning_tokens": wrong},
    }
    assert usage_metadata(usage) == {"input_tokens": 2, "output_tokens": 0, "total_tokens": 2}
    assert cached_parts(usage) == {}


def test_counts_may_be_written_as_text() -> None:
    usage = {"input_tokens": "12", "output_tokens": "5", "input_token_details": {"text_tokens": "12"}}
    assert usage_metadata(usage) == usage_metadata(
        {"input_tokens": 12, "output_tokens": 5, "input_token_details": {"text_tokens": 12}}
    )


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
    assert usage.charges()["gpt-realtime"]["audio_output"] == 182


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
    assert set(usage.charges()) == {"gpt-4o-transcribe", "whisper-1", UNKNOWN_MODEL}


def test_without_usage_there_are_no_totals() -> None:
    usage = Usage()
    usage.add_response("gpt-realtime", {})
    assert usage.totals() == {}
    assert usage.charges() == {}


@pytest.mark.parametrize("junk", [[], "many", {"seconds": "3"}, {"input_tokens": [], "output_tokens": {}}, 7])
def test_usage_of_a_wrong_type_is_ignored(junk: object) -> None:
    usage = Usage()
    usage.add_response("gpt-realtime", junk)
    usage.add_transcription("whisper-1", junk)
    assert usage.totals() == {}


# Wherever it stands, however it is spelled


@pytest.mark.parametrize(
    "usage",
    [
        {
            "prompt_tokens": 40,
            "completion_tokens": 12,
            "total_tokens": 52,
            "prompt_tokens_details": {"text_tokens": 10, "audio_tokens": 30, "cached_tokens": 4},
            "completion_tokens_details": {"text_tokens": 2, "audio_tokens": 10},
        },
        {
            "inputTokens": 40,
            "outputTokens": 12,
            "totalTokens": 52,
            "inputTokenDetails": {"textTokens": 10, "audioTokens": 30, "cachedTokens": 4},
            "outputTokensDetails": {"textTokens": 2, "audioTokens": 10},
        },
        {
            "input_tokens": 40,
            "output_tokens": 12,
            "input_text_tokens": 10,
            "input_audio_tokens": 30,
            "cached_input_tokens": 4,
            "output_text_tokens": 2,
            "output_audio_tokens": 10,
        },
    ],
)
def test_every_spelling_gives_the_same_usage(usage: dict[str, object]) -> None:
    assert usage_metadata(usage) == {
        "input_tokens": 40,
        "output_tokens": 12,
        "total_tokens": 52,
        "input_token_details": {"audio": 30, "text": 6, "cache_read": 4},
        "output_token_details": {"audio": 10, "text": 2},
    }
    assert charges_of_response(usage) == {
        "text_input": 6,
        "cached_text_input": 4,
        "audio_input": 30,
        "text_output": 2,
        "audio_output": 10,
    }


def test_realtimes_own_spelling_wins_over_another_one() -> None:
    assert usage_metadata({"prompt_tokens": 7, "input_tokens": 5, "completionTokens": 2}) == {
        "input_tokens": 5,
        "output_tokens": 2,
        "total_tokens": 7,
    }


COUNTS, ZEROS = {"input_tokens": 5, "output_tokens": 2}, {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"response": {"usage": COUNTS}}, COUNTS),
        ({"response": {"usage": None}, "usage": COUNTS}, COUNTS),
        ({"response": {"usage": {"note": "see below"}}, "usage": COUNTS}, COUNTS),
        ({"response": {"usage": ZEROS}, "usage": COUNTS}, COUNTS),
        ({"response": {"usage": ZEROS}, "usage": {}}, ZEROS),
        ({"response": {"usage": COUNTS}, "usage": {"input_tokens": 99}}, COUNTS),
        ({"response": {"usageMetadata": COUNTS}}, COUNTS),
        ({"item_id": "i", "usage": {"type": "duration", "seconds": 2}}, {"type": "duration", "seconds": 2}),
        ({"response": "broken", "usage": [COUNTS]}, None),
        ({}, None),
    ],
)
def test_usage_is_found_in_the_response_or_beside_it(body: dict[str, object], found: object) -> None:
    assert usage_of(body) == found


@pytest.mark.parametrize(
    ("usage", "seconds"),
    [
        ({"type": "duration", "duration": 12}, 12),
        ({"duration_ms": 1500}, 1.5),
        ({"audioSeconds": 3}, 3),
        ({"prompt_audio_seconds": 4, "prompt_tokens": 30, "completion_tokens": 4}, 4),
        ({"type": "tokens", "seconds": 4, "input_tokens": 30, "output_tokens": 4}, None),
        ({"seconds": "4", "input_tokens": 30}, None),
    ],
)
def test_a_length_of_audio_is_read_in_seconds(usage: object, seconds: float | None) -> None:
    reported = read_usage(usage)
    assert reported is not None
    assert reported.seconds == seconds


def test_a_transcription_that_tells_only_its_audio_tokens_has_text_for_the_rest() -> None:
    usage = {"prompt_tokens": 26, "completion_tokens": 9, "prompt_tokens_details": {"audio_tokens": 20}}
    assert charges_of_transcription(usage) == {"text_input": 6, "audio_input": 20, "text_output": 9}


# Details that count each token once


@pytest.mark.parametrize(
    ("usage", "inputs", "outputs"),
    [
        (  # all audio cached
            {
                "input_tokens": 50,
                "output_tokens": 9,
                "input_token_details": {
                    "text_tokens": 20,
                    "audio_tokens": 30,
                    "cached_tokens": 30,
                    "cached_tokens_details": {"audio_tokens": 30},
                },
                "output_token_details": {"audio_tokens": 9},
            },
            {"text": 20, "audio": 0, "cache_read": 30},
            {"audio": 9},
        ),
        (  # cached tokens of no modality
            {"input_tokens": 50, "output_tokens": 9, "input_token_details": {"cached_tokens": 30}},
            {"cache_read": 30},
            None,
        ),
        (  # the modalities leave the cached tokens out already
            {
                "input_tokens": 50,
                "output_tokens": 9,
                "input_token_details": {"text_tokens": 10, "audio_tokens": 15, "cached_tokens": 25},
            },
            {"text": 10, "audio": 15, "cache_read": 25},
            None,
        ),
        (  # reasoning beside the modalities
            {
                "input_tokens": 1,
                "output_tokens": 60,
                "output_token_details": {"text_tokens": 10, "audio_tokens": 30, "reasoning_tokens": 20},
            },
            None,
            {"text": 10, "audio": 30, "reasoning": 20},
        ),
        (  # part of the reasoning is in the text
            {
                "input_tokens": 1,
                "output_tokens": 50,
                "output_token_details": {"text_tokens": 15, "audio_tokens": 30, "reasoning_tokens": 20},
            },
            None,
            {"text": 0, "audio": 30, "reasoning": 20},
        ),
        (  # more cached tokens than input
            {"input_tokens": 5, "output_tokens": 1, "input_token_details": {"text_tokens": 5, "cached_tokens": 9}},
            {"text": 0, "cache_read": 5},
            None,
        ),
    ],
)
def test_details_count_each_token_once(
    usage: dict[str, object], inputs: dict[str, int] | None, outputs: dict[str, int] | None
) -> None:
    metadata = usage_metadata(usage)
    assert metadata is not None
    assert metadata.get("input_token_details") == inputs
    assert metadata.get("output_token_details") == outputs
    for side in ("input", "output"):
        assert sum(metadata.get(f"{side}_token_details", {}).values()) <= metadata[f"{side}_tokens"]


def test_the_last_of_several_transcriptions_of_one_item_counts() -> None:
    usage = Usage()
    usage.add_transcription("whisper-1", {"seconds": 1}, ("item", 0))
    usage.add_transcription("whisper-1", {"seconds": 3}, ("item", 0))
    usage.add_transcription("whisper-1", {"seconds": 2}, ("item", 1))
    assert usage.totals() == {"transcription_seconds": 5}
    assert usage.charges()["whisper-1"]["per_minute"] == pytest.approx(5 / 60)


def test_a_model_that_is_named_late_is_charged_for_what_came_before() -> None:
    usage = Usage()
    usage.add_response(None, {"output_tokens": 1, "output_token_details": {"text_tokens": 1}})
    usage.add_transcription(None, {"seconds": 60})
    assert usage.charges("m", "t") == {"m": {"text_output": 1}, "t": {"per_minute": 1}}
    assert set(usage.charges()) == {UNKNOWN_MODEL}

"""Prices of models, and the estimated cost of a conversation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime import Price
from langsmith_realtime.core.protocol.prices import PRICES, estimated_cost, price_of, price_table
from langsmith_realtime.core.protocol.usage import charges_of_response, charges_of_transcription
from langsmith_realtime.options.tracing import Options
from tests.support.driven_conversation import DrivenConversation

pytestmark = pytest.mark.newest


@pytest.mark.parametrize(
    ("model", "row"),
    [
        ("gpt-realtime", "gpt-realtime"),
        ("gpt-realtime-2025-08-28", "gpt-realtime"),
        ("gpt-realtime-mini-2025-12-15", "gpt-realtime-mini"),
        ("gpt-realtime-2", "gpt-realtime-2"),
        ("gpt-realtime-2.1-mini", "gpt-realtime-2.1-mini"),
        ("gpt-4o-realtime-preview-2025-06-03", "gpt-4o-realtime-preview"),
        ("gpt-4o-mini-realtime-preview-2024-12-17", "gpt-4o-mini-realtime-preview"),
        ("gpt-4o-mini-transcribe-2025-12-15", "gpt-4o-mini-transcribe"),
        ("whisper-1", "whisper-1"),
    ],
)
def test_a_model_and_its_dated_snapshots_have_the_same_price(model: str, row: str) -> None:
    assert price_of(model, PRICES) is PRICES[row]


@pytest.mark.parametrize(
    "model", ["gpt-realtime-3", "gpt-realtime-translate", "gpt-realtime-2025", "my-deployment", ""]
)
def test_an_unknown_model_with_a_known_prefix_has_no_price(model: str) -> None:
    assert price_of(model, PRICES) is None


def test_a_snapshot_may_have_a_row_of_its_own() -> None:
    own = Price(text_input=1)
    prices = price_table({"gpt-realtime-2025-08-28": own})
    assert price_of("gpt-realtime-2025-08-28", prices) is own
    assert price_of("gpt-realtime-2026-01-01", prices) is PRICES["gpt-realtime"]


def test_every_realtime_model_in_the_table_has_the_prices_of_a_conversation() -> None:
    for model, price in PRICES.items():
        if "realtime" in model and price.per_minute is None:
            kinds = ("text_input", "audio_input", "cached_text_input", "cached_audio_input", "text_output")
            assert all(price.of(kind, 1) for kind in (*kinds, "audio_output")), model
            assert (price.cached_text_input or 0) < (price.text_input or 0), model
            assert (price.cached_audio_input or 0) < (price.audio_input or 0), model


def test_the_default_table_is_read_only() -> None:
    with pytest.raises(TypeError):
        PRICES["gpt-realtime"] = Price()  # type: ignore[index]
    price_table({"gpt-realtime": Price()})
    assert PRICES["gpt-realtime"].text_input == 4.0


def test_cached_input_is_charged_at_its_own_price() -> None:
    usage = {
        "input_tokens": 1_000_000,
        "output_tokens": 0,
        "input_token_details": {
            "text_tokens": 500_000,
            "audio_tokens": 400_000,
            "image_tokens": 100_000,
            "cached_tokens": 600_000,
            "cached_tokens_details": {"text_tokens": 300_000, "audio_tokens": 250_000, "image_tokens": 50_000},
        },
    }
    expected = 0.2 * 4 + 0.3 * 0.4 + 0.15 * 32 + 0.25 * 0.4 + 0.05 * 5 + 0.05 * 0.5
    assert estimated_cost({"gpt-realtime": charges_of_response(usage)}, PRICES) == {
        "estimated_cost_usd": round(expected, 6)
    }


def test_transcription_is_charged_by_minutes_or_tokens() -> None:
    charges = {
        "whisper-1": charges_of_transcription({"type": "duration", "seconds": 90}),
        "gpt-4o-transcribe": charges_of_transcription(
            {"type": "tokens", "input_tokens": 300, "output_tokens": 40, "input_token_details": {"text_tokens": 100}}
        ),
    }
    expected = 1.5 * 0.006 + (300 * 2.5 + 40 * 10) / 1e6
    assert estimated_cost(charges, PRICES) == {"estimated_cost_usd": round(expected, 6)}


def test_a_missing_price_makes_the_estimate_incomplete() -> None:
    charges = {
        "gpt-realtime": {"text_output": 1_000.0},
        "unknown-model": {"text_output": 1_000.0},
        "whisper-1": {"text_input": 10.0},  # it has a price per minute only
    }
    assert estimated_cost(charges, PRICES) == {
        "estimated_cost_usd": 0.016,
        "estimated_cost_incomplete": ["unknown-model", "whisper-1"],
    }
    assert estimated_cost({"unknown-model": {"text_output": 1.0}}, PRICES) == {
        "estimated_cost_incomplete": ["unknown-model"]
    }


def test_without_usage_there_is_no_cost() -> None:
    assert estimated_cost({}, PRICES) == {}
    assert estimated_cost({"unknown-model": {"text_output": 0}}, PRICES) == {}


@given(
    st.dictionaries(
        st.sampled_from(["text", "audio", "image"]), st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1
    )
)
def test_cached_tokens_never_cost_more(parts: dict[str, tuple[int, int]]) -> None:
    def cost(*, cached: bool) -> float:
        details: dict[str, Any] = {f"{name}_tokens": count for name, (count, _) in parts.items()}
        if cached:
            details["cached_tokens_details"] = {f"{name}_tokens": count for name, (_, count) in parts.items()}
        total = sum(count for count, _ in parts.values())
        charges: Any = charges_of_response({"input_tokens": total, "input_token_details": details})
        return float(estimated_cost({"gpt-realtime": charges}, PRICES).get("estimated_cost_usd", 0))

    assert 0 <= cost(cached=True) <= cost(cached=False)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"text_input": "4"}, TypeError, "Price.text_input must be a number of USD, got str"),
        ({"text_input": True}, TypeError, "Price.text_input must be a number of USD, got bool"),
        ({"per_minute": -0.01}, ValueError, "Price.per_minute must be finite and non-negative, got -0.01"),
        ({"audio_output": float("nan")}, ValueError, "got nan"),
        ({"audio_output": float("inf")}, ValueError, "got inf"),
        ({"text": 4}, TypeError, "unexpected keyword"),
    ],
)
def test_a_wrong_price_raises(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Price(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "prices must be a mapping of model names to Price, got int"),
        ([Price()], "got list"),
        ({7: Price()}, r"the keys of prices must be model names \(str\), got int"),
        ({"my-model": {"text_input": 1}}, r"prices\['my-model'\] must be a Price, got dict"),
    ],
)
def test_a_wrong_table_raises(given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Options.of(prices=given)


def test_the_option_prices_adds_and_replaces_rows() -> None:
    own = {"my-deployment": Price(text_output=10), "gpt-realtime": Price(text_output=1)}
    checked = Options.of(prices=own)
    assert checked.prices["my-deployment"].text_output == 10
    assert checked.prices["gpt-realtime"] == Price(text_output=1)
    assert checked.prices["whisper-1"] == PRICES["whisper-1"]
    assert Options.of(prices=None).prices == Options.of().prices == PRICES


# In a conversation

USAGE = {
    "input_tokens": 150,
    "output_tokens": 60,
    "total_tokens": 210,
    "input_token_details": {
        "text_tokens": 100,
        "audio_tokens": 50,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0},
    },
    "output_token_details": {"text_tokens": 20, "audio_tokens": 40},
}


def test_the_cost_of_a_conversation_includes_transcription() -> None:
    driven = DrivenConversation(transcribes=True)  # by whisper-1
    for response in ("resp_1", "resp_2"):
        driven.begins(response)
        driven.ends(response, usage=USAGE)
    driven.server(
        "conversation.item.input_audio_transcription.completed",
        item_id="spoken",
        transcript="Hello",
        usage={"type": "duration", "seconds": 3},
    )
    per_response = (36 * 4 + 64 * 0.4 + 50 * 32 + 20 * 16 + 40 * 64) / 1e6
    numbers = driven.conversation.numbers()
    assert numbers["estimated_cost_usd"] == round(2 * per_response + 0.05 * 0.006, 6)
    assert "estimated_cost_incomplete" not in numbers
    assert numbers["transcription_seconds"] == 3
    assert numbers["total_tokens"] == 420


def test_a_transcription_without_usage_makes_the_estimate_incomplete() -> None:
    driven = DrivenConversation(transcribes=True)
    driven.transcribed("Hello")
    assert driven.conversation.numbers()["estimated_cost_incomplete"] == ["whisper-1"]
    assert "estimated_cost_usd" not in driven.conversation.numbers()


def test_without_a_model_name_the_charges_are_of_unknown() -> None:
    driven = DrivenConversation(set_up=False)
    driven.begins("resp_1")
    driven.ends("resp_1", usage=USAGE)
    assert driven.conversation.numbers()["estimated_cost_incomplete"] == ["unknown"]


def test_after_a_change_of_model_each_response_has_the_price_of_its_model() -> None:
    driven = DrivenConversation()
    driven.ends("resp_1", usage={"output_tokens": 100, "output_token_details": {"text_tokens": 100}})
    driven.server("session.created", session={"id": "sess_2", "model": "gpt-realtime-mini-2025-10-06"})
    driven.ends("resp_2", usage={"output_tokens": 100, "output_token_details": {"text_tokens": 100}})
    assert driven.conversation.numbers()["estimated_cost_usd"] == round(100 * (16 + 2.4) / 1e6, 6)


def test_a_failed_transcription_costs_nothing() -> None:
    driven = DrivenConversation(transcribes=True)
    driven.server("conversation.item.input_audio_transcription.failed", item_id="spoken", error={"message": "no"})
    assert not [name for name in driven.conversation.numbers() if "cost" in name or "transcription" in name]

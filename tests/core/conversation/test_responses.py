"""One response: its outcome and its model run."""

from __future__ import annotations

from typing import Any

import pytest

from langsmith_realtime.core.conversation.responses import Outcome, Response, model_run, outcome_of
from langsmith_realtime.core.conversation.user_turns import Moment, Speech
from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.protocol.events import error_text
from langsmith_realtime.core.protocol.inputs import ROOT, Ref
from langsmith_realtime.core.protocol.items import Items


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"status": "completed"}, Outcome()),
        ({"status": "in_progress"}, Outcome()),
        (
            {"status": "cancelled", "status_details": {"reason": "turn_detected"}},
            Outcome("turn_detected", Failure("cancelled: turn_detected"), interrupted=True),
        ),
        ({"status": "cancelled"}, Outcome(None, Failure("cancelled: no reason given"), interrupted=True)),
        (
            {"status": "incomplete", "status_details": {"reason": "max_output_tokens"}},
            Outcome("max_output_tokens", Failure("incomplete: max_output_tokens")),
        ),
        ({"status": "incomplete", "status_details": None}, Outcome(None, Failure("incomplete: no reason given"))),
        (
            {"status": "failed", "status_details": {"error": {"type": "server_error", "message": "Sorry."}}},
            Outcome(None, Failure("failed: server_error: Sorry.")),
        ),
        ({"status": "failed", "status_details": {"reason": "odd"}}, Outcome("odd", Failure("failed: odd"))),
        ({"status": "failed"}, Outcome(None, Failure("failed: no reason given"))),
        ({"status": ["completed"], "status_details": 5}, Outcome()),
    ],
)
def test_the_outcome_follows_from_status_and_status_details(body: dict[str, Any], outcome: Outcome) -> None:
    assert outcome_of(body) == outcome


def test_an_error_text_has_the_type_the_code_and_the_message() -> None:
    assert error_text({"type": "a", "code": "b", "message": "c"}) == "b: c (a)"
    assert error_text({"type": "a", "code": None}) == "a"
    assert error_text({"message": "c"}) == "c"
    assert error_text({"code": 5}) == "5"
    assert error_text({"type": "a", "code": "a", "message": "c"}) == "a: c"


def test_a_model_run_has_the_messages_calls_usage_and_metadata_of_its_response() -> None:
    items = Items()
    items.update({"id": "user", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]})
    items.update({"id": "m", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "One."}]})
    items.update({"id": "n", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "Two."}]})
    items.update({"id": "c", "type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"})
    items.update({"id": "d", "type": "mcp_call", "name": "buy", "arguments": "{}", "output": "bought"})
    response = Response("resp_1", Ref(7), 1.0)
    for item_id in ("m", "c", "n", "d", "m"):
        response.add_item(items.get_or_create(item_id))
    response.input_items = [items.get_or_create("user")]
    response.first_token, response.done_at = 1.25, 2.0
    response.body = {
        "status": "completed",
        "metadata": {"topic": "weather"},
        "usage": {
            "input_tokens": 9,
            "output_tokens": 4,
            "total_tokens": 13,
            "input_token_details": {"cached_tokens": 3, "cached_tokens_details": {"text_tokens": 3}},
        },
    }
    response.usage = response.body["usage"]
    run = model_run(
        response,
        items,
        "gpt-realtime",
        interrupted=True,
        numbers={"latency_to_first_audio_ms": 412, "heard_share": 0.5},
        heard_shares={},
    )
    assert (run.parent, run.end, run.first_token, run.model) == (Ref(7), 2.0, 1.25, "gpt-realtime")
    assert run.inputs == [{"role": "user", "content": "Hi"}]
    assert run.message["content"] == "One.\nTwo."
    assert [call["id"] for call in run.message["tool_calls"]] == ["call_1", "d"]
    assert run.finish_reason == "completed"
    assert run.usage is not None
    assert run.usage["input_token_details"] == {"cache_read": 3}
    assert run.metadata == {
        "response_id": "resp_1",
        "status": "completed",
        "latency_to_first_audio_ms": 412,
        "heard_share": 0.5,
        "was_interrupted": True,
        "response_metadata": {"topic": "weather"},
        "cached_text_tokens": 3,
    }
    assert (run.error, run.interrupted) == (None, False)


def test_a_response_without_any_output_has_a_model_run() -> None:
    run = model_run(
        Response("", ROOT, 1.0, in_band=False), Items(), None, interrupted=False, numbers={}, heard_shares={}
    )
    assert (run.end, run.inputs, run.usage, run.finish_reason) == (1.0, [], None, "unknown")
    assert run.message == {"role": "assistant", "content": ""}
    assert run.metadata == {"response_id": "", "out_of_band": True}


@pytest.mark.parametrize(
    ("said", "share", "heard"),
    [
        ("Once upon a time", 0.5, "Once"),
        ("Once upon a time", 0.6, "Once upon"),
        ("Once upon a time", 1.0, "Once upon a time"),
        ("Once upon a time", 0.1, ""),
        ("昔々あるところに", 0.5, "昔々ある"),
    ],
)
def test_the_message_of_an_interrupted_response_has_the_heard_words(said: str, share: float, heard: str) -> None:
    items = Items()
    content = [{"type": "output_audio", "transcript": said}, {"type": "text", "text": "(smiles)"}]
    items.update({"id": "m", "type": "message", "role": "assistant", "content": content})
    items.update({"id": "n", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "Two."}]})
    response = Response("resp_1", Ref(7), 1.0, items=["m", "n"])
    runs = [
        model_run(response, items, None, interrupted=interrupted, numbers={}, heard_shares={"m": share})
        for interrupted in (True, False)
    ]
    assert [run.message.get("heard") for run in runs] == [heard, None]


def test_heard_words_of_several_items_are_joined() -> None:
    items = Items()
    for item_id, words in (("m", "One two."), ("n", "Three four."), ("o", "Five.")):
        items.update({"id": item_id, "role": "assistant", "content": [{"type": "output_audio", "transcript": words}]})
    response = Response("resp_1", Ref(7), 1.0, items=["m", "n", "o"])
    shares = {"m": 1.0, "n": 0.6, "o": 0.0}
    run = model_run(response, items, None, interrupted=True, numbers={}, heard_shares=shares)
    assert run.message["heard"] == "One two.\nThree"


def test_only_the_first_response_with_audio_answers_the_speech() -> None:
    speech = Speech(None, Moment(1.0))
    first, second, muted = (Response(name, ROOT, 1.0, user_speech=speech) for name in ("a", "b", "c"))
    muted.muted = True
    for response in (muted, first, second, first):
        response.audio_started(2.0)
    assert (first.user_speech, second.user_speech, muted.first_audio) == (speech, None, None)

"""Situations from public reports: who said what, which calls there were, and what was refused."""

from __future__ import annotations

import base64
import json
import math
from array import array
from typing import Any

import pytest

from tests.support.conversations import RECORDINGS
from tests.support.driven_conversation import DrivenConversation

pytestmark = pytest.mark.newest  # only the core, whose behaviour depends on no library version


def told(name: str) -> DrivenConversation:
    path = RECORDINGS.parent / "cases" / name / "input.jsonl"
    if not path.exists():
        pytest.skip(f"no {path}")
    driven = DrivenConversation(set_up=False)
    for line in path.read_text("utf-8").splitlines():
        given = json.loads(line, object_hook=with_sound)
        event = dict(given["event"])
        send = driven.server if given["dir"] == "server" else driven.client
        send(event.pop("type"), at=driven.t + given.get("after", 0.0), **event)
    driven.close(at=driven.t + 5)
    return driven


def with_sound(value: dict[str, Any]) -> Any:
    """Returns a tone in the place of an object that describes one."""
    if "$sound" not in value:
        return value
    rate, hz, amplitude = value.get("rate", 24_000), value.get("hz", 440), value.get("amp", 8000)
    frames = range(round(value["$sound"] * rate))
    tone = array("h", [round(amplitude * math.sin(2 * math.pi * hz * n / rate)) for n in frames])
    return base64.b64encode(tone.tobytes()).decode()


def test_the_words_of_a_server_with_beta_events_and_no_places_are_in_order() -> None:
    driven = told("03-qwen-omni")
    assert driven.transcript() == ["user: 今天星期几？", "assistant: 今天星期三。"]
    assert driven.model("resp_q1").inputs == [{"role": "user", "content": "今天星期几？"}]


def test_a_server_without_items_has_answers_calls_and_latencies() -> None:
    driven = told("04-hf-s2s-no-items")
    first, second = driven.model("resp_h"), driven.model("resp_h2")
    assert first.message["content"] == "Sure, one moment."
    assert [call["function"]["name"] for call in first.message["tool_calls"]] == ["set_light"]
    assert (second.message["content"], second.inputs[0]["content"]) == ("The light is on.", "on")
    assert first.inputs == [{"role": "user", "content": "Turn the light on."}]
    assert (first.metadata["spoken_ms"], second.metadata["spoken_ms"]) == (800, 1000)
    assert first.metadata["voice_to_voice_ms"] == pytest.approx(580, abs=30)
    roles = [message["role"] for message in driven.conversation.messages()]
    assert roles == ["user", "assistant", "assistant", "tool", "assistant"]
    assert driven.conversation.numbers()["turns"] == 1


def test_refused_results_are_not_shown_as_success() -> None:
    tools = {run.name: run for run in told("05-tool-output-refused").tools}
    refused, accepted = tools["collect_name"], tools["get_slots"]
    assert str(refused.error).startswith("result refused: invalid_tool_call_id")
    assert (refused.answered, refused.output) == (False, None)
    assert (accepted.error, accepted.output["content"]) == (None, '[{"id": "1", "start": "10:00"}]')
    assert accepted.end == pytest.approx(0.96, abs=0.02)


def test_what_was_asked_of_one_response_is_in_its_run() -> None:
    driven = told("06-response-instructions")
    first, second = driven.model("r1"), driven.model("r2")
    assert first.inputs == [{"role": "system", "content": "Greet the caller and ask for the order number."}]
    assert first.settings == {"tool_choice": "none"}
    given = ["Translate.", "Hello! What is your order number?", "Say it in French."]
    assert [message["content"] for message in second.inputs] == given
    assert "Say goodbye." not in str([run.inputs for run in driven.models])


def test_the_words_of_a_transcription_server_that_names_no_items_are_in_the_transcript() -> None:
    assert told("07-vllm-realtime").transcript() == ["user: Good morning."]


def test_a_deleted_message_keeps_its_place_and_is_in_no_later_input() -> None:
    driven = DrivenConversation()
    for item_id, words, previous in (("a", "Hi", None), ("b", "My PIN is 1", "a"), ("c", "No, 2", "b")):
        item = {"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_text", "text": words}]}
        driven.server("conversation.item.added", previous_item_id=previous, item=item)
    driven.server("conversation.item.deleted", item_id="b")
    driven.server("conversation.item.deleted", item_id="c")
    driven.server("conversation.item.deleted", item_id="unknown")
    item = {"id": "d", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Forget it"}]}
    driven.server("conversation.item.added", previous_item_id="a", item=item)  # the server knows no b and no c
    driven.begins("resp_1")
    driven.ends("resp_1")
    driven.close()
    assert driven.transcript() == ["user: Hi", "user: My PIN is 1", "user: No, 2", "user: Forget it"]
    assert [message["content"] for message in driven.model("resp_1").inputs] == ["Hi", "Forget it"]

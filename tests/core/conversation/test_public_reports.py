"""Situations from public reports: who said what, which calls there were, and what was refused."""

from __future__ import annotations

import base64
import json
import math
from array import array
from typing import Any

import pytest

from tests.support.conversations import RECORDINGS
from tests.support.driven_conversation import DrivenConversation, sound

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


def test_words_under_a_new_id_in_each_delta_are_one_message() -> None:
    driven = DrivenConversation()
    for response_id, is_told in (("r1", False), ("r2", True)):
        message: dict[str, Any] = {"id": f"item_{response_id}", "type": "message", "role": "assistant", "content": []}
        driven.begins(response_id)
        driven.output(response_id, message)
        for n, words in enumerate(("Blue", " like", " the sea.")):
            delta: dict[str, Any] = {
                "response_id": "",
                "item_id": f"{response_id} {n}",
                "content_index": 0,
                "delta": words,
            }
            driven.server("response.output_audio_transcript.delta", **delta)
            sent: dict[str, Any] = {"response_id": response_id, "item_id": message["id"], "delta": sound(0.5)}
            driven.server("response.output_audio.delta", **sent)
        content = [{"type": "output_audio", "transcript": "Blue like the sea."}]
        driven.ends(response_id, *([{**message, "content": content}] if is_told else []))
    driven.close(at=9)
    assert driven.transcript() == ["assistant: Blue like the sea."] * 2
    for model in driven.models:
        assert (model.message["content"], model.metadata["spoken_ms"]) == ("Blue like the sea.", 1500)


@pytest.mark.parametrize("name", ["cancelled", "canceled", "completed", "failed", "incomplete"])
def test_a_response_ends_with_an_event_that_tells_its_status_by_its_name(name: str) -> None:
    driven = DrivenConversation()
    driven.begins("r1")
    driven.says("r1", "One moment", "i1", seconds=0.5)
    driven.server(
        f"response.{name}", at=1, response_id="r1", error={"code": "overloaded"} if name == "failed" else None
    )
    driven.begins("r2")
    driven.says("r2", "Here I am.", "i2")
    usage = {"input_tokens": 3, "output_tokens": 4}
    driven.server("response.completed", response={"id": "r2", "status": "completed", "usage": usage})
    driven.server("response.done", response={"id": "r2", "status": "completed", "usage": usage})
    driven.close(at=30)
    first, second = driven.model("r1"), driven.model("r2")
    assert (first.end, first.finish_reason) == (1, "cancelled" if name == "canceled" else name)
    assert (str(first.error) == "failed: overloaded") is (name == "failed")
    assert second.end == pytest.approx(1.05)
    assert (second.finish_reason, second.error) == ("completed", None)
    assert driven.conversation.numbers()["total_tokens"] == 7


def test_a_response_that_the_server_never_ends_is_over_when_the_next_one_begins() -> None:
    driven = DrivenConversation(vad={"type": "server_vad"})
    driven.begins("r1")
    driven.says("r1", "First.", "i1", seconds=0.5)
    driven.begins("r2")
    began = driven.t
    driven.says("r2", "Second.", "i2", seconds=0.5)
    driven.ends("r2")
    driven.t = 3
    driven.spoken("Thanks.")
    driven.close(at=60)
    assert (driven.model("r1").end, driven.model("r1").finish_reason) == (began, "in_progress")
    assert "was_interrupted" not in driven.model("r1").metadata


def test_arguments_that_the_server_did_not_write_as_text_are_shown() -> None:
    driven = DrivenConversation()
    driven.begins("r1")
    call = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "weather", "arguments": {"city": "Zürich"}}
    driven.server(
        "response.function_call_arguments.done", response_id="r1", item_id="f1", **without(call, "id", "type")
    )
    driven.ends("r1", call)
    driven.close()
    (tool,) = driven.tools
    assert (tool.arguments, driven.model("r1").message["tool_calls"][0]["function"]["arguments"]) == (
        '{"city": "Zürich"}',
        '{"city": "Zürich"}',
    )


def test_each_call_has_a_run_although_the_server_uses_a_call_id_again() -> None:
    driven = DrivenConversation()
    for n in ("1", "2"):
        call = {"id": f"f{n}", "type": "function_call", "call_id": "call_0", "name": "weather", "arguments": f"[{n}]"}
        driven.begins(f"r{n}")
        driven.output(f"r{n}", call, done=True)
        driven.ends(f"r{n}", call)
        driven.item(f"o{n}", type="function_call_output", call_id="call_0", output=f"result {n}")
        driven.output(f"r{n}", call, done=True)  # an event that is repeated makes no second run
    driven.close()
    assert [(tool.arguments, tool.output["content"]) for tool in driven.tools] == [
        ("[1]", "result 1"),
        ("[2]", "result 2"),
    ]


def test_positions_of_speech_that_start_anew_within_a_session_tell_no_times() -> None:
    driven = DrivenConversation(vad={"type": "server_vad", "prefix_padding_ms": 300})
    for n, t in ((1, 2.0), (2, 8.0)):
        utterance: dict[str, Any] = {"item_id": f"u{n}"}
        driven.server("input_audio_buffer.speech_started", at=t, **utterance, audio_start_ms=700)
        driven.server("input_audio_buffer.speech_stopped", at=t + 1, **utterance, audio_end_ms=2000)
        driven.server("input_audio_buffer.committed", **utterance)
        driven.begins(f"r{n}")
        driven.says(f"r{n}", "Yes.", f"i{n}", seconds=0.2)
        driven.ends(f"r{n}")
    driven.close(at=12)
    assert driven.model("r2").metadata["latency_to_first_audio_ms"] < 100
    assert driven.conversation.numbers()["speech_positions_restart"] is True


def test_playback_that_is_reported_by_its_first_names_counts() -> None:
    driven = DrivenConversation()
    driven.begins("r1")
    driven.server("output_audio_buffer.audio_started", at=1.0, response_id="r1")
    driven.ends("r1")
    driven.server("output_audio_buffer.audio_stopped", at=2.5, response_id="r1")
    driven.close()
    assert driven.model("r1").first_audio == 1.0


def test_compressed_sound_is_no_noise_in_the_recording_and_the_root_says_so() -> None:
    for names, first in (("audio/opus", b"\x01\x02"), ({"type": "mp3", "rate": 24_000}, b"\x01\x02"), (None, b"OggS")):
        driven = DrivenConversation(set_up=False)
        sides = {side: {"format": names} for side in ("input", "output")} if names else {}
        driven.server("session.created", session={"id": "s", "model": "m", "audio": sides})
        chunk = base64.b64encode(first + b"\x10\x70" * 500).decode()
        later = base64.b64encode(b"\x10\x70" * 500).decode()
        for audio in (chunk, later):
            driven.client("input_audio_buffer.append", at=driven.t + 0.1, audio=audio)
        driven.begins("r1")
        for audio in (chunk, later):
            driven.server("response.output_audio.delta", response_id="r1", item_id="i1", delta=audio)
        driven.ends("r1")
        driven.close(at=3)
        numbers = driven.conversation.numbers()
        assert numbers["undecodable_audio"] == 4
        assert all(numbers[f"{side}_format_assumed"].startswith("nothing, because ") for side in ("user", "agent"))
        assert "spoken_ms" not in driven.model("r1").metadata
        assert driven.model("r1").first_audio is not None
        assert driven.conversation.tracks.user_activity is None


def test_instructions_that_are_no_text_are_shown() -> None:
    driven = DrivenConversation(set_up=False)
    driven.server("session.updated", session={"instructions": {"type": "smalltalk", "language": "en"}})
    driven.begins("r1")
    driven.ends("r1")
    driven.close()
    assert json.loads(driven.conversation.inputs()["instructions"]) == {"type": "smalltalk", "language": "en"}


def test_what_a_new_session_is_told_of_the_conversation_is_not_in_the_transcript_twice() -> None:
    driven = DrivenConversation()
    driven.typed("Where is my order?")
    driven.begins("r1")
    driven.says("r1", "On its way.", "i1")
    call = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "track", "arguments": "{}"}
    driven.output("r1", call, done=True)
    driven.ends("r1", call)
    result = {"type": "function_call_output", "call_id": "c1", "output": "in Lyon"}
    driven.item("o1", **result)
    driven.server("session.created", session={"id": "sess_2"})
    driven.last_id = ""
    told: list[dict[str, Any]] = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Where is my order?"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "On its way."}]},
        without(call, "id"),
        result,
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Go on where you were."}]},
    ]
    for n, item in enumerate(told):
        driven.client("conversation.item.create", item=item)
        driven.item(f"again_{n}", **item)
    driven.begins("r2")
    driven.says("r2", "It is in Lyon.", "i2")
    driven.ends("r2")
    driven.typed("Where is my order?", "later")  # this one is said again
    driven.close()
    words = [message["content"] for message in driven.conversation.messages() if message["content"]]
    assert words == [
        "Where is my order?",
        "On its way.",
        "in Lyon",
        "Go on where you were.",
        "It is in Lyon.",
        "Where is my order?",
    ]
    assert driven.conversation.numbers()["turns"] == 2
    assert [message["role"] for message in driven.model("r2").inputs] == [
        "user",
        "assistant",
        "assistant",
        "tool",
        "system",
    ]
    assert len(driven.tools) == 1


def test_the_images_of_a_camera_are_no_turns() -> None:
    driven = DrivenConversation()
    image = {"type": "input_image", "image_url": "data:image/jpeg;base64,QUJD"}
    for n in range(3):
        driven.item(f"image_{n}", type="message", role="user", content=[image])
    driven.item("asked", type="message", role="user", content=[image, {"type": "input_text", "text": "What is it?"}])
    driven.begins("r1")
    driven.ends("r1")
    driven.close()
    assert driven.conversation.numbers()["turns"] == 1
    assert len(driven.model("r1").inputs) == 4


def test_sound_in_an_item_that_the_application_sends_is_counted_as_not_recorded() -> None:
    driven = DrivenConversation()
    content = [{"type": "input_audio", "audio": sound(0.5)}]
    driven.client("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    driven.begins("r1")
    driven.ends("r1")
    driven.close()
    assert driven.transcript() == ["user: [audio, not transcribed]"]
    assert driven.conversation.numbers()["unrecorded_items"] == 1


def without(item: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in keys}

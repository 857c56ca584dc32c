"""Items: their order, their text and their chat messages."""

from __future__ import annotations

from typing import Any

from langsmith_realtime.core.protocol.items import Items
from langsmith_realtime.core.protocol.messages import TRANSCRIPTION_FAILED, UNTRANSCRIBED, messages_of


def ids(items: Items) -> list[str]:
    return [item.item_id for item in items.in_order()]


def chat_messages(items: Items) -> list[dict[str, Any]]:
    return [message for item in items.in_order() for message in messages_of(item)]


def message(items: Items, item_id: str, role: str, *content: dict[str, Any]) -> None:
    items.update({"id": item_id, "type": "message", "role": role, "content": list(content)})
    items.place(item_id, None)


def test_previous_item_ids_give_the_order() -> None:
    items = Items()
    items.place("a", None)
    items.place("c", "a")
    items.place("b", "a")
    items.place("first", "root")
    items.place("d", "c")
    items.place("e", "unknown")
    assert ids(items) == ["first", "a", "b", "c", "d", "e"]


def test_an_item_keeps_its_first_place() -> None:
    items = Items()
    for item_id, previous in (("a", None), ("b", "a"), ("a", "b"), ("b", None), ("b", "root")):
        items.place(item_id, previous)
    assert ids(items) == ["a", "b"]


def test_an_item_without_a_place_stands_in_the_order_of_first_sight_until_one_is_told() -> None:
    items = Items()
    items.get_or_create("early")
    items.place("a", None)
    items.get_or_create("late")
    assert ids(items) == ["early", "a", "late"]
    items.place("early", "a")
    items.place("late", "root")
    assert ids(items) == ["late", "a", "early"]


def test_an_item_that_comes_after_its_successor_stands_before_it() -> None:
    items = Items()
    items.place("answer", "question")
    items.place("more", "answer")
    items.get_or_create("question")
    assert ids(items) == ["question", "answer", "more"]


def test_speech_takes_its_place_when_it_ends() -> None:
    items = Items()
    items.message("speech", "user").speaking = True
    items.place("answer in flight", None)
    assert items.new_items() == [items.get("answer in flight")], "what the user still speaks is no input"
    items.place("speech", None)
    assert ids(items) == ["answer in flight", "speech"]


def test_a_previous_item_without_a_told_place_is_followed_all_the_same() -> None:
    items = Items()
    items.get_or_create("floating")
    items.place("a", None)
    items.place("b", "floating")
    items.place("c", ["no", "id"])
    assert ids(items) == ["floating", "a", "b", "c"], "a came before b, and no event told its place"


def test_out_of_band_items_are_not_in_the_order() -> None:
    items = Items()
    items.place("a", None)
    items.get_or_create("verdict").out_of_band = True
    assert ids(items) == ["a"]


def test_new_items_are_those_that_no_response_produced() -> None:
    items = Items()
    items.place("user", None)
    items.place("agent", "user")
    items.assign_response("agent", "resp_1")
    assert [item.item_id for item in items.new_items()] == ["user"]
    assert [item.item_id for item in items.take_new_items()] == ["user"]
    assert items.take_new_items() == []


def test_an_item_keeps_its_first_known_response() -> None:
    items = Items()
    items.assign_response("a", "")
    items.assign_response("a", "resp_1")
    items.assign_response("a", "resp_2")
    assert items.get_or_create("a").response_id == "resp_1"


def test_the_whole_transcript_replaces_its_deltas() -> None:
    items = Items()
    items.get_or_create("a").role = "user"
    items.add_delta(items.get_or_create("a"), 0, "Hel", kind="audio")
    items.add_delta(items.get_or_create("a"), 0, None, kind="audio")
    items.add_delta(items.get_or_create("a"), 0, "lo", kind="audio")
    assert chat_messages(items) == [{"role": "user", "content": "Hello"}]
    assert items.get_or_create("a").awaits_transcript
    items.add_text(items.get_or_create("a"), 0, ["no text"], kind="audio")
    items.add_text(items.get_or_create("a"), 0, "Hello.", kind="audio")
    assert chat_messages(items) == [{"role": "user", "content": "Hello."}]
    assert not items.get_or_create("a").awaits_transcript


def test_a_null_field_does_not_delete_known_text() -> None:
    items = Items()
    message(
        items, "a", "assistant", {"type": "output_audio", "transcript": "All of it."}, {"type": "text", "text": "!"}
    )
    items.update({"id": "a", "status": None, "role": None, "content": [{"type": "output_audio", "transcript": None}]})
    items.update({"id": "a", "role": 7, "content": None})
    assert chat_messages(items) == [{"role": "assistant", "content": "All of it.\n!"}]


def test_user_audio_without_a_transcript_has_a_placeholder() -> None:
    items = Items()
    message(items, "quiet", "user", {"type": "input_audio", "transcript": None})
    message(items, "failed", "user", {"type": "input_audio"})
    items.get_or_create("failed").transcription_failed = True
    assert [each["content"] for each in chat_messages(items)] == [UNTRANSCRIBED, TRANSCRIPTION_FAILED]
    assert items.get_or_create("quiet").awaits_transcript
    assert not items.get_or_create("failed").awaits_transcript


def test_an_empty_transcript_gives_no_message() -> None:
    items = Items()
    message(items, "a", "user", {"type": "input_audio"})
    items.add_text(items.get_or_create("a"), 0, "", kind="audio")
    assert chat_messages(items) == []
    assert not items.get_or_create("a").awaits_transcript, "the transcript has arrived"


def test_the_item_of_an_idle_timeout_is_no_turn_and_no_message() -> None:
    items = Items()
    message(items, "idle", "user", {"type": "input_audio"})
    assert items.get_or_create("idle").is_user_turn
    items.get_or_create("idle").from_idle_timeout = True
    assert not items.get_or_create("idle").is_user_turn
    assert not items.get_or_create("idle").awaits_transcript
    assert chat_messages(items) == []


def test_text_image_and_audio_parts_keep_their_order() -> None:
    items = Items()
    content = [
        {"type": "input_text", "text": "Look:"},
        {"type": "input_image", "image_url": "data:image/png;base64,QUJD"},
        {"type": "input_audio", "transcript": "What is it?"},
        {"type": "hologram"},
        {"type": ["input_text"]},
        None,
    ]
    message(items, "a", "user", *content)  # type: ignore[arg-type]
    assert chat_messages(items) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                {"type": "image_url", "image_url": {"url": "<image/png: 3 bytes>"}},
                {"type": "text", "text": "What is it?"},
            ],
        }
    ]


def test_a_function_call_and_its_result_are_two_messages() -> None:
    items = Items()
    items.update({"id": "a", "type": "function_call", "call_id": "call_1", "name": "look", "arguments": ""})
    items.update({"id": "a", "type": "function_call", "name": "look", "arguments": '{"x": 1}', "status": "completed"})
    items.update({"id": "b", "type": "function_call_output", "call_id": "call_1", "output": ""})
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"x": 1}'}}
    assert chat_messages(items) == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": ""},
    ]


def test_an_mcp_call_with_a_result_is_two_messages() -> None:
    items = Items()
    items.update({"id": "a", "type": "mcp_call", "name": "buy", "arguments": "", "output": None})
    call = {"id": "a", "type": "function", "function": {"name": "buy", "arguments": "{}"}}
    call_message = {"role": "assistant", "content": "", "tool_calls": [call]}
    assert chat_messages(items) == [call_message]
    items.update({"id": "a", "error": {"type": "http_error", "code": 500}})
    assert chat_messages(items) == [
        call_message,
        {"role": "tool", "tool_call_id": "a", "content": {"type": "http_error", "code": 500}},
    ]


def test_other_items_give_no_message() -> None:
    items = Items()
    items.update({"id": "a", "type": "mcp_list_tools", "tools": []})
    assert chat_messages(items) == []
    assert items.update({"type": "message"}) is None
    assert items.update("a") is None
    assert items.get(["a"]) is None


def test_an_interrupted_message_has_heard_ms() -> None:
    items = Items()
    message(items, "a", "assistant", {"type": "output_audio", "transcript": "A long story."})
    items.get_or_create("a").interrupted = True
    assert chat_messages(items) == [{"role": "assistant", "content": "A long story.", "interrupted": True}]
    items.get_or_create("a").heard_ms = 1499.7
    assert chat_messages(items) == [
        {"role": "assistant", "content": "A long story.", "interrupted": True, "heard_ms": 1500}
    ]


def test_an_empty_item_gives_a_message_only_if_a_response_produced_it() -> None:
    items = Items()
    items.get_or_create("a").interrupted = True
    assert chat_messages(items) == []
    items.assign_response("a", "resp_1")
    assert chat_messages(items) == [{"role": "assistant", "content": "", "interrupted": True}]


def test_items_whose_place_no_event_tells_stay_where_they_were_first_seen() -> None:
    items = Items()
    for number in range(3):
        items.place(f"user {number}", f"user {number - 1}" if number else "root")
        items.get_or_create(f"agent {number}")  # previous_item_id of the next item skips it
    assert ids(items) == [f"{who} {number}" for number in range(3) for who in ("user", "agent")]

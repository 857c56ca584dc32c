"""Items in conversation order, and the words of each, whenever they come."""

from __future__ import annotations

from typing import Any

from langsmith_realtime.core.protocol.items import TRANSCRIPTION_FAILED, UNTRANSCRIBED, Items, messages_of


def ids(items: Items) -> list[str]:
    return [item.item_id for item in items.in_order()]


def told(items: Items) -> list[dict[str, Any]]:
    return [message for item in items.in_order() for message in messages_of(item)]


def message(items: Items, item_id: str, role: str, *content: dict[str, Any]) -> None:
    items.update({"id": item_id, "type": "message", "role": role, "content": list(content)})
    items.place(item_id, None)


def test_the_chain_of_previous_items_is_the_order() -> None:
    items = Items()
    items.place("a", None)
    items.place("c", "a")
    items.place("b", "a")
    items.place("first", "root")
    items.place("d", "c")
    items.place("e", "never heard of")
    assert ids(items) == ["first", "a", "b", "c", "d", "e"]


def test_the_first_word_on_an_items_place_stands() -> None:
    items = Items()
    for item_id, previous in (("a", None), ("b", "a"), ("a", "b"), ("b", None), ("b", "root")):
        items.place(item_id, previous)
    assert ids(items) == ["a", "b"]


def test_an_item_known_only_by_its_words_comes_last() -> None:
    items = Items()
    items.add_delta("early", 0, "Hi", kind="audio")
    items.place("a", None)
    assert ids(items) == ["a", "early"]
    items.place("early", "root")
    assert ids(items) == ["early", "a"]


def test_a_previous_item_that_has_no_place_itself_is_no_place() -> None:
    items = Items()
    items.get_or_create("floating")
    items.place("a", None)
    items.place("b", "floating")
    items.place("c", ["no", "id"])
    assert ids(items)[:3] == ["a", "b", "c"]


def test_what_an_out_of_band_response_said_is_no_part_of_the_conversation() -> None:
    items = Items()
    items.place("a", None)
    items.get_or_create("verdict").out_of_band = True
    assert ids(items) == ["a"]


def test_fresh_is_what_no_response_produced() -> None:
    items = Items()
    items.place("user", None)
    items.place("agent", "user")
    items.assign_response("agent", "resp_1")
    assert [item.item_id for item in items.new_items()] == ["user"]
    assert [item.item_id for item in items.take_new_items()] == ["user"]
    assert items.take_new_items() == []


def test_who_produced_an_item_is_learnt_once() -> None:
    items = Items()
    items.assign_response("a", "")
    items.assign_response("a", "resp_1")
    items.assign_response("a", "resp_2")
    assert items.get_or_create("a").response_id == "resp_1"


def test_a_transcript_in_pieces_is_replaced_by_the_whole() -> None:
    items = Items()
    items.get_or_create("a").role = "user"
    items.add_delta("a", 0, "Hel", kind="audio")
    items.add_delta("a", 0, None, kind="audio")
    items.add_delta("a", 0, "lo", kind="audio")
    assert told(items) == [{"role": "user", "content": "Hello"}]
    assert items.get_or_create("a").awaits_transcript
    items.set_text("a", 0, ["no text"], kind="audio")
    items.set_text("a", 0, "Hello.", kind="audio")
    assert told(items) == [{"role": "user", "content": "Hello."}]
    assert not items.get_or_create("a").awaits_transcript


def test_what_was_known_is_never_taken_back() -> None:
    items = Items()
    message(
        items, "a", "assistant", {"type": "output_audio", "transcript": "All of it."}, {"type": "text", "text": "!"}
    )
    items.update({"id": "a", "status": None, "role": None, "content": [{"type": "output_audio", "transcript": None}]})
    items.update({"id": "a", "role": 7, "content": None})
    assert told(items) == [{"role": "assistant", "content": "All of it.\n!"}]


def test_speech_without_a_transcript_says_so() -> None:
    items = Items()
    message(items, "quiet", "user", {"type": "input_audio", "transcript": None})
    message(items, "failed", "user", {"type": "input_audio"})
    items.get_or_create("failed").transcription_failed = True
    assert [each["content"] for each in told(items)] == [UNTRANSCRIBED, TRANSCRIPTION_FAILED]
    assert items.get_or_create("quiet").awaits_transcript
    assert not items.get_or_create("failed").awaits_transcript


def test_a_transcript_of_silence_says_nothing() -> None:
    items = Items()
    message(items, "a", "user", {"type": "input_audio"})
    items.set_text("a", 0, "", kind="audio")
    assert told(items) == []
    assert not items.get_or_create("a").awaits_transcript, "nobody has to wait for it"


def test_an_idle_timeout_is_no_turn_and_says_nothing() -> None:
    items = Items()
    message(items, "idle", "user", {"type": "input_audio"})
    assert items.get_or_create("idle").is_user_turn
    items.get_or_create("idle").from_idle_timeout = True
    assert not items.get_or_create("idle").is_user_turn
    assert not items.get_or_create("idle").awaits_transcript
    assert told(items) == []


def test_typed_words_images_and_speech_stand_in_their_order() -> None:
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
    assert told(items) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                {"type": "image_url", "image_url": {"url": "<image/png: 3 bytes>"}},
                {"type": "text", "text": "What is it?"},
            ],
        }
    ]


def test_a_call_and_its_result_are_messages() -> None:
    items = Items()
    items.update({"id": "a", "type": "function_call", "call_id": "call_1", "name": "look", "arguments": ""})
    items.update({"id": "a", "type": "function_call", "name": "look", "arguments": '{"x": 1}', "status": "completed"})
    items.update({"id": "b", "type": "function_call_output", "call_id": "call_1", "output": ""})
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"x": 1}'}}
    assert told(items) == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": ""},
    ]


def test_an_mcp_call_is_two_messages_once_it_has_a_result() -> None:
    items = Items()
    items.update({"id": "a", "type": "mcp_call", "name": "buy", "arguments": "", "output": None})
    call = {"id": "a", "type": "function", "function": {"name": "buy", "arguments": "{}"}}
    asked = {"role": "assistant", "content": "", "tool_calls": [call]}
    assert told(items) == [asked]
    items.update({"id": "a", "error": {"type": "http_error", "code": 500}})
    assert told(items) == [asked, {"role": "tool", "tool_call_id": "a", "content": {"type": "http_error", "code": 500}}]


def test_other_items_are_no_messages() -> None:
    items = Items()
    items.update({"id": "a", "type": "mcp_list_tools", "tools": []})
    assert told(items) == []
    assert items.update({"type": "message"}) is None
    assert items.update("a") is None
    assert items.get(["a"]) is None


def test_an_interrupted_message_says_how_much_was_heard() -> None:
    items = Items()
    message(items, "a", "assistant", {"type": "output_audio", "transcript": "A long story."})
    items.get_or_create("a").interrupted = True
    assert told(items) == [{"role": "assistant", "content": "A long story.", "interrupted": True}]
    items.get_or_create("a").heard_ms = 1499.7
    assert told(items) == [{"role": "assistant", "content": "A long story.", "interrupted": True, "heard_ms": 1500}]


def test_an_item_nothing_is_known_of_is_no_message() -> None:
    items = Items()
    items.get_or_create("a").interrupted = True
    assert told(items) == []
    items.assign_response("a", "resp_1")
    assert told(items) == [{"role": "assistant", "content": "", "interrupted": True}]

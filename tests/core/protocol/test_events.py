"""Parsing of frames: GA and beta events, and malformed frames."""

from __future__ import annotations

import json
from collections import UserDict
from typing import Any

import pytest
from openai.types.realtime import ConversationItemCreateEvent, RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

from langsmith_realtime.core.protocol.events import (
    OTHER_NAMES,
    Call,
    FrameError,
    announced_calls,
    mapping,
    number,
    parse,
    sequence,
    text,
)

DONE = {"type": "response.done", "event_id": "event_1", "response": {"id": "resp_1", "output": []}}


@pytest.mark.parametrize(
    "frame",
    [
        DONE,
        UserDict(DONE),
        json.dumps(DONE),
        json.dumps(DONE).encode(),
        bytearray(json.dumps(DONE), "utf-8"),
        memoryview(json.dumps(DONE).encode()),
    ],
    ids=["dict", "mapping", "text", "bytes", "bytearray", "memoryview"],
)
def test_a_frame_is_parsed_from_every_supported_form(frame: object) -> None:
    event = parse(frame)
    assert (event.kind, event.name, event.body) == ("response.done", "response.done", DONE)


def test_a_dict_is_not_copied() -> None:
    assert parse(DONE).body is DONE


def test_a_model_gives_only_the_fields_that_were_on_the_wire() -> None:
    model: Any = TypeAdapter(RealtimeServerEvent).validate_python(
        {"type": "rate_limits.updated", "event_id": "event_1", "rate_limits": [{"name": "tokens"}], "new": 1}
    )
    assert parse(model).body == {
        "type": "rate_limits.updated",
        "event_id": "event_1",
        "rate_limits": [{"name": "tokens"}],
        "new": 1,
    }


def test_a_model_of_an_unrelated_class_keeps_its_type() -> None:
    # The openai library builds an event of an unknown type as a class of another type.
    model = ConversationItemCreateEvent.construct(type="brand.new", detail={"deep": [1]})
    assert parse(model).name == "brand.new"
    assert parse(model).body["detail"] == {"deep": [1]}


def test_a_model_that_cannot_be_converted_to_json_raises() -> None:
    class Odd(BaseModel):
        type: str
        content: bytes

    with pytest.raises(FrameError, match="the model cannot be converted to JSON: UnicodeDecodeError"):
        parse(Odd(type="odd", content=b"\xff"))


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("{", "must be JSON, got JSONDecodeError"),
        (b"\xff\xfe\xfd", "must be JSON, got UnicodeDecodeError"),
        ("[" * 100_000, "must be JSON, got RecursionError"),
        ("[1]", "must be a JSON object, got list"),
        ("null", "must be a JSON object, got NoneType"),
        ({}, "must have a type"),
        ({"type": ""}, "must have a type"),
        ({"type": ["session.created"]}, "must have a type"),
        (7, "got int"),
        (None, "got NoneType"),
    ],
)
def test_a_malformed_frame_raises_with_the_reason(frame: object, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        parse(frame)


def test_a_beta_event_has_the_ga_kind_and_its_name_on_the_wire() -> None:
    for beta, ga in OTHER_NAMES.items():
        event = parse({"type": beta})
        assert (event.name, event.kind) == (beta, ga)
        assert event.is_delta == beta.endswith(".delta")


def test_unknown_deltas_are_deltas() -> None:
    assert parse({"type": "response.thoughts.delta"}).is_delta
    assert not parse({"type": "delta"}).is_delta


CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}


@pytest.mark.parametrize(
    ("frame", "calls"),
    [
        (
            {"type": "response.function_call_arguments.done", **CALL, "name": None}
            | {"type": "response.function_call_arguments.done"},
            [Call("call_1", None, "{}")],
        ),
        ({"type": "response.output_item.done", "item": CALL}, [Call("call_1", "look", "{}")]),
        ({"type": "response.output_item.done", "item": {**CALL, "type": "mcp_call"}}, []),
        ({"type": "response.output_item.added", "item": CALL}, []),
        ({"type": "conversation.item.done", "item": CALL}, []),
        (
            {
                "type": "response.done",
                "response": {"output": [CALL, {"type": "message"}, {**CALL, "call_id": "call_2"}]},
            },
            [Call("call_1", "look", "{}"), Call("call_2", "look", "{}")],
        ),
        (
            {"type": "response.done", "response": {"output": [{**CALL, "status": "incomplete", "arguments": ""}]}},
            [Call("call_1", "look", None, complete=False)],
        ),
        (
            {"type": "response.output_item.done", "item": {**CALL, "arguments": ""}},
            [Call("call_1", "look", "")],  # it has none
        ),
        (  # a server sends the object itself
            {"type": "response.output_item.done", "item": {**CALL, "arguments": {"city": "Rome"}}},
            [Call("call_1", "look", '{"city": "Rome"}')],
        ),
        ({"type": "response.done", "response": {"output": [{**CALL, "call_id": None}, 5, None]}}, []),
        ({"type": "response.done", "response": None}, []),
        ({"type": "response.done", "response": {"output": {"call_id": "call_1"}}}, []),
        ({"type": "response.output_item.done", "item": "call_1"}, []),
    ],
)
def test_events_that_complete_function_calls_announce_them(frame: dict[str, Any], calls: list[Call]) -> None:
    assert announced_calls(parse(frame)) == calls


def test_readers_of_fields_replace_values_of_a_wrong_type() -> None:
    assert mapping({"a": 1}) == {"a": 1}
    assert mapping([1]) == {}
    assert sequence([1]) == [1]
    assert sequence("abc") == []
    assert text("a") == "a"
    assert text("") is None
    assert text(1) is None
    assert number(1.5) == 1.5
    for not_a_number in (True, "1", None, float("nan"), float("inf"), -float("inf"), 10**400):
        assert number(not_a_number) is None


@pytest.mark.parametrize("frame", ['\ufeff{"type": "ping"}', '\ufeff{"type": "ping"}'.encode()], ids=["text", "bytes"])
def test_a_byte_order_mark_before_the_frame_is_ignored(frame: str | bytes) -> None:
    assert parse(frame).body == {"type": "ping"}

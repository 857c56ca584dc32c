"""What an input of a conversation is: data with a time, which nothing changes, and which any conversation takes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.protocol.inputs import (
    ROOT,
    VERSION,
    AgentChanged,
    Annotated,
    ApprovalAnswered,
    ApprovalAsked,
    Audio,
    ChildBegun,
    ClientFrame,
    Closed,
    Connected,
    DroppedAudio,
    GuardrailTripped,
    MalformedFrame,
    Opened,
    Played,
    Ref,
    ServerFrame,
    Silence,
    ToolBegun,
    ToolClaimed,
    ToolEnded,
    ToolFailed,
)
from langsmith_realtime.live.coalescing import parsed
from tests.support.hostile_conversations import SETTINGS
from tests.support.inputs import KINDS, conversations, inputs_of

pytestmark = pytest.mark.newest  # no version matters to it

#: The fields that each kind must have. A journal of an older version has no others, so a new one needs a new VERSION.
REQUIRED: dict[type, set[str]] = {
    Opened: set(),
    ServerFrame: {"frame", "t"},
    ClientFrame: {"frame", "t"},
    MalformedFrame: {"frame", "reason", "t"},
    Audio: {"channel", "data", "t"},
    DroppedAudio: {"channel", "size", "t"},
    Played: {"item_id", "ms", "t", "at"},
    Silence: {"t"},
    ToolClaimed: {"call_id", "t", "run_id"},
    ToolBegun: {"call_id", "t", "parent"},
    ToolEnded: {"call_id", "t"},
    ChildBegun: {"t"},
    ToolFailed: {"call_id", "t", "error"},
    AgentChanged: {"agent", "t", "run"},
    GuardrailTripped: {"t", "run"},
    ApprovalAsked: {"call_id", "t", "run"},
    ApprovalAnswered: {"call_id", "t", "approved"},
    Connected: {"t", "address", "port"},
    Annotated: {"t"},
    Closed: {"t"},
}


@pytest.mark.parametrize("kind", KINDS)
@settings(SETTINGS, max_examples=20)
@given(data=st.data())
def test_an_input_of_every_kind_has_a_time_and_cannot_be_changed(kind: type[Any], data: st.DataObject) -> None:
    made: Any = data.draw(inputs_of(kind))
    assert isinstance(made, kind)
    assert isinstance(made.t, float)
    assert dataclasses.replace(made) == made
    assert not hasattr(made, "__dict__")
    for field in dataclasses.fields(made):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_field_has_a_default_unless_the_version_changes(kind: type) -> None:
    required = {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is field.default_factory is dataclasses.MISSING
    }
    assert VERSION == 2
    assert required <= REQUIRED.get(kind, required)


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        (Opened(), Opened(0.0)),
        (ServerFrame({}, 1.0), ServerFrame({}, 1.0, None, None)),
        (MalformedFrame(7, "why", 1.0), MalformedFrame(7, "why", 1.0, None)),
        (Audio(0, b"", 1.0), Audio(0, b"", 1.0, None, None)),
        (DroppedAudio(0, 2, 1.0), DroppedAudio(0, 2, 1.0, None, None)),
        (Silence(1.0), Silence(1.0, None, None, None)),
        (ToolEnded("call_1", 1.0), ToolEnded("call_1", 1.0, None)),
        (ChildBegun(1.0), ChildBegun(1.0, None)),
        (Annotated(1.0), Annotated(1.0, {}, (), {})),
        (Closed(1.0), Closed(1.0, None, {})),
        (Ref(7), Ref(7, None)),
        (ROOT, Ref(0)),
    ],
)
def test_what_is_not_said_has_not_happened(short: object, whole: object) -> None:
    assert short == whole


def test_inputs_do_not_share_their_defaults() -> None:
    assert Annotated(1.0).metadata is not Annotated(1.0).metadata
    assert Closed(1.0).dropped is not Closed(1.0).dropped


@settings(SETTINGS, max_examples=100)
@given(conversations())
def test_a_conversation_takes_inputs_of_every_kind_in_any_order(inputs: list[Any]) -> None:
    conversation = Conversation()
    for each in inputs:
        conversation.take(parsed(each))
    conversation.messages()
    conversation.numbers()

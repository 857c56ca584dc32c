"""A conversation that receives events one by one: its runs, its transcript and its numbers."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langsmith_realtime.core.conversation.events.server_events import HANDLERS
from langsmith_realtime.core.conversation.run_data import EventRun, RunData
from langsmith_realtime.core.protocol.events import OTHER_NAMES, SPEECH_STARTED, parse
from langsmith_realtime.core.protocol.inputs import ClientFrame, Input, Ref, ServerFrame, ToolBegun, ToolEnded
from langsmith_realtime.live.coalescing import parsed
from tests.support.driven_conversation import RATE, DrivenConversation, labels, sound

pytestmark = pytest.mark.newest  # only the core, whose behaviour depends on no library version

CALL = {"id": "item_c", "type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"x": 1}'}
OTHER = {**CALL, "id": "item_d", "call_id": "call_2", "name": "buy"}


def result(call_id: str, output: str = "ok") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def send_result(driven: DrivenConversation, call_id: str, output: str = "ok", **fields: Any) -> list[RunData]:
    """Sends a result, which the server accepts; returns the runs that this completed, without the server's event."""
    driven.client("conversation.item.create", item=result(call_id, output), **fields)
    item = {"id": f"result of {call_id}", **result(call_id, output)}
    runs = driven.server("conversation.item.created", item=item)
    return [run for run in runs if not (isinstance(run, EventRun) and run.ref == Ref(driven.received))]


# Events


def test_every_server_event_except_deltas_becomes_one_run_also_of_an_unknown_type() -> None:
    driven = DrivenConversation(set_up=False)
    for name in ("session.created", "brand.new", "response.thoughts.delta", "brand.new", "input_audio_buffer.cleared"):
        driven.server(name, some="thing")
    assert labels(driven.happened) == ["session.created", "brand.new", "brand.new", "input_audio_buffer.cleared"]
    assert [run.ref for run in driven.events] == [Ref(1), Ref(2), Ref(3), Ref(4)]
    assert driven.events[1] == EventRun(Ref(2), "brand.new", {"type": "brand.new", "some": "thing"})
    assert driven.conversation.numbers()["event_count"] == 4


def test_beta_events_keep_their_names_and_are_handled_like_the_ga_events() -> None:
    driven = DrivenConversation()
    driven.begins("resp_1")
    item = {"id": "a", "type": "message", "role": "assistant"}
    driven.server("conversation.item.created", previous_item_id=None, item=item)
    where: dict[str, Any] = {"response_id": "resp_1", "item_id": "a", "content_index": 0}
    driven.server("response.audio_transcript.delta", **where, delta="Hel")
    driven.server("response.audio_transcript.done", **where, transcript="Hello.")
    driven.server("response.text.done", **{**where, "content_index": 1}, text="(smiles)")
    assert [run.name for run in driven.events][2:] == [
        "conversation.item.created",
        "response.audio_transcript.done",
        "response.text.done",
    ]
    assert driven.transcript() == ["assistant: Hello.\n(smiles)"]


# Model runs


def test_the_model_run_hangs_below_response_created() -> None:
    driven = DrivenConversation()
    driven.typed("Hi")
    driven.begins("resp_1")
    created = Ref(driven.received)
    where: dict[str, Any] = {"response_id": "resp_1", "item_id": "a", "content_index": 0}
    driven.server("response.output_text.delta", at=1.0, **where, delta="Hel")
    driven.server("response.output_text.delta", at=1.5, **where, delta="lo.")
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7, "input_token_details": {"cached_tokens": 3}}
    happened = driven.ends("resp_1", {"id": "a", "type": "message", "role": "assistant"}, usage=usage)
    assert labels(happened) == ["response.done", "model resp_1"]
    model = driven.model("resp_1")
    assert (model.parent, model.first_token, model.end, model.model) == (created, 1.0, driven.t, "gpt-realtime")
    assert model.inputs == [{"role": "user", "content": "Hi"}]
    assert model.message == {"role": "assistant", "content": "Hello."}
    assert model.usage is not None
    assert model.usage["input_token_details"] == {"cache_read": 3}
    assert driven.conversation.numbers()["total_tokens"] == 7


def test_inputs_of_a_model_run_are_the_items_since_the_previous_response() -> None:
    driven = DrivenConversation()
    driven.item("rules", type="message", role="system", content=[{"type": "input_text", "text": "Be kind."}])
    driven.typed("One", "one")
    driven.begins("resp_1")
    driven.output("resp_1", CALL)
    driven.item(**{"item_id": "item_c", **{key: value for key, value in CALL.items() if key != "id"}})
    driven.ends("resp_1", CALL)
    driven.client("conversation.item.create", item=result("call_1", "sunny"))
    driven.item("item_r", **result("call_1", "sunny"))
    driven.begins("resp_2")
    driven.says("resp_2", "Sunny.", "answer")
    driven.ends("resp_2")
    driven.begins("resp_3")
    driven.ends("resp_3")
    assert driven.model("resp_1").inputs == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "One"},
    ]
    assert driven.model("resp_2").inputs == [{"role": "tool", "tool_call_id": "call_1", "content": "sunny"}]
    assert driven.model("resp_3").inputs == []


def test_a_model_run_waits_for_a_late_transcript_of_its_input() -> None:
    driven = DrivenConversation(transcribes=True)
    driven.spoken(None)
    driven.begins("resp_1")
    driven.says("resp_1", "Hello.", "answer")
    assert labels(driven.ends("resp_1")) == ["response.done"]
    assert labels(driven.transcribed("Hi there.")) == [
        "conversation.item.input_audio_transcription.completed",
        "model resp_1",
    ]
    assert driven.model("resp_1").inputs == [{"role": "user", "content": "Hi there."}]
    assert driven.transcript() == ["user: Hi there.", "assistant: Hello."]


def test_a_model_run_waits_at_most_30_s_for_a_transcript() -> None:
    driven = DrivenConversation(transcribes=True)
    driven.spoken(None)
    driven.begins("resp_1")
    driven.ends("resp_1")
    done_at = driven.t
    assert labels(driven.client("input_audio_buffer.append", audio=sound(0.1), at=done_at + 29)) == []
    assert labels(driven.client("input_audio_buffer.append", audio=sound(0.1), at=done_at + 30)) == ["model resp_1"]
    assert driven.model("resp_1").inputs == [{"role": "user", "content": "[audio, not transcribed]"}]
    assert driven.model("resp_1").end == done_at, "the wait does not count"


def test_transcript_deltas_are_shown_until_the_whole_transcript_arrives() -> None:
    driven = DrivenConversation(transcribes=True)
    for piece in ("Hi ", "there"):
        driven.server("conversation.item.input_audio_transcription.delta", item_id="spoken", delta=piece)
    assert driven.transcript() == ["user: Hi there"], "before an event has the item"
    driven.spoken("Hi there.")
    assert driven.transcript() == ["user: Hi there."]


def test_a_model_run_without_response_created_hangs_below_response_done() -> None:
    driven = DrivenConversation()
    driven.ends(
        "resp_1", {"id": "a", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hi"}]}
    )
    model = driven.model("resp_1")
    assert (model.parent, model.end, model.first_token) == (Ref(driven.received), driven.t, None)
    assert model.message["content"] == "Hi"
    assert driven.transcript() == ["assistant: Hi"]


def test_a_model_run_without_response_done_ends_with_the_conversation() -> None:
    driven = DrivenConversation()
    driven.begins("resp_1")
    driven.says("resp_1", "Well", "a")
    assert labels(driven.close(at=4.0)) == ["model resp_1"]
    model = driven.model("resp_1")
    assert (model.end, model.finish_reason, model.usage) == (4.0, "in_progress", None)
    assert model.message["content"] == "Well"


def test_a_second_response_created_with_the_same_id_changes_nothing() -> None:
    driven = DrivenConversation()
    driven.typed("Hi")
    driven.begins("resp_1")
    driven.begins("resp_1")
    driven.server("response.created", response={"id": None})
    driven.ends("resp_1")
    driven.close()
    assert driven.model("resp_1").inputs == [{"role": "user", "content": "Hi"}]
    assert len(driven.models) == 1


@pytest.mark.parametrize("with_metadata", [True, False])
def test_an_out_of_band_response_has_its_own_input_and_is_not_in_the_transcript(with_metadata: bool) -> None:
    driven = DrivenConversation()
    driven.typed("Hi")
    topics = [{"metadata": {"topic": topic}} if with_metadata else {} for topic in ("mood", "language")]
    for topic, words in zip(topics, ("Which mood?", "Which language?"), strict=True):
        asked: list[object] = [
            {"type": "item_reference", "id": "typed"},
            {"type": "message", "id": None, "role": "user", "content": [{"type": "input_text", "text": words}]},
            {"type": "hologram"},
            None,
        ]
        driven.client(
            "response.create", response={"conversation": "none", "instructions": "Classify.", "input": asked, **topic}
        )
    driven.begins("resp_1")
    for number in (1, 0) if with_metadata else (0, 1):
        driven.begins(f"resp_{number}x", conversation_id=None, metadata=topics[number].get("metadata"))
    driven.says("resp_0x", "Cheerful", "verdict", seconds=1.0, placed=False)
    driven.ends("resp_0x", conversation_id=None)
    driven.ends("resp_1x", {"id": "second", "type": "message", "role": "assistant"}, conversation_id=None)
    driven.ends("resp_1")
    for response_id, words in (("resp_0x", "Which mood?"), ("resp_1x", "Which language?")):
        model = driven.model(response_id)
        assert [message["content"] for message in model.inputs] == ["Classify.", "Hi", words, "[hologram]"]
        assert model.metadata["out_of_band"]
    assert driven.model("resp_0x").message["content"] == "Cheerful"
    assert driven.model("resp_1").inputs == [{"role": "user", "content": "Hi"}]
    assert driven.transcript() == ["user: Hi"]
    assert driven.conversation.tracks.take_writes() == [], "out-of-band audio is not replayed"


def test_an_out_of_band_response_without_input_has_the_conversation_as_input_and_leaves_it_to_the_next_response() -> (
    None
):
    driven = DrivenConversation()
    driven.typed("Hi")
    driven.client("response.create", response={"conversation": "none"})
    driven.begins("resp_x", conversation_id=None)
    driven.begins("resp_y", conversation_id=None)  # requested by another client
    driven.begins("resp_1")
    driven.close()
    assert driven.model("resp_x").inputs == driven.model("resp_1").inputs == [{"role": "user", "content": "Hi"}]
    assert driven.model("resp_y").inputs == []


def test_a_refused_out_of_band_request_is_forgotten() -> None:
    driven = DrivenConversation()
    for event_id, words in (("mine", "Refused."), ("other", "Taken.")):
        driven.client("response.create", event_id=event_id, response={"conversation": "none", "instructions": words})
    driven.client("response.create", response={"conversation": "auto"})
    driven.server("error", error={"event_id": "mine", "message": "no"})
    driven.begins("resp_x", conversation_id=None)
    driven.close()
    assert driven.model("resp_x").inputs == [{"role": "system", "content": "Taken."}]


def test_a_response_without_response_created_is_recognised_as_out_of_band() -> None:
    driven = DrivenConversation()
    item = {"id": "a", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "Cheerful"}]}
    driven.ends("resp_x", item, conversation_id=None)
    assert driven.model("resp_x").metadata["out_of_band"]
    assert driven.transcript() == []


def test_cancelling_an_out_of_band_response_is_no_barge_in() -> None:
    driven = DrivenConversation()
    driven.begins("resp_x", conversation_id=None)
    driven.says("resp_x", "Cheerful", "verdict", placed=False)
    driven.server("input_audio_buffer.speech_started")
    driven.cancelled("resp_x")
    assert driven.interruptions == 0
    assert driven.model("resp_x").interrupted


# Tools


def test_a_tool_run_hangs_below_response_done_which_ends_with_the_result() -> None:
    driven = DrivenConversation()
    driven.begins("resp_1")
    driven.output("resp_1", {**CALL, "arguments": ""})
    driven.server("response.function_call_arguments.done", call_id="call_1", item_id="item_c", arguments='{"x": 1}')
    driven.output("resp_1", CALL, done=True)
    assert labels(driven.ends("resp_1", CALL)) == ["model resp_1"]
    done = Ref(driven.received)
    assert labels(send_result(driven, "call_1", at=3.0)) == ["tool call_1", "response.done"]
    assert driven.events[-1].end == 3.0
    assert driven.events[-1].ref == done
    (tool,) = driven.tools
    assert (tool.parent, tool.end, tool.name, tool.arguments) == (done, 3.0, "look", '{"x": 1}')
    assert tool.output == {"role": "tool", "tool_call_id": "call_1", "content": "ok"}
    assert labels(driven.item("item_r", **result("call_1"))) == ["conversation.item.added"]


def test_a_tool_run_answered_before_response_done_hangs_below_the_arguments_event() -> None:
    driven = DrivenConversation()
    driven.begins("resp_1")
    driven.output("resp_1", {**CALL, "arguments": ""})
    driven.server("response.function_call_arguments.done", call_id="call_1", arguments='{"x": 1}')
    arguments = Ref(driven.received)
    assert labels(send_result(driven, "call_1")) == ["tool call_1"]
    driven.output("resp_1", CALL, done=True)
    assert labels(driven.ends("resp_1", CALL)) == ["response.done", "model resp_1"]
    (tool,) = driven.tools
    assert (tool.parent, tool.name) == (arguments, "look"), (
        "older servers send the function's name only in output_item.added"
    )


def test_each_call_of_a_response_has_a_tool_run() -> None:
    driven = DrivenConversation()
    message = {"id": "a", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "A moment."}]}
    driven.begins("resp_1")
    driven.ends("resp_1", message, CALL, OTHER)
    assert labels(send_result(driven, "call_2")) == ["tool call_2"]
    assert labels(send_result(driven, "call_1")) == ["tool call_1", "response.done"]
    answer = driven.model("resp_1").message
    assert answer["content"] == "A moment."
    assert [call["id"] for call in answer["tool_calls"]] == ["call_1", "call_2"]


def test_a_result_sent_by_another_client_is_taken_from_the_servers_event() -> None:
    driven = DrivenConversation()
    driven.ends("resp_1", CALL)
    assert labels(driven.item("item_r", **result("call_1"))) == [
        "conversation.item.added",
        "tool call_1",
        "response.done",
    ]


def test_an_unanswered_call_has_no_duration() -> None:
    driven = DrivenConversation()
    driven.ends("resp_1", CALL)
    assert labels(driven.close(at=9.0)) == ["tool call_1", "response.done"]
    assert driven.events[-1].end is None
    (tool,) = driven.tools
    assert (tool.answered, tool.end, tool.error, tool.output) == (False, None, None, None)


def test_response_done_does_not_wait_for_a_call_that_a_barge_in_cut_off() -> None:
    driven = DrivenConversation()
    assert labels(driven.cancelled("resp_1", {**CALL, "status": "incomplete"})) == ["response.done", "model resp_1"]


def test_arguments_that_no_event_told_are_not_said_to_be_empty() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    for number in (1, 2):
        call = {"id": f"c{number}", "type": "function_call", "status": "in_progress", "call_id": f"call_{number}"}
        driven.output("r", {**call, "name": "look", "arguments": ""})
        driven.conversation.take(ToolBegun(f"call_{number}", driven.t, Ref(99)))
    # A journal has no deltas: this is what a live conversation knows of the first call that is cut off.
    driven.server("response.function_call_arguments.delta", response_id="r", item_id="c1", delta='{"city": "  R')
    driven.close()
    assert [run.arguments for run in driven.tools] == ['{"city": "  R', None]
    calls = driven.model("r").message["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ['{"city": "  R', "[not received]"]


def test_a_call_without_arguments_has_none() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    call = {"id": "c", "type": "function_call", "call_id": "call_1", "name": "look", "arguments": ""}
    driven.output("r", {**call, "status": "in_progress"})
    driven.output("r", {**call, "status": "completed"}, done=True)
    driven.ends("r", {**call, "status": "completed"})
    driven.close()
    (run,) = driven.tools
    assert run.arguments == ""
    assert driven.model("r").message["tool_calls"][0]["function"]["arguments"] == "{}"


def test_an_error_in_the_tool_block_becomes_the_error_of_the_tool_run() -> None:
    driven = DrivenConversation()
    driven.ends("resp_1", CALL)
    driven.conversation.take(ToolBegun("call_1", 1.0, Ref(99)))
    driven.conversation.take(ToolEnded("call_1", 2.0, "KeyError: 'x'"))
    send_result(driven, "call_1", at=2.5)
    (tool,) = driven.tools
    assert (tool.end, tool.error) == (2.5, "KeyError: 'x'")


def test_an_mcp_call_has_a_tool_run_below_its_arguments_event() -> None:
    driven = DrivenConversation()
    item = {"id": "mcp_1", "type": "mcp_call", "name": "buy", "server_label": "shop", "arguments": ""}
    driven.begins("resp_1")
    driven.output("resp_1", item)
    driven.server("response.mcp_call_arguments.done", item_id="mcp_1", arguments='{"x": 1}')
    arguments = Ref(driven.received)
    driven.server("response.mcp_call.in_progress", item_id="mcp_1")
    driven.server("response.mcp_call.completed", item_id="mcp_1", at=2.0)
    whole = {**item, "arguments": '{"x": 1}', "output": "bought"}
    assert labels(driven.output("resp_1", whole, done=True)) == ["response.output_item.done", "tool mcp_1"]
    assert labels(driven.ends("resp_1", whole)) == ["response.done", "model resp_1"], (
        "response.done does not wait for MCP calls"
    )
    (tool,) = driven.tools
    assert (tool.parent, tool.end, tool.name, tool.arguments) == (arguments, 2.0, "buy", '{"x": 1}')
    assert [message["role"] for message in driven.conversation.messages()] == ["assistant", "tool"]


def test_an_mcp_call_that_outlasts_its_response_hangs_below_response_done() -> None:
    driven = DrivenConversation()
    item = {"id": "mcp_1", "type": "mcp_call", "name": "buy", "arguments": "{}"}
    driven.begins("resp_1")
    driven.output("resp_1", item)
    driven.server("response.mcp_call.in_progress", item_id="mcp_1")
    driven.ends("resp_1")
    done = Ref(driven.received)
    driven.server("response.mcp_call.failed", item_id="mcp_1", at=5.0)
    assert driven.events[-1].error == "the MCP call failed"
    failed = {**item, "error": {"type": "http_error", "message": "no answer"}}
    happened = driven.server("conversation.item.done", item=failed)
    assert labels(happened) == ["conversation.item.done", "tool mcp_1"]
    (tool,) = driven.tools
    assert (tool.parent, tool.end, tool.error) == (done, 5.0, "http_error: no answer")
    assert driven.conversation.numbers()["errors"] == 1


def test_an_mcp_call_unfinished_at_the_end_is_not_answered() -> None:
    driven = DrivenConversation()
    driven.server("response.mcp_call.in_progress", item_id="mcp_1")
    driven.close()
    (tool,) = driven.tools
    assert (tool.answered, tool.name, tool.end) == (False, "mcp_call", None)


# The transcript


def test_the_transcript_has_messages_calls_and_results_in_conversation_order() -> None:
    driven = DrivenConversation(transcribes=True)
    driven.typed("Weather?")
    driven.begins("resp_1")
    driven.output("resp_1", CALL)
    driven.item(**{"item_id": "item_c", **{key: value for key, value in CALL.items() if key != "id"}})
    driven.ends("resp_1", CALL)
    driven.client("conversation.item.create", item=result("call_1", "sunny"))
    driven.item("item_r", **result("call_1", "sunny"))
    driven.begins("resp_2")
    driven.says("resp_2", "Sunny.", "answer")
    driven.ends("resp_2")
    driven.spoken(None, "bye")
    driven.begins("resp_3")
    driven.says("resp_3", "Bye!", "goodbye")
    driven.transcribed("Goodbye.", "bye")
    driven.ends("resp_3")
    assert driven.transcript() == [
        "user: Weather?",
        "assistant: ",
        "tool: sunny",
        "assistant: Sunny.",
        "user: Goodbye.",
        "assistant: Bye!",
    ]
    assert driven.conversation.numbers()["turns"] == 2


def test_an_idle_timeout_is_not_a_turn() -> None:
    driven = DrivenConversation(transcribes=True)
    driven.spoken("Hello?")
    driven.item("still", type="message", role="system", content=[{"type": "input_text", "text": "Nobody speaks."}])
    driven.server("input_audio_buffer.timeout_triggered", item_id="idle", audio_start_ms=0, audio_end_ms=6000)
    driven.server("input_audio_buffer.committed", item_id="idle", previous_item_id="still")
    driven.item("idle", type="message", role="user", content=[{"type": "input_audio", "transcript": None}])
    driven.begins("resp_1")
    driven.says("resp_1", "Are you there?", "answer")
    assert labels(driven.ends("resp_1")) == ["response.done", "model resp_1"], "no transcript to wait for"
    assert driven.transcript() == ["user: Hello?", "system: Nobody speaks.", "assistant: Are you there?"]
    assert driven.conversation.numbers()["turns"] == 1


def test_a_retrieved_item_is_in_the_transcript_and_counts_once() -> None:
    driven = DrivenConversation()
    driven.typed("Two", "two")
    one = {"id": "two", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Two."}]}
    driven.server("conversation.item.retrieved", item=one)
    driven.server("conversation.item.retrieved", item={**one, "id": "one"})
    assert driven.transcript() == ["user: Two.", "user: Two."]
    assert driven.conversation.numbers()["turns"] == 2


def test_a_deleted_item_stays_in_the_transcript() -> None:
    driven = DrivenConversation()
    driven.typed("Hi")
    driven.server("conversation.item.deleted", item_id="typed")
    assert driven.transcript() == ["user: Hi"]


# Errors


@pytest.mark.parametrize(
    ("name", "body", "error"),
    [
        (
            "error",
            {"error": {"type": "invalid_request_error", "code": "bad", "message": "No."}},
            "bad: No. (invalid_request_error)",
        ),
        ("error", {"error": None}, "error"),
        (
            "conversation.item.input_audio_transcription.failed",
            {"item_id": "spoken", "error": {"code": "audio_unintelligible", "message": "What?"}},
            "transcription failed: audio_unintelligible: What?",
        ),
        ("conversation.item.input_audio_transcription.failed", {}, "transcription failed: no reason given"),
        ("response.mcp_call.failed", {"item_id": "mcp_1"}, "the MCP call failed"),
        ("response.mcp_call.failed", {}, "the MCP call failed"),
        ("mcp_list_tools.failed", {"item_id": "mcp_1"}, "listing the MCP tools failed"),
        (
            "response.done",
            {"response": {"status": "incomplete", "status_details": {"reason": "max_output_tokens"}}},
            "incomplete: max_output_tokens",
        ),
        (
            "response.done",
            {"response": {"status": "failed", "status_details": {"error": {"code": "server_error"}}}},
            "failed: server_error",
        ),
    ],
)
def test_a_failure_is_the_error_of_its_run_and_is_counted(name: str, body: dict[str, Any], error: str) -> None:
    driven = DrivenConversation()
    driven.server(name, **body)
    run = driven.events[-1]
    assert (run.error, run.interrupted) == (error, False)
    assert driven.conversation.numbers()["errors"] == 1
    assert all(model.error == error for model in driven.models)


def test_an_error_is_counted_once_while_its_run_waits_for_a_result() -> None:
    driven = DrivenConversation()
    driven.ends("resp_1", CALL, status="incomplete", status_details={"reason": "max_output_tokens"})
    assert driven.conversation.numbers()["errors"] == 1
    send_result(driven, "call_1")
    assert driven.conversation.numbers()["errors"] == 1
    assert driven.events[-1].error == "incomplete: max_output_tokens"


def test_a_cancelled_response_is_interrupted_and_not_counted_as_an_error() -> None:
    driven = DrivenConversation()
    driven.begins("resp_1")
    driven.cancelled("resp_1", reason="client_cancelled")
    assert (driven.events[-1].error, driven.events[-1].interrupted) == ("cancelled: client_cancelled", True)
    assert (driven.models[-1].error, driven.models[-1].interrupted) == ("cancelled: client_cancelled", True)
    assert driven.conversation.numbers()["errors"] == 0


def test_a_failed_transcription_is_in_the_transcript_and_ends_the_wait() -> None:
    driven = DrivenConversation(transcribes=True)
    driven.spoken(None)
    driven.begins("resp_1")
    driven.ends("resp_1")
    happened = driven.server("conversation.item.input_audio_transcription.failed", item_id="spoken", error={})
    assert labels(happened)[1:] == ["model resp_1"]
    assert driven.transcript() == ["user: [audio, transcription failed]"]


# Reconnection


def test_a_new_session_counts_as_reconnection_and_ends_the_open_responses() -> None:
    driven = DrivenConversation()
    driven.begins("resp_1")
    driven.says("resp_1", "Well", "a")
    driven.server("session.created", session={"id": "sess_1"})
    assert driven.events[-1].metadata == {}
    happened = driven.server("session.created", session={"id": "sess_2"})
    assert labels(happened) == ["session.created", "model resp_1"]
    assert driven.events[-1].metadata == {"reconnected": True}
    assert driven.model("resp_1").end == driven.t
    assert driven.conversation.numbers()["reconnections"] == 1
    assert driven.close() == []


def test_without_a_reconnection_the_number_is_absent() -> None:
    driven = DrivenConversation()
    assert driven.conversation.numbers() == {
        "event_count": 1,
        "turns": 0,
        "interruptions": 0,
        "errors": 0,
    }


# Any input

KINDS = sorted({*HANDLERS, *OTHER_NAMES, SPEECH_STARTED, "rate_limits.updated", "response.x.delta"})
SENT = [
    "conversation.item.create",
    "conversation.item.truncate",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "response.create",
]
IDS = st.sampled_from(["a", "b", "c", "root", ""])
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -(10**30), float("nan"), float("inf"), 1e14])
    | st.floats(allow_nan=True)
    | st.text(max_size=5)
    | IDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
TYPES = st.sampled_from(["message", "function_call", "function_call_output", "mcp_call", "mcp_list_tools"])
PART = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["input_text", "input_audio", "output_audio", "text", "input_image"]) | JUNK,
        "text": JUNK,
        "transcript": JUNK,
        "image_url": JUNK,
    },
)
ITEM = JUNK | st.fixed_dictionaries(
    {"id": IDS | JUNK, "type": TYPES | JUNK},
    optional={
        "role": st.sampled_from(["user", "assistant", "system"]) | JUNK,
        "status": st.sampled_from(["completed", "incomplete"]) | JUNK,
        "content": st.lists(PART | JUNK, max_size=3) | JUNK,
        "call_id": IDS | JUNK,
        "name": JUNK,
        "arguments": JUNK,
        "output": JUNK,
        "error": JUNK,
        "server_label": JUNK,
    },
)
RESPONSE = JUNK | st.fixed_dictionaries(
    {"id": IDS | JUNK},
    optional={
        "status": st.sampled_from(["completed", "cancelled", "incomplete", "failed"]) | JUNK,
        "status_details": JUNK | st.just({"reason": "turn_detected"}),
        "conversation_id": st.none() | JUNK,
        "conversation": st.just("none") | JUNK,
        "output": st.lists(ITEM, max_size=3) | JUNK,
        "input": st.lists(ITEM, max_size=3) | JUNK,
        "usage": JUNK | st.dictionaries(st.sampled_from(["input_tokens", "total_tokens", "input_token_details"]), JUNK),
        "metadata": JUNK,
        "instructions": JUNK,
    },
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "item_id": IDS | JUNK,
        "previous_item_id": IDS | JUNK,
        "response_id": IDS | JUNK,
        "call_id": IDS | JUNK,
        "content_index": JUNK,
        "audio_end_ms": st.integers(-5, 5000) | JUNK,
        "delta": st.just(sound(0.02)) | JUNK,
        "audio": st.just(sound(0.02)) | JUNK,
        "transcript": JUNK,
        "text": JUNK,
        "arguments": JUNK,
        "item": ITEM,
        "response": RESPONSE,
        "session": JUNK | st.fixed_dictionaries({"id": IDS | JUNK}, optional={"audio": JUNK, "turn_detection": JUNK}),
        "error": JUNK | st.fixed_dictionaries({"message": JUNK, "event_id": IDS | JUNK}),
        "event_id": IDS | JUNK,
    },
)
FRAMES = st.lists(
    st.tuples(
        st.sampled_from([("server", kind) for kind in KINDS] + [("client", kind) for kind in SENT]),
        FIELDS,
        st.sampled_from([None, True, False]),
    ),
    max_size=25,
)


def replayed(frames: list[tuple[tuple[str, str], dict[str, Any], bool | None]]) -> DrivenConversation:
    driven = DrivenConversation(set_up=False)
    for (side, name), fields, speaking in frames:
        # Not driven.server(): a generated field may have the name of one of its parameters.
        event = parse({**fields, "type": name})
        driven.t += 0.2
        given: Input = ClientFrame(event, driven.t)
        if side == "server":
            driven.received += not event.is_delta
            given = ServerFrame(event, driven.t, None if event.is_delta else Ref(driven.received), speaking)
        driven.happened += driven.conversation.take(parsed(given))
    driven.close()
    return driven


@pytest.mark.nocover
@pytest.mark.parametrize("examples", [20, pytest.param(200, marks=pytest.mark.soak)])
def test_no_input_raises_or_loses_an_event(examples: int) -> None:
    settings(max_examples=examples, deadline=None)(given(FRAMES)(assert_no_event_is_lost))()


def assert_no_event_is_lost(frames: list[Any]) -> None:
    driven = replayed(frames)
    names = [name for (side, name), _, _ in frames if side == "server" and not name.endswith(".delta")]
    assert sorted(run.ref for run in driven.events) == [Ref(number) for number in range(1, len(names) + 1)]
    assert [run.name for run in sorted(driven.events, key=lambda run: run.ref)] == names
    in_time = [run.ref for run in driven.events if run.name != "response.done"]
    assert in_time == sorted(in_time)
    driven.conversation.messages()
    numbers = driven.conversation.numbers()
    assert all(number >= 0 for name, number in numbers.items() if name != "estimated_cost_incomplete")
    assert driven.conversation.config.inputs() is not None


@pytest.mark.nocover
@settings(max_examples=10, deadline=None)
@given(FRAMES)
def test_equal_events_at_equal_times_give_equal_runs(frames: list[Any]) -> None:
    first, second = replayed(frames), replayed(json.loads(json.dumps(frames), parse_constant=float))
    assert repr(first.happened) == repr(second.happened)
    assert repr(first.conversation.messages()) == repr(second.conversation.messages())
    assert first.conversation.numbers() == second.conversation.numbers()


def response_steps(name: str) -> list[tuple[str, dict[str, Any]]]:
    """All events of one response, in order."""
    response_id, item_id = f"resp_{name}", f"item_{name}"
    where = {"response_id": response_id, "item_id": item_id, "content_index": 0}
    item = {"id": item_id, "type": "message", "role": "assistant"}
    usage = {"input_tokens": 1, "output_tokens": len(name), "total_tokens": 1 + len(name)}
    begun = {"id": response_id, "conversation_id": None if name == "beside" else "conv_1"}
    return [
        ("response.created", {"response": begun}),
        ("response.output_item.added", {"response_id": response_id, "item": item}),
        ("response.output_text.delta", {**where, "delta": "I am "}),
        ("response.output_text.delta", {**where, "delta": f"{name}."}),
        ("response.output_text.done", {**where, "text": f"I am {name}."}),
        ("response.output_item.done", {"response_id": response_id, "item": item}),
        ("response.done", {"response": {**begun, "status": "completed", "output": [item], "usage": usage}}),
    ]


@given(st.permutations(["inside"] * 7 + ["beside"] * 7))
def test_any_interleaving_of_two_responses_gives_two_correct_model_runs(turns: list[str]) -> None:
    driven = DrivenConversation()
    driven.typed("Hi")
    steps = {name: iter(response_steps(name)) for name in ("inside", "beside")}
    began: dict[str, Ref] = {}
    first: dict[str, float] = {}
    ended: dict[str, float] = {}
    for name in turns:
        kind, body = next(steps[name])
        driven.server(kind, **body)
        if kind == "response.created":
            began[name] = Ref(driven.received)
        elif kind.endswith(".delta"):
            first.setdefault(name, driven.t)
        elif kind == "response.done":
            ended[name] = driven.t
    for name in ("inside", "beside"):
        model = driven.model(f"resp_{name}")
        assert (model.parent, model.first_token, model.end) == (began[name], first[name], ended[name])
        assert model.message == {"role": "assistant", "content": f"I am {name}."}
        assert model.usage is not None
        assert model.usage["output_tokens"] == len(name)
    assert driven.model("resp_inside").inputs == [{"role": "user", "content": "Hi"}]
    assert driven.transcript() == ["user: Hi", "assistant: I am inside."]


def lines_run(work: Callable[[], None]) -> int:
    """Returns how many lines of Python the work runs; a line in a loop or a comprehension counts each time."""
    count = 0

    def trace(_frame: FrameType, event: str, _value: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.nocover
@pytest.mark.parametrize("turns", [500, pytest.param(10_000, marks=pytest.mark.soak)])
def test_a_turn_runs_equally_many_lines_however_long_the_conversation_is(turns: int) -> None:
    driven = DrivenConversation()

    def talk(begin: int, end: int) -> None:
        for number in range(begin, end):
            driven.t = number * 1.2
            driven.spoken(f"Question {number}", f"spoken_{number}")
            call = {**CALL, "id": f"item_{number}", "call_id": f"call_{number}"}
            mcp = {"id": f"mcp_{number}", "type": "mcp_call", "name": "buy", "arguments": "{}", "output": "bought"}
            driven.begins(f"resp_{number}")
            driven.says(f"resp_{number}", "Answer.", f"answer_{number}", seconds=0.05)
            for output in (call, mcp):
                driven.output(f"resp_{number}", output, done=True)
                driven.item(output["id"], **{key: value for key, value in output.items() if key != "id"})
            driven.ends(f"resp_{number}", call, mcp)
            if number % 2:
                send_result(driven, f"call_{number}")
                driven.last_id = f"result of call_{number}"

    talk(0, 300)  # until 64 events wait for results and 256 calls have their times, which are as many as are kept
    before = lines_run(lambda: talk(300, 306))
    talk(306, turns - 6)
    assert lines_run(lambda: talk(turns - 6, turns)) < 1.02 * before
    assert driven.conversation.numbers()["turns"] == turns


def test_audio_sent_after_session_update_has_the_new_format_before_the_confirmation() -> None:
    talk = DrivenConversation(set_up=False)
    pcm = {"format": {"type": "audio/pcm", "rate": RATE}}
    talk.server("session.created", session={"audio": {"input": pcm, "output": pcm}})
    talk.client("session.update", session={"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, at=1.0)
    talk.client("input_audio_buffer.append", audio=base64.b64encode(b"\xff" * 800).decode(), at=1.1)
    talk.server("error", error={"type": "invalid_request_error", "message": "no such format"}, at=1.2)
    talk.client("input_audio_buffer.append", audio=sound(0.1), at=2.0)
    talk.close(at=3.0)
    heard = [len(written.write.samples) for written in talk.conversation.tracks.take_writes()]
    assert sum(heard) == pytest.approx(4800, abs=4)  # 100 ms of each, at 24 kHz


def test_a_format_requested_before_session_created_stays_in_effect() -> None:
    talk = DrivenConversation(set_up=False)
    ulaw, pcm = {"type": "audio/pcmu"}, {"type": "audio/pcm", "rate": RATE}
    spoken = base64.b64encode(b"\xff" * 800).decode()
    talk.client("session.update", session={"audio": {"input": {"format": ulaw}}}, event_id="mine", at=0.1)
    talk.client("input_audio_buffer.append", audio=spoken, at=0.2)
    talk.server("session.created", session={"id": "s", "audio": {"input": {"format": pcm}}}, at=0.3)
    talk.client("input_audio_buffer.append", audio=spoken, at=0.3)
    talk.server("error", error={"message": "something else", "event_id": "another"}, at=0.35)
    talk.client("input_audio_buffer.append", audio=spoken, at=0.4)
    talk.server("session.updated", session={"id": "s", "audio": {"input": {"format": ulaw}}}, at=0.45)
    talk.client("input_audio_buffer.append", audio=spoken, at=0.5)
    talk.close(at=1.0)
    heard = [len(written.write.samples) for written in talk.conversation.tracks.take_writes()]
    assert sum(heard) == 3200  # 400 ms at 8 kHz

"""What the client sent: shown although nobody repeats it, and undone if the server refused it."""

from __future__ import annotations

from typing import Any

import pytest

from langsmith_realtime.core.conversation.run_data import ToolRun
from langsmith_realtime.core.payloads.errors import Failure
from tests.support.driven_conversation import DrivenConversation

pytestmark = pytest.mark.newest  # only the core, whose behaviour depends on no library version

CALL = {"id": "item_c", "type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}


def type_words(driven: DrivenConversation, words: str, *, event_id: str | None = None, **item: Any) -> None:
    content = [{"type": "input_text", "text": words}]
    message = {"type": "message", "role": "user", "content": content, **item}
    driven.client("conversation.item.create", event_id=event_id, item=message)


def send_result(driven: DrivenConversation, output: object, *, at: float, event_id: str | None = None) -> None:
    item = {"type": "function_call_output", "call_id": "call_1", "output": output}
    driven.client("conversation.item.create", at=at, event_id=event_id, item=item)


def refuse(driven: DrivenConversation, **error: Any) -> None:
    driven.server("error", error={"type": "invalid_request_error", **error})


# What nobody repeats


def test_a_typed_message_without_an_echo_is_in_the_transcript_and_an_input_and_a_turn() -> None:
    driven = DrivenConversation()
    type_words(driven, "What is new?")
    driven.begins("r")
    driven.ends("r")
    driven.close(at=9.0)
    assert driven.transcript() == ["user: What is new?"]
    assert driven.model("r").inputs == [{"role": "user", "content": "What is new?"}]
    assert driven.conversation.numbers()["turns"] == 1


def test_an_echo_with_another_id_and_perhaps_without_content_is_the_message_that_was_sent() -> None:
    driven = DrivenConversation()
    type_words(driven, "One", id="mine")
    type_words(driven, "Two")
    driven.server("conversation.item.added", item={"id": "s1", "type": "message", "role": "user", "content": []})
    driven.typed("Two", "s2")
    assert driven.transcript() == ["user: One", "user: Two"]
    driven.typed("Two", "s3")
    assert driven.transcript() == ["user: One", "user: Two", "user: Two"], "another client typed it, too"


def test_what_was_asked_of_one_response_stands_in_its_run_alone() -> None:
    driven = DrivenConversation()
    tools = [{"type": "function", "name": "hang_up"}]
    request = {"instructions": "Say goodbye.", "tools": tools, "tool_choice": "required", "metadata": {"step": "end"}}
    driven.client("response.create", response=request)
    for response_id in ("r1", "r2"):
        driven.begins(response_id)
        driven.ends(response_id)
    driven.close(at=9.0)
    first, second = driven.model("r1"), driven.model("r2")
    assert first.inputs == [{"role": "system", "content": "Say goodbye."}]
    assert first.settings == {"tools": tools, "tool_choice": "required"}
    assert first.metadata["response_metadata"] == {"step": "end"}
    assert (second.inputs, second.settings) == ([], {})
    assert "response_metadata" not in second.metadata


def test_the_input_of_a_request_replaces_the_conversation_and_leaves_it_to_the_next_response() -> None:
    driven = DrivenConversation()
    driven.typed("Hi")
    driven.client("response.create", response={"input": []})
    for response_id in ("r1", "r2"):
        driven.begins(response_id)
        driven.ends(response_id)
    driven.close(at=9.0)
    assert (driven.model("r1").inputs, driven.model("r2").inputs) == ([], [{"role": "user", "content": "Hi"}])


def test_a_response_of_turn_detection_is_not_the_requested_one_if_the_server_repeats_metadata() -> None:
    driven = DrivenConversation()
    driven.client("response.create", response={"instructions": "Whisper.", "metadata": {"n": "1"}})
    driven.begins("r1", metadata=None)
    driven.begins("r2", metadata={"n": "1"})
    for response_id in ("r1", "r2"):
        driven.ends(response_id)
    driven.close(at=9.0)
    assert driven.model("r1").inputs == []
    assert driven.model("r2").inputs == [{"role": "system", "content": "Whisper."}]


# What was refused


def test_a_refused_message_is_neither_in_the_transcript_nor_an_input_nor_a_turn() -> None:
    driven = DrivenConversation()
    type_words(driven, "One", event_id="e1")
    type_words(driven, "Two", event_id="e2")
    refuse(driven, message="no", event_id="e1")
    driven.begins("r")
    driven.ends("r")
    driven.close(at=9.0)
    assert driven.transcript() == ["user: Two"]
    assert driven.model("r").inputs == [{"role": "user", "content": "Two"}]
    assert driven.conversation.numbers()["turns"] == 1


def test_an_error_of_another_event_refuses_nothing() -> None:
    driven = DrivenConversation()
    type_words(driven, "One", event_id="e1")
    refuse(driven, message="invalid item.content", event_id="other")
    refuse(driven, message="the server is busy")
    assert driven.transcript() == ["user: One"]


def test_the_refusal_that_quotes_a_call_is_that_of_its_result() -> None:
    driven = DrivenConversation()
    driven.ends("r", CALL)
    send_result(driven, "sunny", at=2.0)
    type_words(driven, "And?")
    refuse(driven, message="No call with id call_1 waits for an output.")
    driven.close(at=9.0)
    (run,) = driven.tools
    assert (run.answered, run.output, run.end) == (False, None, 2.0)
    assert run.error == "result refused: invalid_request_error: No call with id call_1 waits for an output."
    assert isinstance(run.error, Failure)
    assert run.error.kind == "result refused: invalid_request_error", "the message may quote the conversation"
    assert driven.transcript() == ["assistant: ", "user: And?"]


@pytest.mark.parametrize("echoes", [True, False])
def test_a_later_accepted_result_wins(echoes: bool) -> None:
    driven = DrivenConversation()
    driven.ends("r", CALL)
    send_result(driven, {"sky": "blue"}, at=2.0)
    refuse(driven, message="expected a string", param="item.output")
    send_result(driven, "blue", at=3.0)
    if echoes:
        item = {"id": "o", "type": "function_call_output", "call_id": "call_1", "output": "blue"}
        driven.server("conversation.item.added", item=item)
    driven.server("rate_limits.updated", at=6.0)
    (run,) = driven.tools
    assert (run.answered, run.error, run.end) == (True, None, 3.0)
    assert run.output == {"role": "tool", "tool_call_id": "call_1", "content": "blue"}
    assert driven.transcript() == ["assistant: ", "tool: blue"]


def test_a_result_that_nobody_confirms_counts_after_two_seconds() -> None:
    driven = DrivenConversation()
    driven.ends("r", CALL)
    send_result(driven, "sunny", at=2.0)
    assert not [run for run in driven.server("ping", at=3.9) if isinstance(run, ToolRun)]
    assert [run.end for run in driven.server("ping", at=4.1) if isinstance(run, ToolRun)] == [2.0]


def test_of_results_sent_at_once_the_refused_one_is_the_oldest_that_is_undecided() -> None:
    driven = DrivenConversation()
    for words in ("One", "Two", "Three"):
        type_words(driven, words)
    driven.typed("One", "s1")
    refuse(driven, message="too long", param="item.content[0].text")
    driven.typed("Three", "s3")
    assert driven.transcript() == ["user: One", "user: Three"]


def test_a_refused_request_leaves_the_next_response_alone() -> None:
    driven = DrivenConversation()
    driven.client("response.create", response={"instructions": "Sing."})
    refuse(driven, code="conversation_already_has_active_response", message="Conversation already has one.")
    driven.begins("r")
    driven.ends("r")
    driven.close(at=9.0)
    assert driven.model("r").inputs == []


# Items of other types


def test_an_item_of_an_unknown_type_is_named_in_the_transcript_and_in_the_answer() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    driven.ends("r", {"id": "s", "type": "web_search_call", "status": "completed"})
    driven.close(at=9.0)
    assert driven.transcript() == ["assistant: [web_search_call]"]
    assert driven.model("r").message["content"] == "[web_search_call]"


def test_an_unknown_item_that_the_client_sent_is_an_input_with_its_words() -> None:
    driven = DrivenConversation()
    note = {"type": "note", "content": [{"type": "input_text", "text": "VIP"}]}
    driven.client("conversation.item.create", item=note)
    driven.begins("r")
    driven.ends("r")
    driven.close(at=9.0)
    assert driven.model("r").inputs == [{"role": "system", "content": "[note] VIP"}]


def test_an_mcp_approval_reads_like_a_call_and_its_result() -> None:
    driven = DrivenConversation()
    request = {
        "id": "m",
        "type": "mcp_approval_request",
        "server_label": "shop",
        "name": "buy",
        "arguments": '{"n": 1}',
    }
    driven.begins("r")
    driven.output("r", request, done=True)
    driven.ends("r", request)
    answer = {"type": "mcp_approval_response", "approval_request_id": "m", "approve": False, "reason": "too dear"}
    driven.client("conversation.item.create", at=2.0, item=answer)
    driven.server("conversation.item.added", item={"id": "n", **answer})
    driven.close(at=9.0)
    assert driven.transcript() == ["assistant: ", "tool: denied: too dear"]
    (call,) = driven.model("r").message["tool_calls"]
    assert (call["id"], call["function"]) == ("m", {"name": "buy", "arguments": '{"n": 1}'})
    (run,) = driven.tools
    assert (run.call_id, run.name, run.end, run.answered) == ("m", "buy", 2.0, True)


def test_an_mcp_approval_that_nobody_answers_waits() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    driven.ends("r", {"id": "m", "type": "mcp_approval_request", "name": "buy", "arguments": "{}"})
    driven.close(at=9.0)
    (run,) = driven.tools
    assert (run.call_id, run.answered) == ("m", False)

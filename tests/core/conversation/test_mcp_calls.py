"""MCP calls: each becomes one tool run, in any order of its events."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from langsmith_realtime.core.conversation.mcp_calls import McpCalls
from langsmith_realtime.core.conversation.run_data import ToolRun
from langsmith_realtime.core.protocol.inputs import Ref
from langsmith_realtime.core.protocol.items import Item

FIELDS = {"name": "buy", "arguments": '{"x": 1}', "server_label": "shop"}
ARGUMENTS, WORKING = "response.mcp_call_arguments.done", "response.mcp_call.in_progress"
COMPLETED, FAILED = "response.mcp_call.completed", "response.mcp_call.failed"
OUTPUT_ITEM_DONE, ITEM_DONE, DONE = "response.output_item.done", "conversation.item.done", "response.done"
OUTPUT_ITEM_ADDED, ITEM_ADDED = "response.output_item.added", "conversation.item.added"
#: The event run of each kind of event.
REFS = {
    kind: Ref(number)
    for number, kind in enumerate(
        (ARGUMENTS, WORKING, COMPLETED, FAILED, OUTPUT_ITEM_ADDED, OUTPUT_ITEM_DONE, ITEM_ADDED, ITEM_DONE, DONE), 1
    )
}


class ScriptedCall:
    """An MCP call that receives its events. Its item has the result from the first ``.done`` of the item on."""

    def __init__(self, **result: Any) -> None:
        self.calls = McpCalls()
        self.item = Item("mcp_1", "mcp_call", fields=dict(FIELDS))
        self.result = result
        self.runs: list[ToolRun] = []

    def receive(self, *kinds: str) -> list[ToolRun]:
        for t, kind in enumerate(kinds, 1):
            if kind in (OUTPUT_ITEM_DONE, ITEM_DONE):
                self.item.fields.update(self.result)
            if kind == DONE:
                self.runs += self.calls.response_done([self.item], float(t), REFS[kind])
            else:
                self.runs += self.calls.event(kind, self.item, float(t), REFS[kind])
        return self.runs


def test_a_call_hangs_below_its_arguments_event_and_ends_with_completed() -> None:
    call = ScriptedCall(output="bought")
    assert call.receive(OUTPUT_ITEM_ADDED, ARGUMENTS, WORKING, COMPLETED) == []
    call.item.fields["output"] = "bought"
    (run,) = call.calls.event(OUTPUT_ITEM_DONE, call.item, 9.0, REFS[OUTPUT_ITEM_DONE])
    assert run == ToolRun(
        parent=REFS[ARGUMENTS],
        call_id="mcp_1",
        name="buy",
        arguments='{"x": 1}',
        output={"role": "tool", "tool_call_id": "mcp_1", "content": "bought"},
        end=4.0,
        answered=True,
        metadata={"server_label": "shop"},
        began=REFS[ARGUMENTS].start,
    )


@pytest.mark.parametrize("kinds", list(permutations([ARGUMENTS, COMPLETED, OUTPUT_ITEM_DONE, ITEM_DONE, DONE])))
def test_any_order_of_the_events_gives_one_run_with_the_result(kinds: tuple[str, ...]) -> None:
    call = ScriptedCall(output="bought")
    runs = [*call.receive(*kinds), *call.calls.close()]
    assert len(runs) == 1
    assert runs[0].answered
    assert runs[0].output == {"role": "tool", "tool_call_id": "mcp_1", "content": "bought"}
    assert runs[0].end is not None


def test_a_call_unfinished_at_response_done_hangs_below_response_done() -> None:
    (run,) = ScriptedCall(output="bought").receive(ARGUMENTS, WORKING, DONE, COMPLETED, OUTPUT_ITEM_DONE)
    assert (run.parent, run.end) == (REFS[DONE], 4.0)


def test_a_call_finished_before_response_done_hangs_below_its_arguments_event() -> None:
    call = ScriptedCall(output="bought")
    call.receive(ARGUMENTS, COMPLETED)
    call.item.fields["output"] = "bought"
    (run,) = call.calls.response_done([call.item], 5.0, REFS[DONE])
    assert (run.parent, run.end) == (REFS[ARGUMENTS], 2.0)


def test_a_call_seen_only_in_response_done_is_answered() -> None:
    call = ScriptedCall()
    call.item.fields["output"] = "bought"
    (run,) = call.receive(DONE)
    assert (run.parent, run.end, run.answered) == (REFS[DONE], 1.0, True)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"type": "http_error", "code": 500, "message": "no answer"}, "500: no answer (http_error)"),
        ({"type": "tool_execution_error", "content": []}, "tool_execution_error"),
        ("it broke", "it broke"),
        (None, "the MCP call failed"),
    ],
)
def test_a_failed_call_has_the_servers_error(error: object, message: str) -> None:
    call = ScriptedCall(error=error)
    (run,) = call.receive(ARGUMENTS, FAILED, OUTPUT_ITEM_DONE)
    assert run.error == message
    assert run.output == (None if error is None else {"role": "tool", "tool_call_id": "mcp_1", "content": error})
    assert run.answered


def test_an_empty_output_is_a_result() -> None:
    (run,) = ScriptedCall(output="").receive(ARGUMENTS, COMPLETED, OUTPUT_ITEM_DONE)
    assert run.output == {"role": "tool", "tool_call_id": "mcp_1", "content": ""}


def test_an_unfinished_call_has_no_duration() -> None:
    call = ScriptedCall()
    assert call.receive(ARGUMENTS, DONE) == []
    (run,) = call.calls.close()
    assert (run.parent, run.end, run.answered, run.output, run.error) == (REFS[DONE], None, False, None, None)


def test_a_call_item_inserted_by_the_application_has_no_run() -> None:
    call = ScriptedCall(output="bought yesterday")
    assert call.receive(ITEM_DONE, ITEM_ADDED) == []
    assert call.calls.close() == []


def test_output_item_added_alone_makes_no_run() -> None:
    call = ScriptedCall()
    call.receive(OUTPUT_ITEM_ADDED)
    assert call.calls.close() == []


def test_repeated_events_make_no_second_run() -> None:
    call = ScriptedCall(output="bought")
    assert len(call.receive(ARGUMENTS, COMPLETED, OUTPUT_ITEM_DONE, OUTPUT_ITEM_DONE, DONE, COMPLETED)) == 1


def test_missing_and_wrong_fields_have_defaults() -> None:
    calls = McpCalls()
    item = Item("mcp_1", "mcp_call", fields={"name": 5, "arguments": [], "output": "x"})
    (run,) = calls.event(OUTPUT_ITEM_DONE, item, 1.0, REFS[OUTPUT_ITEM_DONE])
    assert (run.name, run.arguments, run.metadata) == ("mcp_call", "[]", {})

"""MCP calls: one run each, in whatever order their events come."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from langsmith_realtime.core.conversation.run_data import ToolRun
from langsmith_realtime.core.conversation.tool_calls import McpCalls
from langsmith_realtime.core.protocol.items import Item

FIELDS = {"name": "buy", "arguments": '{"x": 1}', "server_label": "shop"}
ARGUMENTS, WORKING = "response.mcp_call_arguments.done", "response.mcp_call.in_progress"
COMPLETED, FAILED = "response.mcp_call.completed", "response.mcp_call.failed"
SHOWN, PLACED, DONE = "response.output_item.done", "conversation.item.done", "response.done"


class Played:
    """An MCP call whose item shows the result from its first ``.done`` on. Each event's ref is its kind."""

    def __init__(self, **result: Any) -> None:
        self.calls = McpCalls()
        self.item = Item("mcp_1", "mcp_call", fields=dict(FIELDS))
        self.result = result
        self.runs: list[ToolRun] = []

    def play(self, *kinds: str) -> list[ToolRun]:
        for t, kind in enumerate(kinds, 1):
            if kind in (SHOWN, PLACED):
                self.item.fields.update(self.result)
            if kind == DONE:
                self.runs += self.calls.response_done([self.item], float(t), kind)
            else:
                self.runs += self.calls.event(kind, self.item, float(t), kind)
        return self.runs


def test_a_call_hangs_below_its_arguments_and_ends_when_it_was_completed() -> None:
    played = Played(output="bought")
    assert played.play("response.output_item.added", ARGUMENTS, WORKING, COMPLETED) == []
    played.item.fields["output"] = "bought"
    (run,) = played.calls.event(SHOWN, played.item, 9.0, SHOWN)
    assert run == ToolRun(
        parent=ARGUMENTS,
        call_id="mcp_1",
        name="buy",
        arguments='{"x": 1}',
        output={"role": "tool", "tool_call_id": "mcp_1", "content": "bought"},
        end=4.0,
        answered=True,
        metadata={"server_label": "shop"},
    )


@pytest.mark.parametrize("kinds", list(permutations([ARGUMENTS, COMPLETED, SHOWN, PLACED, DONE])))
def test_in_any_order_it_is_one_run_with_its_result(kinds: tuple[str, ...]) -> None:
    played = Played(output="bought")
    runs = [*played.play(*kinds), *played.calls.close()]
    assert len(runs) == 1
    assert runs[0].answered
    assert runs[0].output == {"role": "tool", "tool_call_id": "mcp_1", "content": "bought"}
    assert runs[0].end is not None


def test_a_call_still_at_work_when_its_response_is_done_hangs_below_that() -> None:
    (run,) = Played(output="bought").play(ARGUMENTS, WORKING, DONE, COMPLETED, SHOWN)
    assert (run.parent, run.end) == (DONE, 4.0)


def test_a_call_finished_before_its_response_is_done_does_not() -> None:
    played = Played(output="bought")
    played.play(ARGUMENTS, COMPLETED)
    played.item.fields["output"] = "bought"
    (run,) = played.calls.response_done([played.item], 5.0, DONE)
    assert (run.parent, run.end) == (ARGUMENTS, 2.0)


def test_a_call_known_from_its_response_alone_is_answered() -> None:
    played = Played()
    played.item.fields["output"] = "bought"
    (run,) = played.play(DONE)
    assert (run.parent, run.end, run.answered) == (DONE, 1.0, True)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"type": "http_error", "code": 500, "message": "no answer"}, "http_error: no answer"),
        ({"type": "tool_execution_error", "content": []}, "tool_execution_error"),
        ("it broke", "it broke"),
        (None, "the MCP call failed"),
    ],
)
def test_a_failed_call_says_why(error: object, message: str) -> None:
    played = Played(error=error)
    (run,) = played.play(ARGUMENTS, FAILED, SHOWN)
    assert run.error == message
    assert run.output == (None if error is None else {"role": "tool", "tool_call_id": "mcp_1", "content": error})
    assert run.answered


def test_an_empty_result_is_one() -> None:
    (run,) = Played(output="").play(ARGUMENTS, COMPLETED, SHOWN)
    assert run.output == {"role": "tool", "tool_call_id": "mcp_1", "content": ""}


def test_a_call_never_finished_ends_where_it_was_announced() -> None:
    played = Played()
    assert played.play(ARGUMENTS, DONE) == []
    (run,) = played.calls.close()
    assert (run.parent, run.end, run.answered, run.output, run.error) == (DONE, None, False, None, None)


def test_what_the_application_put_into_the_conversation_is_no_call() -> None:
    played = Played(output="bought yesterday")
    assert played.play(PLACED, "conversation.item.added") == []
    assert played.calls.close() == []


def test_an_item_only_begun_is_no_call() -> None:
    played = Played()
    played.play("response.output_item.added")
    assert played.calls.close() == []


def test_a_call_is_told_once() -> None:
    played = Played(output="bought")
    assert len(played.play(ARGUMENTS, COMPLETED, SHOWN, SHOWN, DONE, COMPLETED)) == 1


def test_fields_may_be_missing() -> None:
    calls = McpCalls()
    item = Item("mcp_1", "mcp_call", fields={"name": 5, "arguments": [], "output": "x"})
    (run,) = calls.event(SHOWN, item, 1.0, SHOWN)
    assert (run.name, run.arguments, run.metadata) == ("mcp_call", None, {})

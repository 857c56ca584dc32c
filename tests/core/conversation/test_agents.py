"""What an SDK says beside the protocol: agents, guardrails, approvals, and the real errors of tools."""

from __future__ import annotations

from typing import Any

import pytest

from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.conversation.run_data import AgentStep, EventRun, ModelRun, ToolRun
from langsmith_realtime.core.protocol.inputs import (
    AgentChanged,
    ApprovalAnswered,
    ApprovalAsked,
    ClientFrame,
    Closed,
    GuardrailTripped,
    Input,
    Ref,
    ServerFrame,
    ToolFailed,
)

pytestmark = pytest.mark.newest  # no version matters to it


def event(kind: str, t: float, **fields: Any) -> ServerFrame:
    return ServerFrame({"type": kind, **fields}, t, Ref(round(t * 1_000_000)))


def created(response_id: str, t: float) -> ServerFrame:
    return event("response.created", t, response={"id": response_id})


def done(response_id: str, t: float) -> ServerFrame:
    return event("response.done", t, response={"id": response_id, "status": "completed"})


def called(t: float) -> ServerFrame:
    item = {"id": "item_1", "type": "function_call", "call_id": "call_1", "name": "pay", "arguments": "{}"}
    return event("response.output_item.done", t, response_id="resp_1", item={**item, "status": "completed"})


def answered(t: float) -> ClientFrame:
    item = {"type": "function_call_output", "call_id": "call_1", "output": "An error occurred."}
    return ClientFrame({"type": "conversation.item.create", "item": item}, t)


def changed(agent: str, t: float, **fields: Any) -> AgentChanged:
    return AgentChanged(agent, t, Ref(round(t * 1_000_000)), **fields)


def user_said(text: str, t: float) -> ServerFrame:
    content = [{"type": "input_text", "text": text}]
    item = {"id": f"item_{t}", "type": "message", "role": "user", "content": content}
    return event("conversation.item.added", t, item=item)


def told(*inputs: Input) -> tuple[Conversation, list[Any]]:
    """The conversation that was told these inputs, and its runs."""
    conversation = Conversation()
    return conversation, [run for each in (*inputs, Closed(100.0)) for run in conversation.take(each)]


def agents(runs: list[Any]) -> list[object]:
    return [run.metadata.get("agent") for run in runs if isinstance(run, ModelRun)]


def updated(instructions: str, t: float) -> ServerFrame:
    return event("session.updated", t, session={"instructions": instructions})


def test_a_response_that_began_before_the_server_knew_the_next_agent_is_the_agents_before() -> None:
    _, runs = told(
        updated("Greet.", 0.0),
        changed("Front", 0.1, instructions="Greet."),
        created("resp_1", 0.2),
        done("resp_1", 0.3),
        changed("Billing", 0.4, instructions="Bill.", handoff=True),
        updated("Bill.", 0.5),
        changed("Front", 0.6, instructions="Greet.", handoff=True),  # two handoffs that one response asked for
        created("resp_2", 0.7),
        updated("Greet.", 0.8),
        done("resp_2", 0.9),
        created("resp_3", 1.0),
        done("resp_3", 1.1),
        changed("Clerk", 1.2, handoff=True),  # an agent without instructions
        created("resp_4", 1.3),
        done("resp_4", 1.4),
    )
    assert agents(runs) == ["Front", "Billing", "Front", "Clerk"]


def test_a_guardrail_of_a_tool_stops_its_call_and_no_answer() -> None:
    found = [{"name": "no_rome", "agent": "Front", "info": 1}]
    conversation, runs = told(
        created("resp_1", 1.0),
        called(1.1),
        GuardrailTripped(1.2, Ref(1_200_000), None, found, call_id="call_1"),
        answered(1.3),
        done("resp_1", 1.4),
        user_said("guardrail triggered: is what I read", 1.5),
    )
    (tool,) = [run for run in runs if isinstance(run, ToolRun)]
    assert tool.metadata["guardrails"] == ["no_rome"]
    (step,) = [run for run in runs if isinstance(run, AgentStep)]
    assert (step.call_id, step.response_id) == ("call_1", None)
    (model,) = [run for run in runs if isinstance(run, ModelRun)]
    assert "guardrails" not in model.metadata
    assert "from_guardrail" not in str(conversation.messages())


def test_a_server_that_changes_the_instructions_costs_no_agent() -> None:
    _, runs = told(
        changed("Front", 0.1, instructions="Greet. "),
        updated("Greet.", 0.2),
        created("resp_1", 0.3),
        done("resp_1", 0.4),
    )
    assert agents(runs) == ["Front"]


def test_a_response_is_made_by_the_agent_that_was_there_when_it_began() -> None:
    conversation, runs = told(
        created("resp_1", 1.0),
        changed("Front", 1.1, response_id="resp_1"),
        changed("Billing", 1.2, previous_agent="Front", handoff=True),
        done("resp_1", 1.3),
        created("resp_2", 2.0),
        done("resp_2", 2.1),
    )
    assert agents(runs) == ["Front", "Billing"]
    numbers = conversation.numbers()
    assert numbers["agents"] == ["Front", "Billing"]
    assert numbers["handoffs"] == 1


def test_a_conversation_without_an_sdk_says_nothing_of_agents() -> None:
    conversation, runs = told(created("resp_1", 1.0), done("resp_1", 1.1))
    assert agents(runs) == [None]
    assert not {"agents", "handoffs", "guardrails_tripped", "approvals"} & set(conversation.numbers())


def test_a_tool_that_failed_has_its_error_although_it_was_answered() -> None:
    _, runs = told(created("resp_1", 1.0), called(1.1), ToolFailed("call_1", 1.2, "KeyError: 'x'"), answered(1.3))
    (tool,) = [run for run in runs if isinstance(run, ToolRun)]
    assert tool.error == "KeyError: 'x'"
    assert tool.answered


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([ApprovalAnswered("call_1", 3.25, True)], {"approval": "approved", "approval_wait_ms": 2050}),
        ([ApprovalAnswered("call_1", 3.25, False)], {"approval": "rejected", "approval_wait_ms": 2050}),
        (
            [ApprovalAnswered("call_1", 3.25, True), ApprovalAnswered("call_1", 9.0, False)],
            {"approval": "approved", "approval_wait_ms": 2050},
        ),
        ([ApprovalAnswered("call_9", 3.25, True)], {"approval": "unanswered"}),
        ([], {"approval": "unanswered"}),
    ],
)
def test_a_call_says_how_long_it_waited_for_an_approval(answers: list[Input], expected: dict[str, Any]) -> None:
    asked = ApprovalAsked("call_1", 1.2, Ref(1_200_000), "pay", "Front")
    _, runs = told(created("resp_1", 1.0), called(1.1), asked, *answers)
    (tool,) = [run for run in runs if isinstance(run, ToolRun)]
    assert tool.metadata == expected


def test_handoffs_guardrails_and_waits_for_approvals_are_steps_of_their_call_or_response() -> None:
    _, runs = told(
        changed("Front", 0.5),
        created("resp_1", 1.0),
        changed("Billing", 1.2, previous_agent="Front", handoff=True, call_id="call_1"),
        GuardrailTripped(1.3, Ref(1_300_000), "resp_1", [{"name": "no_prices", "agent": "Front", "info": 1}], "It is"),
        ApprovalAsked("call_2", 1.4, Ref(1_400_000), "pay", "Billing"),
        ApprovalAsked("call_3", 1.5, Ref(1_500_000), "refund", "Billing"),
        ApprovalAnswered("call_2", 2.0, True),
    )
    found = {"info": 1, "message": "It is"}
    assert [run for run in runs if isinstance(run, AgentStep)] == [
        AgentStep("handoff", "Billing", 1.2, 1.2, "Front", call_id="call_1"),
        AgentStep("guardrail", "no_prices", 1.3, 1.3, "Front", response_id="resp_1", found=found),
        AgentStep("approval", "pay", 1.4, 2.0, "Billing", call_id="call_2", approved=True),
        AgentStep("approval", "refund", 1.5, 100.0, "Billing", call_id="call_3"),
    ]


def test_the_message_that_a_guardrail_sends_is_no_turn_of_the_user() -> None:
    conversation, runs = told(
        user_said("How much?", 1.0),
        created("resp_1", 1.1),
        GuardrailTripped(1.2, Ref(1_200_000), "resp_1", [{"name": "no_prices", "info": 1}], "It costs"),
        user_said("guardrail triggered: no_prices", 1.3),
        user_said("guardrail triggered: what is that?", 1.4),  # the user's own words
        done("resp_1", 1.5),
    )
    marked = [each.get("from_guardrail", False) for each in conversation.messages()]
    assert marked == [False, True, False]
    assert conversation.numbers()["turns"] == 2
    assert conversation.numbers()["guardrails_tripped"] == 1
    (model,) = [run for run in runs if isinstance(run, ModelRun)]
    assert model.metadata["guardrails"] == ["no_prices"]
    (tripped,) = [run for run in runs if isinstance(run, EventRun) and run.name == "guardrail_tripped"]
    assert tripped.payload["message"] == "It costs"

"""What of a session of the Agents SDK is known from public names, and where it stands in the trace."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import pytest

from tests.support.agents_sdk import (  # isort: split
    HAS_APPROVALS,
    HELP_DESK_SCRIPT,
    help_desk,
    model_config,
    outputs,
    until_answers,
)

from agents.realtime import RealtimeAgent, RealtimeModel, RealtimeSession
from agents.realtime.openai_realtime import OpenAIRealtimeWebSocketModel

from langsmith_realtime import wrap_realtime_session
from langsmith_realtime.adapters.agents import listener
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import RealtimeServer, Say, Script, Turn
from tests.support.conversations import Node, the_tree, tracing_to

#: The events of the trace that only the SDK knows.
ONLY_THE_SDK = ("agent_changed", "handoff", "tool_approval_required", "guardrail_tripped")


def held(collector: Collector, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Node:
    """The trace of the conversation in which everything happens that only the SDK knows."""
    with tracing_to(collector, monkeypatch), RealtimeServer(HELP_DESK_SCRIPT) as server:
        asyncio.run(help_desk(server, recording=False, **options))
        return the_tree(collector)


@pytest.fixture
def in_turns() -> Node:
    return in_turns_once()


@cache
def in_turns_once() -> Node:
    with Collector() as collector, pytest.MonkeyPatch.context() as monkeypatch:
        return held(collector, monkeypatch, layout="turns")


def events(root: Node) -> list[dict[str, Any]]:
    found = [node for name in ONLY_THE_SDK for node in root.find(name)]
    return [node.run.inputs["event"] for node in sorted(found, key=lambda node: node.run.start_time)]


def approved(*names: str) -> list[str]:
    """These names, without the approval's on a version that knows none."""
    return [name for name in names if HAS_APPROVALS or name != "tool_approval_required"]


def test_agents_guardrails_and_approvals_stand_below_their_turn(in_turns: Node) -> None:
    assert not set(ONLY_THE_SDK) & set(in_turns.names())
    first, second = [node for node in in_turns.children if node.run.name == "turn"][:2]
    assert [name for name in first.names() if name in ONLY_THE_SDK] == ["agent_changed"]
    assert [name for name in second.names() if name in ONLY_THE_SDK] == approved(
        "tool_approval_required", "handoff", "guardrail_tripped"
    )


def test_an_agent_shows_its_instructions_also_if_a_function_computes_them(in_turns: Node) -> None:
    first, handoff = next(in_turns.find("agent_changed")), next(in_turns.find("handoff"))
    assert first.run.inputs["event"]["instructions"] == "Greet."
    assert first.run.inputs["event"]["tools"] == ["find_order", "refund", "transfer_to_billing"]
    assert handoff.run.inputs["event"] == {
        "type": "handoff",
        "agent": "Billing",
        "previous_agent": "Front",
        "instructions": "You are Billing.",
        "tools": [],
    }


def test_a_session_that_hides_its_events_gives_all_that_public_names_say(
    in_turns: Node, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "EVENT_QUEUE", "_renamed")
    root = held(collector, monkeypatch, layout="turns")
    assert root.metadata["missed"].startswith("the first agent, the findings of guardrails, approvals")
    assert "missed" not in in_turns.metadata
    handoff, tripped = events(root)
    assert handoff == {"type": "handoff", "agent": "Billing", "instructions": "You are Billing.", "tools": []}
    assert (tripped["guardrails"], tripped["message"]) == ([{"name": "no_prices"}], "")
    assert "approval" not in root["refund"].metadata
    agents = [[node.metadata.get("agent") for node in trace.find("model")][:5] for trace in (root, in_turns)]
    assert agents == [[None] * 4 + ["Billing"], ["Front"] * 4 + ["Billing"]]
    assert root["find_order"].run.error == "LookupError: nothing was ordered from Rome"
    # The rest is equal.
    assert in_turns["find_order"].run.error == root["find_order"].run.error
    for name in ("turns", "interruptions", "handoffs", "guardrails_tripped", "errors"):
        assert root.metadata.get(name) == in_turns.metadata.get(name), name
    assert [message["role"] for message in said(root)] == [message["role"] for message in said(in_turns)]
    assert [marked["content"] for marked in said(root) if marked.get("from_guardrail")] == [
        "guardrail triggered: no_prices"
    ]
    guarded = [[node.metadata.get("guardrails") for node in trace.find("model")][:5] for trace in (root, in_turns)]
    assert guarded[0] == guarded[1] == [None] * 4 + [["no_prices"]]


def said(root: Node) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = outputs(root)["messages"]
    return messages


def test_a_model_that_does_not_show_its_listeners_is_traced_whole(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> None:
        session = RealtimeSession(Delegating(), RealtimeAgent[Any](name="Front"), None, model_config(server))
        async with wrap_realtime_session(session):
            await session.send_message("Hello")
            await until_answers(session)

    with RealtimeServer(Script([Turn(Say("Hi."))], speed=0)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert "missed" not in root.metadata
    assert "session.created" in root.names()
    assert root["agent_changed"].run.inputs["event"]["agent"] == "Front"
    assert [message["content"] for message in said(root)] == ["Hello", "Hi."]


class Delegating(RealtimeModel):
    """A model of the application's that leaves everything to the SDK's."""

    def __init__(self) -> None:
        self._inner = OpenAIRealtimeWebSocketModel()

    async def connect(self, options: Any) -> None:
        await self._inner.connect(options)

    def add_listener(self, listener: Any) -> None:
        self._inner.add_listener(listener)

    def remove_listener(self, listener: Any) -> None:
        self._inner.remove_listener(listener)

    async def send_event(self, event: Any) -> None:
        await self._inner.send_event(event)

    async def close(self) -> None:
        await self._inner.close()

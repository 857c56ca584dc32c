"""Conversations of the OpenAI Agents SDK with a local server. Skips the test file without the SDK, but not on CI."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if find_spec("agents") is None:
    assert not os.environ.get("CI"), "openai-agents is not installed"
    pytest.skip("openai-agents is not installed", allow_module_level=True)

from agents import GuardrailFunctionOutput, OutputGuardrail, function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession, realtime_handoff

from langsmith_realtime import wrap_realtime_session
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn
from tests.support.conversations import Node

if TYPE_CHECKING:
    from langsmith_realtime.adapters.agents_sdk import TracedSession


def model_config(server: RealtimeServer, **more: Any) -> Any:
    """The configuration with which the SDK's model connects to the local server."""
    return {"url": f"{server.url}?model=gpt-realtime", "api_key": "test", **more}


async def session_of(
    server: RealtimeServer, agent: RealtimeAgent[Any], *, context: Any = None, config: Any = None, **more: Any
) -> RealtimeSession:
    """A session of the agent that is not entered."""
    runner = RealtimeRunner(agent, config=config)
    return await runner.run(context=context, model_config=model_config(server, **more))


@asynccontextmanager
async def traced(
    server: RealtimeServer, agent: RealtimeAgent[Any], *, config: Any = None, tracker: Any = None, **options: Any
) -> AsyncIterator[TracedSession]:
    """A traced session of the agent."""
    more = {} if tracker is None else {"playback_tracker": tracker}
    session = await session_of(server, agent, config=config, **more)
    async with wrap_realtime_session(session, **options) as entered:
        yield entered


async def until(session: RealtimeSession, kind: str, times: int = 1) -> list[str]:
    """Iterates until the event of that type has arrived so many times; returns the types of all events."""
    seen: list[str] = []
    async with asyncio.timeout(20):
        async for event in session:
            seen.append(event.type)
            if seen.count(kind) == times:
                return seen
    raise AssertionError(f"the session ended before {times} {kind}: {seen}")


async def until_answers(session: RealtimeSession, times: int = 1) -> None:
    """Iterates until so many responses are done."""
    await until(session, "agent_end", times)


def listeners(session: RealtimeSession) -> list[Any]:
    """Who listens to the session's model."""
    model: Any = session.model
    return list(model._listeners)


def outputs(node: Node) -> dict[str, Any]:
    """The outputs of a run. Fails if it has none."""
    assert node.run.outputs is not None
    return node.run.outputs


# One conversation with everything that only the SDK knows


def _no_prices(context: Any, agent: Any, output: str) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info={"found": "price"}, tripwire_triggered="euros" in output)


@function_tool
def find_order(city: str) -> str:
    """Fails."""
    raise LookupError(f"nothing was ordered from {city}")


def refund(city: str) -> str:
    """Pays money back."""
    return f"paid to {city}"


try:
    _refund, HAS_APPROVALS = function_tool(needs_approval=True)(refund), True
except TypeError:  # the oldest version
    _refund, HAS_APPROVALS = function_tool(refund), False

BILLING = RealtimeAgent[Any](
    name="Billing",
    instructions=lambda context, agent: f"You are {agent.name}.",
    output_guardrails=[OutputGuardrail(guardrail_function=_no_prices, name="no_prices")],
)
HELP_DESK = RealtimeAgent[Any](
    name="Front", instructions="Greet.", tools=[find_order, _refund], handoffs=[realtime_handoff(BILLING)]
)
#: A greeting; then a tool that fails, an approval, a handoff, and an answer that a guardrail stops.
HELP_DESK_SCRIPT = Script(
    [
        Turn(Say("Hi.")),
        Turn(Call("find_order", {"city": "Rome"}, call_id="call_1")),
        Turn(Call("refund", {"city": "Rome"}, call_id="call_2")),
        Turn(Call("transfer_to_billing", call_id="call_3")),
        Turn(Say("That will cost you 100 euros, and then there are many more words that nobody is to hear at all.")),
        Turn(Say("I cannot say.")),
    ],
    speed=8,
    seed=7,
)


async def help_desk(server: RealtimeServer, **options: Any) -> None:
    """Holds the conversation of the script above, traced with these options."""
    settings = {"guardrails_settings": {"debounce_text_length": 10}}
    # The oldest version does not cancel the answer that a guardrail stops, and so cannot ask for the next one.
    answers, seen = len(HELP_DESK_SCRIPT.turns) - (not HAS_APPROVALS), list[str]()
    async with traced(server, HELP_DESK, config=settings, **options) as session, asyncio.timeout(20):
        await session.send_message("Hello")
        async for event in session:
            seen.append(event.type)
            if event.type == "tool_approval_required":
                await session.approve_tool_call(event.call_id)
            elif event.type == "agent_end" and seen.count("agent_end") == 1:
                await session.send_message("I want my money back")
            if "guardrail_tripped" in seen and seen.count("agent_end") == answers:
                return

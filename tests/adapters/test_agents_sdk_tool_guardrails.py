"""The guardrails of tools in the Agents SDK: what they find is in the trace, and they are left as they were."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.agents_sdk import outputs, traced, until_answers  # isort: split

import agents
from agents import function_tool
from agents.realtime import RealtimeAgent

from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Call, RealtimeServer, Script, Turn
from tests.support.conversations import Node, trees

if not hasattr(agents, "tool_input_guardrail"):
    pytest.skip("this version has no guardrails of tools", allow_module_level=True)

from agents import ToolGuardrailFunctionOutput, tool_input_guardrail, tool_output_guardrail


@tool_input_guardrail
def no_rome(data: Any) -> ToolGuardrailFunctionOutput:
    if "Rome" in data.context.tool_arguments:
        return ToolGuardrailFunctionOutput.reject_content("Not Rome.", output_info={"found": "Rome"})
    return ToolGuardrailFunctionOutput.allow()


@tool_input_guardrail
def stops(data: Any) -> ToolGuardrailFunctionOutput:
    return ToolGuardrailFunctionOutput.raise_exception()


@tool_input_guardrail
def broken(data: Any) -> ToolGuardrailFunctionOutput:
    raise LookupError("no list of cities")


@tool_output_guardrail
def no_secrets(data: Any) -> ToolGuardrailFunctionOutput:
    return ToolGuardrailFunctionOutput.reject_content("It is secret.")


def visit(city: str) -> dict[str, str]:
    """Visits a city."""
    return {"secret of": city}


TOOLS = [
    function_tool(name_override="visit", tool_input_guardrails=[no_rome])(visit),
    function_tool(name_override="tell", tool_output_guardrails=[no_secrets])(visit),
    function_tool(name_override="stop", tool_input_guardrails=[stops])(visit),
    function_tool(name_override="fail", tool_input_guardrails=[broken])(visit),
]
AGENT = RealtimeAgent[Any](name="Guide", tools=list(TOOLS))


def tripped(root: Node) -> list[dict[str, Any]]:
    return [node.run.inputs["event"] for node in root.find("guardrail_tripped")]


def test_what_the_guardrails_of_a_tool_find_is_shown_on_its_call_in_each_of_two_sessions(tracing: Collector) -> None:
    def calls(city: str, *names: str) -> Script:
        return Script([Turn(*[Call(name, {"city": city}, call_id=f"call_{name}") for name in names])], speed=0)

    async def converse(server: RealtimeServer) -> None:
        async with traced(server, AGENT) as session:
            async with traced(server, AGENT) as other:
                await other.send_message("Rome, please")
                await until_answers(other, 2)
            await session.send_message("Oslo, please")
            await until_answers(session, 1)
            await asyncio.to_thread(server.wait_for, lambda frame: "It is secret." in str(frame.raw))

    with RealtimeServer([calls("Oslo", "visit", "tell", "stop", "fail"), calls("Rome", "visit")]) as server:
        asyncio.run(converse(server))
    assert not [guardrail for guardrail in (no_rome, stops, broken, no_secrets) if "run" in vars(guardrail)]
    by_words = {outputs(root)["messages"][0]["content"]: root for root in trees(tracing)}
    oslo, rome = by_words["Oslo, please"], by_words["Rome, please"]
    assert tripped(rome) == [
        {
            "type": "guardrail_tripped",
            "call_id": "call_visit",
            "guardrails": [
                {
                    "name": "no_rome",
                    "agent": "Guide",
                    "tool": "visit",
                    "behavior": "reject_content",
                    "info": {"found": "Rome"},
                }
            ],
            "message": "",
        }
    ]
    assert rome["visit"].metadata["guardrails"] == ["no_rome"]
    assert outputs(rome["visit"])["content"] == "Not Rome."
    assert (rome.metadata["guardrails_tripped"], rome.metadata["turns"], rome.metadata["errors"]) == (1, 1, 0)

    found = {each["call_id"]: (each["guardrails"][0]["behavior"], each["message"]) for each in tripped(oslo)}
    assert found == {"call_tell": ("reject_content", '{"secret of": "Oslo"}'), "call_stop": ("raise_exception", "")}
    assert "guardrails" not in oslo["visit"].metadata
    assert outputs(oslo["visit"])["content"] == '{"secret of": "Oslo"}'
    assert outputs(oslo["tell"])["content"] == "It is secret."
    assert oslo["fail"].run.error == "LookupError: no list of cities"
    assert str(oslo["stop"].run.error).startswith("ToolInputGuardrailTripwireTriggered")

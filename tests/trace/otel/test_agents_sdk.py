"""The logging of a tool that the OpenAI Agents SDK carries out stands in the tool's span."""

from __future__ import annotations

import asyncio
import logging
import runpy
import sys
import warnings
from types import ModuleType
from typing import Any

import pytest

from tests.support.agents_sdk import session_of  # isort: split

from agents import function_tool
from agents.realtime import RealtimeAgent
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggingHandler

from langsmith_realtime import SessionTracer
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn, speech_like
from tests import ROOT
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers

pytestmark = pytest.mark.newest

app = logging.getLogger("shop")
#: Two calls in one response, which the SDK carries out in tasks of their own.
SCRIPT = Script(
    [
        Turn(
            Call("look_up", {"city": "Paris"}, call_id="call_1"),
            Call("book", {"city": "Rome"}, call_id="call_2"),
        ),
        Turn(Say("Sunny.")),
    ],
    speed=0,
)


@function_tool
async def look_up(city: str) -> str:
    """The weather of a city."""
    await asyncio.sleep(0.01)
    app.info("looking up %s", city)
    return "sunny"


@function_tool
async def book(city: str) -> str:
    """A room in a city."""
    app.info("booking %s", city)
    await asyncio.to_thread(app.info, "in a thread")
    return "booked"


class Listener:
    """Gives a tracer what the SDK's model receives."""

    def __init__(self, tracer: SessionTracer) -> None:
        self._tracer = tracer

    async def on_event(self, event: Any) -> None:
        if event.type == "raw_server_event":
            self._tracer.server_event(event.data)


def exported_logging(providers: Providers) -> LoggingHandler:
    """Exports the application's logging, as an application with OpenTelemetry does; returns the handler."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        handler = LoggingHandler(logger_provider=providers.logger)
    app.addHandler(handler)
    app.setLevel(logging.INFO)
    return handler


def test_logging_in_parallel_tools_of_the_agents_sdk_stands_in_each_tools_span(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    handler = exported_logging(providers)

    async def converse(server: RealtimeServer) -> None:
        agent: RealtimeAgent[Any] = RealtimeAgent(name="clerk", instructions="Be brief.", tools=[look_up, book])
        session = await session_of(server, agent)
        with SessionTracer(otel=providers.otel(), langsmith=False) as tracer:
            listener: Any = Listener(tracer)
            session.model.add_listener(listener)
            ended = 0
            async with session, asyncio.timeout(20):
                await session.send_message("How is it in Paris?")
                async for event in session:
                    ended += event.type == "tool_end"
                    if ended == 2:
                        break

    try:
        with RealtimeServer(SCRIPT) as server:
            asyncio.run(converse(server))
    finally:
        app.removeHandler(handler)
    talk.arrive(providers)
    tools = {span.name: span.span_id for span in receiver.spans("execute_tool")}
    logged = {str(record.body): record.span_id for record in receiver.records if record.scope == "shop"}
    assert logged == {
        "looking up Paris": tools["execute_tool look_up"],
        "booking Rome": tools["execute_tool book"],
        "in a thread": tools["execute_tool book"],
    }
    assert receiver.orphans() == []


def test_the_example_for_azure_monitor(
    providers: Providers, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = []

    def configure_azure_monitor(*, logger_name: str) -> None:
        """What Azure's distribution does here: sets the global providers, and exports one logger."""
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", providers.tracer)
        monkeypatch.setattr(_logs._internal, "_LOGGER_PROVIDER", providers.logger)
        monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", providers.meter)
        assert logger_name == app.name
        handlers.append(exported_logging(providers))

    for name in ("azure", "azure.monitor", "azure.monitor.opentelemetry"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["azure.monitor.opentelemetry"].__dict__["configure_azure_monitor"] = configure_azure_monitor
    names = runpy.run_path(str(ROOT / "docs/examples/otel_azure.py"))
    script = Script([Turn(Call("look_up", {"city": "Paris"}, call_id="call_1")), Turn(Say("Sunny."))], speed=0)
    try:
        with RealtimeServer(script) as server:
            question = speech_like("How is the weather in Paris?", 0.3)
            asyncio.run(names["main"](question, url=f"{server.url}?model=gpt-realtime", api_key="test"))
    finally:
        app.removeHandler(handlers[0])
    talk.arrive(providers)
    (record,) = [each for each in receiver.records if each.scope == "shop"]
    assert record.span_id == receiver.the_span("execute_tool look_up").span_id
    chats = ["chat gpt-realtime", ("chat gpt-realtime", ["execute_tool look_up"])]
    assert receiver.shape() == [("realtime_session", ["user_speech", *reversed(chats)])]
    assert receiver.spans("chat")[0].attributes["gen_ai.system"] == "openai"
    assert receiver.point("gen_ai.client.token.usage").count > 0
    assert receiver.point("langsmith_realtime.tool_calls").value == 1
    assert receiver.orphans() == []

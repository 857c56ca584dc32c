"""Handoffs, guardrails and approvals of an SDK's agents as spans."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.agents_sdk import traced, until  # isort: split

from agents import GuardrailFunctionOutput, OutputGuardrail, function_tool
from agents.realtime import RealtimeAgent, realtime_handoff
from langsmith import Client
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from langsmith_realtime import Otel, SessionTracer
from langsmith_realtime.collector import Collector
from langsmith_realtime.core.protocol.inputs import AgentChanged, ApprovalAnswered, ApprovalAsked, GuardrailTripped
from langsmith_realtime.journal.recovery import Fate, recover
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers, ReceivedSpan

pytestmark = pytest.mark.newest

OWN = "langsmith_realtime."
SCRIPT = Script(
    [
        Turn(Call("transfer_to_billing", call_id="call_handoff")),
        Turn(Call("refund", {"city": "Rome"}, call_id="call_refund")),
        Turn(Say("That will cost you 100 euros, and then there are many more words.")),
        Turn(Say("I cannot say.")),
    ],
    speed=4,
)


@function_tool(needs_approval=True)
def refund(city: str) -> str:
    """Pays money back."""
    return f"paid to {city}"


def no_prices(context: Any, agent: Any, output: str) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info={"found": "price"}, tripwire_triggered="euros" in output)


async def converse(server: RealtimeServer, **options: Any) -> None:
    billing = RealtimeAgent[Any](
        name="Billing",
        tools=[refund],
        output_guardrails=[OutputGuardrail(guardrail_function=no_prices, name="no_prices")],
    )
    front = RealtimeAgent[Any](name="Front", handoffs=[realtime_handoff(billing)])
    config = {"guardrails_settings": {"debounce_text_length": 10}}
    async with traced(server, front, config=config, **options) as session:
        await session.send_message("My bill")
        async with asyncio.timeout(20):
            async for event in session:
                if event.type == "tool_approval_required":
                    await session.approve_tool_call(event.call_id)
                    break
        await until(session, "guardrail_tripped")
        await until(session, "agent_end")


class NotesTheSession(SpanProcessor):
    """Notes the agent that the session's span names when a response ends, as Azure's distro does."""

    def __init__(self) -> None:
        self.agents: list[Any] = []

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        if span.name == "realtime_session":
            self._session = span

    def on_end(self, span: ReadableSpan) -> None:
        if span.name.startswith("chat"):
            self.agents.append((self._session.attributes or {}).get("gen_ai.agent.name"))


def test_steps_of_the_agents_sdk_stand_below_their_call_or_response(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    above = NotesTheSession()
    providers.tracer.add_span_processor(above)
    with RealtimeServer(SCRIPT) as server:
        asyncio.run(converse(server, otel=providers.otel(content=True), langsmith=False))
        port = urlsplit(server.url).port
    talk.arrive(providers)
    assert receiver.orphans() == []
    handoff, guardrail, approval = (receiver.the_span(name) for name in ("handoff", "guardrail", "approval"))
    assert [handoff.name, guardrail.name, approval.name] == [
        "handoff Billing",
        "guardrail no_prices",
        "approval refund",
    ]
    assert handoff.parent_id == receiver.the_span("execute_tool transfer_to_billing").span_id
    tool = receiver.the_span("execute_tool refund")
    assert approval.parent_id == tool.span_id
    assert tool.start <= approval.start <= approval.end <= tool.end
    responses = receiver.spans("chat")
    assert guardrail.parent_id == responses[2].span_id
    assert [each.attributes["gen_ai.agent.name"] for each in responses[:3]] == ["Front", "Billing", "Billing"]
    assert responses[2].attributes[OWN + "guardrails"] == ["no_prices"]
    session = receiver.the_span("realtime_session")
    assert session.attributes["gen_ai.agent.name"] == "Front"
    assert above.agents[0] == "Front", "the session has the name before the first response ends"
    for span in (session, *responses):
        assert (span.attributes["server.address"], span.attributes["server.port"]) == ("127.0.0.1", port)
    assert handoff.attributes["gen_ai.agent.name"] == "Front"
    assert handoff.attributes[OWN + "handoff.to"] == "Billing"
    assert approval.attributes[OWN + "approval"] == tool.attributes[OWN + "approval"] == "approved"
    assert json.loads(guardrail.attributes[OWN + "guardrail.info"]) == {"found": "price"}
    assert "euros" in guardrail.attributes[OWN + "guardrail.message"]


def steps(tracer: SessionTracer) -> None:
    """A conversation whose calls and responses have steps; the second response does not end."""
    live = tracer.live
    assert live is not None
    live.connected_to("realtime.example", 8443)
    tracer.server_event(talk.SESSION)
    talk.begins(tracer, "resp_1")
    talk.calls(tracer)
    live.told_as_run(lambda t, run: ApprovalAsked("call_1", t, run, "look_up", "Front"))
    live.told(lambda t: ApprovalAnswered("call_1", t, False))
    live.told_as_run(lambda t, run: AgentChanged("Billing", t, run, "Front", handoff=True, call_id="call_1"))
    talk.ends(tracer, "resp_1", talk.CALL)
    talk.answers(tracer)
    talk.begins(tracer, "resp_2")
    found = [{"name": "no_prices", "agent": "Billing", "info": "Anna Doe"}, {"name": "no_names", "agent": "Billing"}]
    live.told_as_run(lambda t, run: GuardrailTripped(t, run, "resp_2", found, "It costs"))
    live.told_as_run(lambda t, run: GuardrailTripped(t, run, None, [{"name": "of no response"}]))
    tracer.server_event({"type": "rate_limits.updated", "rate_limits": []})


def test_a_journal_gives_the_steps_that_the_live_conversation_gave_and_content_is_off(
    tracing: Collector,
    providers: Providers,
    receiver: OtlpReceiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with SessionTracer(otel=providers.otel()) as tracer:
        steps(tracer)
        deadline = time.monotonic() + 20
        while not (found := _journals_with("rate_limits.updated")):  # it has what is older than 100 ms
            assert time.monotonic() < deadline
            time.sleep(0.02)
        shutil.copytree(found[0].parent, tmp_path / found[0].parent.name)  # as a process that dies now leaves it
    talk.arrive(providers)
    live = _steps(receiver)
    assert len(live) == 5
    above = {name: span.parent_id for name, span in live.items()}
    assert above["approval look_up"] == above["handoff Billing"] == receiver.the_span("execute_tool").span_id
    assert above["guardrail no_prices"] == above["guardrail no_names"] == receiver.spans("chat")[1].span_id
    assert above["guardrail of no response"] == receiver.the_span("realtime_session").span_id
    assert live["approval look_up"].attributes[OWN + "approval"] == "rejected"
    assert "Anna Doe" not in str([receiver.all_spans, receiver.records])

    receiver.all_spans.clear()
    monkeypatch.setenv("LANGSMITH_REALTIME_DIR", str(tmp_path))
    client = Client(auto_batch_tracing=False)
    export = lambda: OTLPSpanExporter(f"{receiver.base_url}/v1/traces")  # noqa: E731
    assert [each.fate for each in recover(client, otel=Otel(recover_with=export))] == [Fate.COMPLETED]
    assert _steps(receiver) == live
    for span in receiver.spans("chat"):
        assert (span.attributes["server.address"], span.attributes["server.port"]) == ("realtime.example", 8443)
        assert span.attributes["gen_ai.realtime_session.id"] == "sess_1"
    assert receiver.orphans() == []


def _journals_with(word: str) -> list[Path]:
    return [path for path in state_directory().glob("*/journal.jsonl") if word in path.read_text("utf-8")]


def _steps(receiver: OtlpReceiver) -> dict[str, ReceivedSpan]:
    kinds = ("handoff", "guardrail", "approval")
    return {span.name: span for span in receiver.spans() if span.name.split()[0] in kinds}

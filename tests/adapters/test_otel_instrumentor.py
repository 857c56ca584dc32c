"""``opentelemetry-instrument`` and the instrumentor switch OpenTelemetry on, and never LangSmith."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from langsmith_realtime import SessionTracer, wrap_realtime
from langsmith_realtime.adapters.otel_instrumentor import RealtimeInstrumentor
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Close, RealtimeServer, Say, Script, Turn
from tests import ROOT
from tests.support import otel_conversation as talk
from tests.support.conversations import async_client, stored_trees, sync_client, trees
from tests.support.otlp_receiver import OtlpReceiver, Providers, otlp_receiver

pytestmark = pytest.mark.newest

SCRIPT = Script([Turn(Say("Hello."), then=[Close(1000)])], speed=0)


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as running:
        yield running


@pytest.fixture
def providers(receiver: OtlpReceiver) -> Iterator[Providers]:
    """The providers of a process that is instrumented."""
    instrumentor, made = RealtimeInstrumentor(), Providers(receiver)
    instrumentor.instrument(
        tracer_provider=made.tracer, meter_provider=made.meter, logger_provider=made.logger, unknown=1
    )
    yield made
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    made.shutdown()


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    with RealtimeServer(SCRIPT) as running:
        yield running


def test_an_instrumented_process_shows_conversations_without_the_option_until_it_is_taken_back(
    providers: Providers, receiver: OtlpReceiver, server: RealtimeServer
) -> None:
    def converse() -> None:
        with SessionTracer() as tracer:
            talk.hold(tracer)
            assert tracer.url is None, "LangSmith is off"
        with sync_client(server).realtime.connect(model="gpt-realtime") as connection:
            connection.response.create()
            assert "response.done" in [event.type for event in connection]
        with SessionTracer(otel=False) as tracer:
            assert not tracer.enabled

    converse()
    RealtimeInstrumentor().uninstrument()
    with SessionTracer() as tracer:
        assert not tracer.enabled
    with sync_client(server).realtime.connect(model="gpt-realtime") as connection:
        assert not hasattr(connection, "langsmith")
    talk.arrive(providers)
    assert len(receiver.spans("realtime_session")) == 2
    RealtimeInstrumentor().instrument(tracer_provider=providers.tracer)
    converse()
    talk.arrive(providers)
    assert len(receiver.spans("realtime_session")) == 4
    assert receiver.orphans() == []


@pytest.mark.parametrize("is_late", [False, True], ids=["before its first event", "after it"])
def test_a_connection_that_is_wrapped_is_one_session(
    is_late: bool, providers: Providers, receiver: OtlpReceiver, server: RealtimeServer
) -> None:
    with sync_client(server).realtime.connect(model="gpt-realtime") as raw:
        if is_late:
            raw.recv()
        with wrap_realtime(raw, thread_id=None if is_late else "call-7") as connection:
            connection.response.create()
            assert "response.done" in [event.type for event in connection]
    talk.arrive(providers)
    session = receiver.the_span("realtime_session")
    assert session.attributes.get("gen_ai.conversation.id") == (None if is_late else "call-7")
    assert receiver.the_span("chat").parent_id == session.span_id
    assert receiver.point("langsmith_realtime.conversations").value == 0


def test_a_connection_that_is_wrapped_late_is_shown_once_and_has_its_trace_in_langsmith(
    tracing: Collector, providers: Providers, receiver: OtlpReceiver, server: RealtimeServer
) -> None:
    with sync_client(server).realtime.connect(model="gpt-realtime") as raw:
        assert raw.recv().type == "session.created"
        with wrap_realtime(raw, tags=["mine"]) as connection:
            connection.response.create()
            assert "response.done" in [event.type for event in connection]
    (root,) = trees(tracing)
    talk.arrive(providers)
    assert "mine" in (root.run.tags or [])
    assert len(receiver.spans("chat")) == 1
    # The part before it was wrapped is a session of its own, because LangSmith cannot get what is over.
    first, second = receiver.spans("realtime_session")
    assert first.attributes["langsmith_realtime.event_count"] == 1
    assert second.attributes["langsmith_realtime.event_count"] > 1
    assert receiver.point("langsmith_realtime.conversations").value == 0


@pytest.mark.filterwarnings("ignore:Function wrap_realtime is in beta")
def test_a_connection_that_langsmiths_own_wrapper_traces_is_shown_in_opentelemetry_too(
    tracing: Collector, providers: Providers, receiver: OtlpReceiver, server: RealtimeServer
) -> None:
    theirs = pytest.importorskip("langsmith.integrations.openai_realtime")

    async def converse() -> None:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            theirs.wrap_realtime(raw) as connection,
        ):
            await connection.response.create()
            async for _ in connection:
                pass

    asyncio.run(converse())
    assert trees(tracing), "its trace"
    talk.arrive(providers)
    assert len(receiver.spans("chat")) == 1
    assert receiver.the_span("realtime_session").status[0] == 0, "it does not give way"


def test_the_entry_point_is_found() -> None:
    (found,) = entry_points(group="opentelemetry_instrumentor", name="langsmith_realtime")
    assert found.load() is RealtimeInstrumentor


#: Connections of openai that nobody wraps, one of a wrapped client, one that is wrapped, and a session of the Agents
#: SDK. Shows whether LangSmith's client was made.
PROGRAM = """
import asyncio, os, threading
from openai import OpenAI

url = os.environ["SERVER"]
settings = dict(api_key="test", base_url=url, websocket_base_url=url.replace("http", "ws", 1))

def converse(connection):
    connection.response.create()
    for event in connection:
        pass

with OpenAI(**settings).realtime.connect(model="gpt-realtime") as connection:
    converse(connection)

from langsmith_realtime import wrap_openai_realtime, wrap_realtime

with wrap_openai_realtime(OpenAI(**settings)).realtime.connect(model="gpt-realtime") as connection:
    converse(connection)
with OpenAI(**settings).realtime.connect(model="gpt-realtime") as raw, wrap_realtime(raw) as connection:
    converse(connection)

from agents.realtime import RealtimeAgent, RealtimeRunner

async def session():
    runner = RealtimeRunner(RealtimeAgent(name="Front"), config={"tracing_disabled": True})
    model_config = {"url": os.environ["SOCKET"] + "?model=gpt-realtime", "api_key": "test"}
    async with await runner.run(model_config=model_config) as session:
        await session.send_message("Hello")
        async for event in session:
            pass

asyncio.run(session())
from langsmith import run_trees
print("client" if run_trees._CLIENT is not None else "no client")
"""


@pytest.mark.nocover
@pytest.mark.parametrize("also_in_langsmith", [False, True], ids=["alone", "beside LANGSMITH_REALTIME_AUTO"])
def test_opentelemetry_instrument_shows_each_conversation_once_whether_it_is_wrapped_or_not(
    also_in_langsmith: bool, receiver: OtlpReceiver, server: RealtimeServer, tracing: Collector
) -> None:
    environment = {"SERVER": server.base_url, "SOCKET": server.url}
    environment |= {"LANGSMITH_REALTIME_AUTO": "true"} if also_in_langsmith else {"LANGSMITH_TRACING": "false"}
    done = instrumented(PROGRAM, receiver, **environment)
    assert done.stdout.split() == (["client"] if also_in_langsmith else ["no", "client"]), done.stderr
    assert len(receiver.spans("realtime_session")) == 4, done.stderr
    assert len(receiver.spans("chat")) == 4
    assert [span.name for span in receiver.spans()].count("realtime_session") == 4
    assert receiver.orphans() == []
    assert len(stored_trees(tracing)) == (4 if also_in_langsmith else 0)


def test_opentelemetry_instrument_leaves_out_what_is_disabled(receiver: OtlpReceiver) -> None:
    program = "from langsmith_realtime import SessionTracer\nassert not SessionTracer().enabled"
    done = instrumented(program, receiver, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="langsmith_realtime")
    assert done.returncode == 0, done.stderr
    assert receiver.spans() == []


def instrumented(program: str, receiver: OtlpReceiver, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs a program under opentelemetry-instrument, which exports to the receiver."""
    command = Path(sys.executable).with_name("opentelemetry-instrument")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "PYTHONPATH": str(ROOT),
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.base_url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
        **more,
    }
    return subprocess.run(
        [str(command), sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

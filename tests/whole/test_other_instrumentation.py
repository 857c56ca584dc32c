"""Other instrumentation in the process: each sees every event, no event is traced twice, patches are restored."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai.resources.realtime.realtime import AsyncRealtimeConnection, RealtimeConnection

from langsmith_realtime import flush, wrap_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import RealtimeServer, Replay, Say, Script, Turn
from tests import ROOT
from tests.support.conversations import (
    Node,
    async_client,
    recordings,
    server_events,
    spanned,
    sync_client,
    the_tree,
    trees,
)
from tests.support.snippets import run, snippet

FRAMES = "openai_ws-tool_call_round"


@pytest.fixture
def frames() -> list[dict[str, Any]]:
    """The frames of a recorded conversation."""
    return recordings()[FRAMES]


@pytest.fixture
def server(frames: list[dict[str, Any]]) -> Iterator[RealtimeServer]:
    with RealtimeServer(Replay(frames)) as running:
        yield running


async def converse(connection: Any, frames: list[dict[str, Any]]) -> list[str]:
    """Holds the recorded conversation and returns the types of the received events."""

    async def send() -> None:
        for frame in frames:
            if frame["dir"] == "client":
                await connection.send(frame["event"])

    sending = asyncio.create_task(send())
    seen = [event.type async for event in connection]
    await sending
    return seen


def received(frames: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in server_events(frames)]


def sent(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["event"]["type"] for frame in frames if frame["dir"] == "client"]


def assert_complete(root: Node, frames: list[dict[str, Any]]) -> None:
    """Asserts that a trace has each event of the conversation once."""
    assert root.names() == spanned(server_events(frames))
    assert root.run.error is None


# Datadog


class PatchingObserver:
    """Patches class methods as Datadog's integration does: it stores each event and passes the call through."""

    NAMES = ("parse_event", "send", "recv", "close")

    def __init__(self) -> None:
        self.parsed: list[str] = []
        self.sent: list[str] = []
        self.received: list[str] = []

    @contextmanager
    def patching(self) -> Iterator[PatchingObserver]:
        with pytest.MonkeyPatch.context() as patched:
            self._patch(patched)
            yield self

    def _patch(self, patched: pytest.MonkeyPatch) -> None:
        for kind in (AsyncRealtimeConnection, RealtimeConnection):
            patched.setattr(kind, "parse_event", self._parsing(kind.parse_event))
            patched.setattr(kind, "send", self._sending(kind.send))
        patched.setattr(AsyncRealtimeConnection, "recv", self._receiving(AsyncRealtimeConnection.recv))

    def _parsing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def parse_event(connection: Any, data: Any) -> Any:
            event = original(connection, data)
            self.parsed.append(event.type)
            return event

        return parse_event

    def _sending(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def send(connection: Any, event: Any) -> Any:
            self.sent.append(event["type"])
            return original(connection, event)

        return send

    def _receiving(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def recv(connection: Any) -> Any:
            event = await original(connection)
            self.received.append(event.type)
            return event

        return recv


def test_class_methods_patched_before_wrapping_see_every_event_and_so_does_the_trace(
    tracing: Collector, server: RealtimeServer, frames: list[dict[str, Any]]
) -> None:
    async def talk() -> None:
        async with async_client(server).realtime.connect(model="m") as raw, wrap_realtime(raw) as connection:
            assert await converse(connection, frames) == received(frames)
        assert not {"recv", "send", "parse_event"} & vars(raw).keys()

    with PatchingObserver().patching() as observer:
        asyncio.run(talk())
    assert observer.parsed == observer.received == received(frames)
    assert observer.sent == sent(frames)
    assert_complete(the_tree(tracing), frames)


def test_class_methods_patched_after_wrapping_see_every_later_event(
    tracing: Collector, server: RealtimeServer, frames: list[dict[str, Any]]
) -> None:
    observer = PatchingObserver()

    async def talk() -> None:
        async with async_client(server).realtime.connect(model="m") as raw, wrap_realtime(raw) as connection:
            with observer.patching():
                assert await converse(connection, frames) == received(frames)

    asyncio.run(talk())
    assert observer.parsed == observer.received == received(frames)
    assert observer.sent == sent(frames)
    assert_complete(the_tree(tracing), frames)


def test_methods_patched_on_the_instance_are_restored(
    tracing: Collector, server: RealtimeServer, frames: list[dict[str, Any]]
) -> None:
    with sync_client(server).realtime.connect(model="m") as raw:
        seen: list[Any] = []
        original = raw.parse_event

        def parse_event(data: Any) -> Any:
            seen.append(data)
            return original(data)

        raw.parse_event = parse_event  # type: ignore[method-assign]
        with wrap_realtime(raw) as connection:
            for frame in frames:
                if frame["dir"] == "client":
                    connection.send(frame["event"])
            assert [event.type for event in connection] == received(frames)
        raw.parse_event(b"{}")
    assert len(seen) == len(received(frames)) + 1
    assert_complete(the_tree(tracing), frames)


class Proxy:
    """A transparent proxy as wrapt makes them: it has the class of its target, and stores received events."""

    def __init__(self, wrapped: Any) -> None:
        object.__setattr__(self, "__wrapped__", wrapped)
        object.__setattr__(self, "seen", [])

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return self.__wrapped__.__class__

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return self.__wrapped__.__dict__

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "__wrapped__"), name)

    async def recv(self) -> Any:
        event = await self.__wrapped__.recv()
        self.seen.append(event.type)
        return event

    async def __aiter__(self) -> Any:
        async for event in self.__wrapped__:
            self.seen.append(event.type)
            yield event


def test_a_proxy_that_claims_to_be_a_connection_is_traced_as_one(
    tracing: Collector, server: RealtimeServer, frames: list[dict[str, Any]]
) -> None:
    async def talk() -> None:
        async with async_client(server).realtime.connect(model="m") as raw:
            proxy: Any = Proxy(Proxy(raw))
            async with wrap_realtime(proxy) as connection:
                assert connection is proxy
                assert (await connection.recv()).type == "session.created"
                assert await converse(connection, frames) == received(frames)[1:]
                for other in (proxy, raw):
                    with pytest.raises(ValueError, match="must not be traced already"):
                        wrap_realtime(other)
            assert proxy.seen == received(frames)
            assert not {"recv", "send", "parse_event"} & vars(raw).keys()

    asyncio.run(talk())
    assert_complete(the_tree(tracing), frames)


class DatadogState:
    """Stores what Datadog's patched methods report; the real class sends to a Datadog agent."""

    def __init__(self) -> None:
        self.parsed: list[str] = []
        self.sent: list[str] = []
        self.finished = False

    def on_server_event(self, event: Any) -> None:
        self.parsed.append(event.type)

    def on_client_event(self, event: Any) -> None:
        self.sent.append(event["type"])

    def finish_session(self) -> None:
        self.finished = True


@pytest.mark.beside
@pytest.mark.parametrize("late", [False, True], ids=["patched first", "patched while open"])
def test_datadogs_integration_and_the_trace_both_see_every_event(
    tracing: Collector, server: RealtimeServer, frames: list[dict[str, Any]], late: bool
) -> None:
    """Needs ddtrace. `PatchingObserver` replaces it in the other tests."""
    datadogs = importlib.import_module("ddtrace.contrib.internal.openai.patch")
    state = DatadogState()

    async def talk() -> None:
        async with async_client(server).realtime.connect(model="m") as raw, wrap_realtime(raw) as connection:
            if late:
                datadogs.patch()
            raw._dd_realtime_state = state  # type: ignore[attr-defined]
            assert await converse(connection, frames) == received(frames)

    if not late:
        datadogs.patch()
    try:
        asyncio.run(talk())
    finally:
        datadogs.unpatch()
    assert state.parsed == received(frames)
    assert state.sent == sent(frames)
    assert state.finished
    assert_complete(the_tree(tracing), frames)


# LangSmith's integration


def test_a_client_wrapped_by_langsmith_is_traced(
    tracing: Collector, server: RealtimeServer, frames: list[dict[str, Any]]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of LangSmith's import of its wrappers
        from langsmith.wrappers import wrap_openai  # noqa: PLC0415

    async def talk() -> None:
        client = wrap_openai(async_client(server))
        async with client.realtime.connect(model="m") as raw, wrap_realtime(raw) as connection:
            assert await converse(connection, frames) == received(frames)

    asyncio.run(talk())
    assert_complete(the_tree(tracing), frames)


@pytest.fixture
def langsmith_wrap_realtime() -> Any:
    """LangSmith's wrap_realtime, which only the newest versions have."""
    module = importlib.import_module("langsmith.integrations.openai_realtime._connection")
    return module.wrap_realtime


@pytest.mark.newest
def test_wrapping_a_connection_wrapped_by_langsmith_is_refused(
    tracing: Collector, langsmith_wrap_realtime: Any, server: RealtimeServer
) -> None:
    async def talk() -> None:
        async with async_client(server).realtime.connect(model="m") as raw, langsmith_wrap_realtime(raw) as theirs:
            with pytest.raises(TypeError, match=r"traces this connection already; .*wrap the connection itself"):
                wrap_realtime(theirs)

    asyncio.run(talk())
    assert len(trees(tracing)) == 1


@pytest.mark.newest
@pytest.mark.parametrize("receive", ["iterating", "recv"])
@pytest.mark.parametrize("order", ["theirs around ours", "both around the connection"])
def test_tracing_ends_when_langsmiths_wrapper_is_put_around_it_so_no_event_is_traced_twice(
    tracing: Collector,
    langsmith_wrap_realtime: Any,
    server: RealtimeServer,
    frames: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    receive: str,
    order: str,
) -> None:
    async def talk() -> None:
        async with (
            async_client(server).realtime.connect(model="m") as raw,
            wrap_realtime(raw) as ours,
            langsmith_wrap_realtime(ours if order == "theirs around ours" else raw) as theirs,
        ):
            if receive == "recv":
                assert (await theirs.recv()).type == "session.created"
            assert set(received(frames)) >= set(await converse(theirs, frames))

    with caplog.at_level(logging.WARNING, "langsmith_realtime"):
        asyncio.run(talk())
    assert caplog.text.count("LangSmith's own wrap_realtime traces this connection too") == 1
    roots = trees(tracing)
    assert [root.run.name for root in roots] == ["realtime_session"] * 2
    own = next(root for root in roots if root.metadata.get("ls_integration") == "langsmith-realtime")
    other = next(root for root in roots if root is not own)
    assert own.children == []
    assert "remove langsmith.integrations.openai_realtime" in str(own.run.error)
    assert len(list(other.find("response.done"))) == received(frames).count("response.done")


@pytest.mark.newest
def test_a_connection_can_be_traced_after_langsmiths_wrapper_was_left(
    tracing: Collector, langsmith_wrap_realtime: Any, server: RealtimeServer, frames: list[dict[str, Any]]
) -> None:
    async def talk() -> None:
        async with async_client(server).realtime.connect(model="m") as raw:
            async with langsmith_wrap_realtime(raw) as theirs:
                assert (await theirs.recv()).type == "session.created"
            async with wrap_realtime(raw) as connection:
                assert await converse(connection, frames) == received(frames)[1:]

    asyncio.run(talk())
    own = next(root for root in trees(tracing) if root.metadata.get("ls_integration") == "langsmith-realtime")
    assert own.names() == spanned(server_events(frames))[1:]


# The Agents SDK and OpenTelemetry


@pytest.mark.beside
def test_the_agents_sdks_tracing_goes_on_around_a_conversation(
    tracing: Collector, server: RealtimeServer, frames: list[dict[str, Any]]
) -> None:
    agents = importlib.import_module("agents")
    integration = importlib.import_module("langsmith.integrations.openai_agents_sdk")

    async def talk() -> None:
        with agents.trace("workflow"), agents.custom_span("before"):
            async with async_client(server).realtime.connect(model="m") as raw, wrap_realtime(raw) as connection:
                assert await converse(connection, frames) == received(frames)
            with agents.custom_span("after"):
                pass

    agents.set_trace_processors([integration.OpenAIAgentsTracingProcessor()])
    try:
        asyncio.run(talk())
    finally:
        agents.set_trace_processors([])
    workflow = the_tree(tracing)
    assert workflow.names() == ["before", "realtime_session"]
    assert workflow["before"].names() == ["after"]
    assert_complete(workflow["realtime_session"], frames)


@pytest.mark.beside
def test_through_opentelemetry_every_run_becomes_a_span(
    tracing: Collector, server: RealtimeServer, frames: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Needs opentelemetry-sdk. LangSmith's OpenTelemetry mode takes runs, but no attachments."""
    sdk = importlib.import_module("opentelemetry.sdk.trace")
    export = importlib.import_module("opentelemetry.sdk.trace.export")
    memory = importlib.import_module("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(memory))
    from langsmith import Client  # noqa: PLC0415

    client = Client(api_url=tracing.url, api_key="k", tracing_mode="otel", otel_tracer_provider=provider)

    async def talk() -> None:
        async with (
            async_client(server).realtime.connect(model="m") as raw,
            wrap_realtime(raw, client=client) as connection,
        ):
            assert await converse(connection, frames) == received(frames)

    asyncio.run(talk())
    assert flush(20)
    names = Counter(span.name for span in memory.get_finished_spans())
    events = Counter(spanned(server_events(frames)))
    assert names == events + Counter(realtime_session=1, model=events["response.done"], get_weather=1)


# Azure Voice Live


@pytest.mark.beside
def test_the_voice_live_connection_of_the_guide_is_traced(tracing: Collector) -> None:
    """Needs azure-ai-voicelive, which speaks through aiohttp."""
    credentials = pytest.importorskip("azure.core.credentials")
    pytest.importorskip("azure.ai.voicelive.aio")
    source = snippet("docs/ways.md", "azure.ai.voicelive").replace("        ...\n", ANSWER_AND_HANG_UP)
    with RealtimeServer(Script([Turn(Say("Hello."))], speed=20, dialect="voice_live")) as server:
        endpoint = f"http://127.0.0.1:{server.port}"
        names = run(source, endpoint=endpoint, credential=credentials.AzureKeyCredential("test"))
    root = the_tree(tracing)
    assert type(names["connection"]).__name__ == "VoiceLiveConnection"
    assert root.names()[0] == "session.created"
    assert root["model"].metadata["ls_provider"] == "azure"
    assert root["model"].run.outputs is not None
    assert [message["content"] for message in (root.run.outputs or {})["messages"]] == ["Hi.", "Hello."]


#: What the snippet leaves to its reader: says something, asks for an answer, and closes the connection after it.
ANSWER_AND_HANG_UP = """\
        if event.type == "session.created":
            content = [{"type": "input_text", "text": "Hi."}]
            item = {"type": "message", "role": "user", "content": content}
            await connection.send({"type": "conversation.item.create", "item": item})
            await connection.response.create()
        if event.type == "response.done":
            break
"""


# Without code

#: An application that holds a conversation until its first answer.
APP = """
import os
from openai import OpenAI

url = os.environ["SERVER"]
with OpenAI(api_key="test", base_url=url).realtime.connect(model="m") as connection:
    connection.response.create()
    for event in connection:
        if event.type == "response.done":
            break
"""
AGENTS_APP = """
import asyncio, importlib, os
from agents.realtime import RealtimeAgent, RealtimeRunner

async def main():
    runner = RealtimeRunner(RealtimeAgent(name="Ada"), config={"tracing_disabled": True})
    url = os.environ["SERVER"].replace("http", "ws", 1) + "/realtime?model=gpt-realtime"
    session = await runner.run(model_config={"url": url, "api_key": "test"})
    async with {session} as entered:
        await entered.send_message("Hello.")
        async for event in entered:
            if event.type == "agent_end":
                break

asyncio.run(main())
"""


def assert_traced_once_by_run(tracing: Collector, folder: Path, app: str, *before: str) -> None:
    """Asserts that `langsmith-realtime run` traces a program, started by the commands `before`, once."""
    (folder / "app.py").write_text(app)
    with RealtimeServer(Script([Turn(Say("Hello."))], speed=20)) as server:
        settings = {"SERVER": server.base_url, "PYTHONPATH": str(ROOT), "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false"}
        command = ["-m", "langsmith_realtime.cli.main", "run", *before, sys.executable, "app.py"]
        subprocess.run([sys.executable, *command], cwd=folder, env=os.environ | settings, check=True, timeout=60)
    root = the_tree(tracing)
    assert root.names().count("session.created") == root.names().count("response.done") == 1
    assert len(list(root.find("model"))) == 1
    assert root.run.error is None


@pytest.mark.beside
def test_a_program_under_datadogs_command_is_traced_once(tracing: Collector, tmp_path: Path) -> None:
    assert_traced_once_by_run(tracing, tmp_path, APP, str(Path(sys.executable).with_name("ddtrace-run")))


@pytest.mark.beside
@pytest.mark.parametrize("wrapped", [False, True], ids=["no code", "beside wrap_realtime_session"])
def test_a_session_of_the_agents_sdk_is_traced_once(tracing: Collector, tmp_path: Path, wrapped: bool) -> None:
    pytest.importorskip("langsmith_realtime.adapters.agents_sdk")
    session = "importlib.import_module('langsmith_realtime.adapters.agents_sdk').wrap_realtime_session(session)"
    assert_traced_once_by_run(tracing, tmp_path, AGENTS_APP.replace("{session}", session if wrapped else "session"))

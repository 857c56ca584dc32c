"""Beside other instrumentation: everybody sees everything, nothing is traced twice, leaving restores."""

from __future__ import annotations

import asyncio
import importlib
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from openai.resources.realtime.realtime import AsyncRealtimeConnection, RealtimeConnection

from langsmith_realtime import flush, wrap_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import RealtimeServer, Replay
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

FRAMES = "openai_ws-tool_call_round"


@pytest.fixture
def frames() -> list[dict[str, Any]]:
    """A recorded conversation."""
    return recordings()[FRAMES]


@pytest.fixture
def server(frames: list[dict[str, Any]]) -> Iterator[RealtimeServer]:
    with RealtimeServer(Replay(frames)) as running:
        yield running


async def converse(connection: Any, frames: list[dict[str, Any]]) -> list[str]:
    """Hold the recorded conversation; the types that were received."""

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


def assert_whole(root: Node, frames: list[dict[str, Any]]) -> None:
    """One trace with every event once."""
    assert root.names() == spanned(server_events(frames))
    assert root.run.error is None


# Datadog


class Watcher:
    """What Datadog's integration does: class methods patched to look on, calls passed through."""

    NAMES = ("parse_event", "send", "recv", "close")

    def __init__(self) -> None:
        self.parsed: list[str] = []
        self.sent: list[str] = []
        self.received: list[str] = []

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        with pytest.MonkeyPatch.context() as patched:
            self.begin(patched)
            yield self

    def begin(self, patched: pytest.MonkeyPatch) -> None:
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


def test_methods_patched_before_ours_see_all_and_so_do_we(
    tracing: Collector, server: RealtimeServer, frames: list[dict[str, Any]]
) -> None:
    async def talk() -> None:
        async with async_client(server).realtime.connect(model="m") as raw, wrap_realtime(raw) as connection:
            assert await converse(connection, frames) == received(frames)
        assert not {"recv", "send", "parse_event"} & vars(raw).keys()

    with Watcher().watching() as watcher:
        asyncio.run(talk())
    assert watcher.parsed == watcher.received == received(frames)
    assert watcher.sent == sent(frames)
    assert_whole(the_tree(tracing), frames)


def test_methods_patched_while_ours_is_open_see_all_from_then_on(
    tracing: Collector, server: RealtimeServer, frames: list[dict[str, Any]]
) -> None:
    watcher = Watcher()

    async def talk() -> None:
        async with async_client(server).realtime.connect(model="m") as raw, wrap_realtime(raw) as connection:
            with watcher.watching():
                assert await converse(connection, frames) == received(frames)

    asyncio.run(talk())
    assert watcher.parsed == watcher.received == received(frames)
    assert watcher.sent == sent(frames)
    assert_whole(the_tree(tracing), frames)


def test_methods_patched_on_the_instance_stay_as_they_were(
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
    assert_whole(the_tree(tracing), frames)


class Proxy:
    """A transparent proxy as wrapt makes them: it claims the class, hands on the rest, and watches ``recv``."""

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
    assert_whole(the_tree(tracing), frames)


class State:
    """What Datadog's patched methods tell, where a real one would need an agent to send to."""

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
def test_datadogs_own_integration(
    tracing: Collector, server: RealtimeServer, frames: list[dict[str, Any]], late: bool
) -> None:
    """Runs where ddtrace is installed; elsewhere the patches above stand for it."""
    datadogs = importlib.import_module("ddtrace.contrib.internal.openai.patch")
    state = State()

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
    assert_whole(the_tree(tracing), frames)


# LangSmith's own


def test_a_client_wrapped_by_langsmith_connects_as_ever(
    tracing: Collector, server: RealtimeServer, frames: list[dict[str, Any]]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LangSmith's own, while it imports its wrappers
        from langsmith.wrappers import wrap_openai  # noqa: PLC0415

    async def talk() -> None:
        client = wrap_openai(async_client(server))
        async with client.realtime.connect(model="m") as raw, wrap_realtime(raw) as connection:
            assert await converse(connection, frames) == received(frames)

    asyncio.run(talk())
    assert_whole(the_tree(tracing), frames)


@pytest.fixture
def langsmiths() -> Any:
    """LangSmith's own wrap_realtime, which the newest versions have."""
    module = importlib.import_module("langsmith.integrations.openai_realtime._connection")
    return module.wrap_realtime


@pytest.mark.newest
def test_around_langsmiths_own_wrapper_ours_is_refused(
    tracing: Collector, langsmiths: Any, server: RealtimeServer
) -> None:
    async def talk() -> None:
        async with async_client(server).realtime.connect(model="m") as raw, langsmiths(raw) as theirs:
            with pytest.raises(TypeError, match=r"traces this connection already; .*wrap the connection itself"):
                wrap_realtime(theirs)

    asyncio.run(talk())
    assert len(trees(tracing)) == 1


@pytest.mark.newest
@pytest.mark.parametrize("receive", ["iterating", "recv"])
@pytest.mark.parametrize("order", ["theirs around ours", "both around the connection"])
def test_inside_langsmiths_own_wrapper_ours_ends_before_anything_is_doubled(
    tracing: Collector,
    langsmiths: Any,
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
            langsmiths(ours if order == "theirs around ours" else raw) as theirs,
        ):
            if receive == "recv":
                assert (await theirs.recv()).type == "session.created"
            assert set(received(frames)) >= set(await converse(theirs, frames))

    with caplog.at_level(logging.WARNING, "langsmith_realtime"):
        asyncio.run(talk())
    assert caplog.text.count("LangSmith's own wrap_realtime traces this connection too") == 1
    roots = trees(tracing)
    assert [root.run.name for root in roots] == ["realtime_session"] * 2
    mine = next(root for root in roots if root.metadata.get("ls_integration") == "langsmith-realtime")
    other = next(root for root in roots if root is not mine)
    assert mine.children == []
    assert "remove langsmith.integrations.openai_realtime" in str(mine.run.error)
    assert len(list(other.find("response.done"))) == received(frames).count("response.done")


@pytest.mark.newest
def test_once_langsmiths_own_wrapper_is_left_ours_traces(
    tracing: Collector, langsmiths: Any, server: RealtimeServer, frames: list[dict[str, Any]]
) -> None:
    async def talk() -> None:
        async with async_client(server).realtime.connect(model="m") as raw:
            async with langsmiths(raw) as theirs:
                assert (await theirs.recv()).type == "session.created"
            async with wrap_realtime(raw) as connection:
                assert await converse(connection, frames) == received(frames)[1:]

    asyncio.run(talk())
    mine = next(root for root in trees(tracing) if root.metadata.get("ls_integration") == "langsmith-realtime")
    assert mine.names() == spanned(server_events(frames))[1:]


# The Agents SDK and OpenTelemetry


@pytest.mark.beside
def test_the_agents_sdk_tracing_of_the_process_is_not_disturbed(
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
    assert_whole(workflow["realtime_session"], frames)


@pytest.mark.beside
def test_through_opentelemetry_every_run_becomes_a_span(
    tracing: Collector, server: RealtimeServer, frames: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs where opentelemetry-sdk is installed. LangSmith's own mode takes the runs and no attachments."""
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

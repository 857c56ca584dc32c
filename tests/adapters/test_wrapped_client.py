"""wrap_openai_realtime: every connection of a client is traced, and a wrap_realtime inside continues that trace."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from copy import copy
from typing import Any
from uuid import UUID

import pytest
from langsmith import Client, RunTree, get_current_run_tree, traceable, tracing_context
from openai import AsyncAzureOpenAI, AzureOpenAI, OpenAI
from websockets.exceptions import ConnectionClosed

from langsmith_realtime import SessionTracer, flush, trace_headers, wrap_openai_realtime, wrap_realtime
from langsmith_realtime.adapters import connection_managers
from langsmith_realtime.adapters.no_code import import_hook
from langsmith_realtime.collector import Collector
from langsmith_realtime.live.process import process
from langsmith_realtime.testing import Close, Drop, RealtimeServer, Say, Script, Turn
from tests.support.conversations import Node, async_client, sync_client, the_tree, trees

REPLY = Script([Turn(Say("Hello."), then=[Close(1000)])], speed=20)
OPEN_ENDED = Script([Turn(Say("Hello."))], speed=20)


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    """A server whose agent says hello and hangs up."""
    with RealtimeServer(REPLY) as running:
        yield running


def hold(client: OpenAI, **connecting: Any) -> list[str]:
    """Hold a whole conversation; return the types of its events."""
    with client.realtime.connect(**{"model": "gpt-realtime", **connecting}) as connection:
        connection.response.create()
        return [event.type for event in connection]


@pytest.fixture
def upgrades(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The headers of every WebSocket upgrade at servers that start later."""
    seen: list[Any] = []
    check = RealtimeServer._check

    def checking(server: RealtimeServer, connection: Any, request: Any) -> Any:
        seen.append(request.headers)
        return check(server, connection, request)

    monkeypatch.setattr(RealtimeServer, "_check", checking)
    return seen


def assert_whole(root: Node) -> None:
    """Assert that a trace has the conversation of `REPLY` from its begin to its end."""
    assert root.names()[0] == "session.created"
    assert "response.done" in root.names()
    assert len(list(root.find("model"))) == 1
    assert (root.run.error, root.metadata["closed_by"]) == (None, "server")
    assert root.run.end_time is not None


# Which connections are traced


def test_every_connection_of_a_synchronous_client_is_traced(tracing: Collector, server: RealtimeServer) -> None:
    client = sync_client(server)
    assert wrap_openai_realtime(client, tags=["wrapped"]) is client
    hold(client)
    hold(client)
    first, second = trees(tracing)
    for root in (first, second):
        assert_whole(root)
        assert root.run.tags == ["wrapped"]
    assert first.metadata["thread_id"] != second.metadata["thread_id"]


def test_every_connection_of_an_asynchronous_client_is_traced(tracing: Collector, server: RealtimeServer) -> None:
    client = wrap_openai_realtime(async_client(server))

    async def talk() -> None:
        async with client.realtime.connect(model="gpt-realtime") as connection:
            await connection.response.create()
            async for _ in connection:
                pass

    asyncio.run(talk())
    assert_whole(the_tree(tracing))


def test_copies_of_a_client_are_traced_with_its_options(tracing: Collector, server: RealtimeServer) -> None:
    client = wrap_openai_realtime(sync_client(server), tags=["wrapped"])
    hold(client.with_options(timeout=3).copy(max_retries=1))
    other = copy(client)
    other.api_key = "other"
    assert other.with_options(timeout=3).api_key == "other"  # of the client that is copied, not of the wrapped one
    hold(other.with_options(timeout=3))
    assert [root.run.tags for root in trees(tracing)] == [["wrapped"]] * 2


def test_copies_that_a_class_of_the_application_makes_itself_are_traced(
    tracing: Collector, server: RealtimeServer
) -> None:
    class Own(OpenAI):
        """Makes its copies without openai's method, and may wrap them."""

        def copy(self, *, tags: Sequence[str] = ()) -> Any:  # type: ignore[override]
            made = Own(api_key="test", base_url=self.base_url, websocket_base_url=self.websocket_base_url)
            return wrap_openai_realtime(made, tags=tags) if tags else made

    client = Own(api_key="test", base_url=server.base_url, websocket_base_url=server.websocket_base_url)
    hold(client)  # not wrapped yet
    wrap_openai_realtime(client, tags=["wrapped"])
    hold(client.copy())
    hold(client.copy(tags=["its own"]))
    assert [root.run.tags for root in trees(tracing)] == [["wrapped"], ["its own"]]


def test_a_client_that_is_not_wrapped_is_not_traced(tracing: Collector, server: RealtimeServer) -> None:
    wrap_openai_realtime(sync_client(server))
    hold(sync_client(server))
    assert trees(tracing) == []


def test_wrapping_a_client_again_replaces_its_options(tracing: Collector, server: RealtimeServer) -> None:
    client = wrap_openai_realtime(sync_client(server), tags=["first"])
    hold(wrap_openai_realtime(client, tags=["second"]))
    assert the_tree(tracing).run.tags == ["second"]


def test_with_tracing_off_a_wrapped_client_sends_nothing(collector: Collector, server: RealtimeServer) -> None:
    hold(wrap_openai_realtime(sync_client(server)))
    assert trees(collector) == []


@pytest.mark.parametrize("path", ["/openai", "/openai/v1"])
def test_azures_clients_are_traced_as_azures(tracing: Collector, server: RealtimeServer, path: str) -> None:
    address = {"azure_endpoint": "https://example.openai.azure.com", "websocket_base_url": f"{server.url[:-12]}{path}"}
    settings: Any = {"api_key": "test", "api_version": "2025-08-28", **address}
    client = wrap_openai_realtime(AsyncAzureOpenAI(**settings))

    async def talk() -> None:
        async with client.with_options(timeout=9).realtime.connect(model="my-deployment") as connection:
            await connection.response.create()
            async for _ in connection:
                pass

    asyncio.run(talk())
    synchronous = wrap_openai_realtime(AzureOpenAI(**settings))
    hold(synchronous, model="my-deployment")
    with AzureOpenAI(**settings).realtime.connect(model="my-deployment") as raw, wrap_realtime(raw) as connection:
        connection.response.create()
        assert [event.type for event in connection]
    for root in trees(tracing):
        assert_whole(root)
        model = root["model"]
        assert (model.metadata["ls_provider"], model.metadata["ls_model_name"]) == ("azure", "my-deployment")


async def azure_token() -> str:
    return AZURE_TOKEN


#: Credentials with which nobody could sign in.
AZURE_KEY, AZURE_TOKEN = "0123456789abcdef0123456789ABCDEF", "eyJhbGciOiJub25lIn0.eyJhdWQiOiJ0ZXN0In0.c2lnbmVk"


@pytest.mark.parametrize("path", ["/openai", "/openai/v1"])
@pytest.mark.parametrize("credential", ["api_key", "azure_ad_token", "azure_ad_token_provider"])
def test_no_credential_of_azures_is_in_a_trace(
    tracing: Collector, server: RealtimeServer, path: str, credential: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="langsmith_realtime")
    given: Any = {"api_key": AZURE_KEY, "azure_ad_token": AZURE_TOKEN}.get(credential)
    settings: Any = {
        "azure_endpoint": "https://example.openai.azure.com",
        "azure_deployment": "my-deployment",
        "websocket_base_url": f"{server.url[:-12]}{path}",
        "api_version": "2025-08-28",
    }
    asynchronous = AsyncAzureOpenAI(**settings | {credential: given or azure_token})
    synchronous = AzureOpenAI(**settings | {credential: given or (lambda: AZURE_TOKEN)})

    async def talk() -> None:
        async with wrap_openai_realtime(asynchronous).realtime.connect(model="my-deployment") as connection:
            await connection.response.create()
            async for _ in connection:
                pass

    asyncio.run(talk())
    hold(wrap_openai_realtime(synchronous), model="my-deployment")
    roots = trees(tracing)
    assert [root["model"].metadata["ls_provider"] for root in roots] == ["azure", "azure"]
    traced = repr([(run.inputs, run.outputs, run.error, run.metadata) for run in tracing.runs()])
    assert "my-deployment" in traced
    for place in (traced, caplog.text):
        assert AZURE_KEY not in place
        assert AZURE_TOKEN not in place


def test_an_azure_connection_keeps_the_provider_of_the_application(tracing: Collector, server: RealtimeServer) -> None:
    client = wrap_openai_realtime(sync_client(server), metadata={"ls_provider": "my gateway"})
    hold(client, extra_query={"api-version": "2025-08-28"})
    assert the_tree(tracing)["model"].metadata["ls_provider"] == "my gateway"


# Options


def test_options_of_a_connection_follow_from_its_arguments(tracing: Collector, server: RealtimeServer) -> None:
    calls: list[Any] = []

    def per_connection(call: Any) -> Any:
        calls.append(call)
        return {"thread_id": call["extra_query"]["customer"]}

    client = wrap_openai_realtime(sync_client(server), per_connection=per_connection, tags=["all"])
    hold(client, extra_query={"customer": "c-7"})
    root = the_tree(tracing)
    assert (root.metadata["thread_id"], root.run.tags) == ("c-7", ["all"])
    assert calls[0]["model"] == "gpt-realtime"
    assert not {"client", "call_id", "connection"} & set(calls[0])


@pytest.mark.parametrize("given", [{"thread_id": 7}, {"thraed_id": "a"}, None, "raises"])
def test_a_function_that_gives_no_options_costs_no_trace(
    tracing: Collector, server: RealtimeServer, caplog: pytest.LogCaptureFixture, given: Any
) -> None:
    def per_connection(call: Any) -> Any:
        if given == "raises":
            raise KeyError("customer")
        return given

    hold(wrap_openai_realtime(sync_client(server), per_connection=per_connection, tags=["all"]))
    assert the_tree(tracing).run.tags == ["all"]
    assert [record.message for record in caplog.records if "per_connection failed" in record.message]


def test_wrong_arguments_raise_at_the_call(server: RealtimeServer) -> None:
    client: Any = sync_client(server)
    with pytest.raises(TypeError, match="openai_client must be a client of the openai package, got str"):
        wrap_openai_realtime("client")  # type: ignore[type-var]
    with pytest.raises(TypeError, match="'thraed_id' is not a tracing option"):
        wrap_openai_realtime(client, thraed_id="x")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="sample_rate must be between"):
        wrap_openai_realtime(client, sample_rate=1)
    with pytest.raises(TypeError, match="per_connection must be a function"):
        wrap_openai_realtime(client, per_connection={"tags": []})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="propagate must be True or False, got 'yes'"):
        wrap_openai_realtime(client, propagate="yes")  # type: ignore[arg-type]

    async def options_of(call: Any) -> Any:
        return {}

    with pytest.raises(TypeError, match="per_connection must be an ordinary function, got a coroutine function"):
        wrap_openai_realtime(client, per_connection=options_of)  # type: ignore[arg-type]


# The begin and the end


def test_the_root_is_posted_with_the_first_input(tracing: Collector, server: RealtimeServer) -> None:
    with wrap_openai_realtime(sync_client(server)).realtime.connect(model="gpt-realtime") as connection:
        langsmith = connection.langsmith  # type: ignore[attr-defined]
        time.sleep(0.3)
        assert flush(10)
        assert tracing.runs() == []
        connection.response.create()
        time.sleep(0.3)
        assert flush(10)
        assert [str(run.id) for run in tracing.runs()] == [langsmith.trace_id]
        assert [event.type for event in connection]
    assert_whole(the_tree(tracing))


def test_an_exception_that_leaves_the_block_is_the_roots_error(tracing: Collector, server: RealtimeServer) -> None:
    client = wrap_openai_realtime(sync_client(server))
    with pytest.raises(KeyError), client.realtime.connect(model="gpt-realtime") as connection:
        assert connection.recv().type == "session.created"
        raise KeyError("city")
    root = the_tree(tracing)
    assert "KeyError" in str(root.run.error)
    assert not {"recv", "parse_event", "send"} & vars(connection).keys()


def enter_sync(server: RealtimeServer, until: Callable[[Any], None]) -> None:
    connection = wrap_openai_realtime(sync_client(server)).realtime.connect(model="gpt-realtime").enter()
    connection.response.create()
    until(connection)


def close_after_an_answer(connection: Any) -> None:
    for event in connection:
        if event.type == "response.done":
            connection.close()
            return


def receive_until_it_fails(connection: Any) -> None:
    with pytest.raises(ConnectionClosed):
        while True:
            connection.recv()


@pytest.mark.parametrize(
    ("until", "end", "closed_by"),
    [
        (close_after_an_answer, [], "client"),
        (receive_until_it_fails, [Close(1000)], "server"),
        (receive_until_it_fails, [Drop()], "network"),
        (list, [Close(1000)], "server"),
    ],
    ids=["close()", "receive error", "broken", "iteration"],
)
def test_a_connection_from_enter_ends_with_its_connection(
    tracing: Collector, until: Callable[[Any], None], end: list[Any], closed_by: str
) -> None:
    with RealtimeServer(Script([Turn(Say("Hello."), then=end)], speed=20)) as server:
        enter_sync(server, until)
        root = the_tree(tracing)
    assert root.run.end_time is not None
    assert root.metadata["closed_by"] == closed_by
    assert bool(root.run.error) == (closed_by == "network")
    assert process().open == {}


@pytest.mark.parametrize("closes", [True, False])
def test_an_asynchronous_connection_from_enter_ends_with_its_connection(tracing: Collector, closes: bool) -> None:
    async def talk(server: RealtimeServer) -> None:
        connection = await wrap_openai_realtime(async_client(server)).realtime.connect(model="gpt-realtime").enter()
        await connection.response.create()
        async for event in connection:
            if closes and event.type == "response.done":
                break
        if closes:
            await connection.close()
        assert process().open == {}

    with RealtimeServer(OPEN_ENDED if closes else REPLY) as server:
        asyncio.run(talk(server))
        root = the_tree(tracing)
    assert root.metadata["closed_by"] == ("client" if closes else "server")


@pytest.mark.newest
def test_a_connection_from_enter_goes_on_after_a_reconnection(tracing: Collector) -> None:
    first = Script([Turn(Say("Hello."), then=[Drop()])], speed=20)
    with RealtimeServer([first, REPLY]) as server:
        client = wrap_openai_realtime(sync_client(server))
        again: Any = {"on_reconnecting": lambda _: None, "initial_delay": 0.001}
        connection = client.realtime.connect(model="gpt-realtime", **again).enter()
        connection.response.create()
        created = 0
        for event in connection:
            created += event.type == "session.created"
            if event.type == "session.created" and created == 2:
                connection.response.create()
        root = the_tree(tracing)
    assert created == 2
    assert root.names().count("session.created") == 2
    assert root.names().count("response.done") == 2
    assert process().open == {}


# Beside wrap_realtime


def test_a_wrap_inside_continues_the_trace_with_its_own_options(tracing: Collector, server: RealtimeServer) -> None:
    client = wrap_openai_realtime(sync_client(server), tags=["client"], metadata={"a": 1, "b": 1})
    with client.realtime.connect(model="gpt-realtime") as raw:
        trace_id = raw.langsmith.trace_id  # type: ignore[attr-defined]
        with wrap_realtime(raw, thread_id="call-7", metadata={"b": 2}) as connection:
            assert connection is raw
            assert connection.langsmith.trace_id == trace_id
            with pytest.raises(ValueError, match="must not be traced already"):
                wrap_realtime(raw)
            connection.response.create()
            assert [event.type for event in connection]
        assert connection.langsmith.thread_id == "call-7"
    root = the_tree(tracing)
    assert_whole(root)
    assert str(root.run.id) == trace_id
    assert (root.metadata["a"], root.metadata["b"], root.run.tags) == (1, 2, ["client"])


def test_options_that_exclude_those_of_the_client_stand_alone(tracing: Collector, server: RealtimeServer) -> None:
    client = wrap_openai_realtime(sync_client(server), replicas=[{"project_name": "a"}], tags=["client"])
    with client.realtime.connect(model="gpt-realtime") as raw, wrap_realtime(raw, feedback=True) as connection:
        connection.response.create()
        assert [event.type for event in connection]
    assert the_tree(tracing).run.tags == []


def test_a_wrap_after_the_first_event_is_told_once_that_its_options_are_late(
    tracing: Collector, server: RealtimeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk() -> None:
        client = wrap_openai_realtime(async_client(server), tags=["client"])
        async with client.realtime.connect(model="gpt-realtime") as raw:
            assert (await raw.recv()).type == "session.created"
            async with wrap_realtime(raw, tags=["late"]) as connection:
                await connection.response.create()
                async for _ in connection:
                    pass

    asyncio.run(talk())
    root = the_tree(tracing)
    assert_whole(root)
    assert root.run.tags == ["client"]
    ours = [record for record in caplog.records if record.name == "langsmith_realtime"]
    (warning,) = [record.message for record in ours if record.levelno == logging.WARNING]
    assert warning == (
        "wrap_realtime: tags came too late, the wrapped client's trace has begun; wrap the connection before its first "
        "event, or pass the options to wrap_openai_realtime"
    )


def test_a_wrap_inside_ends_the_trace_with_its_error(tracing: Collector, server: RealtimeServer) -> None:
    client = wrap_openai_realtime(sync_client(server))
    with client.realtime.connect(model="gpt-realtime") as raw:
        with pytest.raises(KeyError), wrap_realtime(raw) as connection:
            connection.recv()
            raise KeyError("city")
        assert raw.send.__func__ is type(raw).send  # type: ignore[attr-defined]
    assert "KeyError" in str(the_tree(tracing).run.error)


@pytest.mark.newest
@pytest.mark.filterwarnings("ignore:Function wrap_realtime is in beta")
def test_langsmiths_own_wrapper_keeps_the_connection_for_itself(
    tracing: Collector, server: RealtimeServer, caplog: pytest.LogCaptureFixture
) -> None:
    theirs: Any = importlib.import_module("langsmith.integrations.openai_realtime")

    async def talk() -> None:
        client = wrap_openai_realtime(async_client(server))
        async with client.realtime.connect(model="gpt-realtime") as raw, theirs.wrap_realtime(raw) as connection:
            await connection.response.create()  # before it receives
            async for _ in connection:
                pass
        async with client.realtime.connect(model="gpt-realtime") as connection:  # traced as before
            await connection.response.create()
            async for _ in connection:
                pass

    asyncio.run(talk())
    own = [root for root in trees(tracing) if root.metadata.get("ls_integration") == "langsmith-realtime"]
    assert len(own) == 1
    assert_whole(own[0])
    assert [record for record in caplog.records if record.name.startswith("langsmith_realtime")] == []


# The parent


def test_a_connection_nests_under_the_run_in_which_it_is_opened(tracing: Collector, server: RealtimeServer) -> None:
    client = wrap_openai_realtime(sync_client(server))

    @traceable
    def look_up() -> str:
        return "sunny"

    @traceable
    def call() -> None:
        with client.realtime.connect(model="gpt-realtime") as connection:
            look_up()  # before the first event, under the root
            connection.response.create()
            assert [event.type for event in connection]

    call()
    root = the_tree(tracing)
    assert root.names() == ["realtime_session"]
    assert root["realtime_session"].names()[:2] == ["look_up", "session.created"]


# Headers


def test_propagation_names_the_conversations_root_on_the_upgrade(
    tracing: Collector, upgrades: list[Any], server: RealtimeServer
) -> None:
    client = wrap_openai_realtime(
        sync_client(server), propagate=True, metadata={"customer": "secret"}, tags=["t"], project_name="p"
    )
    manager = client.realtime.connect(model="gpt-realtime", extra_headers={"Traceparent": "mine", "X-Own": "1"})
    with manager as raw, wrap_realtime(raw, tags=["wrap"]) as connection:
        connection.response.create()
        assert [event.type for event in connection]
    hold(client)
    first, second = trees(tracing)
    for root, headers in zip((first, second), upgrades, strict=True):
        parent = RunTree.from_headers({name.lower(): value for name, value in headers.raw_items()})
        assert parent is not None
        assert parent.dotted_order == root.run.dotted_order
        assert parent.extra["metadata"]["thread_id"] == root.metadata["thread_id"]
        assert "secret" not in str(list(headers.raw_items()))
    assert (upgrades[0]["traceparent"], upgrades[0]["x-own"]) == ("mine", "1")
    trace, run = UUID(str(second.run.trace_id)), UUID(str(second.run.id))
    assert upgrades[1]["traceparent"] == f"00-{trace.hex}-{run.bytes[:8].hex()}-01"
    assert first.run.tags == ["wrap"]


def test_a_wrap_inside_cannot_rename_what_the_headers_named(
    tracing: Collector, upgrades: list[Any], server: RealtimeServer, caplog: pytest.LogCaptureFixture
) -> None:
    client = wrap_openai_realtime(sync_client(server), propagate=True)
    other = RunTree(name="other", ls_client=Client())
    with (
        client.realtime.connect(model="gpt-realtime") as raw,
        tracing_context(parent=RunTree(name="current", ls_client=Client())),
        wrap_realtime(
            raw, parent=other, metadata={"session_id": "other", "customer": "1"}, tags=["wrap"]
        ) as connection,
    ):
        connection.response.create()
        assert [event.type for event in connection]
    assert get_current_run_tree() is None
    root = next(tree for tree in trees(tracing) if tree.run.name == "realtime_session")
    sent = RunTree.from_headers({name.lower(): value for name, value in upgrades[0].raw_items()})
    assert sent is not None
    assert (root.run.dotted_order, root.run.parent_run_id) == (sent.dotted_order, None)
    assert root.metadata["thread_id"] == sent.extra["metadata"]["thread_id"]
    assert (root.run.tags, root.metadata["customer"]) == (["wrap"], "1")
    assert "metadata['session_id'], parent came too late, the wrapped client's headers have named" in caplog.text


def test_a_connection_without_propagation_sends_no_such_headers(
    tracing: Collector, upgrades: list[Any], server: RealtimeServer
) -> None:
    hold(wrap_openai_realtime(sync_client(server)))
    assert not {"langsmith-trace", "baggage", "traceparent"} & {name.lower() for name in upgrades[0]}


def test_trace_headers_name_the_current_run(tracing: Collector) -> None:
    assert trace_headers() == {}
    with SessionTracer(tags=["t"]) as tracer:
        headers = trace_headers()
        assert headers["langsmith-trace"].endswith(str(tracer.run_id))
        assert headers["traceparent"].split("-")[1] == str(tracer.trace_id).replace("-", "")
    assert trace_headers() == {}


def test_a_trace_that_is_sampled_out_has_no_headers(tracing: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING_SAMPLING_RATE", "0")
    with SessionTracer(), tracing_context(enabled=True):
        assert trace_headers() == {}


# All clients of the process


def test_every_client_of_a_process_is_traced_once_that_is_asked_for(
    tracing: Collector, server: RealtimeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_hook, "_asking", {import_hook.ENVIRONMENT})
    connection_managers.patch(importlib.import_module("openai.resources.realtime.realtime"))
    with ExitStack() as stack:
        explicit = stack.enter_context(sync_client(server).realtime.connect(model="gpt-realtime"))
        connection = stack.enter_context(wrap_realtime(explicit, tags=["explicit"]))
        connection.response.create()
        assert [event.type for event in connection]
    hold(wrap_openai_realtime(sync_client(server), tags=["client"]))
    hold(sync_client(server))
    assert sorted(root.run.tags for root in trees(tracing)) == [[], ["client"], ["explicit"]]

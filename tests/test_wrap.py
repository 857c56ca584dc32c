"""wrap_realtime on real connections: every way of receiving and sending gives the same trace."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import soundfile
from openai._models import construct_type_unchecked
from openai.resources.realtime.realtime import AsyncRealtimeConnection, RealtimeConnection
from openai.types.realtime import InputAudioBufferAppendEvent, RealtimeClientEvent, RealtimeServerEvent
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

from langsmith_realtime import SessionTracer, wrap_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Call, Close, Drop, Emit, RealtimeServer, Replay, Say, Script, Turn, tone
from tests.talking import Node, async_client, recordings, server_events, spanned, sync_client, the_tree, trees

newest = pytest.mark.newest  # openai before 2.32 has no dispatch_events


# Six ways of receiving on an asynchronous connection, four on a synchronous one.


async def iterate(connection: AsyncRealtimeConnection, seen: list[str]) -> None:
    async for event in connection:
        seen.append(event.type)  # noqa: PERF401 - what came before a failure must be seen


async def receive(connection: AsyncRealtimeConnection, seen: list[str]) -> None:
    while True:
        try:
            seen.append((await connection.recv()).type)
        except ConnectionClosedOK:
            return


async def receive_with_timeout(connection: AsyncRealtimeConnection, seen: list[str]) -> None:
    while True:
        try:
            seen.append((await asyncio.wait_for(connection.recv(), timeout=10)).type)
        except ConnectionClosedOK:
            return


async def parse_bytes(connection: AsyncRealtimeConnection, seen: list[str]) -> None:
    while True:
        try:
            frame = await connection.recv_bytes()
        except ConnectionClosedOK:
            return
        seen.append(connection.parse_event(frame).type)
        connection.parse_event(frame)  # twice on one frame counts once


async def dispatch(connection: AsyncRealtimeConnection, seen: list[str]) -> None:
    connection.on("event", lambda event: seen.append(event.type))
    await connection.dispatch_events()


async def dispatch_once(connection: AsyncRealtimeConnection, seen: list[str]) -> None:
    first: list[str] = []
    connection.once("session.created", lambda event: first.append(event.type))
    connection.once("session.updated", lambda event: first.append(event.type))
    await dispatch(connection, seen)
    assert first


ASYNC_WAYS = [
    iterate,
    receive,
    receive_with_timeout,
    parse_bytes,
    pytest.param(dispatch, marks=newest),
    pytest.param(dispatch_once, marks=newest),
]


def iterate_sync(connection: RealtimeConnection, seen: list[str]) -> None:
    seen.extend(event.type for event in connection)


def receive_sync(connection: RealtimeConnection, seen: list[str]) -> None:
    while True:
        try:
            seen.append(connection.recv().type)
        except ConnectionClosedOK:
            return


def parse_bytes_sync(connection: RealtimeConnection, seen: list[str]) -> None:
    while True:
        try:
            frame = connection.recv_bytes()
        except ConnectionClosedOK:
            return
        seen.append(connection.parse_event(frame).type)


def dispatch_sync(connection: RealtimeConnection, seen: list[str]) -> None:
    connection.on("event", lambda event: seen.append(event.type))
    connection.dispatch_events()


SYNC_WAYS = [iterate_sync, receive_sync, parse_bytes_sync, pytest.param(dispatch_sync, marks=newest)]


def assert_right(root: Node, frames: list[dict[str, Any]]) -> None:
    """The trace of a recording: exactly its events, as they were, in order."""
    events = [event for event in server_events(frames) if not event["type"].endswith(".delta")]
    assert root.names() == [event["type"] for event in events]
    assert [child.run.inputs["event"]["event_id"] for child in root.children] == [e["event_id"] for e in events]
    starts = [child.run.start_time for child in root.children]
    assert all(earlier < later for earlier, later in itertools.pairwise(starts))
    done = [event for event in events if event["type"] == "response.done"]
    assert len(list(root.find("model"))) == len(done)
    calls = [item for event in done for item in event["response"]["output"] if item["type"] == "function_call"]
    tools = [node.run for name in {item["name"] for item in calls} for node in root.find(name)]
    assert sorted(run.metadata["tool_call_id"] for run in tools) == sorted(item["call_id"] for item in calls)
    assert root.run.error is None
    assert root.run.end_time is not None


@pytest.mark.parametrize("way", ASYNC_WAYS)
def test_every_recording_gives_its_events_asynchronously(
    tracing: Collector, way: Callable[[AsyncRealtimeConnection, list[str]], Awaitable[None]]
) -> None:
    for name, frames in recordings().items():
        with RealtimeServer(Replay(frames)) as server:
            asyncio.run(_replay_async(server, frames, way, name))
    _assert_all_recordings(tracing)


async def _replay_async(
    server: RealtimeServer,
    frames: list[dict[str, Any]],
    way: Callable[[AsyncRealtimeConnection, list[str]], Awaitable[None]],
    name: str,
) -> None:
    async with (
        async_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw, project_name=name) as connection,
    ):
        seen: list[str] = []

        async def send() -> None:
            for frame in frames:
                if frame["dir"] == "client":
                    await connection.send(frame["event"])

        sending = asyncio.create_task(send())
        await way(connection, seen)
        await sending
        assert seen == [event["type"] for event in server_events(frames)]


@pytest.mark.parametrize("way", SYNC_WAYS)
def test_every_recording_gives_its_events_synchronously(
    tracing: Collector, way: Callable[[RealtimeConnection, list[str]], None]
) -> None:
    for name, frames in recordings().items():
        with (
            RealtimeServer(Replay(frames)) as server,
            sync_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw, project_name=name) as connection,
        ):
            seen: list[str] = []
            for frame in frames:
                if frame["dir"] == "client":
                    connection.send(frame["event"])
            way(connection, seen)
            assert seen == [event["type"] for event in server_events(frames)]
    _assert_all_recordings(tracing)


@pytest.mark.parametrize("form", ["dict", "text", "bytes", "model"])
def test_every_recording_gives_its_events_through_a_tracer_of_ones_own(tracing: Collector, form: str) -> None:
    forms: dict[str, Callable[[dict[str, Any]], Any]] = {
        "dict": lambda event: event,
        "text": json.dumps,
        "bytes": lambda event: json.dumps(event).encode(),
        "model": _as_model,
    }
    for name, frames in recordings().items():
        with SessionTracer(project_name=name) as tracer:
            for frame in frames:
                event = forms[form](frame["event"])
                tracer.server_event(event) if frame["dir"] == "server" else tracer.client_event(event)
    _assert_all_recordings(tracing)


def _as_model(event: dict[str, Any]) -> Any:
    kind: Any = RealtimeServerEvent if "event_id" in event else RealtimeClientEvent
    return construct_type_unchecked(value=event, type_=kind)


def _assert_all_recordings(collector: Collector) -> None:
    by_name = {root.run.project: root for root in trees(collector)}
    for name, frames in recordings().items():
        assert_right(by_name[name], frames)


# The connection stays what it is.


def test_it_yields_the_connection_itself_and_leaves_it_as_it_was(tracing: Collector) -> None:
    async def talk(server: RealtimeServer) -> None:
        async with async_client(server).realtime.connect(model="gpt-realtime") as raw:
            methods = {name: getattr(raw, name) for name in ("recv", "send", "parse_event", "recv_bytes")}
            async with wrap_realtime(raw) as connection:
                assert connection is raw
                assert type(connection) is AsyncRealtimeConnection
                assert connection.langsmith.enabled
                await connection.recv()
            assert {name: getattr(raw, name) for name in methods} == methods
            raw.record_user_audio(b"late")
            async with wrap_realtime(raw, thread_id="again") as connection:  # a connection can be traced again
                assert connection.langsmith.thread_id == "again"

    with RealtimeServer(Script()) as server:
        asyncio.run(talk(server))


def test_the_wire_carries_what_it_did_without_us(tracing: Collector) -> None:
    append = InputAudioBufferAppendEvent(type="input_audio_buffer.append", audio="AAAA")
    create = {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": []}}

    async def talk(server: RealtimeServer, *, traced: bool) -> None:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw, enabled=traced) as connection,
        ):
            await connection.session.update(session={"type": "realtime", "instructions": "Grüß Gott"})
            await connection.input_audio_buffer.append(audio="AAAA")
            await connection.send(append)
            await connection.send(create)  # type: ignore[arg-type]
            if hasattr(connection, "send_raw"):
                await connection.send_raw(json.dumps({"type": "response.cancel"}))
            await connection.response.create()
            while (await connection.recv()).type != "response.created":
                pass

    frames = []
    for traced in (True, False):
        with RealtimeServer(Script()) as server:
            asyncio.run(talk(server, traced=traced))
            server.wait_for(lambda frame: frame.event.get("type") == "response.create")
            frames.append([frame.event for frame in server.received])
    assert frames[0] == frames[1]


def test_a_send_that_fails_was_not_sent(tracing: Collector) -> None:
    async def talk(server: RealtimeServer) -> None:
        async with async_client(server).realtime.connect(model="gpt-realtime") as raw:
            await raw.recv()
            async with wrap_realtime(raw) as connection:
                with pytest.raises(ConnectionClosedOK):
                    await connection.recv()
                with pytest.raises(Exception):  # noqa: B017 - which one differs between versions of openai
                    await connection.input_audio_buffer.append(audio="A" * 64_000)

    with RealtimeServer(Script(on_connect=[Close(1000, "bye")])) as server:
        asyncio.run(talk(server))
    root = the_tree(tracing)
    assert root.run.attachments == {}  # no sound was sent, so none was recorded
    assert root.run.error is None


def test_what_cannot_be_wrapped_is_refused_at_once(tracing: Collector) -> None:
    async def talk(server: RealtimeServer) -> None:
        manager = async_client(server).realtime.connect(model="gpt-realtime")
        with pytest.raises(TypeError, match="manager yields"):
            wrap_realtime(manager)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="not str"):
            wrap_realtime("connection")  # type: ignore[call-overload]
        async with manager as raw:
            with pytest.raises(TypeError, match="'thread' is no tracing option"):
                wrap_realtime(raw, thread="t")  # type: ignore[call-overload]
            with pytest.raises(ValueError, match="sample_rate"):
                wrap_realtime(raw, sample_rate=0)
            async with wrap_realtime(raw):
                with pytest.raises(ValueError, match="traced already"):
                    wrap_realtime(raw)
            block = wrap_realtime(raw)
            async with wrap_realtime(raw):
                with pytest.raises(ValueError, match="traced already"):
                    await block.__aenter__()

    with RealtimeServer(Script()) as server:
        asyncio.run(talk(server))
    assert len(trees(tracing)) == 2


def test_switched_off_nothing_is_tapped_and_nothing_is_sent(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGSMITH_ENDPOINT", collector.url)

    async def talk(server: RealtimeServer) -> None:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw) as connection,
        ):
            assert {"recv", "send", "parse_event", "send_raw"}.isdisjoint(vars(connection))
            assert (await connection.recv()).type == "session.created"
            connection.record_user_audio(b"\0\0")
            connection.record_agent_audio(b"\0\0", at=1.0)
            with connection.tool("call_1"):
                pass
            assert not connection.langsmith.enabled
            assert connection.langsmith.trace_id is None
            assert connection.langsmith.thread_id is None
            assert connection.langsmith.run_id is None
            assert connection.langsmith.url is None
            connection.langsmith.close()

    with RealtimeServer(Script()) as server:
        asyncio.run(talk(server))
    assert collector.requests == []


# How conversations end.


@pytest.mark.parametrize("catches", [True, False])
def test_an_abnormal_close_is_the_roots_error(tracing: Collector, catches: bool) -> None:
    async def talk(server: RealtimeServer) -> None:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw) as connection,
        ):
            if catches:
                with pytest.raises(ConnectionClosedError):
                    async for _ in connection:
                        pass
            else:
                async for _ in connection:
                    pass

    with RealtimeServer(Script(on_connect=[Close(1011, "overloaded")])) as server:
        if catches:
            asyncio.run(talk(server))
        else:
            with pytest.raises(ConnectionClosedError):
                asyncio.run(talk(server))
    error = the_tree(tracing).run.error
    assert error is not None
    assert "1011" in error
    assert "overloaded" in error


def test_a_connection_cut_without_a_word_is_the_roots_error(tracing: Collector) -> None:
    with (
        RealtimeServer(Script(on_connect=[Drop()])) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
        pytest.raises(ConnectionClosedError),
    ):
        for _ in connection:
            pass
    assert "ConnectionClosedError" in str(the_tree(tracing).run.error)


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (RuntimeError("no weather today"), "RuntimeError: no weather today"),
        (KeyboardInterrupt(), None),
        (SystemExit(0), None),
        (asyncio.CancelledError(), None),
    ],
    ids=["error", "ctrl-c", "exit", "cancelled"],
)
def test_what_leaves_the_block_passes_through(tracing: Collector, raised: BaseException, error: str | None) -> None:
    with (
        RealtimeServer(Script()) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        pytest.raises(type(raised)) as caught,
        wrap_realtime(raw) as connection,
    ):
        connection.recv()
        raise raised
    assert caught.value is raised
    assert the_tree(tracing).run.error == error


def test_a_frame_that_openai_cannot_parse_raises_as_before_and_is_in_the_trace(tracing: Collector) -> None:
    async def talk(server: RealtimeServer) -> None:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw) as connection,
        ):
            await connection.recv()
            with pytest.raises(json.JSONDecodeError):
                connection.parse_event(b'{"type": "session.upd')
            connection.parse_event(b'{"no": "type"}')

    with RealtimeServer(Script()) as server:
        asyncio.run(talk(server))
    root = the_tree(tracing)
    assert root.names() == ["session.created", "malformed_frame", "malformed_frame"]
    assert root.children[1].run.inputs == {"event": {"frame": '{"type": "session.upd'}}
    assert "JSONDecodeError" in str(root.children[1].run.error)
    assert root.run.error is None
    assert root.metadata["malformed_frames"] == 2


def test_events_an_unknown_server_sends_are_runs_like_any_other(tracing: Collector) -> None:
    event = {"type": "response.mood.changed", "mood": {"name": "sunny", "level": 3}}
    with (
        RealtimeServer(Script(on_connect=[Emit(event), Close(1000)])) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
    ):
        list(connection)
    root = the_tree(tracing)
    assert root.names() == ["session.created", "response.mood.changed"]
    assert root["response.mood.changed"].run.inputs["event"]["mood"] == {"name": "sunny", "level": 3}


def test_a_conversation_with_sound_has_its_recording(tracing: Collector) -> None:
    async def talk(server: RealtimeServer) -> None:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw, thread_id="call-7") as connection,
        ):
            await connection.conversation.item.create(
                item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
            )
            await connection.response.create()
            async for event in connection:
                if event.type == "response.done":
                    await asyncio.sleep(0.5)
                    break

    with RealtimeServer(Script([Turn(Say("Hello.", audio=tone(1000, 0.4)))])) as server:
        asyncio.run(talk(server))
    root = the_tree(tracing)
    mime, path = tracing.attachment(root.run.id, "conversation")
    sound, rate = soundfile.read(path)
    assert (mime, rate, sound.shape[1]) == ("audio/wav", 24_000, 2)
    assert abs(sound[:, 0]).max() == 0
    assert abs(sound[:, 1]).max() > 0.05
    assert root.metadata["thread_id"] == "call-7"


def test_tool_calls_are_runs_without_any_code_of_the_users(tracing: Collector) -> None:
    async def talk(server: RealtimeServer) -> None:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw) as connection,
        ):
            await connection.response.create()
            async for event in connection:
                if event.type != "response.done":
                    continue
                calls = [item for item in event.response.output or [] if item.type == "function_call"]
                if not calls:
                    break
                for item in calls:
                    await connection.conversation.item.create(
                        item={"type": "function_call_output", "call_id": str(item.call_id), "output": "12 degrees"}
                    )
                await connection.response.create()

    calls = [Call("lookup_weather", {"city": city}) for city in ("Paris", "London")]
    with RealtimeServer(Script([Turn(*calls), Turn(Say("Twelve degrees in both."))], speed=0)) as server:
        asyncio.run(talk(server))
    root = the_tree(tracing)
    done = root["response.done"]
    assert done.names() == ["lookup_weather", "lookup_weather"]
    assert {tool.run.inputs["city"] for tool in done.children} == {"Paris", "London"}
    tool = done.children[0].run
    assert (tool.run_type, (tool.outputs or {})["role"], (tool.outputs or {})["content"]) == (
        "tool",
        "tool",
        "12 degrees",
    )
    assert (tool.outputs or {})["tool_call_id"] == tool.metadata["tool_call_id"]
    assert done.run.end_time is not None
    assert done.run.end_time > done.run.start_time  # it lasted until the last result
    assert spanned([{"type": name} for name in root.names()]) == root.names()


@newest
def test_a_reconnection_stays_one_trace_and_is_visible_in_it(tracing: Collector) -> None:
    async def talk(server: RealtimeServer) -> None:
        manager = async_client(server).realtime.connect(
            model="gpt-realtime", on_reconnecting=lambda _: None, initial_delay=0.01
        )
        async with manager as raw, wrap_realtime(raw) as connection:
            sessions: list[str] = []
            async for event in connection:
                if event.type == "session.updated":
                    break
                sessions.append(event.type)
                if len(sessions) == 2:
                    await connection.session.update(session={"type": "realtime", "instructions": "Again."})

    first, second = Script(on_connect=[Close(1012, "restarting")]), Script()
    with RealtimeServer([first, second]) as server:
        asyncio.run(talk(server))
    root = the_tree(tracing)
    assert root.names() == ["session.created", "session.created", "session.updated"]
    assert root.run.error is None
    assert root.metadata["reconnections"] == 1
    assert root.children[1].metadata["reconnected"] is True
    assert "reconnected" not in root.children[0].metadata

"""wrap_realtime on openai's connections: the trace does not depend on the way of receiving and sending."""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import soundfile
from langsmith import RunTree, traceable
from langsmith.uuid import uuid7_from_datetime
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import InputAudioBufferAppendEvent
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

from langsmith_realtime import SessionTracer, wrap_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Call, Close, Drop, Emit, RealtimeServer, Replay, Say, Script, Turn, tone
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
from tests.support.surfaces import ASYNC_WAYS, DISPATCHING, FORMS, SYNC_WAYS, AsyncWay, Form, Handler, Way

newest = pytest.mark.newest  # openai before 2.32 has no dispatch_events


def parameters(ways: list[Any]) -> list[Any]:
    marks = {True: [pytest.mark.newest], False: []}
    return [pytest.param(way, marks=marks[way.__name__ in DISPATCHING], id=way.__name__) for way in ways]


def assert_trace_of(frames: list[dict[str, Any]], root: Node) -> None:
    """Check that a trace has the events of recorded frames, unchanged and in order, and their tool runs."""
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


@pytest.mark.parametrize("way", parameters(ASYNC_WAYS))
def test_every_recording_is_traced_by_every_way_of_receiving_asynchronously(tracing: Collector, way: AsyncWay) -> None:
    for name, frames in recordings().items():
        with RealtimeServer(Replay(frames)) as server:
            asyncio.run(_replay_async(server, frames, way, name))
    _assert_all_recordings(tracing)


async def _replay_async(server: RealtimeServer, frames: list[dict[str, Any]], way: AsyncWay, name: str) -> None:
    async with (
        async_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw, project_name=name) as connection,
    ):
        seen: list[str] = []

        async def send() -> None:
            for frame in frames:
                if frame["dir"] == "client":
                    await connection.send(frame["event"])

        async def handle(event: Any) -> None:
            seen.append(event.type)

        sending = asyncio.create_task(send())
        await way(connection, handle)
        await sending
        assert seen == [event["type"] for event in server_events(frames)]


@pytest.mark.parametrize("way", parameters(SYNC_WAYS))
def test_every_recording_is_traced_by_every_way_of_receiving_synchronously(tracing: Collector, way: Way) -> None:
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
            way(connection, _append_type_to(seen))
            assert seen == [event["type"] for event in server_events(frames)]
    _assert_all_recordings(tracing)


def _append_type_to(seen: list[str]) -> Handler:
    return lambda event: seen.append(event.type)


@pytest.mark.parametrize("form", FORMS)
def test_every_recording_is_traced_by_a_session_tracer_in_every_form_of_events(tracing: Collector, form: Form) -> None:
    for name, frames in recordings().items():
        with SessionTracer(project_name=name) as tracer:
            for frame in frames:
                event = form(frame["event"])
                tracer.server_event(event) if frame["dir"] == "server" else tracer.client_event(event)
    _assert_all_recordings(tracing)


def _assert_all_recordings(collector: Collector) -> None:
    by_name = {root.run.project: root for root in trees(collector)}
    for name, frames in recordings().items():
        assert_trace_of(frames, by_name[name])


# The connection


def test_the_block_yields_the_connection_itself_and_restores_its_methods(tracing: Collector) -> None:
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


def test_tracing_does_not_change_the_frames_that_are_sent(tracing: Collector) -> None:
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


def test_a_send_that_fails_is_not_recorded(tracing: Collector) -> None:
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
    assert root.run.attachments == {}  # no audio was sent
    assert root.run.error is None


def test_an_argument_that_cannot_be_traced_raises(tracing: Collector) -> None:
    async def talk(server: RealtimeServer) -> None:
        manager = async_client(server).realtime.connect(model="gpt-realtime")
        with pytest.raises(TypeError, match="manager yields"):
            wrap_realtime(manager)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="got str"):
            wrap_realtime("connection")  # type: ignore[call-overload]
        async with manager as raw:
            with pytest.raises(TypeError, match="'thread' is not a tracing option"):
                wrap_realtime(raw, thread="t")  # type: ignore[call-overload]
            with pytest.raises(ValueError, match="sample_rate"):
                wrap_realtime(raw, sample_rate=0)
            async with wrap_realtime(raw):
                with pytest.raises(ValueError, match="must not be traced already"):
                    wrap_realtime(raw)
            block = wrap_realtime(raw)
            async with wrap_realtime(raw):
                with pytest.raises(ValueError, match="must not be traced already"):
                    await block.__aenter__()

    with RealtimeServer(Script()) as server:
        asyncio.run(talk(server))
    assert len(trees(tracing)) == 2


def test_with_tracing_off_nothing_is_tapped_and_nothing_is_sent(
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


def test_the_trace_ends_even_if_the_application_deleted_the_tracer_attribute(tracing: Collector) -> None:
    with RealtimeServer(Script()) as server, sync_client(server).realtime.connect(model="gpt-realtime") as raw:
        with wrap_realtime(raw) as connection:
            connection.recv()
            del connection.langsmith
        assert the_tree(tracing).run.end_time is not None


# The end of a conversation


@pytest.mark.parametrize("catches", [True, False])
def test_an_abnormal_close_is_the_error_of_the_root(tracing: Collector, catches: bool) -> None:
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


@pytest.mark.parametrize("method", ["recv_bytes", "send"])
def test_an_abnormal_close_is_the_error_of_the_root_whichever_method_raises_it(tracing: Collector, method: str) -> None:
    async def talk(server: RealtimeServer) -> None:
        async with async_client(server).realtime.connect(model="gpt-realtime") as raw:
            if method == "send":  # it raises only after the frames before the close were read
                await raw.recv()
                with pytest.raises(ConnectionClosedError):
                    await raw.recv()
            async with wrap_realtime(raw) as connection:
                with pytest.raises(ConnectionClosedError):
                    while True:
                        if method == "recv_bytes":
                            await connection.recv_bytes()
                        else:
                            await connection.response.create()

    with RealtimeServer(Script(on_connect=[Close(1011, "overloaded")])) as server:
        asyncio.run(talk(server))
    assert "1011" in str(the_tree(tracing).run.error)


def test_a_dropped_connection_is_the_error_of_the_root(tracing: Collector) -> None:
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
def test_an_exception_that_leaves_the_block_propagates(
    tracing: Collector, raised: BaseException, error: str | None
) -> None:
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


def test_a_frame_that_openai_cannot_parse_still_raises_and_is_in_the_trace(tracing: Collector) -> None:
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


def test_an_event_without_an_id_that_is_parsed_twice_is_one_run(tracing: Collector) -> None:
    pressed = Emit({"type": "input_audio_buffer.dtmf_event_received", "event": "5", "event_id": None})
    with (
        RealtimeServer(Script(on_connect=[pressed, pressed, Close(1000)])) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
    ):
        for _ in range(3):
            frame = connection.recv_bytes()
            connection.parse_event(frame)
            connection.parse_event(frame)
    assert the_tree(tracing).names() == ["session.created", *["input_audio_buffer.dtmf_event_received"] * 2]


def test_an_event_does_not_start_after_it_was_recorded(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.server_event({"type": "session.created", "session": {}})
        seen = datetime.now(UTC)
    assert the_tree(tracing)["session.created"].run.start_time <= seen


def test_a_nested_run_does_not_start_before_its_event_if_the_clocks_differ(tracing: Collector) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=1)
    outer = RunTree(name="another machine", start_time=ahead, id=uuid7_from_datetime(ahead))

    @traceable
    def look_outside() -> None:
        """Traced work of the application."""

    with SessionTracer(parent=outer.to_headers()) as tracer:
        tracer.server_event({"type": "session.created", "session": {}})
        look_outside()
    outer.post()
    root = the_tree(tracing)
    event = root["session.created"]
    assert event["look_outside"].run.start_time == event.run.start_time >= ahead


def test_a_conversation_with_audio_has_a_recording(tracing: Collector) -> None:
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
    audio, rate = soundfile.read(path)
    assert (mime, rate, audio.shape[1]) == ("audio/wav", 24_000, 2)
    assert abs(audio[:, 0]).max() == 0
    assert abs(audio[:, 1]).max() > 0.05
    assert root.metadata["thread_id"] == "call-7"


def test_a_tool_call_becomes_a_run_without_traced_code_of_the_application(tracing: Collector) -> None:
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
    assert done.run.end_time > done.run.start_time  # it lasts until the last tool result
    assert spanned([{"type": name} for name in root.names()]) == root.names()


@newest
def test_a_reconnection_stays_in_the_trace_and_is_counted(tracing: Collector) -> None:
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

"""How a conversation ended: close code, reason and side on the root, whichever way frames are received."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from langsmith import Client, get_current_run_tree
from openai import OpenAIError
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close as CloseFrame
from websockets.sync.client import connect

from langsmith_realtime import SessionTracer, wrap_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Close, Drop, Emit, RealtimeServer, Script
from tests.support.conversations import Node, async_client, sync_client, the_tree
from tests.support.surfaces import ASYNC_WAYS, DISPATCHING, SYNC_WAYS, AsyncWay, Way

MAXIMUM = "Your session hit the maximum duration of 60 minutes."
EXPIRED = {
    "type": "error",
    "event_id": "event_expired",
    "error": {"type": "invalid_request_error", "code": "session_expired", "message": MAXIMUM},
}
ENDS_WITH_1001 = Script(on_connect=[Close(1001, MAXIMUM)])
EXPIRES_AND_CLOSES = Script(on_connect=[Emit(EXPIRED), Close(1000)])
EXPIRES_AND_STAYS_OPEN = Script(on_connect=[Emit(EXPIRED)])


def parameters(ways: list[Any]) -> list[Any]:
    marks = {True: [pytest.mark.newest], False: []}  # openai before 2.32 has no dispatch_events
    return [pytest.param(way, marks=marks[way.__name__ in DISPATCHING], id=way.__name__) for way in ways]


def end_of(root: Node) -> tuple[Any, Any, Any]:
    return tuple(root.metadata.get(key) for key in ("close_code", "close_reason", "closed_by"))  # type: ignore[return-value]


def receive_async(script: Script, way: AsyncWay) -> None:
    async def talk(server: RealtimeServer) -> None:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw) as connection,
        ):
            await way(connection, _ignore)

    with RealtimeServer(script) as server:
        asyncio.run(talk(server))


async def _ignore(_: object) -> None:
    """Handles an event by doing nothing."""


def receive_sync(script: Script, way: Way) -> None:
    with (
        RealtimeServer(script) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
    ):
        way(connection, lambda _: None)


# The server closes


@pytest.mark.parametrize("way", parameters(ASYNC_WAYS))
def test_a_server_that_goes_away_is_what_the_conversation_ended_with(tracing: Collector, way: AsyncWay) -> None:
    receive_async(ENDS_WITH_1001, way)
    root = the_tree(tracing)
    assert end_of(root) == (1001, MAXIMUM, "server")
    assert root.run.error == f"the server closed the connection: 1001 {MAXIMUM}"


@pytest.mark.parametrize("way", parameters(SYNC_WAYS))
def test_a_server_that_goes_away_is_what_a_synchronous_conversation_ended_with(tracing: Collector, way: Way) -> None:
    receive_sync(ENDS_WITH_1001, way)
    root = the_tree(tracing)
    assert end_of(root) == (1001, MAXIMUM, "server")
    assert root.run.error == f"the server closed the connection: 1001 {MAXIMUM}"


@pytest.mark.parametrize("way", parameters(ASYNC_WAYS))
def test_a_session_that_expired_is_what_the_conversation_ended_with(tracing: Collector, way: AsyncWay) -> None:
    receive_async(EXPIRES_AND_CLOSES, way)
    root = the_tree(tracing)
    assert end_of(root) == (1000, None, "server")
    assert root.run.error == f"session_expired: {MAXIMUM} (invalid_request_error)"


@pytest.mark.parametrize("way", parameters(SYNC_WAYS))
def test_a_session_that_expired_is_what_a_synchronous_conversation_ended_with(tracing: Collector, way: Way) -> None:
    receive_sync(EXPIRES_AND_CLOSES, way)
    assert the_tree(tracing).run.error == f"session_expired: {MAXIMUM} (invalid_request_error)"


def test_a_session_that_expired_on_an_open_socket_is_what_the_conversation_ended_with(tracing: Collector) -> None:
    with (
        RealtimeServer(EXPIRES_AND_STAYS_OPEN) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
    ):
        while connection.recv().type != "error":
            pass
    root = the_tree(tracing)
    assert end_of(root) == (None, None, "client")
    assert root.run.error == f"session_expired: {MAXIMUM} (invalid_request_error)"


@pytest.mark.newest
def test_the_exception_that_followed_an_expired_session_stands_after_it(tracing: Collector) -> None:
    with (
        RealtimeServer(EXPIRES_AND_CLOSES) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        pytest.raises(OpenAIError),
        wrap_realtime(raw) as connection,
    ):
        connection.dispatch_events()  # raises, because no handler takes the error
    error = str(the_tree(tracing).run.error)
    assert error.startswith(f"session_expired: {MAXIMUM} (invalid_request_error); OpenAIError: ")


@pytest.mark.parametrize(
    ("step", "end", "error"),
    [
        (Close(1000, "bye"), (1000, "bye", "server"), None),
        (Close(1008, "policy"), (1008, "policy", "server"), "ConnectionClosedError"),
        (Close(1011), (1011, None, "server"), "ConnectionClosedError"),
        (Close(4000, "idle"), (4000, "idle", "server"), "ConnectionClosedError"),
        (Drop(), (1006, None, "network"), "ConnectionClosedError"),
    ],
)
def test_every_close_says_its_code_its_reason_and_its_side(
    tracing: Collector, step: Close | Drop, end: tuple[Any, ...], error: str | None
) -> None:
    with (
        RealtimeServer(Script(on_connect=[step])) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
        pytest.raises(ConnectionClosed),
    ):
        while True:
            connection.recv()
    root = the_tree(tracing)
    assert end_of(root) == end
    assert str(root.run.error).partition(":")[0] == str(error)


# The application ends it


@pytest.mark.parametrize("closes", [True, False])
def test_an_application_that_leaves_has_closed_the_connection(tracing: Collector, closes: bool) -> None:
    with (
        RealtimeServer(Script()) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
    ):
        connection.recv()
        if closes:
            connection.close(code=1001, reason="good night")
    root = the_tree(tracing)
    assert end_of(root) == ((1001, "good night", "client") if closes else (None, None, "client"))
    assert root.run.error is None


def test_a_close_that_nobody_received_is_still_told(tracing: Collector) -> None:
    """The application stopped receiving; the socket knows how it was closed."""

    async def talk(server: RealtimeServer) -> None:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw) as connection,
        ):
            await connection.recv()
            await connection._connection.wait_closed()

    with RealtimeServer(ENDS_WITH_1001) as server:
        asyncio.run(talk(server))
    root = the_tree(tracing)
    assert end_of(root) == (1001, MAXIMUM, "server")
    assert "1001" in str(root.run.error)


def test_the_end_of_another_socket_is_not_that_of_the_conversation(tracing: Collector) -> None:
    with (
        RealtimeServer(Script()) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        pytest.raises(ConnectionClosedError),
        wrap_realtime(raw) as connection,
    ):
        connection.recv()
        raise ConnectionClosedError(CloseFrame(1011, "the browser is gone"), None)
    root = the_tree(tracing)
    assert end_of(root) == (None, None, "client")
    assert "the browser is gone" in str(root.run.error)


# A socket of the application's own


def _close(tracer: SessionTracer, error: BaseException) -> None:
    tracer.close(error)


def _leave(tracer: SessionTracer, error: BaseException) -> None:
    with pytest.raises(type(error)), tracer:
        raise error


def _leave_in_a_group(tracer: SessionTracer, error: BaseException) -> None:
    with pytest.raises(BaseExceptionGroup), tracer:
        raise BaseExceptionGroup("tasks", [asyncio.CancelledError(), error])


@pytest.mark.parametrize("end", [_close, _leave, _leave_in_a_group])
def test_a_tracer_is_told_by_the_exception_that_ends_it(
    tracing: Collector, end: Callable[[SessionTracer, BaseException], None]
) -> None:
    tracer = SessionTracer()
    with RealtimeServer(ENDS_WITH_1001) as server, connect(f"{server.url}?model=m", compression=None) as socket:
        with pytest.raises(ConnectionClosedOK) as caught:
            while True:
                tracer.server_event(socket.recv())
        end(tracer, caught.value)
    assert get_current_run_tree() is None  # although the events came before the block
    root = the_tree(tracing)
    assert end_of(root) == (1001, MAXIMUM, "server")
    assert root.run.error == f"the server closed the connection: 1001 {MAXIMUM}"


def test_an_exception_with_the_close_as_its_cause_tells_the_close_and_stays_the_error(tracing: Collector) -> None:
    lost = RuntimeError("the line went dead")
    lost.__cause__ = ConnectionClosedError(None, CloseFrame(1011, "keepalive ping timeout"))
    SessionTracer().close(lost)
    root = the_tree(tracing)
    assert end_of(root) == (1011, "keepalive ping timeout", "client")
    assert root.run.error == "RuntimeError: the line went dead"


def test_a_tracer_that_is_not_told_says_nothing_of_the_end(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.server_event({"type": "session.created", "session": {}})
    root = the_tree(tracing)
    assert end_of(root) == (None, None, None)
    assert root.run.error is None


def test_a_session_that_expired_in_the_middle_is_not_the_end_once_another_one_began(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.server_event({"type": "session.created", "event_id": "e1", "session": {"id": "sess_1"}})
        tracer.server_event(json.dumps(EXPIRED))
        tracer.server_event({"type": "session.created", "event_id": "e2", "session": {"id": "sess_2"}})
    root = the_tree(tracing)
    assert root.run.error is None
    assert root["error"].run.error == f"session_expired: {MAXIMUM} (invalid_request_error)"


@pytest.mark.parametrize(
    "error",
    [
        {"error": MAXIMUM, "code": "session_expired"},
        {"code": "session_expired"},
        {"error": {"type": "session_expired"}},
    ],
)
def test_an_expired_session_is_recognised_in_errors_of_any_shape(tracing: Collector, error: dict[str, Any]) -> None:
    with SessionTracer() as tracer:
        tracer.server_event({"type": "session.created", "event_id": "e1", "session": {"id": "sess_1"}})
        tracer.server_event({"type": "error", **error})
        tracer.server_event({"type": "rate_limits.updated", "event_id": "e2"})
    assert "session_expired" in str(the_tree(tracing).run.error)


def test_a_reason_is_hidden_with_the_contents(collector: Collector) -> None:
    client = Client(api_url=collector.url, api_key="k", hide_inputs=True, hide_outputs=True)
    SessionTracer(client=client, enabled=True).close(
        ConnectionClosedOK(CloseFrame(1001, "you said: my card number"), CloseFrame(1001, ""), True)
    )
    root = the_tree(collector)
    assert root.metadata["close_code"] == 1001
    assert "card" not in json.dumps(root.metadata)
    assert root.run.error == "the server closed the connection: 1001"

"""The surfaces: all ways to trace a conversation, each with a driver, and a client that can use any of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol, TypeAlias

from openai import AsyncOpenAI, OpenAI
from openai._models import construct_type_unchecked
from openai.resources.realtime.realtime import AsyncRealtimeConnection, RealtimeConnection
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from websockets.sync.client import connect

from langsmith_realtime import SessionTracer, wrap_realtime
from langsmith_realtime.testing import RealtimeServer

Frame: TypeAlias = dict[str, Any]
Frames: TypeAlias = Sequence[Frame] | Callable[[list[Frame]], Sequence[Frame]]
"""Frames to send, or a function that makes them from the events received so far."""


# The client.


@dataclass(frozen=True)
class After:
    """A reply: the client sends `frames` after the `nth` event of type `type`."""

    type: str
    frames: Frames
    nth: int = 1


@dataclass(frozen=True)
class Part:
    """A client's part in a conversation: the frames it opens with, its replies to events, and its end.

    `until` is the type and the number of the event after which the client hangs up; without it the server ends the
    conversation. `sideband` connects beside a telephone call. `reconnects` connects again if the server closes.
    """

    opening: Sequence[Frame] = ()
    replies: Sequence[After] = ()
    until: tuple[str, int] | None = None
    sideband: bool = False
    reconnects: bool = False

    @property
    def query(self) -> dict[str, str]:
        return {"call_id": "rtc_1"} if self.sideband else {}


@dataclass
class Client:
    """A client that plays a part: it receives events, and returns the frames to send."""

    part: Part
    received: list[Frame] = field(default_factory=list)
    hangs_up: bool = False

    def receive(self, event: Frame) -> list[Frame]:
        """Stores an event and returns the frames to send."""
        self.received.append(event)
        now = (event["type"], sum(1 for known in self.received if known["type"] == event["type"]))
        self.hangs_up = self.hangs_up or now == self.part.until
        frames: list[Frame] = []
        for reply in self.part.replies:
            if now == (reply.type, reply.nth):
                frames += reply.frames(self.received) if callable(reply.frames) else reply.frames
        return frames

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.received]


# Six ways to receive on an asynchronous connection, four on a synchronous one.

AsyncHandler: TypeAlias = Callable[[Any], Awaitable[None]]
AsyncWay: TypeAlias = Callable[[AsyncRealtimeConnection, AsyncHandler], Awaitable[None]]
Handler: TypeAlias = Callable[[Any], None]
Way: TypeAlias = Callable[[RealtimeConnection, Handler], None]


async def iterate(connection: AsyncRealtimeConnection, handle: AsyncHandler) -> None:
    async for event in connection:
        await handle(event)


async def receive(connection: AsyncRealtimeConnection, handle: AsyncHandler) -> None:
    while True:
        try:
            event = await connection.recv()
        except ConnectionClosedOK:
            return
        await handle(event)


async def receive_with_timeout(connection: AsyncRealtimeConnection, handle: AsyncHandler) -> None:
    while True:
        try:
            event = await asyncio.wait_for(connection.recv(), timeout=10)
        except ConnectionClosedOK:
            return
        await handle(event)


async def parse_bytes(connection: AsyncRealtimeConnection, handle: AsyncHandler) -> None:
    while True:
        try:
            frame = await connection.recv_bytes()
        except ConnectionClosedOK:
            return
        await handle(connection.parse_event(frame))
        connection.parse_event(frame)  # a frame that is parsed twice is traced once


async def dispatch(connection: AsyncRealtimeConnection, handle: AsyncHandler) -> None:
    connection.on("event", handle)
    await connection.dispatch_events()


async def dispatch_once(connection: AsyncRealtimeConnection, handle: AsyncHandler) -> None:
    once: list[str] = []
    seen: set[str] = set()
    for kind in ("session.created", "session.updated"):
        connection.once(kind, lambda event: once.append(event.type))
        connection.on(kind, lambda event: seen.add(event.type))
    await dispatch(connection, handle)
    assert sorted(once) == sorted(seen)


def iterate_sync(connection: RealtimeConnection, handle: Handler) -> None:
    for event in connection:
        handle(event)


def receive_sync(connection: RealtimeConnection, handle: Handler) -> None:
    while True:
        try:
            event = connection.recv()
        except ConnectionClosedOK:
            return
        handle(event)


def parse_bytes_sync(connection: RealtimeConnection, handle: Handler) -> None:
    while True:
        try:
            frame = connection.recv_bytes()
        except ConnectionClosedOK:
            return
        handle(connection.parse_event(frame))


def dispatch_sync(connection: RealtimeConnection, handle: Handler) -> None:
    connection.on("event", handle)
    connection.dispatch_events()


ASYNC_WAYS: list[AsyncWay] = [iterate, receive, receive_with_timeout, parse_bytes, dispatch, dispatch_once]
SYNC_WAYS: list[Way] = [iterate_sync, receive_sync, parse_bytes_sync, dispatch_sync]
ITERATING = {way.__name__ for way in (iterate, dispatch, dispatch_once, iterate_sync, dispatch_sync)}
"""The ways with which openai reconnects; with the others the application does it."""
DISPATCHING = {way.__name__ for way in (dispatch, dispatch_once, dispatch_sync)}
"""The ways that openai has since version 2.32."""


# Four forms of an event that `SessionTracer` takes.

Form: TypeAlias = Callable[[Frame], Any]


def as_dict(event: Frame) -> Frame:
    return event


def as_text(event: Frame) -> str:
    return json.dumps(event)


def as_bytes(event: Frame) -> bytes:
    return json.dumps(event).encode()


def as_model(event: Frame) -> Any:
    """Returns openai's model of a frame. Which of the two unions is used matters only for known types."""
    from_client = event["type"] in _CLIENT_TYPES
    return construct_type_unchecked(value=event, type_=_CLIENT_EVENT if from_client else _SERVER_EVENT)


_CLIENT_EVENT: Any = RealtimeClientEvent
_SERVER_EVENT: Any = RealtimeServerEvent
_CLIENT_TYPES = {
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "conversation.item.create",
    "conversation.item.delete",
    "conversation.item.retrieve",
    "conversation.item.truncate",
    "response.create",
    "response.cancel",
    "output_audio_buffer.clear",
}

FORMS: list[Form] = [as_dict, as_text, as_bytes, as_model]


# The drivers, each for one conversation.


class Talk(Protocol):
    """Holds a conversation with the server over one surface. Raises the exception that the application gets."""

    def __call__(self, server: RealtimeServer, client: Client, **options: Any) -> None: ...


@dataclass(frozen=True)
class Surface:
    """A way to trace a conversation. `newest` if the oldest supported openai lacks it."""

    name: str
    talk: Talk
    newest: bool = False
    reconnects: bool = True


@cache
def _async_client() -> AsyncOpenAI:
    """One client for all servers, because creating one reads every certificate of the machine."""
    return AsyncOpenAI(api_key="test")


@cache
def _sync_client() -> OpenAI:
    return OpenAI(api_key="test")


def _connecting(part: Part) -> dict[str, Any]:
    again = {"on_reconnecting": lambda _: None, "initial_delay": 0.001} if part.reconnects else {}
    return {"model": "gpt-realtime", "extra_query": part.query, **again}


def _at(server: RealtimeServer) -> dict[str, Any]:
    return {"base_url": server.base_url, "websocket_base_url": server.websocket_base_url}


def asynchronously(way: AsyncWay) -> Talk:
    async def converse(server: RealtimeServer, client: Client, options: dict[str, Any]) -> None:
        async with (
            _async_client().copy(**_at(server)).realtime.connect(**_connecting(client.part)) as raw,
            wrap_realtime(raw, **options) as connection,
        ):

            async def handle(event: Any) -> None:
                for frame in client.receive(event.to_dict(warnings=False)):
                    await connection.send(frame)  # type: ignore[arg-type]
                if client.hangs_up:
                    await connection.close()

            for frame in client.part.opening:
                await connection.send(frame)  # type: ignore[arg-type]
            await way(connection, handle)

    def talk(server: RealtimeServer, client: Client, **options: Any) -> None:
        asyncio.run(converse(server, client, options))

    return talk


def synchronously(way: Way) -> Talk:
    def talk(server: RealtimeServer, client: Client, **options: Any) -> None:
        with (
            _sync_client().copy(**_at(server)).realtime.connect(**_connecting(client.part)) as raw,
            wrap_realtime(raw, **options) as connection,
        ):

            def handle(event: Any) -> None:
                for frame in client.receive(event.to_dict(warnings=False)):
                    connection.send(frame)  # type: ignore[arg-type]
                if client.hangs_up:
                    connection.close()

            for frame in client.part.opening:
                connection.send(frame)  # type: ignore[arg-type]
            way(connection, handle)

    return talk


def through_a_tracer(form: Form) -> Talk:
    """Returns a driver with its own socket, which passes its events to a `SessionTracer` in the given form."""

    def talk(server: RealtimeServer, client: Client, **options: Any) -> None:
        with SessionTracer(**options) as tracer:
            while True:
                try:
                    _over_a_socket(
                        server,
                        client,
                        on_received=lambda event: tracer.server_event(form(event)),
                        on_sent=lambda event: tracer.client_event(form(event)),
                    )
                except ConnectionClosedError:
                    if not client.part.reconnects:
                        raise
                else:
                    return

    return talk


def from_the_log(server: RealtimeServer, client: Client, **options: Any) -> None:
    """Holds a conversation untraced, and then passes the server's log of it to a `SessionTracer`."""
    lost: ConnectionClosedError | None = None
    while True:
        try:
            _over_a_socket(server, client)
        except ConnectionClosedError as error:
            if client.part.reconnects:
                continue
            lost = error
        break
    with SessionTracer(**options) as tracer:
        for frame in sorted([*server.received, *server.sent], key=lambda frame: frame.at):
            trace = tracer.server_event if frame.direction == "server" else tracer.client_event
            trace(frame.raw)
        if lost is not None:
            raise lost


def _over_a_socket(
    server: RealtimeServer,
    client: Client,
    on_received: Callable[[Frame], None] = lambda _: None,
    on_sent: Callable[[Frame], None] = lambda _: None,
) -> None:
    query = "&".join(f"{name}={value}" for name, value in {"model": "gpt-realtime", **client.part.query}.items())
    with connect(f"{server.url}?{query}", compression=None) as socket:

        def send(frames: Iterable[Frame]) -> None:
            for frame in frames:
                socket.send(json.dumps(frame))
                on_sent(frame)

        if not client.received:
            send(client.part.opening)
        for raw in socket:
            event = json.loads(raw)
            on_received(event)
            send(client.receive(event))
            if client.hangs_up:
                socket.close()


SURFACES = [
    *(
        Surface(way.__name__, asynchronously(way), way.__name__ in DISPATCHING, way.__name__ in ITERATING)
        for way in ASYNC_WAYS
    ),
    *(
        Surface(way.__name__, synchronously(way), way.__name__ in DISPATCHING, way.__name__ in ITERATING)
        for way in SYNC_WAYS
    ),
    *(Surface(f"tracer_{form.__name__}", through_a_tracer(form)) for form in FORMS),
    Surface("tracer_from_the_log", from_the_log),
]


def end_of(error: BaseException | None) -> str:
    """Returns the end of a conversation for the application: the close code, ``dropped``, or ``clean``."""
    if error is None:
        return "clean"
    assert isinstance(error, ConnectionClosed), error
    return str(error.rcvd.code) if error.rcvd else "dropped"

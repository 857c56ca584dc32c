"""``wrap_realtime``: openai's own connections, asynchronous and synchronous, traced.

A thin shell on :class:`SessionTracer`. Frames are tapped with attributes on the connection *instance*:
its class stays what it was, openai's resource helpers go through the taps, and taking the attributes
away again restores the connection. What is sent is not touched, so the wire carries the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from openai.resources.realtime.realtime import (
    AsyncRealtimeConnection,
    AsyncRealtimeConnectionManager,
    RealtimeConnection,
    RealtimeConnectionManager,
)
from typing_extensions import Unpack
from websockets.exceptions import ConnectionClosed

from langsmith_realtime.live import LiveConversation
from langsmith_realtime.options import Options, TracingOptions
from langsmith_realtime.tracer import SessionTracer

if TYPE_CHECKING:

    class _Traced:
        """What a traced connection has beside its own methods."""

        #: The conversation's trace: ``trace_id``, ``thread_id``, ``url``.
        langsmith: SessionTracer

        def record_user_audio(self, pcm: bytes, *, at: float | None = None) -> None: ...
        def record_agent_audio(self, pcm: bytes, *, at: float | None = None) -> None: ...
        def tool(self, call_id: str) -> AbstractContextManager[None]: ...

    class TracedAsyncConnection(_Traced, AsyncRealtimeConnection):
        """An ``AsyncRealtimeConnection`` that is traced."""

    class TracedConnection(_Traced, RealtimeConnection):
        """A ``RealtimeConnection`` that is traced."""


C = TypeVar("C")
_ADDED = ("record_user_audio", "record_agent_audio", "tool")


@overload
def wrap_realtime(
    connection: AsyncRealtimeConnection, **options: Unpack[TracingOptions]
) -> AsyncTracing[TracedAsyncConnection]: ...


@overload
def wrap_realtime(connection: RealtimeConnection, **options: Unpack[TracingOptions]) -> Tracing[TracedConnection]: ...


def wrap_realtime(
    connection: AsyncRealtimeConnection | RealtimeConnection, **options: Unpack[TracingOptions]
) -> AsyncTracing[Any] | Tracing[Any]:
    """Trace an OpenAI Realtime connection in LangSmith.

    ::

        async with client.realtime.connect(model=...) as raw, wrap_realtime(raw, thread_id=call_id) as connection:
            async for event in connection:
                ...

    What it yields is the connection itself, with ``record_user_audio``, ``record_agent_audio``, ``tool``
    and ``langsmith`` (a :class:`SessionTracer`) added. A synchronous connection takes ``with``. Every way
    of receiving is traced; events a manager queued before it was entered are not seen.

    Args:
        connection: what ``client.realtime.connect(...)`` yields when it is entered.
        **options: those of LangSmith's own ``wrap_realtime``, and more; see :class:`Options`.

    Raises:
        TypeError: not an entered connection, or an unknown option, or one of the wrong type.
        ValueError: an option's value that cannot be used, or a connection that is traced already.
    """
    if isinstance(cast("object", connection), (AsyncRealtimeConnectionManager, RealtimeConnectionManager)):
        raise TypeError("wrap what the connection manager yields: `async with client.realtime.connect(...) as raw`")
    _refuse_traced(connection)
    if isinstance(connection, AsyncRealtimeConnection):
        return AsyncTracing(connection, options)
    if isinstance(connection, RealtimeConnection):
        return Tracing(connection, options)
    raise TypeError(f"wrap_realtime takes an openai realtime connection, not {type(connection).__name__}")


class _Block(Generic[C]):
    """The block in which a connection is traced."""

    def __init__(self, connection: Any, options: TracingOptions) -> None:
        Options.of(**options)  # wrong ones are refused here, where they are written
        self._connection = connection
        self._options = options
        self._taps: dict[str, Any] = {}

    def _begin(self) -> C:
        connection = self._connection
        _refuse_traced(connection)
        tracer = SessionTracer(**self._options)
        tracer.__enter__()
        live = tracer.live
        if live is not None:
            self._taps = self._make_taps(live)
        added = {name: getattr(tracer, name) for name in _ADDED}
        connection.__dict__.update(self._taps, langsmith=tracer, **added)
        connection.__dict__[_MARK] = self
        return cast("C", connection)

    def _end(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        attributes = self._connection.__dict__
        for name, tap in self._taps.items():
            if attributes.get(name) is tap:
                del attributes[name]
        if attributes.get(_MARK) is self:
            del attributes[_MARK]
        attributes["langsmith"].__exit__(kind, error, traceback)

    def _make_taps(self, live: LiveConversation) -> dict[str, Any]:
        connection = self._connection
        taps = {"parse_event": _tap_parse(connection.parse_event, live), **self._tap_receiving(live)}
        for name in ("send", "send_raw"):
            original = getattr(connection, name, None)
            if original is not None:
                taps[name] = self._tap_sending(original, live)
        return taps

    def _tap_receiving(self, live: LiveConversation) -> dict[str, Any]:
        raise NotImplementedError

    def _tap_sending(self, original: Callable[..., Any], live: LiveConversation) -> Callable[..., Any]:
        raise NotImplementedError


class AsyncTracing(_Block[C]):
    """``async with`` around an asynchronous connection; yields the connection, traced."""

    async def __aenter__(self) -> C:
        return self._begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(kind, error, traceback)

    def _tap_receiving(self, live: LiveConversation) -> dict[str, Any]:
        receive: Callable[[], Awaitable[Any]] = self._connection.recv

        def recv() -> Awaitable[Any]:
            # Not a coroutine function: this line still runs in the caller's context, whatever task
            # then awaits the rest.
            live.guarded(live.expect)
            return _noting_losses(receive(), live)

        return {"recv": recv}

    def _tap_sending(self, original: Callable[..., Any], live: LiveConversation) -> Callable[..., Any]:
        async def send(event: Any, *arguments: Any, **more: Any) -> Any:
            sent = time.monotonic()
            result = await original(event, *arguments, **more)
            live.guarded(live.client_event, event, sent)
            return result

        return send


class Tracing(_Block[C]):
    """``with`` around a synchronous connection; yields the connection, traced."""

    def __enter__(self) -> C:
        return self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(kind, error, traceback)

    def _tap_receiving(self, live: LiveConversation) -> dict[str, Any]:
        receive: Callable[[], Any] = self._connection.recv

        def recv() -> Any:
            try:
                return receive()
            except ConnectionClosed as error:
                live.lost(error)
                raise

        return {"recv": recv}

    def _tap_sending(self, original: Callable[..., Any], live: LiveConversation) -> Callable[..., Any]:
        def send(event: Any, *arguments: Any, **more: Any) -> Any:
            sent = time.monotonic()
            result = original(event, *arguments, **more)
            live.guarded(live.client_event, event, sent)
            return result

        return send


_MARK = "_langsmith_realtime"


def _refuse_traced(connection: object) -> None:
    if _MARK in getattr(connection, "__dict__", {}):
        raise ValueError("the connection is traced already")


async def _noting_losses(received: Awaitable[Any], live: LiveConversation) -> Any:
    try:
        return await received
    except ConnectionClosed as error:
        live.lost(error)
        raise


def _tap_parse(original: Callable[[Any], Any], live: LiveConversation) -> Callable[[Any], Any]:
    def parse_event(data: Any) -> Any:
        arrived = time.monotonic()
        try:
            event = original(data)
        except Exception as error:
            live.guarded(live.malformed, data, f"openai could not parse it: {type(error).__name__}", arrived)
            raise
        name = getattr(event, "type", None)
        if isinstance(name, str) and name:
            live.guarded(live.frame, data, name, getattr(event, "event_id", None), arrived)
        else:
            live.guarded(live.malformed, data, "the frame has no type", arrived)
        return event

    return parse_event

"""``wrap_realtime``: openai's own connections, asynchronous and synchronous, traced.

A thin shell on :class:`SessionTracer`. Frames are tapped with attributes on the connection *instance*:
its class stays what it was, openai's resource helpers go through the taps, and with these attributes gone the
connection works as before. What is sent is not touched, so the wire carries the same bytes.

The taps run for every frame and every chunk of the microphone: each has its own ``try`` instead of a helper
around it, as a call is most of what they cost.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from types import FrameType, SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from openai.resources.realtime.realtime import (
    AsyncRealtimeConnection,
    AsyncRealtimeConnectionManager,
    RealtimeConnection,
    RealtimeConnectionManager,
)
from typing_extensions import Unpack
from websockets.exceptions import ConnectionClosed

from langsmith_realtime.adapters.session_tracer import SessionTracer
from langsmith_realtime.live.capture import LiveConversation
from langsmith_realtime.options.tracing import Options, TracingOptions
from langsmith_realtime.runtime.guard import logger

if TYPE_CHECKING:

    class _Traced:
        """What a traced connection has beside its own methods."""

        #: The conversation's trace: ``trace_id``, ``thread_id``, ``url``.
        langsmith: SessionTracer

        def record_user_audio(self, pcm: bytes, *, at: float | None = None) -> None: ...
        def record_agent_audio(self, pcm: bytes, *, at: float | None = None) -> None: ...
        def played(self, item_id: str, ms: float, *, at: float | None = None) -> None: ...
        def silence(
            self,
            *,
            seconds: float | None = None,
            item_id: str | None = None,
            since: float | None = None,
            until: float | None = None,
        ) -> None: ...
        def tool(self, call_id: str) -> AbstractContextManager[None]: ...

    class TracedAsyncConnection(_Traced, AsyncRealtimeConnection):
        """An ``AsyncRealtimeConnection`` that is traced."""

    class TracedConnection(_Traced, RealtimeConnection):
        """A ``RealtimeConnection`` that is traced."""


C = TypeVar("C")
ADDED = ("record_user_audio", "record_agent_audio", "played", "silence", "tool")


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

    What it yields is the connection itself, with ``record_user_audio``, ``record_agent_audio``, ``played``,
    ``silence``, ``tool`` and ``langsmith`` (a :class:`SessionTracer`) added. A synchronous connection takes ``with``.
    Every way of receiving is traced; events a manager queued before it was entered are not seen.

    Args:
        connection: what ``client.realtime.connect(...)`` yields when it is entered.
        **options: those of LangSmith's own ``wrap_realtime``, and more; see :class:`Options`.

    Raises:
        TypeError: not an entered connection, or LangSmith's own wrapper of one, or an unknown option, or one
            of the wrong type.
        ValueError: an option's value that cannot be used, or a connection that is traced already.

    A connection that LangSmith's own ``wrap_realtime`` receives from is traced by that alone: this trace ends
    there with an error that says so.
    """
    if isinstance(cast("object", connection), (AsyncRealtimeConnectionManager, RealtimeConnectionManager)):
        raise TypeError("wrap what the connection manager yields: `async with client.realtime.connect(...) as raw`")
    _refuse_traced(connection)
    if type(connection).__module__.startswith(_LANGSMITH):
        raise TypeError(f"LangSmith's own wrap_realtime traces this connection already; {_REMEDY}")
    if isinstance(connection, AsyncRealtimeConnection):
        return AsyncTracing(connection, options)
    if isinstance(connection, RealtimeConnection):
        return Tracing(connection, options)
    raise TypeError(f"wrap_realtime takes an openai realtime connection, not {type(connection).__name__}")


class _Block(Generic[C]):
    """The block in which a connection is traced."""

    def __init__(self, connection: Any, options: TracingOptions) -> None:
        Options.of(**options)  # wrong ones are refused here, where they are written
        #: What the caller gave, and gets back; ``_connection`` is what it stands for.
        self._given = connection
        self._connection = _behind_proxies(connection)
        self._options = options
        self._tracer: SessionTracer
        self._taps: dict[str, Any] = {}
        self._shadowed: dict[str, Any] = {}  # what others had put in the taps' places

    def _begin(self) -> C:
        connection = self._connection
        _refuse_traced(connection)
        tracer = self._tracer = SessionTracer(**self._options)
        tracer.__enter__()
        live = tracer.live
        if live is not None:
            self._taps = self._make_taps(live)
        self._shadowed = {name: connection.__dict__[name] for name in self._taps if name in connection.__dict__}
        added = {name: getattr(tracer, name) for name in ADDED}
        connection.__dict__.update(self._taps, langsmith=tracer, **added)
        connection.__dict__[_MARK] = self
        return cast("C", self._given)

    def _end(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        attributes = self._connection.__dict__
        for name, tap in self._taps.items():
            if attributes.get(name) is tap:
                del attributes[name]
                if name in self._shadowed:
                    attributes[name] = self._shadowed[name]
        if attributes.get(_MARK) is self:
            del attributes[_MARK]
        self._tracer.__exit__(kind, error, traceback)

    def _make_taps(self, live: LiveConversation) -> dict[str, Any]:
        connection = self._connection
        taps = {"parse_event": _tap_parse(connection, live), **self._tap_receiving(live)}
        for name in ("send", "send_raw"):
            if hasattr(connection, name):
                taps[name] = self._tap_sending(name, live)
        return taps

    def _tap_receiving(self, live: LiveConversation) -> dict[str, Any]:
        raise NotImplementedError

    def _tap_sending(self, name: str, live: LiveConversation) -> Callable[..., Any]:
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
        connection = self._connection
        receiving, receiving_bytes = _methods(connection, "recv"), _methods(connection, "recv_bytes")

        def recv() -> Awaitable[Any]:
            # Not a coroutine function: this line still runs in the caller's context, whatever task
            # then awaits the rest.
            try:
                if _LANGSMITH in sys.modules:
                    _yield_to_langsmith(live)
                live.expect()
            except Exception as error:
                live.guard.report("expect", error)
            received: Awaitable[Any] = receiving.recv(connection)
            return received

        async def recv_bytes() -> bytes:
            try:
                frame: bytes = await receiving_bytes.recv_bytes(connection)
            except ConnectionClosed as error:
                live.lost(error)
                raise
            return frame

        return {"recv": recv, "recv_bytes": recv_bytes}

    def _tap_sending(self, name: str, live: LiveConversation) -> Callable[..., Any]:
        connection, methods = self._connection, _methods(self._connection, name)

        async def send_and_tell(event: Any, *arguments: Any, **more: Any) -> Any:
            sent = time.monotonic()
            try:
                result = await getattr(methods, name)(connection, event, *arguments, **more)
            except ConnectionClosed as error:
                live.lost(error)
                raise
            try:
                live.client_event(event, sent)
            except Exception as error:
                live.guard.report("client_event", error)
            return result

        def send(event: Any, *arguments: Any, **more: Any) -> Awaitable[Any]:
            # Whether sound arrives is not waited for: a coroutine more would cost as much as all that is done with it.
            try:
                is_sound = live.lost_with is None and live.chunk(event, time.monotonic())
            except Exception as error:
                live.guard.report("chunk", error)
                is_sound = False
            if not is_sound:
                return send_and_tell(event, *arguments, **more)
            sending: Awaitable[Any] = getattr(methods, name)(connection, event, *arguments, **more)
            return sending

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
        connection, methods = self._connection, _methods(self._connection, "recv_bytes")

        def recv_bytes() -> bytes:
            try:
                frame: bytes = methods.recv_bytes(connection)
            except ConnectionClosed as error:
                live.lost(error)
                raise
            return frame

        return {"recv_bytes": recv_bytes}

    def _tap_sending(self, name: str, live: LiveConversation) -> Callable[..., Any]:
        connection, methods = self._connection, _methods(self._connection, name)

        def send(event: Any, *arguments: Any, **more: Any) -> Any:
            sent = time.monotonic()
            try:
                result = getattr(methods, name)(connection, event, *arguments, **more)
            except ConnectionClosed as error:
                live.lost(error)
                raise
            try:
                live.client_event(event, sent)
            except Exception as error:
                live.guard.report("client_event", error)
            return result

        return send


_MARK = "_langsmith_realtime"
_LANGSMITH = "langsmith.integrations.openai_realtime"
_REMEDY = "use one of the two: remove langsmith.integrations.openai_realtime, and wrap the connection itself"


def _refuse_traced(connection: object) -> None:
    if _MARK in getattr(_behind_proxies(connection), "__dict__", {}):
        raise ValueError("the connection is traced already")


def _behind_proxies(connection: Any) -> Any:
    """The connection itself: a transparent proxy of another instrumentation (wrapt's) claims to be it.

    Its methods call the connection's own; taps that called the proxy's would call themselves.
    """
    kinds = (AsyncRealtimeConnection, RealtimeConnection)
    while not issubclass(type(connection), kinds) and isinstance(getattr(connection, "__wrapped__", None), kinds):
        connection = connection.__wrapped__
    return connection


def _methods(connection: Any, name: str) -> Any:
    """Where the taps find the method of that name, which takes the connection first.

    It is the connection's class, looked into with every call: instrumentation may patch it while the connection
    is open. What is on the instance, where the tap will be, stays as it is.
    """
    if name not in connection.__dict__ and hasattr(type(connection), name):
        return type(connection)
    found: Callable[..., Any] = getattr(connection, name)
    return SimpleNamespace(**{name: lambda _, *arguments, **more: found(*arguments, **more)})


def _yield_to_langsmith(live: LiveConversation) -> None:
    """Two traces of one conversation count its tokens twice: where LangSmith's own wrapper receives, ours ends.

    Its proxy keeps the connection to itself, so only who calls ``recv`` tells: the proxy, or openai's
    iteration for it.
    """
    if live.is_closed:
        return
    caller: FrameType | None = sys._getframe(2)  # noqa: SLF001 - past the tap
    for _ in range(2):
        if caller is None:
            return
        if str(caller.f_globals.get("__name__")).startswith(_LANGSMITH):
            said = f"LangSmith's own wrap_realtime traces this connection too, so this trace ends here; {_REMEDY}"
            logger.warning(said)
            live.close(said)
            return
        caller = caller.f_back


def _tap_parse(connection: Any, live: LiveConversation) -> Callable[[Any], Any]:
    methods = _methods(connection, "parse_event")

    def parse_event(data: Any) -> Any:
        arrived = time.monotonic()
        try:
            event = methods.parse_event(connection, data)
        except Exception as error:
            live.guarded(live.malformed, data, f"openai could not parse it: {type(error).__name__}", arrived)
            raise
        try:
            name = getattr(event, "type", None)
            if isinstance(name, str) and name:
                live.frame(data, name, getattr(event, "event_id", None), arrived)
            else:
                live.malformed(data, "the frame must have a type", arrived)
        except Exception as error:
            live.guard.report("frame", error)
        return event

    return parse_event

"""``wrap_realtime``: traces the realtime connections of the openai package, asynchronous and synchronous.

A thin layer on :class:`SessionTracer`. It taps a connection with attributes on the *instance* that shadow the methods
of the class. The class is not changed, openai's resource helpers (``connection.response.create``) use the taps, too,
and the connection works as before once the attributes are removed. The taps do not change the bytes that are sent.

The taps run for every frame and every microphone chunk. Each has its own ``try`` instead of a shared helper, because
function calls are most of their cost.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from types import FrameType, SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, cast, overload
from urllib.parse import urlsplit

from openai import AsyncOpenAI, OpenAI
from openai.resources.realtime.realtime import (
    AsyncRealtimeConnection,
    AsyncRealtimeConnectionManager,
    RealtimeConnection,
    RealtimeConnectionManager,
)
from websockets.exceptions import ConnectionClosed

from langsmith_realtime.adapters.server_address import is_azure, server_of
from langsmith_realtime.adapters.session_tracer import SessionTracer
from langsmith_realtime.live.capture import LiveConversation
from langsmith_realtime.live.closing import closing_of_socket
from langsmith_realtime.options.tracing import Options, TracingOptions
from langsmith_realtime.runtime.guard import logger

if TYPE_CHECKING:

    class _Traced:
        """The attributes that a traced connection has in addition to its own."""

        #: Tracer of the conversation: ``trace_id``, ``thread_id``, ``url``.
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
#: Methods of the tracer that a traced connection has.
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

    Use ``async with`` for an asynchronous connection and ``with`` for a synchronous one. The block yields the
    connection itself, with the methods ``record_user_audio``, ``record_agent_audio``, ``played``, ``silence`` and
    ``tool`` and the attribute ``langsmith``, all documented at :class:`SessionTracer`. The trace ends with the block;
    an exception that leaves the block is the error of its root run, unless it is a cancellation or a normal closure.

    Every event is traced that the connection parses (``recv``, iteration, ``parse_event``, ``dispatch_events``) or
    sends. Events that the application queued with ``send`` of the connection manager, before it was entered, are not.

    A connection of a client that :func:`wrap_openai_realtime` traces keeps its trace: ``options`` win over the client's
    until its first event, and are ignored with a warning afterwards.

    If LangSmith's own ``wrap_realtime`` receives from the connection, too, a warning is logged and this trace ends with
    an error, so that no token is counted twice.

    Args:
        connection: connection that ``client.realtime.connect(...)`` yields.
        **options: options of LangSmith's own ``wrap_realtime``, and more; see :class:`Options`.

    Returns:
        A context manager. The tracing begins when it is entered.

    Raises:
        TypeError: the connection is a connection manager, LangSmith's own wrapper or no openai connection, or speaks
            another protocol than Realtime, such as ``client.live`` and ``client.realtime.translations``; or an option
            is unknown or has the wrong type.
        ValueError: an option's value cannot be used, or the connection is traced already, which is checked again when
            the block begins.
    """
    if isinstance(cast("object", connection), (AsyncRealtimeConnectionManager, RealtimeConnectionManager)):
        raise TypeError(
            "connection must be what the connection manager yields, got the manager; "
            "wrap raw of `async with client.realtime.connect(...) as raw`"
        )
    _refuse_traced(connection)
    if type(connection).__module__.startswith(LANGSMITH):
        raise TypeError(f"LangSmith's own wrap_realtime traces this connection already; {_USE_ONE_WRAPPER}")
    if isinstance(connection, AsyncRealtimeConnection):
        return AsyncTracing(connection, options)
    if isinstance(connection, RealtimeConnection):
        return Tracing(connection, options)
    raise _wrong_connection(connection)


class _Tracing(Generic[C]):
    """Context manager in whose block a connection is traced.

    Args:
        connection: openai's connection, or a transparent proxy of it by another instrumentation.
        options: options of the conversation.
    """

    #: Whether the block of a :func:`wrap_realtime` may take over this trace and end it.
    can_be_adopted = False
    _adopted: _Tracing[Any] | None = None  # the trace that this block has taken over

    def __init__(self, connection: Any, options: TracingOptions) -> None:
        Options.of(**options)  # raises here, at the caller's line, instead of in __enter__
        self._yielded = connection
        self._connection = without_proxies(connection)
        self._options = options
        self._tracer: SessionTracer
        self._taps: dict[str, Any] = {}
        self._replaced: dict[str, Any] = {}  # attributes of other instrumentations that the taps replace

    def _begin(self) -> C:
        connection = self._connection
        _refuse_traced(connection)
        self._adopted = connection.__dict__.get(MARK)
        if self._adopted is not None:
            self._adopted.be_adopted(self._options)
        else:
            self._attach(SessionTracer(**with_provider(connection, self._options)))
        return cast("C", self._yielded)

    def be_adopted(self, options: TracingOptions) -> None:
        """Leave the end of this trace to a block of :func:`wrap_realtime` with these options."""
        raise NotImplementedError

    def _attach(self, tracer: SessionTracer) -> None:
        """Tap the connection for a tracer, and begin its block."""
        connection = self._connection
        self._tracer = tracer
        tracer.__enter__()
        live = tracer.live
        if live is not None:
            self._taps = self._make_taps(live)
            server = server_of(getattr(connection, "_connection", None))
            if server is not None:
                live.guarded(live.connected_to, *server)
        self._replaced = {name: connection.__dict__[name] for name in self._taps if name in connection.__dict__}
        added = {name: getattr(tracer, name) for name in ADDED}
        connection.__dict__.update(self._taps, langsmith=tracer, **added)
        connection.__dict__[MARK] = self

    def _detach(self) -> None:
        """Remove the taps from the connection."""
        attributes = self._connection.__dict__
        for name, tap in self._taps.items():
            if attributes.get(name) is tap:
                del attributes[name]
                if name in self._replaced:
                    attributes[name] = self._replaced[name]
        self._taps = {}
        if attributes.get(MARK) is self:
            del attributes[MARK]

    def end(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the trace, with the exception that leaves the block."""
        if self._adopted is not None:
            self._adopted.end(kind, error, traceback)
            return
        self._detach()
        if self._tracer.live is not None:
            self._tracer.live.guarded(_note_closing, self._tracer.live, self._connection)
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


class AsyncTracing(_Tracing[C]):
    """Context manager for ``async with`` that traces an asynchronous connection and yields it."""

    async def __aenter__(self) -> C:
        return self._begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end(kind, error, traceback)

    def _tap_receiving(self, live: LiveConversation) -> dict[str, Any]:
        connection = self._connection
        recv_owner, recv_bytes_owner = _method_owner(connection, "recv"), _method_owner(connection, "recv_bytes")

        def recv() -> Awaitable[Any]:
            # No coroutine function, so that this code runs in the caller's context: another task may await the result.
            try:
                if LANGSMITH in sys.modules:
                    _end_if_langsmith_receives(live)
                live.begin_receive()
            except Exception as error:
                live.guard.report("begin_receive", error)
            received: Awaitable[Any] = recv_owner.recv(connection)
            return received

        async def recv_bytes() -> bytes:
            if live.is_held:  # nobody but LangSmith's own wrapper would keep it held, and that one calls recv
                live.guarded(live.release)
            try:
                frame: bytes = await recv_bytes_owner.recv_bytes(connection)
            except ConnectionClosed as error:
                live.connection_lost(error)
                raise
            return frame

        return {"recv": recv, "recv_bytes": recv_bytes}

    def _tap_sending(self, name: str, live: LiveConversation) -> Callable[..., Any]:
        connection, owner = self._connection, _method_owner(self._connection, name)

        async def send_and_record(event: Any, *arguments: Any, **keywords: Any) -> Any:
            sent = time.monotonic()
            try:
                result = await getattr(owner, name)(connection, event, *arguments, **keywords)
            except ConnectionClosed as error:
                live.connection_lost(error)
                raise
            try:
                live.client_event(event, sent)
            except Exception as error:
                live.guard.report("client_event", error)
            return result

        def send(event: Any, *arguments: Any, **keywords: Any) -> Awaitable[Any]:
            # A microphone chunk is recorded before it is sent, without waiting for the result: another coroutine would
            # cost as much as the rest of the tap.
            try:
                is_chunk = live.connection_error is None and live.microphone_chunk(event, time.monotonic())
            except Exception as error:
                live.guard.report("microphone_chunk", error)
                is_chunk = False
            if not is_chunk:
                return send_and_record(event, *arguments, **keywords)
            sending: Awaitable[Any] = getattr(owner, name)(connection, event, *arguments, **keywords)
            return sending

        return send


class Tracing(_Tracing[C]):
    """Context manager for ``with`` that traces a synchronous connection and yields it."""

    def __enter__(self) -> C:
        return self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end(kind, error, traceback)

    def _tap_receiving(self, live: LiveConversation) -> dict[str, Any]:
        connection, owner = self._connection, _method_owner(self._connection, "recv_bytes")

        def recv_bytes() -> bytes:
            try:
                frame: bytes = owner.recv_bytes(connection)
            except ConnectionClosed as error:
                live.connection_lost(error)
                raise
            return frame

        return {"recv_bytes": recv_bytes}

    def _tap_sending(self, name: str, live: LiveConversation) -> Callable[..., Any]:
        connection, owner = self._connection, _method_owner(self._connection, name)

        def send(event: Any, *arguments: Any, **keywords: Any) -> Any:
            sent = time.monotonic()
            try:
                result = getattr(owner, name)(connection, event, *arguments, **keywords)
            except ConnectionClosed as error:
                live.connection_lost(error)
                raise
            try:
                live.client_event(event, sent)
            except Exception as error:
                live.guard.report("client_event", error)
            return result

        return send


#: Attribute that marks a connection as traced.
MARK = "_langsmith_realtime"
#: Module of LangSmith's own wrap_realtime.
LANGSMITH = "langsmith.integrations.openai_realtime"
_USE_ONE_WRAPPER = "use one of the two: remove langsmith.integrations.openai_realtime, and wrap the connection itself"


def _note_closing(live: LiveConversation, connection: Any) -> None:
    closing = closing_of_socket(getattr(connection, "_connection", None))
    if closing is not None:
        live.closing = closing


def with_provider(connection: Any, options: TracingOptions) -> TracingOptions:
    """Return the options with the metadata ``ls_provider`` of a connection to Azure, unless they have it."""
    metadata = options.get("metadata") or {}
    if "ls_provider" in metadata or not _is_azure(connection):
        return options
    return {**options, "metadata": {"ls_provider": "azure", **metadata}}


def _is_azure(connection: Any) -> bool:
    """Whether the connection's upgrade request went to Azure: by its host, or its API version behind a gateway."""
    request = getattr(getattr(connection, "_connection", None), "request", None)
    if request is None:
        return False
    host = str(request.headers.get("Host")).partition(":")[0]
    return is_azure(host, urlsplit(request.path).query)


def _wrong_connection(connection: object) -> TypeError:
    """The error for what is no Realtime connection; openai has connections of other protocols, too."""
    kind = type(connection)
    if isinstance(connection, (AsyncOpenAI, OpenAI)):
        return TypeError(
            f"connection must be what client.realtime.connect(...) yields, got {kind.__name__}; "
            "wrap_openai_realtime(client) traces every connection of a client"
        )
    if kind.__module__.partition(".")[0] == "openai":
        return TypeError(
            f"protocol not traced: {kind.__module__}.{kind.__name__}; "
            "connection must be what client.realtime.connect(...) yields"
        )
    return TypeError(f"connection must be an openai realtime connection, got {kind.__name__}")


def _refuse_traced(connection: object) -> None:
    tracing = getattr(without_proxies(connection), "__dict__", {}).get(MARK)
    if tracing is not None and not tracing.can_be_adopted:
        raise ValueError(
            "connection must not be traced already; wrap it once, or after the block of the first wrap ends"
        )


def without_proxies(connection: Any) -> Any:
    """Return openai's connection behind the transparent proxies (wrapt's) of other instrumentations.

    A proxy's methods call those of the connection, so taps that called the proxy's methods would call themselves.
    """
    kinds = (AsyncRealtimeConnection, RealtimeConnection)
    while not issubclass(type(connection), kinds) and isinstance(getattr(connection, "__wrapped__", None), kinds):
        connection = connection.__wrapped__
    return connection


def _method_owner(connection: Any, name: str) -> Any:
    """Return an object whose attribute ``name`` is the original method, to be called with the connection first.

    Usually the connection's class, so that a tap finds a method that another instrumentation patches later. If another
    instrumentation has set the attribute on the instance, an object that holds a wrapper of that attribute.
    """
    if name not in connection.__dict__ and hasattr(type(connection), name):
        return type(connection)
    found: Callable[..., Any] = getattr(connection, name)
    return SimpleNamespace(**{name: lambda _, *arguments, **keywords: found(*arguments, **keywords)})


def _end_if_langsmith_receives(live: LiveConversation) -> None:
    """End the trace if LangSmith's own wrapper calls ``recv``: two traces would count the tokens twice.

    LangSmith's proxy is not reachable from the connection, so the call stack is searched: the caller of ``recv`` is the
    proxy, or openai's iteration that the proxy started.
    """
    if live.is_closed or not live.runs.is_sent:  # in OpenTelemetry, LangSmith's own wrapper makes no trace
        return
    caller: FrameType | None = sys._getframe(2)  # noqa: SLF001 - the caller of the tap
    for _ in range(2):
        if caller is None:
            return
        if str(caller.f_globals.get("__name__")).startswith(LANGSMITH):
            if live.is_held:
                live.discard()  # a trace without code of the application gives way without a word
                return
            message = (
                f"LangSmith's own wrap_realtime traces this connection too, so this trace ends here; {_USE_ONE_WRAPPER}"
            )
            logger.warning(message)
            live.close(message)
            return
        caller = caller.f_back


def _tap_parse(connection: Any, live: LiveConversation) -> Callable[[Any], Any]:
    owner = _method_owner(connection, "parse_event")

    def parse_event(data: Any) -> Any:
        arrived = time.monotonic()
        try:
            event = owner.parse_event(connection, data)
        except Exception as error:
            live.guarded(live.malformed_frame, data, f"openai cannot parse the frame: {type(error).__name__}", arrived)
            raise
        try:
            name = getattr(event, "type", None)
            if isinstance(name, str) and name:
                live.parsed_frame(data, name, getattr(event, "event_id", None), arrived)
            else:
                live.malformed_frame(data, "the frame must have a type", arrived)
        except Exception as error:
            live.guard.report("parsed_frame", error)
        return event

    return parse_event

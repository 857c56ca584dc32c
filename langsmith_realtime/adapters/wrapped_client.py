"""``wrap_openai_realtime``: traces every realtime connection of a client of the openai package.

The connections are traced as ``wrap_realtime`` does it, from where :mod:`.connection_managers` opens them.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, Unpack, cast

from openai import AsyncOpenAI, OpenAI
from openai.resources.realtime import realtime as connection_managers
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.exceptions import ConnectionClosed

from langsmith_realtime.adapters.connection_managers import BLOCK, SETTINGS, arguments_of, patch
from langsmith_realtime.adapters.no_code.import_hook import automatic_options
from langsmith_realtime.adapters.openai_client import (
    LANGSMITH,
    MARK,
    AsyncTracing,
    Tracing,
    with_provider,
    without_proxies,
)
from langsmith_realtime.adapters.session_tracer import SessionTracer, open_conversation
from langsmith_realtime.delivery.langsmith_client.headers import headers_of
from langsmith_realtime.live.capture import LiveConversation, Posting
from langsmith_realtime.options.tracing import THREAD_KEYS, Options, TracingOptions
from langsmith_realtime.runtime.guard import Guard, logger
from langsmith_realtime.trace.run_trees.root_run import RootIdentity, start_conversation_runs

#: Options of one connection, from the arguments of its ``client.realtime.connect(...)``.
PerConnection = Callable[[Mapping[str, Any]], TracingOptions]
Client = TypeVar("Client", bound=AsyncOpenAI | OpenAI)


def wrap_openai_realtime(
    openai_client: Client,
    /,
    *,
    per_connection: PerConnection | None = None,
    propagate: bool = False,
    **options: Unpack[TracingOptions],
) -> Client:
    """Trace every realtime connection that a client opens from now on, and every one of its copies.

    ::

        client = wrap_openai_realtime(AsyncOpenAI(), per_connection=lambda call: {"thread_id": call["call_id"]})
        ...
        async with client.realtime.connect(call_id=call_id) as connection:
            async for event in connection:
                ...

    Clients for Azure, synchronous clients and copies by ``with_options`` are traced as well. The trace is equal to that
    of :func:`wrap_realtime`. Its root run starts when the connection is open, and is posted with the first event in
    either direction. It ends with the block; for a connection from ``.enter()``, with ``close()``, with an error of
    receiving, or with the process. The connection has the methods and the attribute ``langsmith`` of
    :func:`wrap_realtime`. A :func:`wrap_realtime` around the connection continues this trace instead of beginning one.

    Args:
        openai_client: client of the openai package. Wrapping it again replaces the options.
        per_connection: function of a connection's arguments (``model``, ``call_id``, ``extra_query`` …, those with a
            value) that returns options of that connection; they win over ``options``. If it raises, or returns wrong
            options, the connection is traced with ``options``, and a warning says so.
        propagate: sends headers that name the conversation's root run on the WebSocket upgrade: ``langsmith-trace``,
            ``baggage`` (thread, tags, project) and ``traceparent``. Headers of your own win.
        **options: options of every connection; see :class:`Options`.

    Returns:
        The client itself.

    Raises:
        TypeError: the client is none of the openai package, or an option is unknown or has the wrong type.
        ValueError: an option's value cannot be used.
    """
    if not isinstance(cast("object", openai_client), (AsyncOpenAI, OpenAI)):
        raise TypeError(f"openai_client must be a client of the openai package, got {type(openai_client).__name__}")
    if per_connection is not None and not callable(per_connection):
        raise TypeError(f"per_connection must be a function of arguments, got {type(per_connection).__name__}")
    if inspect.iscoroutinefunction(per_connection):
        raise TypeError("per_connection must be an ordinary function, got a coroutine function; it cannot wait")
    if not isinstance(cast("object", propagate), bool):
        raise TypeError(f"propagate must be True or False, got {propagate!r}")
    Options.of(**options)
    patch(connection_managers)
    _mark(openai_client, _Settings(options, per_connection, propagate))
    return openai_client


@dataclass(frozen=True)
class _Settings:
    """How the connections of a client are traced."""

    options: TracingOptions = field(default_factory=TracingOptions)
    per_connection: PerConnection | None = None
    propagate: bool = False

    def options_of(self, manager: Any) -> TracingOptions:
        """The options of a manager's connection."""
        if self.per_connection is None:
            return self.options
        try:
            options: TracingOptions = {**self.options, **self.per_connection(arguments_of(manager))}
            Options.of(**options)
        except Exception as error:
            logger.warning("per_connection failed, so the client's options apply: %s: %s", type(error).__name__, error)
            return self.options
        return options


#: The methods of a client that return a copy.
_COPYING = ("copy", "with_options")
#: Attribute of such a method that is patched.
_PATCHED = "_langsmith_realtime_patched"
_lock = threading.Lock()


def _mark(client: Any, settings: _Settings) -> None:
    """Trace a client and its copies. A copy is a new client, so only the method that makes it knows where from."""
    with _lock:
        for kind in type(client).__mro__:
            for name in _COPYING:
                method = vars(kind).get(name)
                if callable(method) and not hasattr(method, _PATCHED):
                    setattr(kind, name, _marking_copies(method))
    vars(client)[SETTINGS] = settings


def _marking_copies(copy: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(copy)
    def marked(client: Any, *arguments: Any, **keywords: Any) -> Any:
        copied = copy(client, *arguments, **keywords)
        settings = vars(client).get(SETTINGS)
        if settings is not None and isinstance(copied, (AsyncOpenAI, OpenAI)):
            vars(copied).setdefault(SETTINGS, settings)  # a class of the application may wrap its copies itself
        return copied

    setattr(marked, _PATCHED, True)
    return marked


def opening_of(manager: Any, settings: _Settings | None) -> Opening:
    """How to trace the connection that a manager opens now; without settings, as the import hook was asked to."""
    if settings is None:
        return Opening(TracingOptions(), propagate=False, is_otel_alone=bool(automatic_options()))
    return Opening(settings.options_of(manager), propagate=settings.propagate)


class Opening:
    """A connection that is being opened, and will be traced; ``is_otel_alone``: in OpenTelemetry, not in LangSmith."""

    def __init__(self, options: TracingOptions, *, propagate: bool, is_otel_alone: bool = False) -> None:
        self._options = options
        self._is_otel_alone = is_otel_alone
        self._propagate = propagate
        self._identity = RootIdentity.now()
        self._named_in: Context | None = None

    @contextmanager
    def headers_on(self, manager: Any) -> Iterator[None]:
        """While the connection is opened, add the headers that name its root to those of the manager."""
        private = next((name for name in vars(manager) if name.endswith("__extra_headers")), None)
        headers = self._headers() if self._propagate and private is not None else {}
        if not headers or private is None:
            yield
            return
        self._named_in = copy_context()
        own: Mapping[str, Any] = vars(manager)[private]
        names = {name.lower() for name in own}
        vars(manager)[private] = {**{key: value for key, value in headers.items() if key not in names}, **own}
        try:
            yield
        finally:
            vars(manager)[private] = own

    def _headers(self) -> dict[str, str]:
        options = Options.of(**self._options)
        if not options.is_on:
            return {}
        return headers_of(start_conversation_runs(options, Guard(), identity=self._identity).root)

    def begin(self, connection: Any, manager: Any) -> None:
        """Trace an open connection; ``manager`` is that of its block, None without a block."""
        try:
            known = without_proxies(connection)
            if MARK in vars(known):
                return  # the manager's method called another one that is patched, too
            kind = _AsyncAutomatic if isinstance(known, AsyncRealtimeConnection) else _Automatic
            tracing = kind(connection, self._options, in_block=manager is not None, is_otel_alone=self._is_otel_alone)
            tracing.begin(self._identity, self._named_in)
            if manager is not None:
                vars(manager)[BLOCK] = tracing
        except Exception as error:
            Guard().report("tracing a connection", error)


# The connections


class _Adoptable:
    """What traces without code of the application share, whether asynchronous or not.

    Args:
        connection: openai's connection.
        options: options of the client.
        in_block: whether a block of the manager ends the trace.
        is_otel_alone: whether it is a trace in OpenTelemetry alone, for which the application did not ask in code. A
            :func:`wrap_realtime` decides about LangSmith anew.
    """

    _tracer: SessionTracer
    _attach: Callable[[SessionTracer], None]
    _detach: Callable[[], None]
    end: Callable[..., None]

    def __init__(
        self, connection: Any, options: TracingOptions, *, in_block: bool, is_otel_alone: bool = False
    ) -> None:
        self._in_block = in_block
        self._is_otel_alone = is_otel_alone
        self._identity: RootIdentity
        self._named_in: Context | None = None
        self._discarded: LiveConversation | None = None  # that which an adoption has replaced
        self.can_be_adopted = True
        super().__init__(connection, with_provider(without_proxies(connection), options))  # type: ignore[call-arg]
        self._options: TracingOptions
        self._connection: Any

    def begin(self, identity: RootIdentity, named_in: Context | None) -> None:
        """Trace the connection; post the root with the first event.

        ``named_in`` is the context in which headers were made that name the root; None if none were sent.
        """
        self._identity, self._named_in = identity, named_in
        # LangSmith's own wrapper shows itself when it receives, and it may send before that.
        posting = Posting.RELEASE if self._may_be_langsmiths else Posting.FIRST_INPUT
        checked = Options.of(**self._options)
        if self._is_otel_alone:
            checked = replace(checked, langsmith=False)
        self._attach(SessionTracer.of(open_conversation(checked, posting, identity)))

    @property
    def _may_be_langsmiths(self) -> bool:
        return not self._is_otel_alone and LANGSMITH in sys.modules and isinstance(self, AsyncTracing)

    def be_adopted(self, options: TracingOptions) -> None:
        """Continue as the trace of a :func:`wrap_realtime`, with its options if there was no event yet."""
        self.can_be_adopted = False
        live = self._tracer.live
        begins_anew = self._is_otel_alone and Options.of(**options).is_on  # LangSmith cannot get what is over
        if live is not None and live.has_inputs and begins_anew:
            live.guarded(live.close)
            self._identity = RootIdentity.now()
        elif live is not None and live.has_inputs:
            if live.is_held:
                live.release()
            if options:
                _warn(_BEGUN_BEFORE, options)
            return
        elif live is not None:
            live.guarded(live.discard)
            self._discarded = live
        self._detach()
        opening = functools.partial(open_conversation, identity=self._identity)
        if self._named_in is None:
            self._tracer.live = opening(Options.of(**self._with(options)))
        else:
            kept, late = _without_names(options)
            if late:
                _warn(_NAMED_BEFORE, late)
            self._tracer.live = self._named_in.run(opening, Options.of(**self._with(kept)))
        self._attach(self._tracer)

    def _with(self, options: TracingOptions) -> TracingOptions:
        """The client's options with those that win over them; the latter alone if the two exclude each other."""
        own = with_provider(self._connection, options)
        metadata = {**(self._options.get("metadata") or {}), **(own.get("metadata") or {})}
        merged: TracingOptions = {**self._options, **own, **({"metadata": metadata} if metadata else {})}
        try:
            Options.of(**merged)
        except (TypeError, ValueError):
            return own
        return merged

    @property
    def _is_last(self) -> bool:
        """Whether the trace ends when the connection is closed; otherwise openai tries to connect again."""
        return getattr(self._connection, "_on_reconnecting", None) is None

    def restore_parent(self) -> None:
        """Restore the parent of traced work if it is, in this context, the root that an adoption has replaced."""
        if self._discarded is not None:
            self._discarded.restore_parent()

    def _end(self) -> None:
        self.end(None, None, None)


#: Options that say what the headers of ``propagate`` have said already; keys of the metadata can say it, too.
_NAMED_BY_HEADERS = ("parent", "thread_id", "project_name")


def _without_names(options: TracingOptions) -> tuple[TracingOptions, list[str]]:
    """Options without what the headers of ``propagate`` have said already, and the names of what is left out."""
    metadata = options.get("metadata") or {}
    late = [name for name in _NAMED_BY_HEADERS if name in options]
    threads = [key for key in THREAD_KEYS if key in metadata]
    kept = {name: value for name, value in options.items() if name not in late}
    if threads:
        kept["metadata"] = {key: value for key, value in metadata.items() if key not in threads}
    return cast("TracingOptions", kept), [*late, *(f"metadata[{key!r}]" for key in threads)]


_BEGUN_BEFORE = (
    "wrap_realtime: %s came too late, the wrapped client's trace has begun; wrap the connection before its first "
    "event, or pass the options to wrap_openai_realtime"
)
_NAMED_BEFORE = (
    "wrap_realtime: %s came too late, the wrapped client's headers have named its trace; pass the options to "
    "wrap_openai_realtime"
)


def _warn(message: str, options: Iterable[str]) -> None:
    logger.warning(message, ", ".join(sorted(options)))


class _AsyncAutomatic(_Adoptable, AsyncTracing[Any]):
    """The trace of an asynchronous connection of a wrapped client."""

    def _make_taps(self, live: LiveConversation) -> dict[str, Any]:
        taps = super()._make_taps(live)
        if self._in_block:
            return taps
        connection, receive, kind = self._connection, taps["recv_bytes"], type(self._connection)

        async def recv_bytes() -> bytes:
            try:
                frame: bytes = await receive()
            except ConnectionClosed:
                if self._is_last:
                    self._end()
                raise
            return frame

        async def close(*arguments: Any, **keywords: Any) -> None:
            try:
                await kind.close(connection, *arguments, **keywords)
            finally:
                self._end()

        async def _reconnect(error: Exception) -> bool:
            connected: bool = False
            try:
                connected = await kind._reconnect(connection, error)  # noqa: SLF001
            finally:
                if not connected:
                    self._end()
            return connected

        taps.update(recv_bytes=recv_bytes, close=close)
        return taps | ({"_reconnect": _reconnect} if hasattr(kind, "_reconnect") else {})


class _Automatic(_Adoptable, Tracing[Any]):
    """The trace of a synchronous connection of a wrapped client."""

    def _make_taps(self, live: LiveConversation) -> dict[str, Any]:
        taps = super()._make_taps(live)
        if self._in_block:
            return taps
        connection, receive, kind = self._connection, taps["recv_bytes"], type(self._connection)

        def recv_bytes() -> bytes:
            try:
                frame: bytes = receive()
            except ConnectionClosed:
                if self._is_last:
                    self._end()
                raise
            return frame

        def close(*arguments: Any, **keywords: Any) -> None:
            try:
                kind.close(connection, *arguments, **keywords)
            finally:
                self._end()

        def _reconnect(error: Exception) -> bool:
            connected: bool = False
            try:
                connected = kind._reconnect(connection, error)  # noqa: SLF001
            finally:
                if not connected:
                    self._end()
            return connected

        taps.update(recv_bytes=recv_bytes, close=close)
        return taps | ({"_reconnect": _reconnect} if hasattr(kind, "_reconnect") else {})

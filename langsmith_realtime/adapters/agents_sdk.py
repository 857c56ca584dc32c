"""``wrap_realtime_session``: traces the realtime sessions of the OpenAI Agents SDK (the package openai-agents).

A thin layer on :class:`SessionTracer` and :class:`~langsmith_realtime.adapters.agents.listener.AgentsListener`. The
Agents SDK is imported when a session is wrapped, so that ``from langsmith_realtime import *`` works without it.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, Unpack
from urllib.parse import urlsplit

from langsmith_realtime.adapters.no_code.agents_sessions import TRACING
from langsmith_realtime.adapters.server_address import is_azure
from langsmith_realtime.adapters.session_tracer import SessionTracer, open_conversation
from langsmith_realtime.core.protocol.events import mapping
from langsmith_realtime.live.capture import Posting
from langsmith_realtime.options.tracing import Options, TracingOptions
from langsmith_realtime.runtime.guard import logger
from langsmith_realtime.trace.run_trees.root_run import RootIdentity

if TYPE_CHECKING:
    from agents.realtime import RealtimeSession

    from langsmith_realtime.adapters.agents.listener import AgentsListener, OnMessage

    class TracedSession(RealtimeSession):
        """A ``RealtimeSession`` that is traced."""

        #: Tracer of the conversation: ``trace_id``, ``thread_id``, ``url``, ``add`` …
        langsmith: SessionTracer

        def record_user_audio(self, pcm: bytes, *, at: float | None = None) -> None: ...
        def record_agent_audio(self, pcm: bytes, *, at: float | None = None) -> None: ...
        def played(self, item_id: str, ms: float, *, at: float | None = None) -> None: ...


S = TypeVar("S")
#: Methods of the tracer that a traced session has.
ADDED = ("record_user_audio", "record_agent_audio", "played")
#: Private attribute of a session that is read: the configuration of its model, with the address of the server.
MODEL_CONFIG: Final = "_model_config"


def wrap_realtime_session(
    session: RealtimeSession, *, on_message: OnMessage | None = None, **options: Unpack[TracingOptions]
) -> SessionTracing[TracedSession]:
    """Trace a realtime session of the OpenAI Agents SDK in LangSmith.

    ::

        async with wrap_realtime_session(await runner.run(), thread_id=call_id) as session:
            async for event in session:
                ...

    The block enters the session and closes it. It yields the session itself, with the methods ``record_user_audio``,
    ``record_agent_audio`` and ``played`` and the attribute ``langsmith``, all documented at :class:`SessionTracer`. A
    session that is entered already is traced from here on, and stays open at the end of the block. If it is traced
    without code, the block continues that trace and ends it: ``options`` win until the session's first event, and are
    ignored with a warning afterwards.

    Args:
        session: session that ``RealtimeRunner.run()`` returns.
        on_message: called with ``user`` or ``assistant`` and the text, once for each line of the transcript, but not
            for the message that the SDK sends in the user's name after a guardrail has tripped. It runs in the SDK's
            task that receives events, so it must be quick. Its exceptions are logged and counted.
        **options: options of LangSmith's own ``wrap_realtime_session``, and more; see :class:`Options`.

    Returns:
        A context manager for ``async with``. The tracing begins when it is entered.

    Raises:
        TypeError: the session is not one of the Agents SDK; or an option is unknown or has the wrong type.
        ValueError: an option's value cannot be used, or the session is traced already.
        ModuleNotFoundError: the package openai-agents is not installed.
    """
    from langsmith_realtime.adapters.agents.listener import check_session  # noqa: PLC0415 - needs openai-agents

    check_session(session)
    if on_message is not None and not callable(on_message):
        raise TypeError(f"on_message must be a function of a role and a text, got {type(on_message).__name__}")
    _refuse_traced(session)
    Options.of(**options)  # raises here, at the caller's line, instead of in __aenter__
    return SessionTracing(session, on_message, options)


class SessionTracing(Generic[S]):
    """Context manager in whose block a session is traced."""

    _adopted: AutomaticTracing | None = None  # the trace that this block has taken over

    def __init__(self, session: Any, on_message: OnMessage | None, options: TracingOptions) -> None:
        from langsmith_realtime.adapters.agents.listener import AgentsListener  # noqa: PLC0415 - needs openai-agents

        self._listener_class = AgentsListener
        self._session = session
        self._on_message = on_message
        self._options = options
        self._tracer: SessionTracer
        self._listener: AgentsListener
        self._is_entered = False  # by this block

    async def __aenter__(self) -> S:
        session: Any = self._session
        _refuse_traced(session)
        self._adopted = _adoptable(session)
        if self._adopted is not None:
            self._adopted.be_adopted(self._on_message, self._options)
        else:
            self._begin()
            await self._enter()
        result: S = session
        return result

    def _begin(self) -> None:
        """Open the trace, and listen to the session."""
        self._tracer = self._open()
        self._tracer.__enter__()
        self._listen()
        added = {name: getattr(self._tracer, name) for name in ADDED}
        self._session.__dict__.update(langsmith=self._tracer, **added)

    def _open(self) -> SessionTracer:
        return SessionTracer(**_with_provider(self._session, self._options))

    def _listen(self) -> None:
        self._listener = self._listener_class(self._tracer.live, self._session, self._on_message)
        self._listener.attach()

    async def _enter(self) -> None:
        """Enter the session, unless it is entered."""
        try:
            if not self._listener.joined_late:
                await self._session.enter()
                self._is_entered = True
        except BaseException as error:
            self.end(error)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._adopted is not None:
            self._adopted.end(error)
            return
        try:
            if self._is_entered:
                await self._session.close()
        finally:
            self.end(error)

    def end(self, error: BaseException | None) -> None:
        """End the trace, with the exception that leaves the block."""
        for name in ("langsmith", *ADDED):
            self._session.__dict__.pop(name, None)
        self._listener.detach()
        self._tracer.__exit__(None if error is None else type(error), error, None)


class AutomaticTracing(SessionTracing[Any]):
    """The trace of a session that the application does not wrap, or wraps after it has entered the session.

    Args:
        session: session of the SDK, about to be entered.
        options: what :func:`~langsmith_realtime.adapters.no_code.import_hook.automatic_options` says.
    """

    def __init__(self, session: Any, options: TracingOptions) -> None:
        super().__init__(session, None, options)
        Options.of(**options)  # raises here, where the caller goes on without a trace
        self.can_be_adopted = False
        self._identity = RootIdentity.now()
        self._has_ended = False

    def _open(self) -> SessionTracer:
        self.can_be_adopted = True
        options = Options.of(**_with_provider(self._session, self._options))
        # A wrap_realtime_session inside may still replace the root.
        return SessionTracer.of(open_conversation(options, Posting.FIRST_INPUT, self._identity))

    def be_adopted(self, on_message: OnMessage | None, options: TracingOptions) -> None:
        """Continue as the trace of a :func:`wrap_realtime_session`, with its options if there was no event yet."""
        self.can_be_adopted = False
        self._listener.on_message = self._on_message = on_message
        live = self._tracer.live
        begins_anew = "langsmith" in self._options and Options.of(**options).is_on  # LangSmith cannot get what is over
        if live is not None and live.has_inputs and begins_anew:
            live.guarded(live.close)
            self._identity = RootIdentity.now()
        elif live is not None and live.has_inputs:
            if options:
                logger.warning(
                    "wrap_realtime_session: %s came too late, the session's trace has begun; wrap the session before "
                    "it is entered",
                    ", ".join(sorted(options)),
                )
            return
        elif live is not None:
            live.guarded(live.discard)
        provided = Options.of(**_with_provider(self._session, options))
        self._tracer.live = open_conversation(provided, identity=self._identity)
        self._tracer.__enter__()
        if live is None or self._tracer.live is None:
            self._listener.detach()
            self._listen()
        else:
            self._listener.live = self._tracer.live

    def end(self, error: BaseException | None) -> None:
        if not self._has_ended:
            self._has_ended = True
            super().end(error)


def _adoptable(session: Any) -> AutomaticTracing | None:
    """The trace of a session that is traced without code, unless a block has taken it over already."""
    tracing = session.__dict__.get(TRACING)
    return tracing if isinstance(tracing, AutomaticTracing) and tracing.can_be_adopted else None


def _refuse_traced(session: Any) -> None:
    from langsmith_realtime.adapters.agents.listener import refuse_traced  # noqa: PLC0415 - needs openai-agents

    if _adoptable(session) is None:
        refuse_traced(session)


def _with_provider(session: Any, options: TracingOptions) -> TracingOptions:
    """The options with the metadata ``ls_provider`` of a session that connects to Azure, unless they have it."""
    url = mapping(getattr(session, MODEL_CONFIG, None)).get("url")
    metadata = options.get("metadata") or {}
    if not isinstance(url, str) or "ls_provider" in metadata:
        return options
    try:
        address = urlsplit(url)
        goes_to_azure = is_azure(address.hostname or "", address.query)
    except ValueError:  # the SDK says what is wrong with it
        return options
    return {**options, "metadata": {"ls_provider": "azure", **metadata}} if goes_to_azure else options

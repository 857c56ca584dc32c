"""``wrap_realtime_session``: traces the realtime sessions of the OpenAI Agents SDK (the package openai-agents).

A thin layer on :class:`SessionTracer` and :class:`~langsmith_realtime.adapters.agents.listener.AgentsListener`.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack

from agents.realtime import RealtimeSession

from langsmith_realtime.adapters.agents.listener import AgentsListener, OnMessage, refuse_traced
from langsmith_realtime.adapters.session_tracer import SessionTracer
from langsmith_realtime.options.tracing import Options, TracingOptions

if TYPE_CHECKING:

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
    session that is entered already is traced from here on, and stays open at the end of the block.

    Args:
        session: session that ``RealtimeRunner.run()`` returns.
        on_message: called with ``user`` or ``assistant`` and the text, once for each line of the transcript. It runs in
            the SDK's task that receives events, so it must be quick. Its exceptions are logged and counted.
        **options: options of LangSmith's own ``wrap_realtime_session``, and more; see :class:`Options`.

    Returns:
        A context manager for ``async with``. The tracing begins when it is entered.

    Raises:
        TypeError: the session is not one of the Agents SDK; or an option is unknown or has the wrong type.
        ValueError: an option's value cannot be used, or the session is traced already.
    """
    if not isinstance(session, RealtimeSession):
        raise TypeError(f"session must be a RealtimeSession of the OpenAI Agents SDK, got {type(session).__name__}")
    if on_message is not None and not callable(on_message):
        raise TypeError(f"on_message must be a function of a role and a text, got {type(on_message).__name__}")
    refuse_traced(session)
    Options.of(**options)  # raises here, at the caller's line, instead of in __aenter__
    return SessionTracing(session, on_message, options)


class SessionTracing(Generic[S]):
    """Context manager in whose block a session is traced."""

    def __init__(self, session: Any, on_message: OnMessage | None, options: TracingOptions) -> None:
        self._session = session
        self._on_message = on_message
        self._options = options
        self._tracer: SessionTracer
        self._listener: AgentsListener
        self._is_entered = False  # by this block

    async def __aenter__(self) -> S:
        session: Any = self._session
        refuse_traced(session)
        tracer = self._tracer = SessionTracer(**self._options)
        tracer.__enter__()
        self._listener = AgentsListener(tracer.live, session, self._on_message)
        self._listener.attach()
        added = {name: getattr(tracer, name) for name in ADDED}
        session.__dict__.update(langsmith=tracer, **added)
        try:
            if not self._listener.joined_late:
                await session.enter()
                self._is_entered = True
        except BaseException as error:
            self._end(error)
            raise
        result: S = session
        return result

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._is_entered:
                await self._session.close()
        finally:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        for name in ("langsmith", *ADDED):
            self._session.__dict__.pop(name, None)
        self._listener.detach()
        self._tracer.__exit__(None if error is None else type(error), error, None)

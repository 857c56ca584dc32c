"""Listens to a realtime session of the OpenAI Agents SDK, and tells a conversation what happens.

Everything that the protocol knows comes from the raw server events, which the SDK's model passes to its listeners. What
the model sends comes from its ``send_event``; what was played, from the playback tracker. Agents, guardrails and
approvals come from the session's events, when they enter the session's queue: nobody need iterate.

The listener runs in the SDK's reader task, and an exception in it would end the session. So nothing here raises, and
nothing waits.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

import pybase64
from agents import Handoff, default_tool_error_function
from agents.realtime import (
    RealtimeAgent,
    RealtimeModelListener,
    RealtimeModelSendAudio,
    RealtimeModelSendRawMessage,
)

from langsmith_realtime.adapters.server_address import server_of
from langsmith_realtime.core.payloads.errors import Failure, describe_error
from langsmith_realtime.core.payloads.json_values import json_copy
from langsmith_realtime.core.protocol.events import APPEND, mapping, sequence, text
from langsmith_realtime.core.protocol.inputs import (
    AgentChanged,
    ApprovalAnswered,
    ApprovalAsked,
    GuardrailTripped,
    Ref,
    ToolFailed,
)
from langsmith_realtime.live.capture import LiveConversation
from langsmith_realtime.runtime.guard import logger

#: Called with the role (``user`` or ``assistant``) and the text of each line of the transcript.
OnMessage = Callable[[str, str], None]

#: Attribute that marks a session as traced.
_MARK = "_langsmith_realtime"
#: The call, with its listener, that the current context carries out.
_call: ContextVar[tuple[AgentsListener, str] | None] = ContextVar("langsmith_realtime_call", default=None)
#: Logger to which the SDK says that a tool raised.
_sdk_logger = logging.getLogger("openai.agents")


def refuse_traced(session: Any) -> None:
    if _MARK in session.__dict__:
        raise ValueError("session must not be traced already; wrap it once, or after the block of the first wrap ends")


class AgentsListener(RealtimeModelListener):
    """Listens to the model of a session and tells a tracer what happens, from :meth:`attach` to :meth:`detach`.

    Use it as a context manager around the session::

        with SessionTracer() as tracer, tracer.listener(session):
            async with session:
                ...

    Args:
        live: conversation to tell; None if tracing is off.
        session: session of the SDK, entered or not.
        on_message: as in :func:`wrap_realtime_session`.
    """

    def __init__(self, live: LiveConversation | None, session: Any, on_message: OnMessage | None = None) -> None:
        self._live = live
        self._session = session
        self._model = session.model
        self._on_message = on_message
        self._taps = _Taps()
        #: Whether the session was entered before, so that its beginning is missing.
        self.joined_late = _is_listening(self._model, session)
        self._has_raw_events = False
        self._has_model_events = False
        self._agent: str | None = None
        self._response_id: str | None = None
        self._played_ms: dict[str, float] = {}  # by item id
        self._failed: set[str] = set()  # ids of calls whose tool raised

    def __enter__(self) -> Self:
        refuse_traced(self._session)
        self.attach()
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    # Taps

    def attach(self) -> None:
        """Begin to listen, before the session does, so that the work of its tools finds its parent."""
        session, model, taps = self._session, self._model, self._taps
        session.__dict__[_MARK] = self
        if self._live is None:
            return
        if self.joined_late:
            model.remove_listener(session)
        model.add_listener(self)
        if self.joined_late:
            model.add_listener(session)
            self._missed("events before the tracing began, and the playback tracker")
        taps.set(model, "send_event", self._send_event)
        taps.set(model, "connect", self._connect)
        taps.set(session, "approve_tool_call", self._approve)
        taps.set(session, "reject_tool_call", self._reject)
        queue = getattr(session, "_event_queue", None)
        if hasattr(queue, "put_nowait"):
            taps.set(queue, "put_nowait", self._put_nowait)
        else:
            self._missed("agents, guardrails and approvals: this version of the SDK hides them")
        _sdk_logger.addFilter(self._logged)

    def detach(self) -> None:
        """Stop listening, and leave the session and its model as they were."""
        session = self._session
        if session.__dict__.get(_MARK) is self:
            del session.__dict__[_MARK]
        if self._live is None:
            return
        self._taps.remove()
        self._model.remove_listener(self)
        _sdk_logger.removeFilter(self._logged)
        if self._has_model_events and not self._has_raw_events:
            logger.warning("the session's model passes no raw server events to its listeners: the trace is empty")
            self._missed("all events: the session's model passes no raw server events")

    async def _connect(self, connect: Callable[..., Awaitable[Any]], options: Any, *rest: Any, **more: Any) -> Any:
        with self._guarded("connect"):
            tracker = mapping(options).get("playback_tracker")
            if tracker is not None:
                self._taps.set(tracker, "on_play_ms", self._play_ms)
        result = await connect(options, *rest, **more)
        with self._guarded("connect"):
            server = server_of(getattr(self._model, "_websocket", None))
            if server is not None and self._live is not None:
                self._live.connected_to(*server)
        return result

    async def _send_event(self, send: Callable[..., Awaitable[Any]], event: Any, *rest: Any, **more: Any) -> Any:
        live, sent = self._live, time.monotonic()
        assert live is not None
        with self._guarded("send_event"):
            if isinstance(event, RealtimeModelSendAudio):
                # Before it is sent: the chunk was spoken by now.
                live.client_event({"type": APPEND, "audio": pybase64.b64encode_as_string(event.audio)}, sent)
        result = await send(event, *rest, **more)
        with self._guarded("send_event"):
            if isinstance(event, RealtimeModelSendAudio) and event.commit:
                live.client_event({"type": "input_audio_buffer.commit"}, time.monotonic())
            elif isinstance(event, RealtimeModelSendRawMessage):
                message = mapping(event.message)
                live.client_event({**mapping(message.get("other_data")), "type": message.get("type")}, sent)
        return result

    def _play_ms(self, on_play_ms: Callable[..., Any], item_id: str, index: int, ms: float) -> Any:
        live = self._live
        assert live is not None
        with self._guarded("on_play_ms"):
            # The tracker's own sum begins anew after an interruption.
            self._played_ms[item_id] = self._played_ms.get(item_id, 0.0) + ms
            live.played(item_id, self._played_ms[item_id], None)
        return on_play_ms(item_id, index, ms)

    async def _approve(self, approve: Callable[..., Awaitable[Any]], call_id: str, *rest: Any, **more: Any) -> Any:
        assert self._live is not None
        self._answered(call_id, approved=True)
        with self._live.inside_tool(call_id), _carrying_out((self, call_id)):
            return await approve(call_id, *rest, **more)

    async def _reject(self, reject: Callable[..., Awaitable[Any]], call_id: str, *rest: Any, **more: Any) -> Any:
        self._answered(call_id, approved=False)
        return await reject(call_id, *rest, **more)

    def _answered(self, call_id: str, *, approved: bool) -> None:
        with self._guarded("approval"):
            assert self._live is not None
            self._live.told(lambda t: ApprovalAnswered(call_id, t, approved))

    def _put_nowait(self, put_nowait: Callable[..., Any], event: Any) -> Any:
        with self._guarded("session_event"):
            self._session_event(event)
        return put_nowait(event)

    # The model's events

    async def on_event(self, event: Any) -> None:
        """Take an event of the SDK's model."""
        with self._guarded("on_event"):
            self._model_event(event)

    def _model_event(self, event: Any) -> None:
        live = self._live
        if live is None or (live.is_closed and live.is_sampled):
            return
        if event.type == "raw_server_event":
            self._has_raw_events = True
            if _call.get() is not None:
                _call.set(None)
            self._raw_event(live, event.data)
            return
        if event.type == "function_call":
            self._has_model_events = True
            # The SDK begins the tool's task in this context, or carries the tool out in it.
            live.enter_tool(event.call_id)
            _call.set((self, event.call_id))
        elif event.type == "item_updated":
            item = event.item
            if item.type == "function_call" and item.status == "completed":
                self._call_answered(live, item)
        elif event.type == "turn_started":
            self._has_model_events = True
        elif event.type == "exception":
            self._call_failed(live, describe_error(event.exception))  # a tool that the reader task carried out
            live.connection_lost(event.exception)
            if isinstance(event.exception, json.JSONDecodeError):
                reason = f"the frame must be JSON: {event.exception.msg}"
                live.malformed_frame(event.exception.doc, reason, time.monotonic())
                live.connection_lost(event.exception)

    def _raw_event(self, live: LiveConversation, frame: Any) -> None:
        body = mapping(frame)
        if body.get("type") == "response.created":
            self._response_id = text(mapping(body.get("response")).get("id"))
        live.server_event(frame)
        if self._on_message is not None:
            for role, line in _lines(body):
                self._on_message(role, line)

    def _call_answered(self, live: LiveConversation, item: Any) -> None:
        """The SDK has sent the result of a call."""
        call_id = text(getattr(item, "call_id", None))
        if call_id is None or item.output is None:
            return
        failure = None if call_id in self._failed else _failure_of(item.name, item.output)
        if failure is not None:
            live.told(lambda t: ToolFailed(call_id, t, failure))
        self._failed.discard(call_id)
        result = {"type": "function_call_output", "call_id": call_id, "output": item.output}
        live.client_event({"type": "conversation.item.create", "item": result}, time.monotonic())

    # The session's events

    def _session_event(self, event: Any) -> None:
        live, kind = self._live, getattr(event, "type", None)
        if live is None:
            return
        if kind == "agent_start" and event.agent.name != self._agent:
            self._change_agent(live, event.agent, response_id=self._response_id)
        elif kind == "error":
            message = text(mapping(event.error).get("message")) or ""
            if message.startswith("Tool call task failed"):  # the application gets the exception when it iterates
                self._call_failed(live, Failure(message, "the tool raised"))
        elif kind == "handoff":
            call = _call.get()  # the SDK says it in the context of the call
            call_id = call[1] if call is not None and call[0] is self else None
            self._change_agent(live, event.to_agent, handoff=True, previous=event.from_agent.name, call_id=call_id)
        elif kind == "guardrail_tripped":
            found = [_guardrail(result) for result in event.guardrail_results]
            message, response_id = str(event.message), self._response_id
            live.told_as_run(lambda t, run: GuardrailTripped(t, run, response_id, found, message))
        elif kind == "tool_approval_required":
            call_id, name, agent = event.call_id, event.tool.name, event.agent.name
            live.told_as_run(lambda t, run: ApprovalAsked(call_id, t, run, name, agent))

    def _change_agent(
        self,
        live: LiveConversation,
        agent: Any,
        *,
        response_id: str | None = None,
        handoff: bool = False,
        previous: str | None = None,
        call_id: str | None = None,
    ) -> None:
        previous, self._agent = previous or self._agent, agent.name
        # An agent may compute its instructions; session.updated has them then.
        instructions = agent.instructions if isinstance(agent.instructions, str) else None
        tools = _tool_names(agent)

        def changed(t: float, run: Ref) -> AgentChanged:
            return AgentChanged(agent.name, t, run, previous, response_id, handoff, instructions, tools, call_id)

        live.told_as_run(changed)

    # Errors

    def _logged(self, record: logging.LogRecord) -> bool:
        """Filter of the SDK's log: takes the exception of a tool from the warning that the SDK logs while handling it.

        The SDK answers the call with a text that does not say the exception, and reports success.
        """
        with self._guarded("tool_error"):
            error = sys.exc_info()[1]
            if self._live is not None and isinstance(error, Exception) and "span" in str(record.msg):
                self._call_failed(self._live, describe_error(error))
        return True

    def _call_failed(self, live: LiveConversation, failure: str | None) -> None:
        """Note the error of the call that this context carries out, if it carries out any."""
        call = _call.get()
        if call is not None and call[0] is self and failure is not None:
            call_id = call[1]
            self._failed.add(call_id)
            live.told(lambda t: ToolFailed(call_id, t, failure))

    def _missed(self, what: str) -> None:
        """Say on the root run what the trace lacks."""
        if self._live is not None:
            self._live.guarded(self._live.add, {"missed": what}, None, None)

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self._live is not None:
                self._live.guard.report(what, error)


class _Taps:
    """Attributes on instances that shadow the methods of their classes, and what they replaced."""

    def __init__(self) -> None:
        self._set: list[tuple[Any, str, Any, Any]] = []

    def set(self, target: Any, name: str, tap: Callable[..., Any]) -> None:
        """Let ``tap`` take the calls of a method; its first argument is the method."""
        original = getattr(target, name, None)
        attributes = getattr(target, "__dict__", None)
        if original is None or attributes is None:
            return

        def tapped(*arguments: Any, **keywords: Any) -> Any:
            return tap(original, *arguments, **keywords)

        self._set.append((attributes, name, tapped, attributes.get(name)))
        attributes[name] = tapped

    def remove(self) -> None:
        """Restore all methods, unless other code has replaced them since."""
        for attributes, name, tapped, before in reversed(self._set):
            if attributes.get(name) is tapped:
                del attributes[name]
                if before is not None:
                    attributes[name] = before
        self._set = []


@contextmanager
def _carrying_out(call: tuple[AgentsListener, str]) -> Iterator[None]:
    before = _call.get()
    _call.set(call)
    try:
        yield
    finally:
        _call.set(before)


def _is_listening(model: Any, session: Any) -> bool:
    """Whether the session is entered: it then is among the model's listeners, which no public name lists."""
    return any(listener is session for listener in getattr(model, "_listeners", ()))


def _tool_names(agent: Any) -> list[str]:
    """The names of an agent's tools, and of those that hand the conversation over. A handoff may be an agent itself."""
    handoffs = (
        Handoff.default_tool_name(each) if isinstance(each, RealtimeAgent) else getattr(each, "tool_name", None)
        for each in agent.handoffs
    )
    names = (*(getattr(tool, "name", None) for tool in agent.tools), *handoffs)
    return [name for name in names if isinstance(name, str)]


def _guardrail(result: Any) -> dict[str, Any]:
    """A guardrail's name, the agent that it checked, and what it found. Nothing else of the SDK's objects."""
    found: dict[str, Any] = json_copy({"info": result.output.output_info})
    return {"name": result.guardrail.get_name(), "agent": result.agent.name, **found}


def _failure_of(name: str, output: str) -> Failure | None:
    """The error that a tool's output says by the SDK's own texts; None if it is an ordinary output."""
    if output == f"Tool {name} not found":
        return Failure(output)
    marker = "an exception of the tool"
    known: Any = default_tool_error_function
    expected = str(known(None, Exception(marker)))
    beginning, _, _ = expected.partition(marker)
    if output == expected or (beginning != expected and output.startswith(beginning)):
        return Failure(output, "the tool raised")
    return None


def _lines(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The role and the text of each line of the transcript that an event completes."""
    kind, line = body.get("type"), None
    if kind == "conversation.item.input_audio_transcription.completed":
        role, line = "user", body.get("transcript")
    elif kind in ("response.output_audio_transcript.done", "response.output_text.done"):
        role, line = "assistant", body.get("transcript") or body.get("text")
    elif kind == "conversation.item.added" and mapping(body.get("item")).get("role") == "user":
        parts = map(mapping, sequence(mapping(body.get("item")).get("content")))
        role, line = "user", "\n".join(str(part["text"]) for part in parts if part.get("text"))
    if isinstance(line, str) and line.strip():
        yield role, line.strip()

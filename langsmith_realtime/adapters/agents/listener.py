"""Listens to a realtime session of the OpenAI Agents SDK, and tells a conversation what happens.

Everything that the protocol knows comes from the raw server events, which the SDK's model passes to its listeners. What
the model sends comes from its ``send_event``; what was played, from the playback tracker.

The listener runs in the SDK's reader task, and an exception in it would end the session. So nothing here raises, and
nothing waits.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import pybase64
from agents.realtime import (
    RealtimeModelListener,
    RealtimeModelSendAudio,
    RealtimeModelSendRawMessage,
    RealtimeModelSendSessionUpdate,
    RealtimeModelSendUserInput,
    RealtimeSession,
)

from langsmith_realtime.adapters.agents.agents import Agents
from langsmith_realtime.adapters.agents.formats import formats_asked
from langsmith_realtime.adapters.agents.taps import Taps
from langsmith_realtime.adapters.agents.tool_calls import ToolCalls, sdk_logger
from langsmith_realtime.adapters.server_address import server_of
from langsmith_realtime.core.payloads.errors import describe_error
from langsmith_realtime.core.protocol.events import APPEND, mapping, sequence, text
from langsmith_realtime.core.protocol.inputs import ApprovalAnswered
from langsmith_realtime.live.capture import LiveConversation
from langsmith_realtime.live.closing import closing_of_socket
from langsmith_realtime.runtime.guard import logger

#: Called with the role (``user`` or ``assistant``) and the text of each line of the transcript.
OnMessage = Callable[[str, str], None]

#: Attribute that marks a session as traced.
MARK = "_langsmith_realtime"
#: Private attribute of a session that is read: the queue of its events. No public name shows them without iterating.
EVENT_QUEUE = "_event_queue"
#: Private attribute of a model that is read: its listeners. No public name says whether a session is entered.
LISTENERS = "_listeners"
#: Private attribute of an entered session that is read: the settings of its model, with the formats of its sound.
SETTINGS = "_base_model_settings"
#: Private attribute of a model that is read: its socket, which knows the server's address and how it was closed.
SOCKET = "_websocket"
#: Private attribute of a session that is read: the exception that its iteration will raise.
EXCEPTION = "_stored_exception"


def check_session(session: object) -> None:
    if not isinstance(session, RealtimeSession):
        raise TypeError(f"session must be a RealtimeSession of the OpenAI Agents SDK, got {type(session).__name__}")


def refuse_traced(session: Any) -> None:
    if MARK in session.__dict__:
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
        #: The conversation that is told. It may be replaced by another one that is open, before the first event.
        self.live = live
        self.on_message = on_message
        self._session = session
        self._model = session.model
        self._taps = Taps()
        #: Whether the session was entered before, so that its beginning is missing.
        self.joined_late = _is_listening(self._model, session)
        self._calls = ToolCalls()
        self._agents = Agents(self._calls)
        self._missed: list[str] = []  # what the trace lacks
        self._formats: dict[str, Any] | None = None  # the session.update with the formats that the session asks for
        self._has_begun = False
        self._has_raw_events = False
        self._has_model_events = False
        self._played_ms: dict[str, float] = {}  # by item id

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
        session.__dict__[MARK] = self
        if self.live is None:
            return
        if self.joined_late:
            model.remove_listener(session)
        model.add_listener(self)
        if self.joined_late:
            model.add_listener(session)
            self._missed.append("events before the tracing began, and the playback tracker")
            self._formats = formats_asked(getattr(session, SETTINGS, None), is_call=False)
        taps.set(model, "send_event", self._send_event)
        taps.set(model, "send_event_if", self._send_event_if)
        taps.set(model, "connect", self._connect)
        taps.set(model, "close", self._close)
        taps.set(session, "update_agent", self._update_agent)
        taps.set(session, "approve_tool_call", self._approve)
        taps.set(session, "reject_tool_call", self._reject)
        queue = getattr(session, EVENT_QUEUE, None)
        self._agents.sees_events = taps.set(queue, "put_nowait", self._put_nowait)
        if not self._agents.sees_events:
            self._missed.append(
                "the first agent, the findings of guardrails, approvals: this version of the SDK hides its events"
            )
        sdk_logger.addFilter(self._logged)

    def detach(self) -> None:
        """Stop listening, and leave the session and its model as they were."""
        session = self._session
        if session.__dict__.get(MARK) is self:
            del session.__dict__[MARK]
        if self.live is None:
            return
        self._taps.remove()
        self._agents.detach()
        self._model.remove_listener(self)
        sdk_logger.removeFilter(self._logged)
        if not self._has_raw_events:
            if self._has_model_events:
                logger.warning("the session's model passes no raw server events to its listeners: the trace is empty")
                self._missed = ["all events: the session's model passes no raw server events"]
            self._say_missed(self.live)

    async def _connect(self, connect: Callable[..., Awaitable[Any]], options: Any, *rest: Any, **more: Any) -> Any:
        with self._guarded("connect"):
            self._agents.connecting(mapping(options).get("initial_model_settings"))
            tracker = mapping(options).get("playback_tracker")
            if tracker is not None:
                self._taps.set(tracker, "on_play_ms", self._play_ms)
        result = await connect(options, *rest, **more)
        with self._guarded("connect"):
            settings, call_id = mapping(options).get("initial_model_settings"), mapping(options).get("call_id")
            self._formats = formats_asked(settings, is_call=call_id is not None)
        return result

    async def _close(self, close: Callable[..., Awaitable[Any]], *rest: Any, **more: Any) -> Any:
        with self._guarded("close"):
            closing = closing_of_socket(getattr(self._model, SOCKET, None))
            if closing is not None and self.live is not None:
                self.live.closing = closing
        return await close(*rest, **more)

    def _begin(self, live: LiveConversation) -> None:
        """Before the first event, tell what the connection said; not earlier, because it is an input."""
        if self._has_begun:
            return
        self._has_begun = True
        server = server_of(getattr(self._model, SOCKET, None))
        if server is not None:
            live.connected_to(*server)
        if self._formats is not None:
            # The application may send audio before the server confirms the formats.
            live.client_event(self._formats, time.monotonic())

    async def _send_event(self, send: Callable[..., Awaitable[Any]], event: Any, *rest: Any, **more: Any) -> Any:
        live, sent = self.live, time.monotonic()
        assert live is not None
        with self._guarded("send_event"):
            self._begin(live)
            if isinstance(event, RealtimeModelSendAudio):
                # Before it is sent: the chunk was spoken by now.
                live.client_event({"type": APPEND, "audio": pybase64.b64encode_as_string(event.audio)}, sent)
            elif isinstance(event, RealtimeModelSendSessionUpdate):
                self._agents.settings_sent(live, event.session_settings)
            elif isinstance(event, RealtimeModelSendUserInput):
                self._agents.message_sent(live, event.user_input)
        result = await send(event, *rest, **more)
        with self._guarded("send_event"):
            if isinstance(event, RealtimeModelSendAudio) and event.commit:
                live.client_event({"type": "input_audio_buffer.commit"}, time.monotonic())
            elif isinstance(event, RealtimeModelSendRawMessage):
                message = mapping(event.message)
                live.client_event({**mapping(message.get("other_data")), "type": message.get("type")}, sent)
        return result

    async def _send_event_if(self, send: Callable[..., Awaitable[Any]], event: Any, *rest: Any, **more: Any) -> Any:
        """The session sends only the message after a tripped guardrail in this way, which the oldest versions lack."""
        with self._guarded("send_event"):
            assert self.live is not None
            if isinstance(event, RealtimeModelSendUserInput):
                self._agents.message_sent(self.live, event.user_input)
        return await send(event, *rest, **more)

    def _play_ms(self, on_play_ms: Callable[..., Any], item_id: str, index: int, ms: float) -> Any:
        live = self.live
        assert live is not None
        with self._guarded("on_play_ms"):
            # The tracker's own sum begins anew after an interruption.
            self._played_ms[item_id] = self._played_ms.get(item_id, 0.0) + ms
            live.played(item_id, self._played_ms[item_id], None)
        return on_play_ms(item_id, index, ms)

    async def _update_agent(self, update: Callable[..., Awaitable[Any]], agent: Any, *rest: Any, **more: Any) -> Any:
        result = await update(agent, *rest, **more)
        with self._guarded("update_agent"):
            assert self.live is not None
            self._agents.updated(self.live, agent)
        return result

    async def _approve(self, approve: Callable[..., Awaitable[Any]], call_id: str, *rest: Any, **more: Any) -> Any:
        assert self.live is not None
        self._answered(call_id, approved=True)
        with self._calls.carrying_out(self.live, call_id):
            return await approve(call_id, *rest, **more)

    async def _reject(self, reject: Callable[..., Awaitable[Any]], call_id: str, *rest: Any, **more: Any) -> Any:
        self._answered(call_id, approved=False)
        return await reject(call_id, *rest, **more)

    def _answered(self, call_id: str, *, approved: bool) -> None:
        with self._guarded("approval"):
            assert self.live is not None
            self.live.told(lambda t: ApprovalAnswered(call_id, t, approved))

    def _put_nowait(self, put_nowait: Callable[..., Any], event: Any) -> Any:
        with self._guarded("session_event"):
            assert self.live is not None
            self._agents.take(self.live, event, getattr(self._session, EXCEPTION, None))
        return put_nowait(event)

    def _logged(self, record: logging.LogRecord) -> bool:
        """Filter of the SDK's log."""
        with self._guarded("tool_error"):
            assert self.live is not None
            self._calls.logged(self.live, record)
        return True

    # The model's events

    async def on_event(self, event: Any) -> None:
        """Take an event of the SDK's model."""
        with self._guarded("on_event"):
            self._model_event(event)

    def _model_event(self, event: Any) -> None:
        live = self.live
        if live is None or (live.is_closed and live.is_sampled):
            return
        if event.type == "raw_server_event":
            self._calls.leave()
            self._raw_event(live, event.data)
            return
        if event.type == "function_call":
            self._has_model_events = True
            self._calls.begin(live, event.call_id, self._agents.next_agent(event.name))
        elif event.type == "item_updated":
            item = event.item
            if item.type == "function_call" and item.status == "completed":
                self._calls.answered(live, item)
        elif event.type == "turn_started":
            self._has_model_events = True
        elif event.type == "exception":
            self._calls.failed(live, describe_error(event.exception))  # a tool that the reader task carried out
            live.connection_lost(event.exception)
            if isinstance(event.exception, json.JSONDecodeError):
                reason = f"the frame must be JSON: {event.exception.msg}"
                live.malformed_frame(event.exception.doc, reason, time.monotonic())
                live.connection_lost(event.exception)

    def _raw_event(self, live: LiveConversation, frame: Any) -> None:
        body = mapping(frame)
        self._begin(live)
        if not self._has_raw_events:
            self._has_raw_events = True
            self._say_missed(live)
        if body.get("type") == "response.created":
            self._agents.response_created(text(mapping(body.get("response")).get("id")))
        live.server_event(frame)
        if self.on_message is not None:
            is_typed = body.get("type") == "conversation.item.added"
            for role, line in _lines(body):
                if not (is_typed and self._agents.has_written(line)):
                    self.on_message(role, line)

    def _say_missed(self, live: LiveConversation) -> None:
        """Say on the root run what the trace lacks. An input, so not before there are others."""
        if self._missed:
            live.guarded(live.add, {"missed": "; ".join(self._missed)}, None, None)

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self.live is not None:
                self.live.guard.report(what, error)


def _is_listening(model: Any, session: Any) -> bool:
    """Whether the session is entered: it then is among the model's listeners."""
    return any(listener is session for listener in getattr(model, LISTENERS, ()))


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

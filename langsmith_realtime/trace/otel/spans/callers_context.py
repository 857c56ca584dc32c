"""The span that is current in the contexts of a conversation's callers, and the events that start spans.

All of it runs in the callers' threads; a recovery has no callers. Times are seconds since the conversation opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span

from langsmith_realtime.core.protocol.events import (
    ANNOUNCING,
    Event,
    FrameError,
    announced_calls,
    mapping,
    parse,
    text,
)
from langsmith_realtime.core.protocol.session_config import session_of
from langsmith_realtime.trace.otel.spans.conversation_spans import ConversationSpans
from langsmith_realtime.trace.otel.spans.current_span import CurrentSpan, make_current, nearest_open

#: Events from which on the next response counts as asked for: the user stopped speaking.
_SPEECH_ENDS = frozenset({"input_audio_buffer.speech_stopped", "input_audio_buffer.committed"})
_SPEECH_STARTED = "input_audio_buffer.speech_started"


class CallersContext:
    """Makes the span of the latest event current in the callers' contexts, and starts the spans that events begin.

    Args:
        spans: the conversation's spans.
    """

    def __init__(self, spans: ConversationSpans) -> None:
        self._spans = spans
        self._asked: float | None = None  # when the next response was asked for
        self._latest_response: str | None = None
        self._latest: Span = spans.session or spans.outer
        self._awaiting: CurrentSpan | None = None
        self.has_ended = False
        #: The span that was current before the conversation's block.
        self.before: Span = spans.outer

    def enter(self) -> None:
        """Make the session current in this context, when a block begins."""
        current = trace.get_current_span()
        if not (isinstance(current, CurrentSpan) and current.owner is self):  # events may come before the block
            self.before = nearest_open(current)
        self._make_current(self._latest)

    def begin_receive(self) -> None:
        """Prepare the context of a caller that waits for the next event: its span will be that event's."""
        if self.has_ended or not self._spans.has_tracer:
            return
        if self._awaiting is None:
            self._awaiting = CurrentSpan(self._latest, self)
        make_current(self._awaiting)

    def event(self, kind: str, t: float, frame: object) -> None:
        """An event that is no delta arrived; start the spans that it begins, and make the one that it is about current.

        ``kind`` is its GA name. Without a tracer, the log records and the metrics need the times.
        """
        if kind == "response.created" or kind in ANNOUNCING or kind in ("session.created", "session.updated"):
            try:
                event = parse(frame)
            except FrameError:
                return
            if kind == "response.created":
                self._response_created(event, t)
            elif kind in ANNOUNCING:
                self._announced(event, t)
            else:
                session = session_of(event)
                self._spans.facts.model = text(session.get("model")) or self._spans.facts.model
                self._spans.facts.session_id = text(session.get("id")) or self._spans.facts.session_id
        elif kind in _SPEECH_ENDS:
            self._asked = t if self._asked is None else self._asked
        elif kind == _SPEECH_STARTED:
            self._asked = None
            self._latest = self._spans.session or self._spans.outer

    def arrived(self, *, is_delta: bool = False) -> None:
        """Make the latest event's span current in this context, and in those of callers that wait for the event.

        A delta changes nothing: those that received it keep the latest event's span.
        """
        if self.has_ended or not self._spans.has_tracer:
            return
        if is_delta and self._awaiting is not None:
            if trace.get_current_span() is self._awaiting:
                self._awaiting = None
            return
        awaiting, self._awaiting = self._awaiting, None
        if awaiting is not None:
            awaiting.span = self._latest
        current = trace.get_current_span()
        if not (isinstance(current, CurrentSpan) and current.span is self._latest):
            make_current(CurrentSpan(self._latest, self))

    def response_requested(self, t: float) -> None:
        """The client sent ``response.create`` or committed the user's audio."""
        self._asked = t if self._asked is None else self._asked

    def answered(self, call_id: str, t: float) -> None:
        """The client sent a call's result: from here on the call's response is current again."""
        tool = self._spans.tools.get(call_id)
        if tool is None or tool.answered is not None:
            return
        tool.answered = t
        current = trace.get_current_span()
        if self._latest is tool.span:
            self._latest = self._response_span()
        if isinstance(current, CurrentSpan) and current.span is tool.span:
            make_current(CurrentSpan(self._response_span(), self))

    @contextmanager
    def tool(self, call_id: str) -> Iterator[None]:
        """Make a call's span current inside a block; do nothing for a call that has none."""
        tool = self._spans.tools.get(call_id)
        if tool is None or self.has_ended or not self._spans.has_tracer:
            yield
            return
        before = trace.get_current_span()
        make_current(CurrentSpan(tool.span, self))
        try:
            yield
        finally:
            make_current(before)

    def leave(self) -> None:
        """The conversation ended: make the span current that was current before it, unless the caller set another."""
        self.has_ended = True
        current = trace.get_current_span()
        if isinstance(current, CurrentSpan) and current.owner is self:
            make_current(nearest_open(self.before))

    def _make_current(self, span: Span) -> None:
        if self._spans.has_tracer:
            make_current(CurrentSpan(span, self))

    def _response_span(self) -> Span:
        response = self._spans.responses.get(self._latest_response or "")
        return (self._spans.session or self._spans.outer) if response is None else response.span

    def _response_created(self, event: Event, t: float) -> None:
        response_id = text(mapping(event.body.get("response")).get("id"))
        if response_id is None or response_id in self._spans.responses:
            return
        start, self._asked = t if self._asked is None else min(self._asked, t), None
        self._latest_response, self._latest = response_id, self._spans.start_response(response_id, start).span

    def _announced(self, event: Event, t: float) -> None:
        calls = [call for call in announced_calls(event) if call.complete]
        response = mapping(event.body.get("response"))
        response_id = text(event.body.get("response_id")) or text(response.get("id")) or self._latest_response
        for call in calls:
            if call.call_id not in self._spans.tools:
                self._spans.start_tool(call, response_id, t)
        is_done = event.kind == "response.done"
        if len(calls) == 1:
            tool = self._spans.tools[calls[0].call_id]
            self._latest = tool.span if tool.answered is None else self._response_span()
        elif calls:
            self._latest = self._response_span()
        elif is_done:
            self._latest = self._spans.session or self._spans.outer

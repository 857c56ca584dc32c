"""The spans of one conversation that start in the callers' threads, because what the caller does inside needs them.

The session, its responses and its tool calls are such spans; the worker ends them (:mod:`..exporter`) and makes
all others whole. Which of them is current for a caller is in :mod:`.callers_context`. Times are seconds since the
conversation opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanKind, Tracer

from langsmith_realtime.core.conversation.run_data import AgentStep, EventRun
from langsmith_realtime.core.payloads.scrubbing import scrub
from langsmith_realtime.core.protocol.events import Call, mapping, text
from langsmith_realtime.core.protocol.inputs import Connected, SpanBegun
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.trace.otel.providers import attempt, has_provider, tracer_of, warn_of_no_provider
from langsmith_realtime.trace.otel.spans import presets
from langsmith_realtime.trace.otel.spans.conversation_facts import ConversationFacts
from langsmith_realtime.trace.otel.spans.current_span import nearest_open
from langsmith_realtime.trace.otel.spans.presets import PRESETS
from langsmith_realtime.trace.otel.values import attributes, clean

#: The key of the session's span.
SESSION_KEY = "session"
#: How many responses, and how many tool calls, are remembered after their end.
MAX_REMEMBERED = 256
#: How many responses, and how many tool calls, may be open; past that, the oldest span ends without its attributes.
MAX_OPEN = 4096


class KnownIds(Protocol):
    """Knows the spans that a process began that died."""

    def begin(self, key: str, start: float) -> float:
        """Use the ids of a span for the next one, and return when it started; a new id if it is not known."""

    def knows(self, key: str) -> bool:
        """Whether the process noted the span."""


@dataclass(slots=True)
class OpenSpan:
    """A span that the worker ends: when it started and with which attributes, and when a call's result was sent."""

    span: Span
    start: float
    given: Mapping[str, Any] = field(default_factory=dict)
    call: Call | None = None
    answered: float | None = None
    is_ended: bool = False


class ConversationSpans:
    """The open spans of one conversation.

    Args:
        tracer: makes the spans; None without a provider, for log records and metrics alone.
        options: the options of the conversation.
        facts: what every span says.
        start_us: when the conversation opened, in µs since the epoch.
        outer_context: the context below which the session stands; by default that of the headers, else the current one.
        known: in a recovery, the ids of the spans that the process that died began.
        has_died: whether this is a recovery: what had not ended then ends with an error.
    """

    def __init__(
        self,
        tracer: Tracer | None,
        options: Options,
        facts: ConversationFacts,
        start_us: int,
        outer_context: Context | None = None,
        *,
        known: KnownIds | None = None,
        has_died: bool = False,
    ) -> None:
        assert options.otel is not None
        #: Is told of each span that begins, for the journal; None without one.
        self.note: Callable[[SpanBegun | Connected], None] | None = None
        self._connected: Connected | None = None  # that the journal does not have yet
        self._known = known
        self._common: dict[tuple[object, ...], dict[str, Any]] = {}  # attributes, by kind of span and known facts
        self.has_died = has_died
        #: Whether the conversation has log records, and, in a recovery, what takes them until the spans are exported.
        self.has_logs = False
        self.held_records: Any | None = None
        self.options = options.otel
        self.tracer = tracer or trace.NoOpTracer()
        self.has_tracer = tracer is not None
        #: The provider of the spans, which is flushed after the conversation.
        self.provider = options.otel.tracer_provider or trace.get_tracer_provider()
        self.facts = facts
        self.preset = PRESETS[options.otel.preset]
        self._start_us = start_us
        self.outer = nearest_open(trace.get_current_span())
        if outer_context is None:
            outer_context = _below_headers(options.otel.headers, trace.set_span_in_context(self.outer))
        self.outer_context = outer_context
        self.session: Span | None = None
        #: The attributes with which the session's span started.
        self.session_given: Mapping[str, Any] = {}
        #: The context of spans that have no other parent.
        self.context, self.links = self._place(outer_context)
        if options.otel.session_span:
            given = self._start_attributes(presets.SESSION, "invoke_agent")
            opened = self._start(SESSION_KEY, "realtime_session", 0.0, given)
            self.session, self.session_given = opened.span, opened.given
            self._join_named_session(opened.span)
            self.context, self.links = trace.set_span_in_context(self.session, self.context), []
        self.responses: dict[str, OpenSpan] = {}
        self.tools: dict[str, OpenSpan] = {}

    @property
    def takes_recording(self) -> bool:
        """Whether the session's span shows content, and the backend takes the recording as its attachment."""
        if self.preset.attachments is None or self.session is None or not self.session.is_recording():
            return False
        return self.options.shown_content in ("span", "both")

    def described(self) -> dict[str, Any] | None:
        """What a recovery needs to make the spans again, for the journal; None if they are not exported at all."""
        if not self.has_tracer or (self.session is not None and not self.session.is_recording()):
            return None
        outer = trace.get_current_span(self.outer_context)
        above = outer.get_span_context()
        return {
            "session": None if self.session is None else traceparent_of(self.session),
            "parent": traceparent_of(outer) if above.is_valid else None,
            "parent_is_remote": above.is_remote,
            "content": self.options.shown_content,
            "preset": self.options.preset,
            "has_given_thread": self.facts.has_given_thread,
            "logs": self.has_logs,
            "resource": scrub(dict(getattr(getattr(self.provider, "resource", None), "attributes", {}))),
        }

    def _place(self, outer: Context) -> tuple[Context, list[Link]]:
        span = trace.get_current_span(outer)
        if self.preset.roots_are_linked and span.get_span_context().is_remote:
            return trace.set_span_in_context(trace.INVALID_SPAN, outer), [Link(span.get_span_context())]
        return outer, []

    def ns(self, t: float) -> int:
        """A time in ns since the epoch."""
        return (self._start_us + round(t * 1_000_000)) * 1000

    def _start_attributes(self, kind: str, operation: str | None, given: Mapping[str, Any] | None = None) -> Any:
        """The attributes that a sampler may ask for. Those that all spans of a kind have are made once."""
        facts = self.facts
        key = (kind, facts.model, facts.session_id, bool(facts.server))
        common = self._common.get(key)
        if common is None:
            common = self._common[key] = self._common_attributes(kind, operation)
        return {**common, **attributes(given)} if given else common

    def _common_attributes(self, kind: str, operation: str | None) -> dict[str, Any]:
        facts = self.facts
        named: dict[str, Any] = {"gen_ai.operation.name": operation}
        if kind in (presets.SESSION, presets.RESPONSE):
            named |= {
                "gen_ai.provider.name": facts.provider,
                "gen_ai.request.model": facts.model,
                "gen_ai.agent.name": facts.agent_name,
                **facts.server,
            }
        if facts.has_given_thread:
            named["gen_ai.conversation.id"] = facts.thread_id
        if kind != presets.SESSION:
            named["gen_ai.realtime_session.id"] = facts.session_id
        known = facts.of_start()
        named |= {name: known[fact] for name, fact in presets.rows(self.preset.started, kind)}
        named |= dict(presets.rows(self.preset.constants, kind))
        return attributes(named)

    def connected_to(self, address: str, port: int) -> None:
        """The conversation's connection goes to this server."""
        self.facts.server = {"server.address": clean(address), "server.port": port}
        self._connected = Connected(0.0, address, port)
        if self.session is not None:
            self.session.set_attributes(self.facts.server)

    # Spans, in the caller's threads or the worker's

    def start_response(self, response_id: str, start: float) -> OpenSpan:
        """Start the span of a response."""
        name = f"chat {self.facts.model}" if self.facts.model else "chat"
        given = self._start_attributes(presets.RESPONSE, "chat", {"gen_ai.response.id": response_id})
        opened = self._start(_response_key(response_id), name, start, given, kind=SpanKind.CLIENT)
        _remember(self.responses, response_id, opened)
        return opened

    def response(self, response_id: str, t: float) -> OpenSpan | None:
        """The span of a response that an event at ``t`` names; None if it has none.

        A recovery has no caller's thread that starts the span when the response begins, so it starts here.
        """
        opened = self.responses.get(response_id)
        if opened is None and self._known is not None and self._known.knows(_response_key(response_id)):
            opened = self.start_response(response_id, t)
        return opened

    def start_tool(self, call: Call, response_id: str | None, start: float) -> OpenSpan:
        """Start the span of a tool call, below its response."""
        response = self.responses.get(response_id or "")
        given = {
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.call.id": call.call_id,
            "gen_ai.tool.type": "function",
        }
        started = self._start_attributes(presets.TOOL, "execute_tool", given)
        name = f"execute_tool {call.name or 'tool'}"
        above = None if response is None else trace.set_span_in_context(response.span, self.context)
        opened = self._start(f"tool {call.call_id}", name, start, started, above=above)
        _remember(self.tools, call.call_id, opened)
        return opened

    def start_speech(self, item_id: str, start: float) -> OpenSpan:
        """Start the span of an utterance, which the worker makes whole."""
        started = self._start_attributes(presets.SPEECH, None, {"gen_ai.conversation.item.id": item_id})
        return self._start(f"speech {item_id}", "user_speech", start, started)

    def above_step(self, step: AgentStep) -> OpenSpan | None:
        """The span of the call or of the response to which a step of an SDK's agents belongs; None if it has none."""
        return self.tools.get(step.call_id or "") or self.responses.get(step.response_id or "")

    def start_step(self, step: AgentStep) -> OpenSpan:
        """Start the span of a step of an SDK's agents, which the worker makes whole."""
        below = self.above_step(step)
        started = self._start_attributes(step.kind, None)
        name = f"{step.kind} {step.name}" if step.name else step.kind
        above = None if below is None else trace.set_span_in_context(below.span, self.context)
        key = f"{step.kind} {step.call_id or step.response_id} {step.name} {step.begin}"
        return self._start(key, name, step.begin, started, above=above)

    def context_below(self, opened: OpenSpan | None) -> Context:
        """The context of records and measurements of a span, else of the session."""
        return self.context if opened is None else trace.set_span_in_context(opened.span, self.context)

    def context_of(self, event: EventRun) -> Context:
        """The context of an event's record: its response's span, else the session's."""
        body = event.payload
        response_id = text(body.get("response_id")) or text(mapping(body.get("response")).get("id"))
        return self.context_below(self.response(response_id or "", event.ref.start / 1_000_000))

    def _start(
        self,
        key: str,
        name: str,
        start: float,
        given: Any,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        above: Context | None = None,
    ) -> OpenSpan:
        key = clean(key)
        if self._known is not None:
            start = self._known.begin(key, start)
        links = self.links if above is None else []
        context, ns = above or self.context, self.ns(start)
        start_span = self.tracer.start_span
        span = attempt("starting a span", lambda: start_span(clean(name), context, kind, given, links, ns))
        if span is None:  # a processor raised; what would stand below this span stands below the one above it
            span = NonRecordingSpan(trace.get_current_span(context).get_span_context())
        if self.note is not None and span.is_recording():
            if self._connected is not None:
                self.note(replace(self._connected, t=start))
                self._connected = None
            self.note(SpanBegun(start, key, start, traceparent_of(span)))
        return OpenSpan(span, start, given)

    def _join_named_session(self, span: Span) -> None:
        """Take the session that a processor of the application's put on the span, if the application named no thread.

        Langfuse's ``propagate_attributes(session_id=)`` does that. Two names would split the conversation from the
        application's other spans.
        """
        named = (getattr(span, "attributes", None) or {}).get("session.id")
        if self.facts.has_given_thread or not isinstance(named, str) or named == self.facts.thread_id:
            return
        self.facts.thread_id = named
        self._common.clear()
        known = self.facts.of_start()
        rows = presets.rows(self.preset.started, presets.SESSION)
        again = attributes({name: known[fact] for name, fact in rows})
        self.session_given = {**self.session_given, **again}
        span.set_attributes(again)


def _below_headers(headers: Mapping[str, str] | None, context: Context) -> Context:
    """The context of the caller that the headers name, with the baggage of both; else ``context``."""
    if headers is None:
        return context
    cleaned = {name: clean(value) for name, value in headers.items()}
    extracted = attempt("reading the headers of parent=", lambda: propagate.extract(cleaned, context))
    if extracted is None:
        return context
    if trace.get_current_span(extracted).get_span_context().is_valid:
        return extracted
    return trace.set_span_in_context(trace.get_current_span(context), extracted)


def _response_key(response_id: str) -> str:
    return clean(f"response {response_id}")


def traceparent_of(span: Span) -> str:
    """The span's ids and flags, as in the header ``traceparent``."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _remember(spans: dict[str, OpenSpan], key: str, opened: OpenSpan) -> None:
    """Remember a span, also after its end: later events name it again, and other spans stand below it.

    A span that has not ended stays, because the worker, which ends it, may be far behind the caller's thread.
    """
    spans[key] = opened
    if len(spans) <= MAX_REMEMBERED:
        return
    known = list(spans.items())  # a copy, because the worker may add spans meanwhile
    forgotten = next((each for each, span in known if span.is_ended), None)
    if forgotten is not None:
        spans.pop(forgotten, None)
    elif len(known) > MAX_OPEN:
        spans.pop(known[0][0], None)
        known[0][1].span.end()


def start_spans(options: Options, facts: ConversationFacts, start_us: int, version: str) -> ConversationSpans | None:
    """Start the spans of a conversation that opens now, in the caller's context; None without any provider."""
    assert options.otel is not None
    if not has_provider(options.otel):
        warn_of_no_provider()
        return None
    return ConversationSpans(tracer_of(options.otel, version), options, facts, start_us)

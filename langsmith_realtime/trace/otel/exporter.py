"""The exporter to OpenTelemetry: makes and ends the spans of a conversation, on the worker's thread.

What the spans say is :mod:`.spans.details`, log records are :mod:`.logs`, metrics :mod:`.metrics.measurements`. With
``keep=``, everything waits until the conversation is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from langsmith import Client
from opentelemetry.trace import NonRecordingSpan, Span, Status, StatusCode

from langsmith_realtime.core.conversation.run_data import (
    AgentStep,
    ConversationEnd,
    EventRun,
    ModelRun,
    RunData,
    SpeechRun,
    ToolRun,
)
from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.protocol.events import Call, Event, announced_calls, ga_type, mapping, text
from langsmith_realtime.core.protocol.inputs import Annotated
from langsmith_realtime.delivery.operations import SPANS, Ledger
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.recording.finishing import FinishedRecording
from langsmith_realtime.trace.otel import conventions
from langsmith_realtime.trace.otel.content import Content
from langsmith_realtime.trace.otel.logs import Logs
from langsmith_realtime.trace.otel.metrics.instruments import metrics_of
from langsmith_realtime.trace.otel.metrics.measurements import Measurements
from langsmith_realtime.trace.otel.providers import (
    attempt,
    convention_names,
    logger_of,
    logger_provider,
    when_flushed,
)
from langsmith_realtime.trace.otel.spans.attachments import attach
from langsmith_realtime.trace.otel.spans.conversation_spans import ConversationSpans, OpenSpan
from langsmith_realtime.trace.otel.spans.details import SpanDetails
from langsmith_realtime.trace.otel.values import attributes, clean
from langsmith_realtime.trace.privacy import Privacy

_T = TypeVar("_T")

DIED = Failure("the process died before the end")
NO_RESULT = Failure("no result was sent")

_MEASURING = "recording a measurement"


class OtelExporter:
    """Shows one conversation in OpenTelemetry.

    Args:
        spans: the spans that started in the callers' threads.
        content: masks content.
        logs: takes log records; None without a provider.
        measurements: takes the conversation's measurements; None without a provider.
        waits: whether everything waits for :meth:`closed` or :meth:`discarded`.
        is_alone: whether this is the only exporter, so that it ends the recording and removes the journal.
    """

    def __init__(
        self,
        spans: ConversationSpans,
        content: Content,
        logs: Logs | None = None,
        measurements: Measurements | None = None,
        *,
        waits: bool = False,
        is_alone: bool = False,
    ) -> None:
        self._spans = spans
        self._content = content
        self._logs = logs
        self._measurements = measurements
        self._details = SpanDetails(spans, content)
        self._held: list[RunData] | None = [] if waits else None
        self._early_steps: list[AgentStep] = []
        self._ending: list[tuple[Span, int]] = []  # spans that are complete, and when they end, in ns
        self._announced: list[Call] = []  # calls of which no run data has told yet
        # The conventions had it until v1.41.
        self._messages_have_finish_reason = spans.preset.messages_have_finish_reason or convention_names()[0]
        self._has_named_agent = False  # on the session's span
        self._is_alone = is_alone
        #: Is told when the spans have been exported after the end; None without a journal.
        self.ledger: Ledger | None = None

    @property
    def is_recoverable(self) -> bool:
        """Whether a recovery would export the spans again; it does that itself."""
        return not self._spans.has_died and self._spans.described() is not None

    # The exporter

    def opened(self) -> None:
        """Note that the conversation is open; its span started in the caller's thread."""
        if self._measurements is not None:
            attempt(_MEASURING, self._measurements.opened)
        if self._logs is not None and self._held is None:
            self._logs.started(self._spans.context, self._spans.ns(0.0))

    def emit(self, data: RunData) -> None:
        """End the span of some run data, or make it whole."""
        if self._measurements is not None:
            attempt(_MEASURING, partial(self._measurements.take, data))
        self._show(data)

    def _show(self, data: RunData) -> None:
        if self._held is not None:
            self._held.append(data)
        elif isinstance(data, EventRun):
            self._event(data)
        elif isinstance(data, ModelRun):
            self._response(data)
        elif isinstance(data, ToolRun):
            self._tool(data)
        elif isinstance(data, SpeechRun):
            self._speech(data)
        elif isinstance(data, AgentStep):
            self._step(data)

    def written(self) -> None:
        """End the spans that are complete: the journal has everything that happened until now.

        An ended span may be exported at once. If its ids were not on disk, a recovery would make another span.
        """
        ending, self._ending = self._ending, []
        for span, ns in ending:
            attempt("ending a span", partial(span.end, ns))

    def annotated(self, annotation: Annotated) -> None:
        """Note what the application added, for the session's span."""
        self._details.annotated(annotation)

    def closed(self, end: ConversationEnd, recorded: FinishedRecording) -> None:
        """End every span that is open, the session's last."""
        held, self._held = self._held, None
        spans = self._spans
        if held is not None and self._logs is not None:
            self._logs.started(spans.context, spans.ns(0.0))
        for data in held or []:
            self._show(data)
        self._end_calls_of_the_application(math.inf)
        for tool in list(spans.tools.values()):
            if not tool.is_ended:
                self._end(tool, tool.start if tool.answered is None else tool.answered)
        for response in list(spans.responses.values()):
            if not response.is_ended:
                self._end(response, max(response.start, end.t))
        for step in self._early_steps:
            self._whole_step(step)
        is_recording_done = self._session(end, recorded)
        if self.ledger is not None:
            self.ledger.flush()
        self.written()
        if self._logs is not None:
            self._logs.ended(end, spans.facts.server, spans.context, spans.ns(end.t))
        if self._measurements is not None:
            attempt(_MEASURING, partial(self._measurements.ended, end))
        if self._is_alone and recorded.done is not None:
            recorded.done(is_recording_done)
        if self.ledger is not None:
            providers = [spans.provider] if self._logs is None else [spans.provider, self._logs.provider]
            when_flushed(providers, self._exported)

    def discarded(self) -> None:
        """Leave every span without an end, so that none is exported. The measurements stay."""
        self._held = None
        if self._measurements is not None:
            attempt(_MEASURING, self._measurements.discarded)
        if self._is_alone and self.ledger is not None:
            self.ledger.discard()

    def _exported(self) -> None:
        if self.ledger is not None:
            self.ledger.settle(SPANS)
            self.ledger.flush()

    # Spans

    def _event(self, event: EventRun) -> None:
        spans = self._spans
        if self._logs is not None:
            self._logs.event(event, spans.context_of(event), spans.ns(event.ref.start / 1_000_000))
        if event.error is not None and not event.interrupted:
            self._add_error(event, event.error)
        if event.name == "session.created":
            self._session_named(text(mapping(event.payload.get("session")).get("id")))
        elif ga_type(event.name) == "response.done" and spans.tools:
            self._end_calls_of_the_application(event.ref.start / 1_000_000)
            self._announced += announced_calls(Event(ga_type(event.name), event.name, event.payload))

    def _add_error(self, event: EventRun, error: str) -> None:
        session = self._spans.session
        if session is not None and session.is_recording():
            details = {"error.type": conventions.error_type(error), "error.message": self._content.error(error)}
            session.add_event(event.name, attributes(details), self._spans.ns(event.ref.start / 1_000_000))

    def _session_named(self, session_id: str | None) -> None:
        spans = self._spans
        spans.facts.session_id = session_id or spans.facts.session_id
        if spans.session is not None:
            spans.session.set_attributes(attributes({"gen_ai.realtime_session.id": session_id}))
        if self._logs is not None:
            self._logs.named(session_id)

    def _end_calls_of_the_application(self, t: float) -> None:
        """End the spans of calls that runs of the application's own carried out: no run data tells of them.

        The caller's thread notes an answer before the worker gets it, so only answers before ``t`` count, an event that
        the worker has got.
        """
        waiting, self._announced = self._announced, []
        for call in waiting:
            tool = self._spans.tools.get(call.call_id)
            if tool is None or tool.is_ended:
                continue
            if tool.answered is None or tool.answered >= t:
                self._announced.append(call)
                continue
            self._end(tool, tool.answered)
            if self._measurements is not None:
                seconds = tool.answered - tool.start
                attempt(_MEASURING, partial(self._measurements.answered, call, tool, seconds))

    def _response(self, model: ModelRun) -> None:
        spans = self._spans
        response_id = str(model.metadata.get("response_id"))
        opened = spans.responses.get(response_id) or spans.start_response(response_id, model.parent.start / 1_000_000)
        span = opened.span
        self._name_agent(text(model.metadata.get("agent")))
        has_readers = (self._content.on_spans and span.is_recording()) or (
            self._content.in_logs and self._logs is not None
        )
        shown = self._content.response(model) if has_readers else None
        if shown is not None and self._messages_have_finish_reason:
            shown["finish_reason"] = conventions.finish_reason(model)
        if self._logs is not None:
            self._logs.response(model, shown, spans.context_below(opened), spans.ns(model.end))
        if span.is_recording():
            self._details.response(opened, model, shown if self._content.on_spans else None)
        error = None if model.interrupted else model.error
        if spans.has_died and conventions.is_unfinished(model):
            error = error or DIED
        self._end(opened, model.end, error)

    def _name_agent(self, name: str | None) -> None:
        """Name the first agent on the session before a response ends: Azure's distro copies it to the response."""
        session, is_named = self._spans.session, self._spans.facts.agent_name is not None or self._has_named_agent
        if name is not None and not is_named and session is not None:
            self._has_named_agent = True
            session.set_attribute("gen_ai.agent.name", clean(name))

    def _tool(self, tool: ToolRun) -> None:
        spans = self._spans
        opened = spans.tools.get(tool.call_id)
        if opened is None or opened.is_ended:  # a call_id that the server used before
            began = tool.parent.start if tool.began is None else tool.began
            call = Call(tool.call_id, tool.name, None, True)
            opened = spans.start_tool(call, tool.response_id, began / 1_000_000)
        span = opened.span
        error = tool.error or (None if tool.answered else DIED if spans.has_died else NO_RESULT)
        if span.is_recording():
            self._details.tool(opened, tool, error)
        self._end(opened, opened.start if tool.end is None else tool.end, error)

    def _speech(self, speech: SpeechRun) -> None:
        spans = self._spans
        opened = spans.start_speech(speech.item_id, speech.begin)
        span = opened.span
        if span.is_recording():
            self._details.speech(span, speech)
        self._end(opened, speech.end, speech.error)

    def _step(self, step: AgentStep) -> None:
        belongs_below = step.call_id is not None or step.response_id is not None
        if belongs_below and self._spans.above_step(step) is None:
            self._early_steps.append(step)  # in a recovery, the span above starts when its own run is complete
        else:
            self._whole_step(step)

    def _whole_step(self, step: AgentStep) -> None:
        opened = self._spans.start_step(step)
        self._details.step(opened.span, step)
        self._end(opened, step.end)

    def _session(self, end: ConversationEnd, recorded: FinishedRecording) -> bool:
        """End the session's span. Returns False if it should have the recording, but does not."""
        spans, span = self._spans, self._spans.session
        if span is None:
            return True
        not_attached: str | None = None
        if span.is_recording():
            has_recording = "recording_url" in recorded.metadata
            if self._is_alone and spans.takes_recording and recorded.attachment is not None:
                assert spans.preset.attachments is not None
                not_attached = attach(span, spans.preset.attachments, *recorded.attachment)
                has_recording = not_attached is None
                if not_attached is not None:
                    recorded = replace(recorded, metadata={**recorded.metadata, "recording_error": not_attached})
            self._details.session(span, end, recorded, has_recording=has_recording)
        self._end(OpenSpan(span, 0.0, spans.session_given), end.t, end.error)
        return not_attached is None

    # Details

    def _end(self, opened: OpenSpan, end: float, error: str | None = None) -> None:
        """Complete a span; :meth:`written` ends it."""
        opened.is_ended = True
        span = opened.span
        if getattr(span, "dropped_attributes", 0):
            # Past its limit, the SDK drops the oldest attributes: those that say what the span is.
            left = getattr(span, "attributes", None) or {}
            span.set_attributes({name: value for name, value in opened.given.items() if name not in left})
        if error is not None and span.is_recording():
            span.set_attribute("error.type", conventions.error_type(error))
            span.set_status(Status(StatusCode.ERROR, self._content.error(error)))
        self._ending.append((span, self._spans.ns(max(end, opened.start))))
        opened.span = NonRecordingSpan(span.get_span_context())  # the span may have much content


def _asked(what: str, provider: Callable[[], _T]) -> _T | None:
    """What a provider gives; None if it raises, which costs neither the spans nor LangSmith's runs."""
    return attempt(f"asking OpenTelemetry's provider for {what}", provider)


def otel_exporter(
    spans: ConversationSpans, options: Options, privacy: Privacy, client: Client | None, *, version: str, run_id: str
) -> OtelExporter:
    """The exporter of a conversation whose spans have started.

    Args:
        spans: the spans.
        options: the options of the conversation.
        privacy: masks content.
        client: masks content after that; None without LangSmith.
        version: the version of the package.
        run_id: the id of the root run, from which the ids of log records are made.
    """
    assert options.otel is not None
    content = Content(options.otel.shown_content, privacy, client)
    given = options.otel
    logger = spans.held_records if spans.has_died else _asked("its logger", lambda: logger_of(given, version))
    spans.has_logs = logger is not None
    named = {"gen_ai.conversation.id": spans.facts.thread_id} if spans.facts.has_given_thread else {}
    common = {"gen_ai.provider.name": spans.facts.provider, **named}
    # A counter that counts an answer twice is wrong, and nothing would say so.
    metrics = None if spans.has_died else _asked("its metrics", lambda: metrics_of(given, version))
    waits = options.keep is not None
    return OtelExporter(
        spans,
        content,
        None if logger is None else Logs(logger, content, common, run_id, logger_provider(options.otel)),
        None if metrics is None else Measurements(metrics, spans, has_exemplars=not waits),
        waits=waits,
        is_alone=client is None,
    )

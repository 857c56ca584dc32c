"""The exporter to OpenTelemetry: makes and ends the spans of a conversation, on the worker's thread.

Log records are :mod:`.logs`, metrics :mod:`.metrics`. With ``keep=``, everything waits until the conversation is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from langsmith import Client
from opentelemetry import trace
from opentelemetry.context import Context
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
from langsmith_realtime.core.protocol.events import Call, Event, announced_calls, mapping, text
from langsmith_realtime.core.protocol.inputs import Annotated
from langsmith_realtime.delivery.operations import SPANS, Ledger
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.recording.finishing import FinishedRecording
from langsmith_realtime.trace.otel import facts, presets
from langsmith_realtime.trace.otel.attachments import attach
from langsmith_realtime.trace.otel.content import Content
from langsmith_realtime.trace.otel.conversation_spans import ConversationSpans, OpenSpan
from langsmith_realtime.trace.otel.logs import Logs
from langsmith_realtime.trace.otel.metrics import Metrics, metrics_of
from langsmith_realtime.trace.otel.providers import (
    attempt,
    convention_names,
    logger_of,
    logger_provider,
    when_flushed,
)
from langsmith_realtime.trace.otel.values import attributes, clean, json_text
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
        metrics: takes measurements; None without a provider.
        waits: whether everything waits for :meth:`closed` or :meth:`discarded`.
        is_alone: whether this is the only exporter, so that it ends the recording and removes the journal.
    """

    def __init__(
        self,
        spans: ConversationSpans,
        content: Content,
        logs: Logs | None = None,
        metrics: Metrics | None = None,
        *,
        waits: bool = False,
        is_alone: bool = False,
    ) -> None:
        self._spans = spans
        self._content = content
        self._logs = logs
        self._metrics = metrics
        self._common = {"gen_ai.provider.name": spans.facts.provider}
        # The measurements of an open conversation that keep= has not decided on have no exemplars.
        self._has_exemplars = not waits
        self._held: list[RunData] | None = [] if waits else None
        self._early_steps: list[AgentStep] = []
        self._ending: list[tuple[Span, int]] = []  # spans that are complete, and when they end, in ns
        self._announced: list[Call] = []  # calls of which no run data has told yet
        # The conventions had it until v1.41.
        self._messages_have_finish_reason = spans.preset.messages_have_finish_reason or convention_names()[0]
        self._has_named_agent = False  # on the session's span
        self._responses, self._tool_calls = 0, 0  # how many of them were measured
        self._is_alone = is_alone
        #: Is told when the spans have been exported after the end; None without a journal.
        self.ledger: Ledger | None = None
        self._added_metadata: dict[str, Any] = {}
        self._added_tags: list[str] = []

    @property
    def is_recoverable(self) -> bool:
        """Whether a recovery would export the spans again; it does that itself."""
        return not self._spans.has_died and self._spans.described() is not None

    # The exporter

    def opened(self) -> None:
        """Note that the conversation is open; its span started in the caller's thread."""
        if self._metrics is not None:
            attempt(_MEASURING, partial(self._metrics.opened, 1, self._common))
        if self._logs is not None and self._held is None:
            self._logs.started(self._spans.context, self._spans.ns(0.0))

    def emit(self, data: RunData) -> None:
        """End the span of some run data, or make it whole."""
        if self._metrics is not None:
            attempt(_MEASURING, partial(self._measure, self._metrics, data))
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
        self._added_metadata.update(annotation.metadata)
        self._added_tags += [tag for tag in annotation.tags if tag not in self._added_tags]

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
        if self._metrics is not None:
            about = {
                "gen_ai.request.model": end.metadata.get("model"),
                "gen_ai.agent.name": spans.facts.agent_name or facts.first_agent(end),
                **spans.facts.server,
            }
            context = spans.context if self._has_exemplars else None
            calls = {"responses": self._responses, "tool_calls": self._tool_calls}
            given = {**self._common, **about}
            attempt(_MEASURING, partial(self._metrics.ended, end.t, given, context, end.error, **calls))
            attempt(_MEASURING, partial(self._metrics.opened, -1, self._common))
        if self._is_alone and recorded.done is not None:
            recorded.done(is_recording_done)
        if self.ledger is not None:
            providers = [spans.provider] if self._logs is None else [spans.provider, self._logs.provider]
            when_flushed(providers, self._exported)

    def discarded(self) -> None:
        """Leave every span without an end, so that none is exported. The measurements stay."""
        self._held = None
        if self._metrics is not None:
            attempt(_MEASURING, partial(self._metrics.opened, -1, self._common))
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
            self._logs.event(event, self._context_of(event), spans.ns(event.ref.start / 1_000_000))
        if event.error is not None and not event.interrupted:
            self._add_error(event, event.error)
        if event.name == "session.created":
            self._session_named(text(mapping(event.payload.get("session")).get("id")))
        elif event.name == "response.done" and spans.tools:
            self._end_calls_of_the_application(event.ref.start / 1_000_000)
            self._announced += announced_calls(Event(event.name, event.name, event.payload))

    def _add_error(self, event: EventRun, error: str) -> None:
        session = self._spans.session
        if session is not None and session.is_recording():
            details = {"error.type": facts.error_type(error), "error.message": self._content.error(error)}
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
            if self._metrics is not None:
                self._tool_calls += 1
                seconds, context = tool.answered - tool.start, self._context(tool)
                measured = call.name or "tool", seconds, "answered", self._common, context
                attempt(_MEASURING, partial(self._metrics.tool, *measured))

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
            shown["finish_reason"] = facts.finish_reason(model)
        if self._logs is not None:
            self._logs.response(model, shown, self._context(opened), spans.ns(model.end))
        if span.is_recording():
            on_span = shown if self._content.on_spans else None
            masked = model
            if self._content.calls_application or presets.rows(spans.preset.rows, presets.RESPONSE):
                masked = replace(model, metadata=self._content.metadata(model.metadata))
            # Without a preset, only numbers, ids and states of the metadata are shown, which quote nobody.
            told = facts.response_attributes(masked, opened.start)
            if on_span is not None:
                told = {**self._response_content(on_span), **told}
            _set_most_important_last(span, told)
            if model.model:
                span.update_name(clean(f"chat {model.model}"))
            first_token = None if model.first_token is None else spans.ns(model.first_token)
            self._add_preset(
                span,
                presets.RESPONSE,
                lambda: facts.response_facts(masked, on_span, first_token, opened.start),
                model.error,
            )
            self._add_moments(span, model)
        error = None if model.interrupted else model.error
        if spans.has_died and facts.is_unfinished(model):
            error = error or DIED
        self._end(opened, model.end, error)

    def _name_agent(self, name: str | None) -> None:
        """Name the first agent on the session before a response ends: Azure's distro copies it to the response."""
        session, is_named = self._spans.session, self._spans.facts.agent_name is not None or self._has_named_agent
        if name is not None and not is_named and session is not None:
            self._has_named_agent = True
            session.set_attribute("gen_ai.agent.name", clean(name))

    def _response_content(self, shown: Mapping[str, Any]) -> dict[str, Any]:
        instructions = shown["instructions"]
        return {
            "gen_ai.input.messages": json_text([facts.genai_message(each) for each in shown["messages"]]),
            "gen_ai.output.messages": json_text([facts.genai_message(shown["message"], shown.get("finish_reason"))]),
            "gen_ai.system_instructions": None
            if not instructions
            else json_text([{"type": "text", "content": str(instructions)}]),
        }

    def _add_moments(self, span: Span, model: ModelRun) -> None:
        spans = self._spans
        if model.first_token is not None:
            span.add_event("gen_ai.response.first_token", None, spans.ns(model.first_token))
        if model.first_audio is not None:
            span.add_event("gen_ai.audio.first_audio", None, spans.ns(model.first_audio))
        if model.interrupted or model.metadata.get("was_interrupted"):
            heard = model.metadata.get("heard_ms")
            at = model.end if model.cut_off is None else model.cut_off
            given = attributes({"audio.elapsed_ms": heard, "gen_ai.response.id": model.metadata.get("response_id")})
            span.add_event("gen_ai.audio.barge_in", given, spans.ns(at))

    def _tool(self, tool: ToolRun) -> None:
        spans = self._spans
        is_mcp = "server_label" in tool.metadata or tool.name == "mcp_call"
        opened = spans.tools.get(tool.call_id)
        if opened is None:
            began = tool.parent.start if tool.began is None else tool.began
            call = Call(tool.call_id, tool.name, None, True)
            opened = spans.start_tool(call, tool.response_id, began / 1_000_000)
        span = opened.span
        error = tool.error or (None if tool.answered else DIED if spans.has_died else NO_RESULT)
        if span.is_recording():
            span.update_name(clean(f"execute_tool {tool.name}"))
            shows = self._content.on_spans
            arguments = self._content.arguments(tool) if shows else None
            result = self._content.result(tool) if shows else None
            named = {
                "gen_ai.tool.name": tool.name,
                "gen_ai.tool.type": "extension" if is_mcp else "function",
                "gen_ai.tool.call.arguments": arguments,
                "gen_ai.tool.call.result": result,
                "mcp.server.label": tool.metadata.get("server_label"),
                **{facts.OWN + key: tool.metadata.get(key) for key in ("approval", "approval_wait_ms")},
            }
            span.set_attributes(attributes(named))
            self._add_preset(span, presets.TOOL, lambda: facts.tool_facts(tool, arguments, result), error)
        self._end(opened, opened.start if tool.end is None else tool.end, error)

    def _speech(self, speech: SpeechRun) -> None:
        spans = self._spans
        opened = spans.start_speech(speech.item_id, speech.begin)
        span = opened.span
        if span.is_recording():
            words = None
            if speech.message is not None and self._content.on_spans:
                shown = self._content.messages([speech.message])
                words = str(shown[0].get("content") or "") if shown else None
                span.set_attributes(
                    attributes({"gen_ai.input.messages": json_text([facts.genai_message(each) for each in shown])})
                )
            self._add_preset(span, presets.SPEECH, lambda: {"words": words}, speech.error)
        self._end(opened, speech.end, speech.error)

    def _step(self, step: AgentStep) -> None:
        belongs_below = step.call_id is not None or step.response_id is not None
        if belongs_below and self._spans.above_step(step) is None:
            self._early_steps.append(step)  # in a recovery, the span above starts when its own run is complete
        else:
            self._whole_step(step)

    def _whole_step(self, step: AgentStep) -> None:
        opened = self._spans.start_step(step)
        shown: dict[str, Any] = {}
        if self._content.on_spans and step.found:
            shown = self._content.event({"type": "guardrail_tripped", **step.found})
        opened.span.set_attributes(attributes(facts.step_attributes(step, shown)))
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
            told: dict[str, Any] = self._content.metadata({**end.metadata, **recorded.metadata})
            own = {**self._content.metadata(spans.facts.metadata), **self._content.metadata(self._added_metadata)}
            named = {
                "gen_ai.request.model": end.metadata.get("model"),
                "gen_ai.agent.name": spans.facts.agent_name or facts.first_agent(end),
                **(self._set_up(end) if self._content.on_spans else {}),
                "recording_url": recorded.metadata.get("recording_url"),
                **{facts.OWN + key: value for key, value in told.items() if key != "recording_url"},
                **{f"{facts.OWN}metadata.{key}": value for key, value in own.items() if key != "thread_id"},
            }
            _set_most_important_last(span, named)
            ended = replace(end, metadata=told)
            self._add_preset(
                span, presets.SESSION, lambda: self._session_facts(ended, has_recording=has_recording), end.error
            )
        self._end(OpenSpan(span, 0.0, spans.session_given), end.t, end.error)
        return not_attached is None

    def _session_facts(self, end: ConversationEnd, *, has_recording: bool) -> dict[str, Any]:
        spans = self._spans
        messages = self._content.messages(end.messages) if self._content.on_spans else None
        tags = [*spans.facts.tags, *(tag for tag in self._added_tags if tag not in spans.facts.tags)]
        made = facts.session_facts(end, messages, tags)
        if has_recording:
            made |= {"recording_started_at": spans.ns(0.0) / 1_000_000_000, "recording_start_offset_ms": 0}
        return made

    def _set_up(self, end: ConversationEnd) -> dict[str, Any]:
        set_up = self._content.session(end.inputs)
        instructions, tools = set_up.get("instructions"), set_up.get("tools")
        return {
            "gen_ai.system_instructions": json_text([{"type": "text", "content": instructions}])
            if isinstance(instructions, str)
            else None,
            "gen_ai.tool.definitions": json_text(tools) if tools else None,
        }

    # Details

    def _add_preset(self, span: Span, kind: str, facts_of: Callable[[], Mapping[str, Any]], error: str | None) -> None:
        """Add what the preset names. ``facts_of`` makes the facts, which the preset without rows does not need."""
        rows = presets.rows(self._spans.preset.rows, kind)
        if not rows:
            return
        about_error = {} if error is None else {"error": self._content.error(error), "error_level": "ERROR"}
        told = {**facts_of(), **about_error}
        # The constants again: a helper of the backend that takes the current span may have set others.
        constants = dict(presets.rows(self._spans.preset.constants, kind))
        span.set_attributes(attributes({**{attribute: told.get(fact) for attribute, fact in rows}, **constants}))

    def _end(self, opened: OpenSpan, end: float, error: str | None = None) -> None:
        """Complete a span; :meth:`written` ends it."""
        opened.is_ended = True
        span = opened.span
        if getattr(span, "dropped_attributes", 0):
            # Past its limit, the SDK drops the oldest attributes: those that say what the span is.
            left = getattr(span, "attributes", None) or {}
            span.set_attributes({name: value for name, value in opened.given.items() if name not in left})
        if error is not None and span.is_recording():
            span.set_attribute("error.type", facts.error_type(error))
            span.set_status(Status(StatusCode.ERROR, self._content.error(error)))
        self._ending.append((span, self._spans.ns(max(end, opened.start))))
        opened.span = NonRecordingSpan(span.get_span_context())  # the span may have much content

    def _context(self, opened: OpenSpan | None) -> Context:
        """The context of records and measurements of a span, else of the session."""
        return self._spans.context if opened is None else trace.set_span_in_context(opened.span, self._spans.context)

    def _context_of(self, event: EventRun) -> Context:
        """The context of an event's record: its response's span, else the session's."""
        body = event.payload
        response_id = text(body.get("response_id")) or text(mapping(body.get("response")).get("id"))
        return self._context(self._spans.response(response_id or "", event.ref.start / 1_000_000))

    # Measurements

    def _measure(self, metrics: Metrics, data: RunData) -> None:
        spans = self._spans
        if isinstance(data, EventRun):
            metrics.event(data, self._common, self._context_of(data) if self._has_exemplars else None)
        elif isinstance(data, ModelRun):
            self._responses += 1
            opened = spans.responses.get(str(data.metadata.get("response_id")))
            start = data.parent.start / 1_000_000 if opened is None else opened.start
            context = self._context(opened) if self._has_exemplars else None
            metrics.response(data, start, {**self._common, **spans.facts.server}, context)
        elif isinstance(data, ToolRun):
            self._tool_calls += 1
            opened = spans.tools.get(data.call_id)
            began = data.parent.start if data.began is None else data.began
            start = began / 1_000_000 if opened is None else opened.start
            outcome = "failed" if data.error is not None else "answered" if data.answered else "unanswered"
            seconds = None if data.end is None else data.end - start
            metrics.tool(
                data.name, seconds, outcome, self._common, self._context(opened) if self._has_exemplars else None
            )


def _set_most_important_last(span: Span, named: Mapping[str, Any]) -> None:
    """Set attributes, of which the most important come first, in the opposite order.

    Past its limit (``OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT``), the SDK drops those that were set first.
    """
    span.set_attributes(dict(reversed(attributes(named).items())))


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
    return OtelExporter(
        spans,
        content,
        None if logger is None else Logs(logger, content, common, run_id, logger_provider(options.otel)),
        # A counter that counts an answer twice is wrong, and nothing would say so.
        None if spans.has_died else _asked("its metrics", lambda: metrics_of(given, version)),
        waits=options.keep is not None,
        is_alone=client is None,
    )

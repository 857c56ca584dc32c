"""Measures one conversation: which of its run data is measured, how long it took, and in which span's context."""

from __future__ import annotations

from opentelemetry.context import Context

from langsmith_realtime.core.conversation.run_data import ConversationEnd, EventRun, ModelRun, RunData, ToolRun
from langsmith_realtime.core.protocol.events import Call
from langsmith_realtime.trace.otel import conventions
from langsmith_realtime.trace.otel.metrics.instruments import RATE_LIMITS, Metrics
from langsmith_realtime.trace.otel.spans.conversation_spans import ConversationSpans, OpenSpan


class Measurements:
    """Records one conversation with the metrics of all conversations.

    Args:
        metrics: takes the measurements.
        spans: the conversation's spans, for exemplars.
        has_exemplars: whether measurements have exemplars; those of an open conversation that ``keep=`` has not decided
            on have none.
    """

    def __init__(self, metrics: Metrics, spans: ConversationSpans, *, has_exemplars: bool) -> None:
        self._metrics = metrics
        self._spans = spans
        self._has_exemplars = has_exemplars
        self._common = {"gen_ai.provider.name": spans.facts.provider}
        self._responses, self._tool_calls = 0, 0  # how many of them were measured

    def opened(self) -> None:
        """The conversation opened."""
        self._metrics.opened(1, self._common)

    def discarded(self) -> None:
        """The conversation ended, and it is not kept."""
        self._metrics.opened(-1, self._common)

    def take(self, data: RunData) -> None:
        """Measure some run data."""
        spans = self._spans
        if isinstance(data, EventRun):
            if data.error is not None or data.name == RATE_LIMITS:  # the only events that are measured
                self._metrics.event(data, self._common, spans.context_of(data) if self._has_exemplars else None)
        elif isinstance(data, ModelRun):
            self._responses += 1
            opened = spans.responses.get(str(data.metadata.get("response_id")))
            start = data.parent.start / 1_000_000 if opened is None else opened.start
            common = {**self._common, **spans.facts.server}
            self._metrics.response(data, start, common, self._context(opened))
        elif isinstance(data, ToolRun):
            self._tool_calls += 1
            opened = spans.tools.get(data.call_id)
            began = data.parent.start if data.began is None else data.began
            start = began / 1_000_000 if opened is None else opened.start
            outcome = "failed" if data.error is not None else "answered" if data.answered else "unanswered"
            seconds = None if data.end is None else data.end - start
            self._metrics.tool(data.name, seconds, outcome, self._common, self._context(opened))

    def answered(self, call: Call, tool: OpenSpan, seconds: float) -> None:
        """Measure a call that the application's own run carried out, which took ``seconds``."""
        self._tool_calls += 1
        self._metrics.tool(call.name or "tool", seconds, "answered", self._common, self._spans.context_below(tool))

    def ended(self, end: ConversationEnd) -> None:
        """The conversation ended."""
        spans = self._spans
        about = {
            "gen_ai.request.model": end.metadata.get("model"),
            "gen_ai.agent.name": spans.facts.agent_name or conventions.first_agent(end),
            **spans.facts.server,
        }
        context = spans.context if self._has_exemplars else None
        calls = {"responses": self._responses, "tool_calls": self._tool_calls}
        self._metrics.ended(end.t, {**self._common, **about}, context, end.error, **calls)
        self._metrics.opened(-1, self._common)

    def _context(self, opened: OpenSpan | None) -> Context | None:
        return self._spans.context_below(opened) if self._has_exemplars else None

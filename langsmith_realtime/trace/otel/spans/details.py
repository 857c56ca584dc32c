"""Sets what the spans of a conversation say beyond what they said at their start: attributes, names and span events.

The attributes are those of :mod:`..conventions`, and those that a preset adds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from opentelemetry.trace import Span

from langsmith_realtime.core.conversation.run_data import AgentStep, ConversationEnd, ModelRun, SpeechRun, ToolRun
from langsmith_realtime.core.protocol.inputs import Annotated
from langsmith_realtime.recording.finishing import FinishedRecording
from langsmith_realtime.trace.otel import conventions
from langsmith_realtime.trace.otel.content import Content
from langsmith_realtime.trace.otel.spans import preset_facts, presets
from langsmith_realtime.trace.otel.spans.conversation_spans import ConversationSpans, OpenSpan
from langsmith_realtime.trace.otel.values import attributes, clean, json_text


class SpanDetails:
    """Sets the details of one conversation's spans. Every span that it gets is recording.

    Args:
        spans: the spans that started in the callers' threads.
        content: masks content.
    """

    def __init__(self, spans: ConversationSpans, content: Content) -> None:
        self._spans = spans
        self._content = content
        self._added_metadata: dict[str, Any] = {}
        self._added_tags: list[str] = []

    def annotated(self, annotation: Annotated) -> None:
        """Note what the application added, for the session's span."""
        self._added_metadata.update(annotation.metadata)
        self._added_tags += [tag for tag in annotation.tags if tag not in self._added_tags]

    def response(self, opened: OpenSpan, model: ModelRun, shown: Mapping[str, Any] | None) -> None:
        """Set what a response's span says; ``shown`` is its masked content, None if the span does not show it."""
        spans, span = self._spans, opened.span
        masked = model
        if self._content.calls_application or presets.rows(spans.preset.rows, presets.RESPONSE):
            masked = replace(model, metadata=self._content.metadata(model.metadata))
        # Without a preset, only numbers, ids and states of the metadata are shown, which quote nobody.
        told = conventions.response_attributes(masked, opened.start)
        if shown is not None:
            told = {**self._response_content(shown), **told}
        _set_most_important_last(span, told)
        if model.model and model.model != opened.given.get("gen_ai.request.model"):
            span.update_name(clean(f"chat {model.model}"))
        first_token = None if model.first_token is None else spans.ns(model.first_token)
        self._add_preset(
            span,
            presets.RESPONSE,
            lambda: preset_facts.response_facts(masked, shown, first_token, opened.start),
            model.error,
        )
        self._add_moments(span, model)

    def _response_content(self, shown: Mapping[str, Any]) -> dict[str, Any]:
        instructions = shown["instructions"]
        return {
            "gen_ai.input.messages": json_text([conventions.genai_message(each) for each in shown["messages"]]),
            "gen_ai.output.messages": json_text(
                [conventions.genai_message(shown["message"], shown.get("finish_reason"))]
            ),
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

    def tool(self, opened: OpenSpan, tool: ToolRun, error: str | None) -> None:
        """Set what a tool call's span says, and did not say at its start."""
        span, given = opened.span, opened.given
        is_mcp = "server_label" in tool.metadata or tool.name == "mcp_call"
        if tool.name != given.get("gen_ai.tool.name"):
            span.update_name(clean(f"execute_tool {tool.name}"))
        shows = self._content.on_spans
        arguments = self._content.arguments(tool) if shows else None
        result = self._content.result(tool) if shows else None
        named = attributes(
            {
                "gen_ai.tool.name": tool.name,
                "gen_ai.tool.type": "extension" if is_mcp else "function",
                "gen_ai.tool.call.arguments": arguments,
                "gen_ai.tool.call.result": result,
                "mcp.server.label": tool.metadata.get("server_label"),
                **{conventions.OWN + key: tool.metadata.get(key) for key in ("approval", "approval_wait_ms")},
            }
        )
        span.set_attributes({name: value for name, value in named.items() if value != given.get(name)})
        self._add_preset(span, presets.TOOL, lambda: preset_facts.tool_facts(tool, arguments, result), error)

    def speech(self, span: Span, speech: SpeechRun) -> None:
        """Set what the span of an utterance says."""
        words = None
        if speech.message is not None and self._content.on_spans:
            shown = self._content.messages([speech.message])
            words = str(shown[0].get("content") or "") if shown else None
            span.set_attributes(
                attributes({"gen_ai.input.messages": json_text([conventions.genai_message(each) for each in shown])})
            )
        self._add_preset(span, presets.SPEECH, lambda: {"words": words}, speech.error)

    def step(self, span: Span, step: AgentStep) -> None:
        """Set what the span of an agents' step says."""
        shown: dict[str, Any] = {}
        if self._content.on_spans and step.found:
            shown = self._content.event({"type": "guardrail_tripped", **step.found})
        span.set_attributes(attributes(conventions.step_attributes(step, shown)))

    def session(self, span: Span, end: ConversationEnd, recorded: FinishedRecording, *, has_recording: bool) -> None:
        """Set what the session's span says at the end."""
        spans = self._spans
        told: dict[str, Any] = self._content.metadata({**end.metadata, **recorded.metadata})
        own = {**self._content.metadata(spans.facts.metadata), **self._content.metadata(self._added_metadata)}
        named = {
            "gen_ai.request.model": end.metadata.get("model"),
            "gen_ai.agent.name": spans.facts.agent_name or conventions.first_agent(end),
            **(self._set_up(end) if self._content.on_spans else {}),
            "recording_url": recorded.metadata.get("recording_url"),
            **{conventions.OWN + key: value for key, value in told.items() if key != "recording_url"},
            **{f"{conventions.OWN}metadata.{key}": value for key, value in own.items() if key != "thread_id"},
        }
        _set_most_important_last(span, named)
        ended = replace(end, metadata=told)
        self._add_preset(
            span, presets.SESSION, lambda: self._session_facts(ended, has_recording=has_recording), end.error
        )

    def _session_facts(self, end: ConversationEnd, *, has_recording: bool) -> dict[str, Any]:
        spans = self._spans
        messages = self._content.messages(end.messages) if self._content.on_spans else None
        tags = [*spans.facts.tags, *(tag for tag in self._added_tags if tag not in spans.facts.tags)]
        made = preset_facts.session_facts(end, messages, tags)
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


def _set_most_important_last(span: Span, named: Mapping[str, Any]) -> None:
    """Set attributes, of which the most important come first, in the opposite order.

    Past its limit (``OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT``), the SDK drops those that were set first.
    """
    span.set_attributes(dict(reversed(attributes(named).items())))

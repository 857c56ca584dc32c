"""What each backend reads beside the GenAI conventions, one table a backend.

A row has the kind of span, the attribute that the backend reads, and the name of the fact that it gets. The facts of a
span are those of :mod:`.preset_facts` and :mod:`.conversation_facts`. Sources: docs/otel.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: The kinds of spans; a row for EVERY counts for all of them.
SESSION, SPEECH, RESPONSE, TOOL, EVERY = "session", "speech", "response", "tool", "every"
HANDOFF, GUARDRAIL, APPROVAL = "handoff", "guardrail", "approval"


@dataclass(frozen=True, slots=True)
class Preset:
    """What is added for one backend.

    Attributes:
        rows: kind of span, attribute, and name of the fact.
        constants: kind of span, attribute and value.
        started: rows whose attributes are set when the span starts already; their facts are known then.
        roots_are_linked: whether a remote parent becomes a link of a root, because the backend lists only such roots.
        messages_have_finish_reason: whether an output message always has ``finish_reason``; else it has it only with
            the names of the conventions up to v1.41.
        attachments: the attribute of the session from which the backend reads attachments; None if it takes none.
    """

    rows: tuple[tuple[str, str, str], ...] = ()
    constants: tuple[tuple[str, str, Any], ...] = ()
    started: tuple[tuple[str, str, str], ...] = ()
    roots_are_linked: bool = False
    messages_have_finish_reason: bool = False
    attachments: str | None = None


PRESETS: dict[str, Preset] = {
    "genai": Preset(),
    "langsmith": Preset(
        started=((EVERY, "langsmith.metadata.thread_id", "thread_id"),),
        rows=(
            (SESSION, "gen_ai.completion", "messages_json"),
            (SESSION, "langsmith.span.tags", "tags_text"),
            (SESSION, "langsmith.metadata.ls_audio_recording_started_at", "recording_started_at"),
            (SESSION, "langsmith.metadata.ls_audio_recording_start_offset_ms", "recording_start_offset_ms"),
            (RESPONSE, "gen_ai.prompt", "input_json"),
            (RESPONSE, "gen_ai.completion", "output_json"),
            (RESPONSE, "langsmith.usage_metadata", "usage_json"),
            (TOOL, "gen_ai.prompt", "arguments"),
            (TOOL, "gen_ai.completion", "result"),
            (SPEECH, "gen_ai.prompt", "words"),
        ),
        constants=(
            (SESSION, "langsmith.span.kind", "chain"),
            (SESSION, "langsmith.trace.name", "realtime_session"),
            (SESSION, "langsmith.metadata.ls_modality", "audio"),
            (SPEECH, "langsmith.span.kind", "chain"),
            (RESPONSE, "langsmith.span.kind", "llm"),
            (TOOL, "langsmith.span.kind", "tool"),
        ),
        attachments="langsmith.attachments",
    ),
    "langfuse": Preset(
        started=((EVERY, "langfuse.session.id", "thread_id_200"),),
        rows=(
            # Langfuse's list of traces shows input and output of the root.
            (SESSION, "langfuse.observation.input", "user_words"),
            (SESSION, "langfuse.observation.output", "messages_json"),
            (SESSION, "langfuse.trace.tags", "tags"),
            (SPEECH, "langfuse.observation.input", "words"),
            (RESPONSE, "langfuse.observation.input", "input_json"),
            (RESPONSE, "langfuse.observation.output", "output_json"),
            (RESPONSE, "langfuse.observation.usage_details", "usage_parts_json"),
            (RESPONSE, "langfuse.observation.completion_start_time", "first_token_iso"),
            (RESPONSE, "langfuse.observation.model.name", "model"),
            (TOOL, "langfuse.observation.input", "arguments"),
            (TOOL, "langfuse.observation.output", "result"),
            (EVERY, "langfuse.observation.level", "error_level"),
            (EVERY, "langfuse.observation.status_message", "error"),
        ),
        constants=(
            (SESSION, "langfuse.observation.type", "agent"),
            (SESSION, "langfuse.trace.name", "realtime_session"),
            (SPEECH, "langfuse.observation.type", "span"),
            (RESPONSE, "langfuse.observation.type", "generation"),
            (TOOL, "langfuse.observation.type", "tool"),
        ),
    ),
    "phoenix": Preset(
        started=((EVERY, "session.id", "thread_id"),),
        rows=(
            # Phoenix's list of sessions shows input and output of the root, as text.
            (SESSION, "input.value", "user_words"),
            (SESSION, "output.value", "agent_words"),
            (SPEECH, "input.value", "words"),
            (RESPONSE, "llm.model_name", "model"),
            (RESPONSE, "input.value", "input_json"),
            (RESPONSE, "input.mime_type", "input_mime_type"),
            (RESPONSE, "output.value", "output_text"),
            (RESPONSE, "output.mime_type", "output_mime_type"),
            (RESPONSE, "llm.token_count.prompt", "input_tokens"),
            (RESPONSE, "llm.token_count.completion", "output_tokens"),
            (RESPONSE, "llm.token_count.total", "total_tokens"),
            (RESPONSE, "llm.token_count.prompt_details.audio", "audio_input_tokens"),
            (RESPONSE, "llm.token_count.prompt_details.cache_read", "cached_tokens"),
            (RESPONSE, "llm.token_count.completion_details.audio", "audio_output_tokens"),
            (TOOL, "tool.name", "tool_name"),
            (TOOL, "input.value", "arguments"),
            (TOOL, "output.value", "result"),
        ),
        constants=(
            (SESSION, "openinference.span.kind", "AGENT"),
            (SPEECH, "openinference.span.kind", "CHAIN"),
            (RESPONSE, "openinference.span.kind", "LLM"),
            (TOOL, "openinference.span.kind", "TOOL"),
            (HANDOFF, "openinference.span.kind", "CHAIN"),
            (GUARDRAIL, "openinference.span.kind", "GUARDRAIL"),
            (APPROVAL, "openinference.span.kind", "CHAIN"),
        ),
        messages_have_finish_reason=True,
    ),
    "braintrust": Preset(
        roots_are_linked=True,
        rows=(
            (SESSION, "braintrust.input_json", "spoken_json"),
            (SESSION, "braintrust.output_json", "messages_json"),
            (SESSION, "braintrust.metadata", "metadata_json"),
            (SESSION, "braintrust.metrics", "session_metrics_json"),
            (SESSION, "braintrust.tags", "tags"),
            (SESSION, "braintrust.scores", "scores_json"),
            (SPEECH, "braintrust.input", "words"),
            (RESPONSE, "braintrust.input_json", "input_json"),
            (RESPONSE, "braintrust.output_json", "output_json"),
            (RESPONSE, "braintrust.metadata", "metadata_json"),
            (RESPONSE, "braintrust.metrics", "response_metrics_json"),
            (TOOL, "braintrust.input", "arguments"),
            (TOOL, "braintrust.output", "result"),
        ),
        constants=(
            (SESSION, "braintrust.span_attributes.type", "task"),
            (SPEECH, "braintrust.span_attributes.type", "task"),
            (RESPONSE, "braintrust.span_attributes.type", "llm"),
            (TOOL, "braintrust.span_attributes.type", "tool"),
        ),
    ),
    "azure": Preset(
        # The Azure distro reads the legacy key only, and loses the description of a status.
        started=((EVERY, "session.id", "thread_id"), (RESPONSE, "gen_ai.system", "provider")),
        rows=((EVERY, "error.message", "error"),),
    ),
    "datadog": Preset(started=((EVERY, "session.id", "thread_id"),)),
    "honeycomb": Preset(
        # Honeycomb joins the spans of a conversation by this key.
        started=((EVERY, "gen_ai.conversation.id", "thread_id"),),
    ),
}


def rows(table: tuple[tuple[str, str, Any], ...], kind: str) -> list[tuple[str, Any]]:
    """The attribute and the fact, or the value, of each row for a kind of span."""
    return [(attribute, value) for of, attribute, value in table if of in (kind, EVERY)]

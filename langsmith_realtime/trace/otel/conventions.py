"""The GenAI conventions: their attributes, their messages, and how they count and name what happened.

Pure. Spans, log records and metrics use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langsmith_realtime.core.conversation.run_data import AgentStep, ConversationEnd, ModelRun
from langsmith_realtime.core.payloads.errors import as_code
from langsmith_realtime.core.protocol.events import mapping, number, text
from langsmith_realtime.core.protocol.usage import MODALITIES
from langsmith_realtime.trace.otel.values import json_text

#: The conventions' finish reasons, by the status of a response.
_FINISH_REASONS = {"completed": "stop", "cancelled": "stop", "incomplete": "length", "failed": "error"}
#: The conventions' attributes of tokens, by the names of :func:`token_counts`.
_USAGE = {
    "input": "gen_ai.usage.input_tokens",
    "output": "gen_ai.usage.output_tokens",
    "cached": "gen_ai.usage.cache_read.input_tokens",
    "reasoning": "gen_ai.usage.reasoning.output_tokens",
    **{f"{name}_input": f"gen_ai.usage.{name}.input_tokens" for name in MODALITIES},
    **{f"{name}_output": f"gen_ai.usage.{name}.output_tokens" for name in MODALITIES},
    **{f"{name}_cached": f"gen_ai.usage.{name}.cache_read.input_tokens" for name in MODALITIES},
}
#: Of each modality: its name, its three names of :func:`token_counts`, and the number of its cached tokens.
_MODALITY_NAMES = [
    (name, f"{name}_input", f"{name}_output", f"{name}_cached", f"cached_{name}_tokens") for name in MODALITIES
]
#: The prefix of attributes that no convention names.
OWN = "langsmith_realtime."
#: The types of numbers; a bool is none.
NUMBERS = (int, float)


def is_unfinished(model: ModelRun) -> bool:
    """Whether the conversation ended before the server said how the response ended."""
    return model.finish_reason in ("unknown", "in_progress")


def finish_reason(model: ModelRun) -> str | None:
    """How a response ended, in the conventions' words; None if nobody said."""
    if is_unfinished(model):
        return None
    reason = model.metadata.get("status_reason")
    if model.finish_reason == "incomplete" and reason == "content_filter":
        return "content_filter"
    return _FINISH_REASONS.get(model.finish_reason) or as_code(model.finish_reason)


def finish_reasons(model: ModelRun) -> list[str] | None:
    """The attribute ``gen_ai.response.finish_reasons``."""
    reason = finish_reason(model)
    return None if reason is None else [reason]


def token_counts(model: ModelRun) -> dict[str, int]:
    """A response's tokens: ``input``, ``output``, ``<modality>_input`` with the cached ones, ``<modality>_output``,
    ``cached``, ``<modality>_cached`` and ``reasoning``; as far as they are known."""
    usage, metadata = mapping(model.usage), model.metadata
    inputs, outputs = mapping(usage.get("input_token_details")), mapping(usage.get("output_token_details"))
    counts: dict[str, Any] = {
        "input": usage.get("input_tokens"),
        "output": usage.get("output_tokens"),
        "cached": inputs.get("cache_read"),
        "reasoning": outputs.get("reasoning"),
    }
    for name, as_input, as_output, as_cached, number_of_cached in _MODALITY_NAMES:
        counts[as_cached] = metadata.get(number_of_cached)
        counts[as_input] = model.input_tokens.get(name)
        counts[as_output] = outputs.get(name)
    if counts["text_output"] is not None and counts["reasoning"]:
        counts["text_output"] += counts["reasoning"]  # the conventions count reasoning as output text
    return {key: int(value) for key, value in counts.items() if value is not None}


def usage_attributes(counts: Mapping[str, int]) -> dict[str, Any]:
    """The conventions' ``gen_ai.usage.…`` attributes."""
    return {_USAGE[name]: count for name, count in counts.items()}


def first_chunk_seconds(model: ModelRun, start: float) -> float | None:
    """Seconds from the request, when the span of the response starts, to the first delta; None without a delta.

    The conventions count from the request, ``time_to_first_token_ms`` of docs/numbers.md from ``response.created``.
    """
    return None if model.first_token is None else round(max(0.0, model.first_token - start), 6)


def response_attributes(model: ModelRun, start: float) -> dict[str, Any]:
    """The attributes of a response's span, which starts at ``start``, without content."""
    metadata, parameters = model.metadata, model.parameters
    limit = number(parameters.get("max_output_tokens"))
    if limit is None:
        limit = number(parameters.get("max_response_output_tokens"))
    temperature = number(parameters.get("temperature"))
    speaks = "spoken_ms" in metadata or "heard_ms" in metadata
    return {
        "gen_ai.request.model": model.model,
        "gen_ai.response.model": model.model,
        "gen_ai.response.id": metadata.get("response_id"),
        "gen_ai.response.finish_reasons": finish_reasons(model),
        "gen_ai.response.time_to_first_chunk": first_chunk_seconds(model, start),
        "gen_ai.request.max_tokens": None if limit is None else int(limit),
        "gen_ai.request.reasoning.level": text(mapping(parameters.get("reasoning")).get("effort")),
        "gen_ai.request.temperature": None if temperature is None else float(temperature),
        "gen_ai.output.type": "speech" if speaks else "text",
        "gen_ai.agent.name": metadata.get("agent"),
        **usage_attributes(token_counts(model)),
        **{OWN + key: value for key, value in metadata.items() if type(value) in NUMBERS},
        OWN + "status": as_code(metadata.get("status")),
        OWN + "guardrails": metadata.get("guardrails"),
        OWN + "interrupted": True if model.interrupted or metadata.get("was_interrupted") else None,
    }


def step_attributes(step: AgentStep, shown: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of the span of an agents' step; ``shown`` is what a guardrail found, masked, if it is shown.

    No convention names these steps, so their own attributes have this package's prefix.
    """
    named: dict[str, Any] = {"gen_ai.agent.name": step.agent, "gen_ai.tool.call.id": step.call_id}
    if step.kind == "handoff":
        return {**named, OWN + "handoff.to": step.name}
    if step.kind == "approval":
        answer = {True: "approved", False: "rejected", None: "unanswered"}[step.approved]
        return {**named, "gen_ai.tool.name": step.name, OWN + "approval": answer}
    found = {f"{OWN}guardrail.{key}": shown.get(key) for key in ("info", "message")}
    return {**named, "gen_ai.response.id": step.response_id, OWN + "guardrail.name": step.name, **found}


def first_agent(end: ConversationEnd) -> str | None:
    """The SDK's agent that began the conversation; None without one."""
    return next(iter(end.metadata.get("agents") or ()), None)


def genai_message(message: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
    """A chat message in the conventions' form, with parts; ``finish`` is its ``finish_reason``, if it has one."""
    role = str(message.get("role") or "user")
    content = message.get("content")
    parts: list[dict[str, Any]] = []
    if role == "tool":
        parts.append({"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content})
    elif content:
        parts.append({"type": "text", "content": content if isinstance(content, str) else json_text(content)})
    for call in message.get("tool_calls") or []:
        function = mapping(mapping(call).get("function"))
        parts.append(
            {
                "type": "tool_call",
                "id": mapping(call).get("id"),
                "name": function.get("name"),
                "arguments": function.get("arguments"),
            }
        )
    made: dict[str, Any] = {"role": role, "parts": parts}
    if finish is not None:
        made["finish_reason"] = finish
    return made


def error_type(error: str) -> str:
    """A short word for an error: what of its text cannot quote the conversation."""
    kind = str(getattr(error, "kind", "error")).split(";")[0]
    return kind.rsplit(": ", 1)[-1][:100] or "error"

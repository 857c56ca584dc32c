"""The facts of the spans, which the presets name: what a backend reads beside the GenAI conventions.

Pure. A fact that is content (words, arguments, results) is None where content is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from langsmith_realtime.core.conversation.run_data import ConversationEnd, ModelRun, ToolRun
from langsmith_realtime.core.protocol.usage import MODALITIES
from langsmith_realtime.trace.otel.conventions import NUMBERS, first_chunk_seconds, token_counts
from langsmith_realtime.trace.otel.values import json_text


def response_facts(
    model: ModelRun, shown: Mapping[str, Any] | None, first_token_ns: int | None, start: float
) -> dict[str, Any]:
    """The facts of a response for presets; ``shown`` is its masked content, None if it is not shown."""
    counts = token_counts(model)
    total = counts.get("input", 0) + counts.get("output", 0)
    metrics = {
        "prompt_tokens": counts.get("input"),
        "completion_tokens": counts.get("output"),
        "tokens": total or None,
        "prompt_cached_tokens": counts.get("cached"),
        "prompt_audio_tokens": counts.get("audio_input"),
        "completion_audio_tokens": counts.get("audio_output"),
        "completion_reasoning_tokens": counts.get("reasoning"),
        "time_to_first_token": first_chunk_seconds(model, start),
    }
    facts: dict[str, Any] = {
        "model": model.model,
        "input_tokens": counts.get("input"),
        "output_tokens": counts.get("output"),
        "total_tokens": total or None,
        "cached_tokens": counts.get("cached"),
        "audio_input_tokens": counts.get("audio_input"),
        "audio_output_tokens": counts.get("audio_output"),
        "usage_json": None if model.usage is None else json_text(model.usage),
        "usage_parts_json": None if model.usage is None else json_text(_parts(counts)),
        "response_metrics_json": json_text({key: value for key, value in metrics.items() if value is not None}),
        "first_token_iso": None if first_token_ns is None else _iso(first_token_ns),
        "metadata_json": json_text({"model": model.model, **model.metadata}),
    }
    if shown is not None:
        answer = shown["message"]
        output = json_text({"messages": [answer]})
        history = {"conversation_history": shown["messages"]}
        facts |= {
            "input_json": json_text({"messages": shown["messages"]}),
            "input_mime_type": "application/json",
            "output_json": output,
            "output_text": str(answer.get("content") or output),  # JSON for a response that only calls tools
            "output_mime_type": "text/plain" if answer.get("content") else "application/json",
            "metadata_json": json_text({"model": model.model, **model.metadata, **history}),
        }
    return facts


def tool_facts(tool: ToolRun, arguments: str | None, result: str | None) -> dict[str, Any]:
    """The facts of a tool call for presets."""
    return {"tool_name": tool.name, "arguments": arguments, "result": result}


def session_facts(end: ConversationEnd, messages: list[dict[str, Any]] | None, tags: list[str]) -> dict[str, Any]:
    """The facts of the whole conversation for presets; ``messages`` are masked, None if they are not shown."""
    numbers = {key: value for key, value in end.metadata.items() if type(value) in NUMBERS}
    renamed = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens", "tokens": "total_tokens"}
    metrics = {"duration": numbers.get("duration_s"), **{name: numbers.get(key) for name, key in renamed.items()}}
    # A score of Braintrust's lies between 0 and 1, a metric may be any number.
    shares = {name: score for name, score in end.scores.items() if name.endswith("_share")}
    metrics |= {name: score for name, score in end.scores.items() if name not in shares}
    facts: dict[str, Any] = {
        "session_metrics_json": json_text({key: value for key, value in metrics.items() if value is not None}),
        "metadata_json": json_text(end.metadata),
        "scores_json": json_text(shares) if shares else None,
        "tags": tags or None,
        "tags_text": ",".join(tags) or None,
    }
    if messages is not None:
        facts["messages_json"] = json_text({"messages": messages})
        facts["spoken_json"] = json_text({"messages": [each for each in messages if each.get("role") == "user"]})
        facts["metadata_json"] = json_text({**end.metadata, "conversation_history": messages})
        facts |= {"user_words": _words(messages, "user"), "agent_words": _words(messages, "assistant")}
    return facts


def _words(messages: list[dict[str, Any]], role: str) -> str | None:
    """What one side said and wrote, a line for each message; None if that is nothing."""
    return (
        "\n".join(str(each["content"]) for each in messages if each.get("role") == role and each.get("content")) or None
    )


def _parts(counts: Mapping[str, int]) -> dict[str, int]:
    """A response's tokens, none of them twice, with the total: for a backend that adds up what it gets."""
    parts: dict[str, int] = {}
    for side in ("input", "output"):
        known = 0
        for name in MODALITIES:
            count = counts.get(f"{name}_{side}")
            if count is None:
                continue
            cached = counts.get(f"{name}_cached", 0) if side == "input" else 0
            parts[f"{side}_{name}"] = count - cached
            if cached:
                parts[f"input_cached_{name}"] = cached
            known += count
        rest = counts.get(side, 0) - known
        if rest > 0:
            parts[side] = rest
    return {**parts, "total": counts.get("input", 0) + counts.get("output", 0)}


def _iso(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1_000_000_000, UTC).isoformat().replace("+00:00", "Z")

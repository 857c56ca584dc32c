"""Token counts: Realtime's ``usage`` → LangSmith's ``usage_metadata``.

Pure. LangSmith refuses unknown keys in ``usage_metadata``, so only its own names are used: the one
``cache_read`` total there, the parts it splits into as plain metadata.
"""

from __future__ import annotations

from typing import Any

from langsmith_realtime.events import mapping, number

MODALITIES = ("audio", "text", "image")


def usage_metadata(usage: object) -> dict[str, Any] | None:
    """What LangSmith works the cost out of, in tokens; None when the response reported no usage.

    ``usage`` is ``response.usage`` of ``response.done``: ``input_tokens``, ``output_tokens``,
    ``total_tokens``, ``input_token_details`` and ``output_token_details`` with ``<modality>_tokens``;
    ``cached_tokens`` is a part of the input, not beside it.
    """
    counts = mapping(usage)
    given, produced, total = (_count(counts, f"{key}_tokens") for key in ("input", "output", "total"))
    if given is None and produced is None and total is None:
        return None
    result: dict[str, Any] = {
        "input_tokens": given or 0,
        "output_tokens": produced or 0,
        "total_tokens": total if total is not None else (given or 0) + (produced or 0),
    }
    details = mapping(counts.get("input_token_details"))
    split = _modalities(details)
    cached = _count(details, "cached_tokens")
    if cached is not None:
        split["cache_read"] = cached
    if split:
        result["input_token_details"] = split
    details = mapping(counts.get("output_token_details"))
    split = _modalities(details)
    reasoning = _count(details, "reasoning_tokens")
    if reasoning is not None:
        split["reasoning"] = reasoning
    if split:
        result["output_token_details"] = split
    return result


def cached_parts(usage: object) -> dict[str, int]:
    """What the cached input tokens were: ``cached_audio_tokens``, ``cached_text_tokens``, ``cached_image_tokens``."""
    details = mapping(mapping(mapping(usage).get("input_token_details")).get("cached_tokens_details"))
    return {f"cached_{name}_tokens": count for name, count in _modalities(details).items()}


def _modalities(details: dict[str, Any]) -> dict[str, int]:
    counts = {name: _count(details, f"{name}_tokens") for name in MODALITIES}
    return {name: count for name, count in counts.items() if count is not None}


def _count(counts: dict[str, Any], key: str) -> int | None:
    value = number(counts.get(key))
    return None if value is None or value < 0 else int(value)

"""Converts Realtime's ``usage`` into LangSmith's ``usage_metadata``, and sums up the usage of a conversation.

Pure. LangSmith refuses unknown keys in ``usage_metadata``, which has one ``cache_read`` for all cached tokens. The
cached tokens of each modality therefore go into the plain metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langsmith_realtime.core.protocol.events import mapping, number

MODALITIES = ("audio", "text", "image")
#: Stands for the model until the server names one.
UNKNOWN_MODEL = "unknown"
#: The kind of tokens whose modality was not reported, so that they have no price.
UNSPLIT = "unsplit"


def usage_metadata(usage: object) -> dict[str, Any] | None:
    """LangSmith's ``usage_metadata`` of a response, in tokens; None if the response reported no usage.

    ``usage`` is the ``response.usage`` of ``response.done``. The result has ``input_tokens``, ``output_tokens`` and
    ``total_tokens`` and, as far as they were reported, ``input_token_details`` by modality with ``cache_read`` and
    ``output_token_details`` by modality with ``reasoning``. Cached tokens are included in the input tokens.
    """
    counts = mapping(usage)
    inputs, outputs, total = (_count(counts, f"{key}_tokens") for key in ("input", "output", "total"))
    if inputs is None and outputs is None and total is None:
        return None
    result: dict[str, Any] = {
        "input_tokens": inputs or 0,
        "output_tokens": outputs or 0,
        "total_tokens": total if total is not None else (inputs or 0) + (outputs or 0),
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
    """The reported cached input tokens: ``cached_audio_tokens``, ``cached_text_tokens``, ``cached_image_tokens``."""
    details = mapping(mapping(mapping(usage).get("input_token_details")).get("cached_tokens_details"))
    return {f"cached_{name}_tokens": count for name, count in _modalities(details).items()}


def charges_of_response(usage: object) -> dict[str, int]:
    """A response's tokens by kind of charge: a field of ``Price``, or :data:`UNSPLIT`.

    Cached tokens are subtracted from the input tokens of their modality. If their modality is not reported, they
    count as text first, then as audio, then as images: the cache holds the beginning of the input, which has the
    instructions. Output tokens beyond the reported modalities are reasoning, which is charged as text. Tokens are
    :data:`UNSPLIT` if they are input beyond the reported modalities, or output without any reported modality.
    """
    counts = mapping(usage)
    details = mapping(counts.get("input_token_details"))
    inputs, outputs = _modalities(details), _modalities(mapping(counts.get("output_token_details")))
    cached_by_modality = _modalities(mapping(details.get("cached_tokens_details")))
    unassigned = (_count(details, "cached_tokens") or 0) - sum(cached_by_modality.values())
    charges: dict[str, int] = {}
    for name in ("text", "audio", "image"):
        count = inputs.get(name, 0)
        cached = min(count, cached_by_modality.get(name, 0))
        more = max(0, min(count - cached, unassigned))
        unassigned -= more
        charges[f"{name}_input"], charges[f"cached_{name}_input"] = count - cached - more, cached + more
        charges[f"{name}_output"] = outputs.get(name, 0)
    unsplit_input = (_count(counts, "input_tokens") or 0) - sum(inputs.values())
    unsplit_output = max(0, (_count(counts, "output_tokens") or 0) - sum(outputs.values()))
    if outputs:
        charges["text_output"] += unsplit_output
        unsplit_output = 0
    charges[UNSPLIT] = max(0, unsplit_input) + unsplit_output
    return {kind: count for kind, count in charges.items() if count}


def charges_of_transcription(usage: object) -> dict[str, float]:
    """A transcription's tokens by kind of charge, or its length in minutes as ``per_minute``.

    ``usage`` is that of the event ``….input_audio_transcription.completed``. Seconds take precedence over tokens.
    Without seconds, and without input or output tokens, the result is one :data:`UNSPLIT` token, which makes the
    estimated cost incomplete.
    """
    counts = mapping(usage)
    seconds = number(counts.get("seconds"))
    if seconds is not None and seconds >= 0:
        return {"per_minute": seconds / 60}
    inputs, outputs = _count(counts, "input_tokens"), _count(counts, "output_tokens")
    if inputs is None or outputs is None:
        return {UNSPLIT: 1}
    prompt = min(inputs, _count(mapping(counts.get("input_token_details")), "text_tokens") or 0)
    return {"text_input": prompt, "audio_input": inputs - prompt, "text_output": outputs}


class Usage:
    """The usage of a conversation: all responses, including out-of-band ones, and all transcriptions."""

    def __init__(self) -> None:
        #: By model, then by kind of charge (see :func:`charges_of_response`): tokens, or minutes.
        self.charges: dict[str, dict[str, float]] = {}
        self._sums: dict[str, float] = {}

    def add_response(self, model: str | None, usage: object) -> None:
        """Add a response of that model; ``usage`` is the ``response.usage`` of ``response.done``.

        A response without token counts is ignored.
        """
        reported = usage_metadata(usage)
        if reported is None:
            return
        inputs, outputs = reported.get("input_token_details", {}), reported.get("output_token_details", {})
        _add(self._sums, {f"{side}_tokens": reported[f"{side}_tokens"] for side in ("input", "output", "total")})
        _add(self._sums, {f"input_{name}_tokens": inputs[name] for name in MODALITIES if name in inputs})
        _add(self._sums, {f"output_{name}_tokens": outputs[name] for name in MODALITIES if name in outputs})
        _add(self._sums, {"cached_tokens": inputs["cache_read"]} if "cache_read" in inputs else {})
        _add(self._sums, cached_parts(usage))
        _add(self._sums, {"reasoning_tokens": outputs["reasoning"]} if "reasoning" in outputs else {})
        _add(self.charges.setdefault(model or UNKNOWN_MODEL, {}), charges_of_response(usage))

    def add_transcription(self, model: str | None, usage: object) -> None:
        """Add a transcription of the user's audio by that model; ``usage`` has tokens or seconds, or is missing."""
        charges = charges_of_transcription(usage)
        if "per_minute" in charges:
            _add(self._sums, {"transcription_seconds": charges["per_minute"] * 60})
        elif UNSPLIT not in charges:
            inputs = charges["text_input"] + charges["audio_input"]
            _add(self._sums, {"transcription_input_tokens": inputs})
            _add(self._sums, {"transcription_output_tokens": charges["text_output"]})
        _add(self.charges.setdefault(model or UNKNOWN_MODEL, {}), charges)

    def totals(self) -> dict[str, float]:
        """The sums for the root's metadata; a sum of which no part was reported is absent.

        Of all responses: ``input_tokens``, ``output_tokens`` and ``total_tokens``; the parts of the input
        ``input_<modality>_tokens``, ``cached_tokens`` and ``cached_<modality>_tokens``; the parts of the output
        ``output_<modality>_tokens`` and ``reasoning_tokens``. Of all transcriptions, which are charged separately:
        ``transcription_input_tokens`` and ``transcription_output_tokens``, or ``transcription_seconds``.
        """
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in self._sums.items()}


def _add(sums: dict[str, float], more: Mapping[str, float]) -> None:
    for key, value in more.items():
        sums[key] = sums.get(key, 0) + value


def _modalities(details: dict[str, Any]) -> dict[str, int]:
    counts = {name: _count(details, f"{name}_tokens") for name in MODALITIES}
    return {name: count for name, count in counts.items() if count is not None}


def _count(counts: dict[str, Any], key: str) -> int | None:
    value = number(counts.get(key))
    return None if value is None or value < 0 else int(value)

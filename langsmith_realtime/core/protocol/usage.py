"""Token counts: Realtime's ``usage`` → LangSmith's ``usage_metadata``, and a conversation's sums.

Pure. LangSmith refuses unknown keys in ``usage_metadata``, so only its own names are used: the one
``cache_read`` total there, the parts it splits into as plain metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langsmith_realtime.core.protocol.events import mapping, number

MODALITIES = ("audio", "text", "image")
#: A model whose name was never told.
UNKNOWN_MODEL = "unknown"
#: What is charged for, but was not told apart by what it costs.
UNSPLIT = "unsplit"


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


def charges_of_response(usage: object) -> dict[str, int]:
    """A response's tokens by what is charged differently: the fields of ``Price``, or :data:`UNSPLIT`.

    Cached tokens are taken out of the input they are a part of. Where it is not told which they were, they
    count as text first: the instructions stand at the beginning, and the beginning is what is cached.
    Output beyond the reported modalities is reasoning, which is text.
    """
    counts = mapping(usage)
    details = mapping(counts.get("input_token_details"))
    given, made = _modalities(details), _modalities(mapping(counts.get("output_token_details")))
    known = _modalities(mapping(details.get("cached_tokens_details")))
    untold = (_count(details, "cached_tokens") or 0) - sum(known.values())
    charges: dict[str, int] = {}
    for name in ("text", "audio", "image"):
        count = given.get(name, 0)
        cached = min(count, known.get(name, 0))
        more = max(0, min(count - cached, untold))
        untold -= more
        charges[f"{name}_input"], charges[f"cached_{name}_input"] = count - cached - more, cached + more
        charges[f"{name}_output"] = made.get(name, 0)
    input_rest = (_count(counts, "input_tokens") or 0) - sum(given.values())
    output_rest = max(0, (_count(counts, "output_tokens") or 0) - sum(made.values()))
    if made:
        charges["text_output"] += output_rest
        output_rest = 0
    charges[UNSPLIT] = max(0, input_rest) + output_rest
    return {kind: count for kind, count in charges.items() if count}


def charges_of_transcription(usage: object) -> dict[str, float]:
    """A transcription's tokens, or its ``per_minute`` minutes; :data:`UNSPLIT` when neither was reported."""
    counts = mapping(usage)
    seconds = number(counts.get("seconds"))
    if seconds is not None and seconds >= 0:
        return {"per_minute": seconds / 60}
    read, written = _count(counts, "input_tokens"), _count(counts, "output_tokens")
    if read is None or written is None:
        return {UNSPLIT: 1}
    prompt = min(read, _count(mapping(counts.get("input_token_details")), "text_tokens") or 0)
    return {"text_input": prompt, "audio_input": read - prompt, "text_output": written}


class Usage:
    """What a conversation used: all its responses, out-of-band ones too, and all its transcriptions."""

    def __init__(self) -> None:
        #: By model, by what is charged differently (see :func:`charges_of_response`): tokens, or minutes.
        self.charges: dict[str, dict[str, float]] = {}
        self._sums: dict[str, float] = {}

    def responded(self, model: str | None, usage: object) -> None:
        """A response of that model is done; ``usage`` is its ``response.usage``."""
        reported = usage_metadata(usage)
        if reported is None:
            return
        given, made = reported.get("input_token_details", {}), reported.get("output_token_details", {})
        _add(self._sums, {f"{side}_tokens": reported[f"{side}_tokens"] for side in ("input", "output", "total")})
        _add(self._sums, {f"input_{name}_tokens": given[name] for name in MODALITIES if name in given})
        _add(self._sums, {f"output_{name}_tokens": made[name] for name in MODALITIES if name in made})
        _add(self._sums, {"cached_tokens": given["cache_read"]} if "cache_read" in given else {})
        _add(self._sums, cached_parts(usage))
        _add(self._sums, {"reasoning_tokens": made["reasoning"]} if "reasoning" in made else {})
        _add(self.charges.setdefault(model or UNKNOWN_MODEL, {}), charges_of_response(usage))

    def transcribed(self, model: str | None, usage: object) -> None:
        """That model transcribed what the user said; ``usage`` is by tokens, by seconds, or missing."""
        charges = charges_of_transcription(usage)
        if "per_minute" in charges:
            _add(self._sums, {"transcription_seconds": charges["per_minute"] * 60})
        elif UNSPLIT not in charges:
            read = charges["text_input"] + charges["audio_input"]
            _add(self._sums, {"transcription_input_tokens": read})
            _add(self._sums, {"transcription_output_tokens": charges["text_output"]})
        _add(self.charges.setdefault(model or UNKNOWN_MODEL, {}), charges)

    def numbers(self) -> dict[str, float]:
        """The sums of what was reported, for the root's metadata; what never was is absent.

        ``input_tokens``, ``output_tokens`` and ``total_tokens`` of the responses; of their input
        ``input_<modality>_tokens``, and ``cached_tokens`` with ``cached_<modality>_tokens``; of their output
        ``output_<modality>_tokens`` and ``reasoning_tokens``. The transcription of the user is charged apart and
        stands apart: ``transcription_input_tokens`` and ``transcription_output_tokens``, or
        ``transcription_seconds``.
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

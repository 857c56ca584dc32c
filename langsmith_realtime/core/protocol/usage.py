"""Converts Realtime's ``usage`` into LangSmith's ``usage_metadata``, and sums up the usage of a conversation.

Pure. :func:`usage_of` finds the report in an event, and :func:`read_usage` reads it, however its keys are spelled.
LangSmith refuses unknown keys in ``usage_metadata``, which has one ``cache_read`` for all cached tokens. The cached
tokens of each modality therefore go into the plain metadata.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from langsmith_realtime.core.protocol.events import mapping, number

MODALITIES = ("audio", "text", "image")
#: Stands for the model if nobody names one.
UNKNOWN_MODEL = "unknown"
#: The kind of tokens whose modality was not reported, so that they have no price.
UNSPLIT = "unsplit"

#: Keys under which an event, or its ``response``, has its usage.
_USAGE_KEYS = ("usage", "usage_metadata", "usageMetadata", "token_usage")
#: Keys of the length of the transcribed audio, and how many of its units make a second.
_LENGTH_KEYS = {
    "seconds": 1,
    "duration": 1,
    "duration_seconds": 1,
    "audio_seconds": 1,
    "input_audio_seconds": 1,
    "audio_duration_seconds": 1,
    "duration_ms": 1000,
    "audio_ms": 1000,
    "audio_duration_ms": 1000,
}
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Reported:
    """A report of usage, in tokens; a count that the server did not report is None or missing.

    Attributes:
        input, output, total: the counts.
        inputs: input tokens by modality. They include the cached ones.
        cached: cached input tokens.
        cached_inputs: cached input tokens by modality.
        outputs: output tokens by modality. Text may include the reasoning tokens.
        reasoning: reasoning tokens, a part of the output tokens.
        seconds: length of the transcribed audio.
    """

    input: int | None
    output: int | None
    total: int | None
    inputs: dict[str, int]
    cached: int | None
    cached_inputs: dict[str, int]
    outputs: dict[str, int]
    reasoning: int | None
    seconds: float | None


def usage_of(body: Mapping[str, Any]) -> object:
    """The usage that an event reports, in its ``response`` or beside it; None if it reports none.

    A report without any count is none. A report of zeros is taken only if there is no other one.
    """
    places = (mapping(body.get("response")), body)
    given = [place[key] for place in places for key in _USAGE_KEYS if place.get(key)]
    reports = [(usage, read_usage(usage)) for usage in given]
    found = [(usage, report) for usage, report in reports if report is not None]
    for usage, report in found:
        if report.input or report.output or report.total or report.seconds:
            return usage
    return found[0][0] if found else None


def read_usage(usage: object) -> Reported | None:
    """The counts of a usage object, however its keys are spelled; None if it has neither tokens nor a length.

    ``promptTokens`` and ``prompt_tokens`` are ``input_tokens``, ``completion_tokens`` are ``output_tokens``, and
    ``input_tokens_details`` are ``input_token_details``. Details by modality may stand beside the counts
    (``input_audio_tokens``). A count must be a number and not negative. Without a length of audio
    (``seconds``, ``duration`` in seconds, ``duration_ms``, …), ``seconds`` is None.
    """
    counts = _canonical(usage)
    inputs, outputs, total = (_count(counts, f"{key}_tokens") for key in ("input", "output", "total"))
    lengths = ((number(counts.get(key)), units) for key, units in _LENGTH_KEYS.items())
    seconds = next((length / units for length, units in lengths if length is not None and length >= 0), None)
    if counts.get("type") == "tokens":
        seconds = None
    if inputs is None and outputs is None and total is None and seconds is None:
        return None
    input_details = _canonical(counts.get("input_token_details"))
    output_details = _canonical(counts.get("output_token_details"))
    by_modality = _modalities(_canonical(input_details.get("cached_token_details")))
    cached_inputs = by_modality or _modalities(input_details, "cached_")
    cached = _first(
        _count(input_details, "cached_tokens"),
        _count(counts, "cached_tokens"),
        _count(counts, "cached_input_tokens"),
        sum(cached_inputs.values()) if cached_inputs else None,
    )
    return Reported(
        inputs,
        outputs,
        total,
        _modalities(input_details) or _modalities(counts, "input_"),
        cached,
        cached_inputs,
        _modalities(output_details) or _modalities(counts, "output_"),
        _first(_count(output_details, "reasoning_tokens"), _count(counts, "reasoning_tokens")),
        seconds,
    )


def usage_metadata(usage: object) -> dict[str, Any] | None:
    """LangSmith's ``usage_metadata`` of a response, in tokens; None if the response reported no tokens.

    The result has ``input_tokens``, ``output_tokens`` and ``total_tokens`` and, as far as they were reported,
    ``input_token_details`` by modality with ``cache_read`` and ``output_token_details`` by modality with ``reasoning``.
    LangSmith charges each detail by itself, so the details count no token twice: cached tokens are in ``cache_read``
    alone, reasoning tokens in ``reasoning`` alone.
    """
    reported = read_usage(usage)
    if reported is None or (reported.input is None and reported.output is None and reported.total is None):
        return None
    inputs, outputs = reported.input or 0, reported.output or 0
    result: dict[str, Any] = {
        "input_tokens": inputs,
        "output_tokens": outputs,
        "total_tokens": reported.total if reported.total is not None else inputs + outputs,
    }
    uncached, cached = _cached_apart(reported)
    split = {name: uncached[name] for name in MODALITIES if name in uncached}
    if reported.cached is not None:
        split["cache_read"] = sum(cached.values())
    if split:
        result["input_token_details"] = split
    split = {name: reported.outputs[name] for name in MODALITIES if name in reported.outputs}
    if reported.reasoning is not None:
        reasoning = min(reported.reasoning, outputs)
        twice = max(0, sum(split.values()) + reasoning - outputs)
        in_text = min(twice, reasoning, split.get("text", 0))
        if in_text:
            split["text"] -= in_text
        split["reasoning"] = max(0, reasoning - (twice - in_text))
    if split:
        result["output_token_details"] = split
    return result


def cached_parts(usage: object) -> dict[str, int]:
    """The reported cached input tokens: ``cached_audio_tokens``, ``cached_text_tokens``, ``cached_image_tokens``."""
    reported = read_usage(usage)
    return {} if reported is None else {f"cached_{name}_tokens": n for name, n in reported.cached_inputs.items()}


def inputs_with_cached(usage: object) -> dict[str, int]:
    """The input tokens by modality, the cached ones included."""
    reported = read_usage(usage)
    if reported is None:
        return {}
    uncached, cached = _cached_apart(reported)
    found = {name: uncached.get(name, 0) + cached.get(name, 0) for name in MODALITIES}
    return {name: count for name, count in found.items() if count or name in uncached}


def _cached_apart(reported: Reported) -> tuple[dict[str, int], dict[str, int]]:
    """The uncached and the cached input tokens by modality; under :data:`UNSPLIT`, cached ones of no known modality.

    Cached tokens are a part of the input tokens of their modality, and are subtracted from them. If their modality is
    not reported, they count as text first, then as audio, then as images: the cache holds the beginning of the input,
    which has the instructions. If modalities and cached tokens already sum to the input, nothing is subtracted.
    """
    inputs, cached = reported.inputs, reported.cached or 0
    known = sum(inputs.values())
    if cached and inputs and reported.input == known + cached:
        by_modality = reported.cached_inputs
        return dict(inputs), by_modality if sum(by_modality.values()) == cached else {"text": cached}
    unassigned = max(0, cached - sum(reported.cached_inputs.values()))
    uncached: dict[str, int] = {}
    parts: dict[str, int] = {}
    for name in ("text", "audio", "image"):
        if name not in inputs:
            continue
        part = min(inputs[name], reported.cached_inputs.get(name, 0))
        more = min(inputs[name] - part, unassigned)
        unassigned -= more
        uncached[name], parts[name] = inputs[name] - part - more, part + more
    rest = min(cached - sum(parts.values()), (reported.input or 0) - known)
    return uncached, {**parts, UNSPLIT: max(0, rest)}


def charges_of_response(usage: object) -> dict[str, int]:
    """A response's tokens by kind of charge: a field of ``Price``, or :data:`UNSPLIT`.

    Cached tokens are subtracted from the input tokens of their modality (see :func:`_cached_apart`). Output tokens
    beyond the reported modalities are reasoning, which is charged as text. Tokens are :data:`UNSPLIT` if they are input
    beyond the reported modalities, or output without any reported modality.
    """
    reported = read_usage(usage)
    if reported is None:
        return {}
    uncached, cached = _cached_apart(reported)
    cached.pop(UNSPLIT, None)
    charges = {f"{name}_input": count for name, count in uncached.items()}
    charges |= {f"cached_{name}_input": count for name, count in cached.items()}
    charges |= {f"{name}_output": count for name, count in reported.outputs.items()}
    unsplit_input = max(0, (reported.input or 0) - sum(uncached.values()) - sum(cached.values()))
    unsplit_output = max(0, (reported.output or 0) - sum(reported.outputs.values()))
    if reported.outputs:
        charges["text_output"] = charges.get("text_output", 0) + unsplit_output
        unsplit_output = 0
    unknown = (reported.total or 0) if reported.input is None and reported.output is None else 0
    charges[UNSPLIT] = unsplit_input + unsplit_output + unknown
    return {kind: count for kind, count in charges.items() if count}


def charges_of_transcription(usage: object) -> dict[str, float]:
    """A transcription's tokens by kind of charge, or its length in minutes as ``per_minute``.

    ``usage`` is that of the event ``….input_audio_transcription.completed``. Seconds take precedence over tokens.
    Without seconds, and without input or output tokens, the result is one :data:`UNSPLIT` token, which makes the
    estimated cost incomplete.
    """
    reported = read_usage(usage)
    if reported is not None and reported.seconds is not None:
        return {"per_minute": reported.seconds / 60}
    if reported is None or reported.input is None or reported.output is None:
        return {UNSPLIT: 1}
    beside_audio = reported.input - reported.inputs["audio"] if "audio" in reported.inputs else 0
    prompt = max(0, min(reported.input, reported.inputs.get("text", beside_audio)))
    return {"text_input": prompt, "audio_input": reported.input - prompt, "text_output": reported.output}


class Usage:
    """The usage of a conversation: all responses, including out-of-band ones, and all transcriptions."""

    def __init__(self) -> None:
        # By model, then by kind of charge (see charges_of_response): tokens. Model None: nobody named one so far.
        self._charges: dict[str | None, dict[str, float]] = {}
        self._sums: dict[str, float] = {}
        # The model and the usage of each transcription.
        self._transcriptions: dict[Hashable, tuple[str | None, object]] = {}

    def add_response(self, model: str | None, usage: object) -> None:
        """Add the usage of a response of that model. Usage without token counts is ignored."""
        counts, reported = usage_metadata(usage), read_usage(usage)
        if counts is None or reported is None:
            return
        inputs, outputs = counts.get("input_token_details", {}), counts.get("output_token_details", {})
        _add(self._sums, {f"{side}_tokens": counts[f"{side}_tokens"] for side in ("input", "output", "total")})
        _add(self._sums, {f"input_{name}_tokens": count for name, count in reported.inputs.items()})
        _add(self._sums, {f"output_{name}_tokens": count for name, count in reported.outputs.items()})
        _add(self._sums, {"cached_tokens": inputs["cache_read"]} if "cache_read" in inputs else {})
        _add(self._sums, cached_parts(usage))
        _add(self._sums, {"reasoning_tokens": outputs["reasoning"]} if "reasoning" in outputs else {})
        _add(self._charges.setdefault(model, {}), charges_of_response(usage))

    def add_transcription(self, model: str | None, usage: object, key: Hashable = None) -> None:
        """Add a transcription of the user's audio by that model; ``usage`` has tokens or seconds, or is missing.

        ``key`` tells which audio it is; a later transcription of that audio takes the place of an earlier one.
        Without a key, each call adds one.
        """
        self._transcriptions[len(self._transcriptions) if key is None else key] = (model, usage)

    def charges(self, model: str | None = None, transcription_model: str | None = None) -> dict[str, dict[str, float]]:
        """All tokens and minutes, by model, then by kind of charge.

        Args:
            model: the model of the responses whose model was not known when they were added.
            transcription_model: the model of such transcriptions.
        """
        charges: dict[str, dict[str, float]] = {}
        for name, kinds in self._charges.items():
            _add(charges.setdefault(name or model or UNKNOWN_MODEL, {}), kinds)
        for name, usage in self._transcriptions.values():
            charged = charges.setdefault(name or transcription_model or UNKNOWN_MODEL, {})
            _add(charged, charges_of_transcription(usage))
        return charges

    def totals(self) -> dict[str, float]:
        """The sums for the root's metadata; a sum of which no part was reported is absent.

        Of all responses: ``input_tokens``, ``output_tokens`` and ``total_tokens``; the parts of the input
        ``input_<modality>_tokens`` (with the cached ones), ``cached_tokens`` and ``cached_<modality>_tokens``; the
        parts of the output ``output_<modality>_tokens`` and ``reasoning_tokens``. Of all transcriptions, which are
        charged separately: ``transcription_input_tokens`` and ``transcription_output_tokens``, and
        ``transcription_seconds``, as far as they were reported.
        """
        sums = dict(self._sums)
        for _, usage in self._transcriptions.values():
            reported = read_usage(usage)
            if reported is None:
                continue
            named = {"input_tokens": reported.input, "output_tokens": reported.output, "seconds": reported.seconds}
            _add(sums, {f"transcription_{name}": count for name, count in named.items() if count is not None})
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in sums.items()}


def _add(sums: dict[str, float], more: Mapping[str, float]) -> None:
    for key, value in more.items():
        sums[key] = sums.get(key, 0) + value


def _canonical(given: object) -> dict[str, Any]:
    """The object with its keys spelled as Realtime spells them; a key that is spelled so already wins."""
    wire = {key: value for key, value in mapping(given).items() if isinstance(key, str) and value is not None}
    return {_spelled(key): value for key, value in wire.items()} | wire


def _spelled(key: str) -> str:
    snake_case = _HUMP.sub("_", key).lower()
    return (
        snake_case.replace("prompt", "input").replace("completion", "output").replace("tokens_details", "token_details")
    )


def _modalities(details: dict[str, Any], prefix: str = "") -> dict[str, int]:
    counts = {name: _count(details, f"{prefix}{name}_tokens") for name in MODALITIES}
    return {name: count for name, count in counts.items() if count is not None}


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)


def _count(counts: dict[str, Any], key: str) -> int | None:
    given = counts.get(key)
    if isinstance(given, str) and given.isdecimal() and len(given) < 16:
        given = int(given)  # JSON of Protocol Buffers has 64-bit numbers as text
    value = number(given)
    return None if value is None or value < 0 else int(value)

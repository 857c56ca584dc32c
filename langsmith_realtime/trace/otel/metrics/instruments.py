"""The metrics of all conversations, under the names of the conventions that the application asked for.

A conversation's id is never an attribute: each value would be a time series of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import finalize

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Histogram, Meter

from langsmith_realtime.core.conversation.run_data import EventRun, ModelRun
from langsmith_realtime.core.protocol.events import mapping, number, sequence, text
from langsmith_realtime.core.protocol.usage import MODALITIES
from langsmith_realtime.options.otel import Otel
from langsmith_realtime.trace.otel import conventions
from langsmith_realtime.trace.otel.providers import convention_names, meter_of
from langsmith_realtime.trace.otel.values import Value, attributes

#: The conventions' buckets of durations (s), of tokens, of the duration of an agent (s), and of an agent's calls.
DURATIONS = tuple(round(0.01 * 2**i, 2) for i in range(14))
TOKENS = tuple(float(4**i) for i in range(14))
AGENT_DURATIONS = tuple(round(0.1 * 2**i, 1) for i in range(13))
CALLS = tuple(float(2**i) for i in range(8))

#: The names up to v1.41 of the conventions, and those of the GenAI conventions v0.1.0.
OLD_DURATION, OLD_TOKENS = "gen_ai.client.operation.duration", "gen_ai.client.token.usage"
OLD_FIRST = "gen_ai.client.operation.time_to_first_chunk"
NEW_DURATION, NEW_TOOL = "gen_ai.client.inference.duration", "gen_ai.execute_tool.duration"
NEW_FIRST, NEW_AGENT = "gen_ai.client.inference.time_to_first_chunk", "gen_ai.invoke_agent.duration"
NEW_INFERENCES, NEW_TOOL_CALLS = "gen_ai.invoke_agent.inference_calls", "gen_ai.invoke_agent.tool_calls"
NEW_USAGE, NEW_TOKENS = "gen_ai.client.inference.usage.", "gen_ai.client.inference.operation."

#: The event that says what the rate limits leave.
RATE_LIMITS = "rate_limits.updated"

#: What a counter of tokens counts: the end of its new name, and the counts.
_NEW_COUNTERS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read.input_tokens": "cached",
}


class Metrics:
    """The instruments of one meter, and what is recorded with them.

    Args:
        meter: the application's meter.
        old: whether the names up to v1.41 are used.
        new: whether the names of v0.1.0 are used.
    """

    def __init__(self, meter: Meter, *, old: bool, new: bool) -> None:
        self._meter = meter
        self._old = old
        self._new = new
        self._histograms: dict[str, Histogram] = {}
        self._counters: dict[str, Counter] = {}
        self._open = meter.create_up_down_counter(
            conventions.OWN + "conversations", "{conversation}", "Open conversations"
        )
        self._limits = meter.create_gauge(
            conventions.OWN + "rate_limit.remaining", "{unit}", "What the rate limit leaves"
        )

    def opened(self, change: int, common: Mapping[str, Any]) -> None:
        """A conversation opened (1) or ended (-1)."""
        self._open.add(change, attributes(common))

    def response(self, model: ModelRun, start: float, common: Mapping[str, Any], context: Context | None) -> None:
        """A response that was asked for at ``start``, in seconds since the conversation opened, is over."""
        named = attributes(
            {
                **common,
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": model.model,
                "gen_ai.response.model": model.model,
            }
        )
        ended = named
        if model.error is not None and not model.interrupted:
            ended = {**named, **attributes({"error.type": conventions.error_type(model.error)})}
        self._duration(OLD_DURATION, NEW_DURATION, model.end - start, ended, context)
        first = conventions.first_chunk_seconds(model, start)
        if first is not None:
            self._duration(OLD_FIRST, NEW_FIRST, first, named, context)
        voice = model.metadata.get("voice_to_voice_ms")
        if voice is not None:
            self._record(conventions.OWN + "voice_to_voice", DURATIONS, voice / 1000, named, context)
        if model.interrupted or model.metadata.get("was_interrupted"):
            self._add(conventions.OWN + "interruptions", "{interruption}", 1, named, context)
        self._tokens(conventions.token_counts(model), named, context)

    def tool(
        self, name: str, seconds: float | None, outcome: str, common: Mapping[str, Any], context: Context | None
    ) -> None:
        """A tool call is over: ``answered``, ``failed`` or ``unanswered``; ``seconds`` is None if nobody knows."""
        named = attributes({**common, "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name})
        error = {"error.type": outcome} if outcome != "answered" else {}
        if seconds is not None:
            self._duration(OLD_DURATION, NEW_TOOL, seconds, {**named, **error}, context)
        self._add(conventions.OWN + "tool_calls", "{call}", 1, {**named, conventions.OWN + "outcome": outcome}, context)

    def event(self, event: EventRun, common: Mapping[str, Any], context: Context | None) -> None:
        """An event arrived: count an error, and note what a rate limit leaves."""
        if event.error is not None and not event.interrupted:
            named = attributes({**common, "error.type": conventions.error_type(event.error)})
            self._add(conventions.OWN + "errors", "{error}", 1, named, context)
        if event.name == RATE_LIMITS:
            for limit in map(mapping, sequence(event.payload.get("rate_limits"))):
                remaining, name = number(limit.get("remaining")), text(limit.get("name"))
                if remaining is not None and name is not None:
                    self._limits.set(remaining, attributes({**common, conventions.OWN + "rate_limit.name": name}))

    def ended(
        self,
        seconds: float,
        common: Mapping[str, Any],
        context: Context | None,
        error: str | None,
        *,
        responses: int = 0,
        tool_calls: int = 0,
    ) -> None:
        """The conversation ended after ``seconds``, with so many responses and tool calls."""
        failed = None if error is None else conventions.error_type(error)
        named = attributes({**common, "gen_ai.operation.name": "invoke_agent", "error.type": failed})
        if self._new:
            self._record(NEW_AGENT, AGENT_DURATIONS, seconds, named, context)
            self._record(NEW_INFERENCES, CALLS, responses, named, context, unit="{inference_call}")
            self._record(NEW_TOOL_CALLS, CALLS, tool_calls, named, context, unit="{tool_call}")

    # Details; the attributes are clean already

    def _tokens(self, counts: Mapping[str, int], named: Mapping[str, Value], context: Context | None) -> None:
        for side in ("input", "output"):
            if side not in counts:
                continue
            if self._old:
                of = {**named, "gen_ai.token.type": side}
                self._record(OLD_TOKENS, TOKENS, counts[side], of, context, unit="{token}")
            if self._new:
                self._record(f"{NEW_TOKENS}{side}_tokens", TOKENS, counts[side], named, context, unit="{token}")
        for ending, kind in _NEW_COUNTERS.items():
            for name, count in _by_modality(counts, kind).items():
                of = {**named, "gen_ai.token.modality": name}
                self._add(conventions.OWN + "tokens", "{token}", count, {**of, "gen_ai.token.type": kind}, context)
                if self._new:
                    self._add(NEW_USAGE + ending, "{token}", count, of, context)
        if self._new and counts.get("reasoning"):
            of = {**named, "gen_ai.token.modality": "text"}
            self._add(NEW_USAGE + "reasoning.output_tokens", "{token}", counts["reasoning"], of, context)

    def _duration(
        self, old: str, new: str, seconds: float, named: Mapping[str, Value], context: Context | None
    ) -> None:
        if self._old:
            self._record(old, DURATIONS, seconds, named, context)
        if self._new:
            self._record(new, DURATIONS, seconds, named, context)

    def _record(
        self,
        name: str,
        bounds: tuple[float, ...],
        value: float,
        named: Mapping[str, Value],
        context: Context | None,
        *,
        unit: str = "s",
    ) -> None:
        instrument = self._histograms.get(name)
        if instrument is None:
            made = self._meter.create_histogram(name, unit, explicit_bucket_boundaries_advisory=bounds)
            instrument = self._histograms.setdefault(name, made)
        instrument.record(max(0.0, value), named, context=context)

    def _add(self, name: str, unit: str, count: int, named: Mapping[str, Value], context: Context | None) -> None:
        instrument = self._counters.get(name)
        if instrument is None:
            instrument = self._counters.setdefault(name, self._meter.create_counter(name, unit))
        instrument.add(count, named, context=context)


def _by_modality(counts: Mapping[str, int], kind: str) -> dict[str, int]:
    """The tokens of a kind by modality; ``unknown``: those of which the server does not say it."""
    known = {name: counts[f"{name}_{kind}"] for name in MODALITIES if counts.get(f"{name}_{kind}")}
    rest = counts.get(kind, 0) - sum(known.values())
    return {**known, "unknown": rest} if rest > 0 else known


#: The metrics of each provider, by its id: those of Logfire have no hash.
_made: dict[int, dict[tuple[bool, bool], Metrics]] = {}


def metrics_of(otel: Otel, version: str) -> Metrics | None:
    """The metrics of the application's provider, the same for all conversations; None without a provider."""
    provider = otel.meter_provider or metrics.get_meter_provider()
    names = convention_names()
    known = _made.get(id(provider), {}).get(names)
    if known is None:
        meter = meter_of(otel, version)
        if meter is None:
            return None
        old, new = names
        if id(provider) not in _made:
            finalize(provider, _made.pop, id(provider), None).atexit = False
        known = _made.setdefault(id(provider), {}).setdefault(names, Metrics(meter, old=old, new=new))
    return known

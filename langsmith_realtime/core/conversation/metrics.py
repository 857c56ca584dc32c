"""What one conversation comes to in numbers: its latencies, who talked how long, and which make scores.

Pure. The numbers stand in the metadata of the root run. A number that a conversation has none of is
absent, not zero: one without a barge-in has no ``barge_in_reaction_p50_ms``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from langsmith_realtime.core.audio.activity import Activity, talk
from langsmith_realtime.core.conversation.metric_names import LATENCIES, NAMES, PERCENTILES
from langsmith_realtime.core.protocol.events import number


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that at least ``percent`` per cent of them do not exceed.

    It is always one of the values, nothing is interpolated. So of a single value every percentile is that
    value, and the 95th of fewer than 20 is the largest.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values have no percentile")
    rank = math.ceil(percent * len(values) / 100)
    return sorted(values)[max(1, rank) - 1]


def of_responses(responses: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The conversation's latencies and what share of the agent's speech was heard, from its responses' numbers.

    Args:
        responses: of each response its ``<latency>_ms`` (see :data:`LATENCIES`), ``spoken_ms`` and ``heard_ms``,
            each only where it has one.

    Returns:
        ``<latency>_p50_ms``, ``<latency>_p95_ms`` and ``<latency>_max_ms`` over the responses that have the latency;
        ``heard_share``, from 0 to 1: heard out of spoken milliseconds of all responses that have both.
    """
    known = list(responses)
    result: dict[str, float] = {}
    for name in LATENCIES:
        values = [value for value in (number(each.get(f"{name}_ms")) for each in known) if value is not None]
        if values:
            result.update({f"{name}_p{percent}_ms": percentile(values, percent) for percent in PERCENTILES})
            result[f"{name}_max_ms"] = max(values)
    spoken = heard = 0.0
    for each in known:
        made, listened = number(each.get("spoken_ms")), number(each.get("heard_ms"))
        if made is not None and listened is not None:
            spoken, heard = spoken + made, heard + min(made, listened)
    if spoken > 0:
        result["heard_share"] = round(heard / spoken, 3)
    return result


def of_talk(user: Activity | None, agent: Activity | None, duration: float) -> dict[str, float]:
    """Who talked how long, in seconds, from when each side was audible in the recording.

    Talk is what is audible: what the user's microphone took up, and what of the agent was heard. A pause
    shorter than 300 ms belongs to the talk around it. Silence is when neither side talks, from the moment the
    conversation opened to the moment it closed, before the first word and after the last included.

    Args:
        user: when the user was audible; None when nothing of that side was recorded.
        agent: the same of the agent.
        duration: how long the conversation was open, in seconds.

    Returns:
        ``user_talk_s`` and ``agent_talk_s`` of the sides that were recorded; ``overlap_s``, both at once and
        part of either's time, when both were; ``silence_s`` and ``longest_silence_s`` when any was.
    """
    nobody = Activity(1)
    totals = talk(user or nobody, agent or nobody, duration)
    result: dict[str, float] = {}
    if user is not None:
        result["user_talk_s"] = totals.user_s
    if agent is not None:
        result["agent_talk_s"] = totals.agent_s
    if user is not None and agent is not None:
        result["overlap_s"] = totals.overlap_s
    if result:
        result["silence_s"], result["longest_silence_s"] = totals.silence_s, totals.longest_silence_s
    return {name: round(max(0.0, seconds), 3) for name, seconds in result.items()}


def scores(metadata: Mapping[str, Any], wanted: Collection[str]) -> dict[str, float]:
    """Those of the root's numbers that were asked for and are there.

    A cost that lacks a model's price is no score: a chart of it would show savings that are none.
    """
    found = {name: number(metadata.get(name)) for name in NAMES if name in wanted}
    if metadata.get("estimated_cost_incomplete"):
        found.pop("estimated_cost_usd", None)
    return {name: value for name, value in found.items() if value is not None}

"""The numbers of a whole conversation: percentiles of its latencies, talk times, and feedback scores.

Pure. The numbers are metadata of the root run; docs/numbers.md defines each of them. A number that has no meaning for a
conversation is absent, not zero: without a barge-in there is no ``barge_in_reaction_p50_ms``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from langsmith_realtime.core.audio.activity import Activity, talk
from langsmith_realtime.core.conversation.numbers.metric_names import LATENCIES, NAMES, PERCENTILES
from langsmith_realtime.core.protocol.events import number


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that at least ``percent`` per cent of them do not exceed.

    The result is always one of the values; nothing is interpolated. So every percentile of a single value is that
    value, and the 95th percentile of fewer than 20 values is the largest.

    Raises:
        ValueError: ``values`` is empty.
    """
    if not values:
        raise ValueError("values must not be empty")
    rank = math.ceil(percent * len(values) / 100)
    return sorted(values)[max(1, rank) - 1]


def response_metrics(responses: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The percentiles of the latencies, and the share of the agent's audio that was heard.

    Args:
        responses: the numbers of each response: ``<latency>_ms`` (see :data:`LATENCIES`), ``spoken_ms`` and
            ``heard_ms``, as far as the response has them.

    Returns:
        ``<latency>_p50_ms``, ``<latency>_p95_ms`` and ``<latency>_max_ms`` over the responses that have the latency.
        ``heard_share``, from 0 to 1: the sum of ``heard_ms``, each at most ``spoken_ms``, divided by the sum of
        ``spoken_ms``, over the responses that have both; absent if that sum is 0.
    """
    responses = list(responses)
    result: dict[str, float] = {}
    for name in LATENCIES:
        values = [value for value in (number(each.get(f"{name}_ms")) for each in responses) if value is not None]
        if values:
            result.update({f"{name}_p{percent}_ms": percentile(values, percent) for percent in PERCENTILES})
            result[f"{name}_max_ms"] = max(values)
    total_spoken = total_heard = 0.0
    for each in responses:
        spoken, heard = number(each.get("spoken_ms")), number(each.get("heard_ms"))
        if spoken is not None and heard is not None:
            total_spoken, total_heard = total_spoken + spoken, total_heard + min(spoken, heard)
    if total_spoken > 0:
        result["heard_share"] = round(total_heard / total_spoken, 3)
    return result


def talk_metrics(user: Activity | None, agent: Activity | None, duration: float) -> dict[str, float]:
    """How long each side talked, in seconds.

    A side talks while its channel of the recording is audible; a pause shorter than 300 ms counts as talk. Silence
    is the time in which neither side talks, from the opening of the conversation to its end.

    Args:
        user: when the user's channel was audible; None if the user was not recorded.
        agent: when the agent's channel was audible; None if the agent was not recorded.
        duration: how long the conversation was open, in seconds.

    Returns:
        ``user_talk_s`` and ``agent_talk_s``, each if the side was recorded; ``overlap_s``, the time in which both
        talked and which counts for both, if both were recorded; ``silence_s`` and ``longest_silence_s``, if at
        least one side was recorded.
    """
    never_audible = Activity(1)
    totals = talk(user or never_audible, agent or never_audible, duration)
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
    """The feedback scores: the numbers in the root's ``metadata`` whose names are in ``wanted`` and in :data:`NAMES`.

    An incomplete ``estimated_cost_usd`` is left out: a missing price would look like a saving in a chart.
    """
    found = {name: number(metadata.get(name)) for name in NAMES if name in wanted}
    if metadata.get("estimated_cost_incomplete"):
        found.pop("estimated_cost_usd", None)
    return {name: value for name, value in found.items() if value is not None}

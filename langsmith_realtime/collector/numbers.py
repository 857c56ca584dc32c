"""The numbers of runs: latency, tokens, cost, and the statistics of their feedback. Pure."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean, median, quantiles, stdev
from typing import TYPE_CHECKING, Any, Final, Literal

from langsmith_realtime.collector.rules import Refused, time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from langsmith_realtime.collector.records import StoredRun

Side = Literal["total", "prompt", "completion"]

_SIDES: Final = {"total": "total", "prompt": "input", "completion": "output"}
#: How many comments the statistics of a feedback key have at most.
_COMMENTS: Final = 10
#: A number above this is none: no count of tokens and no cost comes near, and SQLite's integers end a little above.
_LARGEST: Final = 1e15


def usage(run: StoredRun) -> dict[str, Any]:
    """Return a run's ``usage_metadata``; an empty dict if the run has none."""
    found = run.metadata.get("usage_metadata") or (run.outputs or {}).get("usage_metadata")
    return found if isinstance(found, dict) else {}


def shown_tokens(side: Side, run: StoredRun) -> int | None:
    """Return the tokens that LangSmith shows at a run: its own, or those of a whole conversation at its run.

    None if neither is known. Do not add them up: the responses below a conversation's run have the same tokens.
    """
    key = f"{_SIDES[side]}_tokens"
    own = usage(run)
    if not own and run.metadata.get("ls_integration") == "langsmith-realtime":
        own = run.metadata
    count = as_number(own.get(key))
    return None if count is None else int(count)


def latency(run: StoredRun) -> float | None:
    """Return a run's duration in seconds; None if the run has not ended."""
    return (run.end_time - run.start_time).total_seconds() if run.end_time else None


def first_token_time(run: StoredRun) -> str | None:
    """Return the time of an llm run's first ``new_token`` event, as received; None without one and for other runs.

    None, too, if that is no time.
    """
    if run.run_type != "llm":
        return None
    for event in run.events:
        if isinstance(event, dict) and event.get("name") == "new_token":
            return str(event["time"]) if _is_time(event.get("time")) else None
    return None


def tokens(side: Side, runs: Iterable[StoredRun]) -> int:
    """Return the sum of the runs' own tokens; a run without a count counts as 0."""
    return sum(int(as_number(usage(run).get(f"{_SIDES[side]}_tokens")) or 0) for run in runs)


def cost(side: Side, runs: Iterable[StoredRun]) -> float | None:
    """Return the sum of the costs in USD that the runs state; None if none of them states one."""
    stated = [each for run in runs if (each := as_number(usage(run).get(f"{_SIDES[side]}_cost"))) is not None]
    return sum(stated) if stated else None


def details(side: Side, runs: Iterable[StoredRun], what: Literal["token", "cost"] = "token") -> dict[str, float]:
    """Return the sums of the tokens or costs of each kind, such as ``audio``."""
    sums: defaultdict[str, float] = defaultdict(int)
    for run in runs:
        kinds = usage(run).get(f"{_SIDES[side]}_{what}_details")
        for kind, value in (kinds if isinstance(kinds, dict) else {}).items():
            sums[kind] += as_number(value) or 0
    return dict(sums)


def p50(values: Sequence[float]) -> float | None:
    """Return the median; None without values."""
    return median(values) if values else None


def p99(values: Sequence[float]) -> float | None:
    """Return the 99th percentile; None without values."""
    return quantiles([*values] * 2, n=100, method="inclusive")[-1] if values else None


def feedback_stats(feedback: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]] | None:
    """Return the statistics of each key, as LangSmith's v1 and v2 give them; None without feedback."""
    by_key: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for each in feedback:
        by_key[str(each["key"])].append(each)
    return {key: _stats(entries) for key, entries in by_key.items()} or None


def _stats(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scores = [float(each["score"]) for each in entries if isinstance(each.get("score"), int | float)]
    values: defaultdict[str, int] = defaultdict(int)
    for each in entries:
        if isinstance(each.get("value"), str):
            values[each["value"]] += 1
    sources = {str((each.get("feedback_source") or {}).get("type") or "api") for each in entries}
    return {
        "n": len(entries),
        "avg": fmean(scores) if scores else None,
        "min": min(scores, default=None),
        "max": max(scores, default=None),
        "stdev": stdev(scores) if len(scores) > 1 else None,
        "values": dict(values),
        "comments": [each["comment"] for each in entries if each.get("comment")][:_COMMENTS],
        "sources": sorted(sources),
        "errors": sum(bool(each.get("error")) for each in entries),
    }


def as_number(value: object) -> float | None:
    """Return the value if it is a number that SQLite can hold; None for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if -_LARGEST < value < _LARGEST else None  # NaN is neither above nor below a number


def _is_time(value: object) -> bool:
    try:
        time(value, "time")
    except Refused:
        return False
    return True

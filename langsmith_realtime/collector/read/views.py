"""Converts stored runs into the JSON objects of LangSmith's read API, v1 and v2."""

from __future__ import annotations

from collections import defaultdict
from statistics import median_low
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

from langsmith_realtime.collector.read import numbers
from langsmith_realtime.collector.read.numbers import latency, usage
from langsmith_realtime.collector.rules import time
from langsmith_realtime.collector.store import project_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from langsmith_realtime.collector.records import StoredRun

    LinkMaker = Callable[[str, str], str]  # (run id, attachment name) -> URL

TENANT_ID: Final = str(uuid5(NAMESPACE_URL, "langsmith-realtime:tenant"))

# LangSmith's client cannot parse a run without these fields, even if its query selects other fields.
_REQUIRED: Final = frozenset(
    {"id", "name", "run_type", "start_time", "trace_id", "dotted_order", "status", "session_id", "app_path"}
)
#: Largest length of a preview, in characters.
_PREVIEW: Final = 200


def v1_run(run: StoredRun, link: LinkMaker, select: Iterable[str] | None = None) -> dict[str, Any]:
    """Return the JSON object of a run in ``GET /runs/{id}`` and ``POST /runs/query``.

    Args:
        run: The run.
        link: Makes an attachment's URL from the run's id and the attachment's name.
        select: Fields to return besides the fields that every run needs; None for all fields.
    """
    view = {
        **_common(run),
        "run_type": run.run_type,
        "status": run.status,
        "session_id": project_id(run.project),
        "app_path": app_path(run),
        "parent_run_id": run.parent_run_id,
        "child_run_ids": None,
        "in_dataset": False,
        "s3_urls": {
            f"attachment.{name}": {"presigned_url": link(run.id, name), "mime_type": attachment.mime_type}
            for name, attachment in run.attachments.items()
        },
        "prompt_token_details": usage(run).get("input_token_details"),
        "completion_token_details": usage(run).get("output_token_details"),
    }
    return view if select is None else _only(view, _REQUIRED.union(select))


def v2_run(run: StoredRun, link: LinkMaker, select: Iterable[str] = ()) -> dict[str, Any]:
    """Return the JSON object of a run in ``/api/v2``: its ``id`` and the selected fields.

    Args:
        run: The run.
        link: Makes an attachment's URL from the run's id and the attachment's name.
        select: Names of fields, in upper or lower case.
    """
    details = {
        f"{side}_token_details": {"raw": token_details}
        for side, key in (("prompt", "input_token_details"), ("completion", "output_token_details"))
        if (token_details := usage(run).get(key))
    }
    view = {
        **_common(run),
        **details,
        "run_type": run.run_type.upper(),
        "status": run.status.upper(),
        "project_id": project_id(run.project),
        "app_path": app_path(run),
        "metadata": run.metadata,
        "is_root": run.parent_run_id is None,
        "is_in_dataset": False,
        "latency_seconds": latency(run),
        "total_cost": numbers.cost("total", [run]),
        "prompt_cost": numbers.cost("prompt", [run]),
        "completion_cost": numbers.cost("completion", [run]),
        "attachments": {name: link(run.id, name) for name in run.attachments},
        "inputs_preview": _preview(run.inputs),
        "outputs_preview": _preview(run.outputs),
        "error_preview": _preview(run.error),
    }
    return _only(view, {"id", *map(str.lower, select)})


def project(name: str, first_order: str | None, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the JSON object of a project, a "session" in LangSmith's API.

    Args:
        name: Name of the project.
        first_order: The ``dotted_order`` of the project's first run, which has the project's start time; None if the
            project has no run yet.
        settings: What the project was created or updated with; it must have a ``start_time`` if there is no run.
    """
    settings = settings or {}
    dataset = settings.get("reference_dataset_id")
    return {
        "id": project_id(name),
        "name": name,
        "tenant_id": TENANT_ID,
        "start_time": settings.get("start_time") or _started(first_order or ""),
        "end_time": settings.get("end_time"),
        "description": settings.get("description"),
        "extra": settings.get("extra"),
        "reference_dataset_id": dataset,
        "type": "EXPERIMENT" if dataset else "PROJECT",
    }


def run_stats(counted: Sequence[StoredRun], runs: Sequence[StoredRun]) -> dict[str, Any]:
    """Return the statistics of a project, or of the runs that a query finds, as LangSmith's v1 gives them.

    Args:
        counted: The runs that are counted, and whose latencies and errors these are.
        runs: The runs whose tokens, costs and feedback are added up.
    """
    latencies = [seconds for run in counted if (seconds := latency(run)) is not None]
    firsts = [
        (time(moment, "time") - run.start_time).total_seconds()
        for run in runs
        if (moment := numbers.first_token_time(run)) is not None
    ]
    return {
        "run_count": len(counted),
        "latency_p50": numbers.p50(latencies),
        "latency_p99": numbers.p99(latencies),
        "first_token_p50": numbers.p50(firsts),
        "first_token_p99": numbers.p99(firsts),
        "last_run_start_time": _text(max((run.start_time for run in counted), default=None)),
        "error_rate": sum(run.status == "error" for run in counted) / len(counted) if counted else None,
        "streaming_rate": None,
        "feedback_stats": numbers.feedback_stats(each for run in runs for each in run.feedback) or {},
        "run_facets": [],
        **{key: value for key, value in _sums(runs).items() if not key.endswith("_details")},
    }


def app_path(run: StoredRun) -> str:
    """Return the path of a run's page in LangSmith's web application."""
    return f"/o/{TENANT_ID}/projects/p/{project_id(run.project)}/r/{run.id}"


def run_path(run: StoredRun, conversation_id: str | None) -> str:
    """Return the path where a browser shows a run: in its conversation if it is part of one, else as JSON."""
    if conversation_id is None:
        return f"/view/api/runs/{run.id}"
    return f"/view/c/{conversation_id}" + ("" if run.id == conversation_id else f"#run={run.id}")


def threads(runs: Iterable[StoredRun]) -> list[dict[str, Any]]:
    """Return the JSON objects of threads with a root run in ``runs``, by the start of their last root, latest first.

    Args:
        runs: All runs of the traces, in ``dotted_order`` order.
    """
    by_thread: defaultdict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        if run.thread_id is not None:
            by_thread[run.thread_id].append(run)
    views = [
        _thread(thread_id, roots, thread_runs)
        for thread_id, thread_runs in by_thread.items()
        if (roots := [run for run in thread_runs if run.parent_run_id is None])
    ]
    return sorted(views, key=lambda thread: str(thread["max_start_time"]), reverse=True)


def thread_trace(runs: Sequence[StoredRun], turn: int) -> dict[str, Any]:
    """Return the JSON object of one trace of a thread.

    Args:
        runs: The runs of the trace, the root first.
        turn: Position of the trace in the thread, from 1.
    """
    root = runs[0]
    return {
        "trace_id": root.trace_id,
        "thread_id": root.thread_id,
        "name": root.name,
        "op": root.run_type.upper(),
        "turn_number": turn,
        "start_time": _text(root.start_time),
        "end_time": _text(root.end_time),
        "first_token_time": numbers.first_token_of(runs),
        "latency": latency(root),
        "error": root.error,
        "error_preview": _preview(root.error),
        "inputs": root.inputs,
        "outputs": root.outputs,
        "inputs_preview": _preview(root.inputs),
        "outputs_preview": _preview(root.outputs),
        **_sums(runs),
    }


def thread_stats(runs: Sequence[StoredRun], select: Iterable[str]) -> dict[str, Any]:
    """Return the JSON object of ``GET /api/v2/threads/{id}/stats``.

    Args:
        runs: All runs of the thread's traces.
        select: Names of statistics, in upper or lower case.
    """
    roots = sorted((run for run in runs if run.parent_run_id is None), key=lambda run: run.start_time)
    latencies = [seconds for root in roots if (seconds := latency(root)) is not None]
    view = {
        "turns": len(roots),
        "first_start_time": _text(roots[0].start_time if roots else None),
        "last_start_time": _text(roots[-1].start_time if roots else None),
        "last_end_time": _text(numbers.ended(roots)),
        "latency_p50": numbers.p50(latencies),
        "latency_p99": numbers.p99(latencies),
        "feedback_stats": numbers.feedback_stats(each for run in runs for each in run.feedback),
        **_sums(runs),
    }
    return _with_units(_only(view, map(str.lower, select)))


def threads_stats(runs: Sequence[StoredRun], select: Iterable[str]) -> dict[str, Any]:
    """Return the JSON object of ``POST /api/v2/threads/stats``, without ``buckets``.

    Args:
        runs: All runs of the traces of the threads.
        select: Names of statistics, in upper or lower case.
    """
    roots = [run for run in runs if run.parent_run_id is None]
    latencies = [seconds for root in roots if (seconds := latency(root)) is not None]
    by_trace: defaultdict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        by_trace[run.trace_id].append(run)
    firsts = [
        (time(moment, "time") - root.start_time).total_seconds()
        for root in roots
        if (moment := numbers.first_token_of(by_trace[root.trace_id]))
    ]
    view = {
        "thread_count": len({root.thread_id for root in roots}),
        "trace_count": len(roots),
        "error_rate": sum(root.status == "error" for root in roots) / len(roots) if roots else None,
        "streaming_rate": len(firsts) / len(roots) if roots else None,
        "latency_p50": numbers.p50(latencies),
        "latency_p99": numbers.p99(latencies),
        "first_token_p50": numbers.p50(firsts),
        "first_token_p99": numbers.p99(firsts),
        "median_tokens": median_low([numbers.tokens("total", each) for each in by_trace.values()])
        if by_trace
        else None,
        "thread_feedback_stats": numbers.feedback_stats(each for run in runs for each in run.feedback),
        **{key: value["raw"] if key.endswith("_details") and value else value for key, value in _sums(runs).items()},
    }
    return _with_units(_only(view, map(str.lower, select)))


def _with_units(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Return statistics with the unit in the names of times, which queries name without it."""
    timed = ("latency_", "first_token_")
    return {f"{key}_seconds" if key.startswith(timed) else key: value for key, value in stats.items()}


def _common(run: StoredRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "trace_id": run.trace_id,
        "dotted_order": run.dotted_order,
        "parent_run_ids": run.ancestors,
        "start_time": _text(run.start_time),
        "end_time": _text(run.end_time),
        "inputs": run.inputs,
        "outputs": run.outputs,
        "error": run.error,
        "extra": run.extra,
        "tags": run.tags,
        "events": run.events,
        "thread_id": run.thread_id,
        "first_token_time": numbers.first_token_time(run),
        "prompt_tokens": numbers.shown_tokens("prompt", run),
        "completion_tokens": numbers.shown_tokens("completion", run),
        "total_tokens": numbers.shown_tokens("total", run),
        "feedback_stats": numbers.feedback_stats(run.feedback),
        "reference_example_id": run.reference_example_id,
    }


def _thread(thread_id: str, roots: Sequence[StoredRun], runs: Sequence[StoredRun]) -> dict[str, Any]:
    first, last = roots[0], roots[-1]
    latencies = [seconds for root in roots if (seconds := latency(root)) is not None]
    ended = numbers.ended(roots)
    return {
        "thread_id": thread_id,
        "count": len(roots),
        "num_errored_turns": sum(root.status == "error" for root in roots),
        "trace_id": last.trace_id,
        "first_trace_id": first.trace_id,
        "last_trace_id": last.trace_id,
        "first_inputs": _preview(first.inputs),
        "last_outputs": _preview(last.outputs),
        "last_error": last.error,
        "start_time": _text(last.start_time),
        "min_start_time": _text(first.start_time),
        "max_start_time": _text(last.start_time),
        "thread_duration": (ended - first.start_time).total_seconds() if ended else None,
        "latency_p50": numbers.p50(latencies),
        "latency_p99": numbers.p99(latencies),
        "feedback_stats": numbers.feedback_stats(each for run in runs for each in run.feedback),
        **_sums(runs),
    }


def _sums(runs: Sequence[StoredRun]) -> dict[str, Any]:
    """Return the tokens and costs of all runs, whose names begin with ``total``, ``prompt`` and ``completion``."""
    sums: dict[str, Any] = {}
    side: numbers.Side
    for side in ("total", "prompt", "completion"):
        sums[f"{side}_tokens"] = numbers.tokens(side, runs)
        sums[f"{side}_cost"] = numbers.cost(side, runs)
    for side in ("prompt", "completion"):
        for what, found in (
            ("token", numbers.details(side, runs, "token")),
            ("cost", numbers.details(side, runs, "cost")),
        ):
            sums[f"{side}_{what}_details"] = {"raw": found} if found else None
    return sums


def _started(dotted_order: str) -> str:
    stamp = dotted_order[:22]
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:11]}:{stamp[11:13]}:{stamp[13:15]}.{stamp[15:21]}+00:00"


def _only(view: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    wanted = set(keys)
    return {key: value for key, value in view.items() if key in wanted}


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _preview(value: object) -> str | None:
    return None if value is None else str(value)[:_PREVIEW]

"""Converts stored runs into the JSON objects of LangSmith's read API, v1 and v2."""

from __future__ import annotations

from collections import defaultdict
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

from langsmith_realtime.collector.store import project_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
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
        "prompt_token_details": _usage(run).get("input_token_details"),
        "completion_token_details": _usage(run).get("output_token_details"),
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
        if (token_details := _usage(run).get(key))
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
        "attachments": {name: link(run.id, name) for name in run.attachments},
        "inputs_preview": _preview(run.inputs),
        "outputs_preview": _preview(run.outputs),
        "error_preview": _preview(run.error),
    }
    return _only(view, {"id", *map(str.lower, select)})


def project(name: str, first_order: str) -> dict[str, Any]:
    """Return the JSON object of a project, a "session" in LangSmith's API.

    Args:
        name: Name of the project.
        first_order: The ``dotted_order`` of the project's first run, which has the project's start time.
    """
    stamp = first_order[:22]
    started = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:11]}:{stamp[11:13]}:{stamp[13:15]}.{stamp[15:21]}+00:00"
    return {
        "id": project_id(name),
        "name": name,
        "tenant_id": TENANT_ID,
        "start_time": started,
        "end_time": None,
        "extra": None,
        "reference_dataset_id": None,
    }


def app_path(run: StoredRun) -> str:
    """Return the path of a run's page in LangSmith's web application."""
    return f"/o/{TENANT_ID}/projects/p/{project_id(run.project)}/r/{run.id}"


def threads(runs: Iterable[StoredRun]) -> list[dict[str, Any]]:
    """Return the JSON objects of threads with a root run in ``runs``, by the start of their last root, latest first.

    Args:
        runs: All runs of the traces, in ``dotted_order`` order.
    """
    roots: defaultdict[str, list[StoredRun]] = defaultdict(list)
    tokens: defaultdict[str, int] = defaultdict(int)
    for run in runs:
        if run.thread_id is None:
            continue
        tokens[run.thread_id] += _usage(run).get("total_tokens") or 0
        if run.parent_run_id is None:
            roots[run.thread_id].append(run)
    views = [_thread(thread_id, thread_roots, tokens[thread_id]) for thread_id, thread_roots in roots.items()]
    return sorted(views, key=lambda thread: str(thread["max_start_time"]), reverse=True)


def thread_trace(root: StoredRun, turn: int, tokens: int) -> dict[str, Any]:
    """Return the JSON object of one trace of a thread.

    Args:
        root: The trace's root run.
        turn: Position of the trace in the thread, from 1.
        tokens: Number of tokens of all runs of the trace.
    """
    return {
        "trace_id": root.trace_id,
        "thread_id": root.thread_id,
        "name": root.name,
        "turn_number": turn,
        "start_time": _text(root.start_time),
        "end_time": _text(root.end_time),
        "latency": latency(root),
        "error": root.error,
        "error_preview": _preview(root.error),
        "inputs": root.inputs,
        "outputs": root.outputs,
        "inputs_preview": _preview(root.inputs),
        "outputs_preview": _preview(root.outputs),
        "total_tokens": tokens,
    }


def total_tokens(runs: Iterable[StoredRun]) -> int:
    """Return the sum of ``total_tokens`` in the runs' ``usage_metadata``; a run without it counts as 0."""
    return sum(_usage(run).get("total_tokens") or 0 for run in runs)


def latency(run: StoredRun) -> float | None:
    """Return a run's duration in seconds; None if the run has not ended."""
    return (run.end_time - run.start_time).total_seconds() if run.end_time else None


def first_token_time(run: StoredRun) -> str | None:
    """Return the time of an llm run's first ``new_token`` event, as received; None without one and for other runs."""
    if run.run_type != "llm":
        return None
    return next((str(event["time"]) for event in run.events if event.get("name") == "new_token"), None)


def _common(run: StoredRun) -> dict[str, Any]:
    usage = _usage(run)
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
        "first_token_time": first_token_time(run),
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens"),
        "total_tokens": usage.get("total_tokens"),
        "feedback_stats": None,
        "reference_example_id": None,
    }


def _thread(thread_id: str, roots: Sequence[StoredRun], tokens: int) -> dict[str, Any]:
    first, last = roots[0], roots[-1]
    latencies = [seconds for root in roots if (seconds := latency(root)) is not None]
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
        "latency_p50": median(latencies) if latencies else None,
        "latency_p99": quantiles(latencies * 2, n=100, method="inclusive")[-1] if latencies else None,
        "total_tokens": tokens,
    }


def _usage(run: StoredRun) -> dict[str, Any]:
    usage = run.metadata.get("usage_metadata") or (run.outputs or {}).get("usage_metadata")
    return usage if isinstance(usage, dict) else {}


def _only(view: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    wanted = set(keys)
    return {key: value for key, value in view.items() if key in wanted}


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _preview(value: object) -> str | None:
    return None if value is None else str(value)[:_PREVIEW]

"""Converts stored runs into the JSON objects of LangSmith's read API, v1 and v2."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial
from operator import attrgetter
from statistics import median_low
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

from langsmith_realtime.collector import numbers
from langsmith_realtime.collector.numbers import latency, usage
from langsmith_realtime.collector.rules import time
from langsmith_realtime.collector.storage.store import project_id
from langsmith_realtime.collector.storage.trace_numbers import preview

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from langsmith_realtime.collector.records import StoredRun
    from langsmith_realtime.collector.storage.trace_numbers import Trace

    FeedbackByTrace = Mapping[str, Sequence[Mapping[str, Any]]]
    LinkMaker = Callable[[str, str], str]  # (run id, attachment name) -> URL

TENANT_ID: Final = str(uuid5(NAMESPACE_URL, "langsmith-realtime:tenant"))

# LangSmith's client cannot parse a run without these fields, even if its query selects other fields.
_REQUIRED: Final = frozenset(
    {"id", "name", "run_type", "start_time", "trace_id", "dotted_order", "status", "session_id", "app_path"}
)
#: The sides of the tokens and the costs.
SIDES: Final[tuple[numbers.Side, ...]] = ("total", "prompt", "completion")
_DETAILS: Final = ("prompt_token", "prompt_cost", "completion_token", "completion_cost")


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
        "inputs_preview": preview(run.inputs),
        "outputs_preview": preview(run.outputs),
        "error_preview": preview(run.error),
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
    return _stats(
        count=len(counted),
        errors=sum(run.status == "error" for run in counted),
        latencies=[seconds for run in counted if (seconds := latency(run)) is not None],
        firsts=[
            (time(moment, "time") - run.start_time).total_seconds()
            for run in runs
            if (moment := numbers.first_token_time(run)) is not None
        ],
        last=_text(max((run.start_time for run in counted), default=None)),
        feedback=(each for run in runs for each in run.feedback),
        totals={
            **{f"{side}_tokens": numbers.tokens(side, runs) for side in SIDES},
            **{f"{side}_cost": numbers.cost(side, runs) for side in SIDES},
        },
    )


def _stats(
    *,
    count: int,
    errors: int,
    latencies: Sequence[float],
    firsts: Sequence[float],
    last: str | None,
    feedback: Iterable[Mapping[str, Any]],
    totals: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "run_count": count,
        "latency_p50": numbers.p50(latencies),
        "latency_p99": numbers.p99(latencies),
        "first_token_p50": numbers.p50(firsts),
        "first_token_p99": numbers.p99(firsts),
        "last_run_start_time": last,
        "error_rate": errors / count if count else None,
        "streaming_rate": None,
        "feedback_stats": numbers.feedback_stats(feedback) or {},
        "run_facets": [],
        **totals,
    }


def app_path(run: StoredRun) -> str:
    """Return the path of a run's page in LangSmith's web application."""
    return f"/o/{TENANT_ID}/projects/p/{project_id(run.project)}/r/{run.id}"


def run_path(run: StoredRun, conversation_id: str | None) -> str:
    """Return the path where a browser shows a run: in its conversation if it is part of one, else as JSON."""
    if conversation_id is None:
        return f"/view/api/runs/{run.id}"
    return f"/view/c/{conversation_id}" + ("" if run.id == conversation_id else f"#run={run.id}")


def thread(traces: Sequence[Trace], feedback: FeedbackByTrace) -> dict[str, Any]:
    """Return the JSON object of a thread in ``POST /api/v2/threads/query``.

    Args:
        traces: The thread's traces, oldest first.
        feedback: The feedback of traces by their id.
    """
    return {
        **{name: read(traces) for name, read in THREAD_NUMBERS.items()},
        **_details(traces),
        "feedback_stats": numbers.feedback_stats(_feedback(traces, feedback)),
    }


def thread_trace(root: StoredRun, trace: Trace, turn: int) -> dict[str, Any]:
    """Return the JSON object of one trace of a thread.

    Args:
        root: The trace's root run.
        trace: The trace's numbers.
        turn: Position of the trace in the thread, from 1.
    """
    return {
        "trace_id": root.trace_id,
        "thread_id": root.thread_id,
        "name": root.name,
        "op": root.run_type.upper(),
        "turn_number": turn,
        "start_time": _text(root.start_time),
        "end_time": _text(root.end_time),
        "first_token_time": trace.first_token,
        "latency": latency(root),
        "error": root.error,
        "error_preview": preview(root.error),
        "inputs": root.inputs,
        "outputs": root.outputs,
        "inputs_preview": preview(root.inputs),
        "outputs_preview": preview(root.outputs),
        **_totals([trace]),
        **_details([trace]),
    }


def thread_stats(traces: Sequence[Trace], feedback: FeedbackByTrace, select: Iterable[str]) -> dict[str, Any]:
    """Return the JSON object of ``GET /api/v2/threads/{id}/stats``.

    Args:
        traces: The thread's traces, oldest first.
        feedback: The feedback of traces by their id.
        select: Names of statistics, in upper or lower case.
    """
    latencies = _latencies(traces)
    view = {
        "turns": len(traces),
        "first_start_time": _short(traces[0].started) if traces else None,
        "last_start_time": _short(max(trace.started for trace in traces)) if traces else None,
        "last_end_time": _short(_ended(traces)),
        "latency_p50": numbers.p50(latencies),
        "latency_p99": numbers.p99(latencies),
        "feedback_stats": numbers.feedback_stats(_feedback(traces, feedback)),
        **_totals(traces),
        **_details(traces),
    }
    return _with_units(_only(view, map(str.lower, select)))


def threads_stats(traces: Sequence[Trace], feedback: FeedbackByTrace, select: Iterable[str]) -> dict[str, Any]:
    """Return the JSON object of ``POST /api/v2/threads/stats``, without ``buckets``.

    Args:
        traces: The traces of the threads.
        feedback: The feedback of traces by their id.
        select: Names of statistics, in upper or lower case.
    """
    firsts = [_seconds(trace.started, moment) for trace in traces if (moment := trace.first_token) is not None]
    view: dict[str, Callable[[], object]] = {
        "thread_count": lambda: len({trace.thread for trace in traces}),
        "trace_count": lambda: len(traces),
        "error_rate": lambda: sum(trace.failed for trace in traces) / len(traces) if traces else None,
        "streaming_rate": lambda: len(firsts) / len(traces) if traces else None,
        "latency_p50": lambda: numbers.p50(_latencies(traces)),
        "latency_p99": lambda: numbers.p99(_latencies(traces)),
        "first_token_p50": lambda: numbers.p50(firsts),
        "first_token_p99": lambda: numbers.p99(firsts),
        "median_tokens": lambda: median_low([trace.total_tokens for trace in traces]) if traces else None,
        "thread_feedback_stats": lambda: numbers.feedback_stats(_feedback(traces, feedback)),
        **{name: partial(read, traces) for name, read in _SUMS.items()},
        **{f"{name}_details": partial(_kinds, traces, name) for name in _DETAILS},
    }
    wanted = {each.lower() for each in select}
    return _with_units({name: read() for name, read in view.items() if name in wanted})


def project_stats(traces: Sequence[Trace], feedback: FeedbackByTrace) -> dict[str, Any]:
    """Return the statistics of a project as LangSmith's v1 gives them: of its traces, with the tokens of all runs.

    Args:
        traces: The project's traces.
        feedback: The feedback of traces by their id.
    """
    return _stats(
        count=len(traces),
        errors=sum(trace.failed for trace in traces),
        latencies=_latencies(traces),
        firsts=[
            seconds
            for firsts in json.loads(f"[{','.join(trace.first_tokens for trace in traces)}]")
            for _, seconds in firsts
        ],
        last=_short(max((trace.started for trace in traces), default=None)),
        feedback=_feedback(traces, feedback),
        totals=_totals(traces),
    )


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


def _totals(traces: Sequence[Trace]) -> dict[str, Any]:
    """Return the tokens and costs of traces, whose names begin with ``total``, ``prompt`` and ``completion``."""
    return {name: read(traces) for name, read in _SUMS.items()}


def _total(name: str) -> Callable[[Sequence[Trace]], int | float | None]:
    read = attrgetter(name)

    def total(traces: Sequence[Trace]) -> int | float | None:
        known = [value for value in map(read, traces) if value is not None]
        return sum(known) if known or name.endswith("_tokens") else None

    return total


def _latencies(traces: Sequence[Trace]) -> list[float]:
    return [trace.latency for trace in traces if trace.latency is not None]


def _duration(traces: Sequence[Trace]) -> float | None:
    ended = _ended(traces)
    return _seconds(traces[0].started, ended) if ended else None


def _details(traces: Sequence[Trace]) -> dict[str, Any]:
    """Return the sums of the tokens and the costs of each kind, such as ``audio``."""
    found = {name: _kinds(traces, name) for name in _DETAILS}
    return {f"{name}_details": {"raw": kinds} if kinds else None for name, kinds in found.items()}


def _kinds(traces: Iterable[Trace], name: str) -> dict[str, float] | None:
    sums: defaultdict[str, float] = defaultdict(int)
    for details in json.loads(f"[{','.join(trace.details for trace in traces)}]"):  # one call takes a third of the time
        for kind, value in details.get(name, {}).items():
            sums[kind] += value
    return dict(sums) or None


def _feedback(traces: Iterable[Trace], feedback: FeedbackByTrace) -> Iterable[Mapping[str, Any]]:
    return (each for trace in traces for each in feedback.get(trace.id, ()))


def _ended(traces: Iterable[Trace]) -> str | None:
    return max((trace.ended for trace in traces if trace.ended is not None), default=None)


def _seconds(begin: str, end: str) -> float:
    return (time(end, "time") - time(begin, "time")).total_seconds()


def _short(moment: str | None) -> str | None:
    """Return a time of a trace as it stands in answers: without microseconds if they are 0."""
    return moment.replace(".000000", "", 1) if moment else None


def _started(dotted_order: str) -> str:
    stamp = dotted_order[:22]
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:11]}:{stamp[11:13]}:{stamp[13:15]}.{stamp[15:21]}+00:00"


def _only(view: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    wanted = set(keys)
    return {key: value for key, value in view.items() if key in wanted}


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


_SUMS: Final = {f"{side}_{what}": _total(f"{side}_{what}") for what in ("tokens", "cost") for side in SIDES}
#: What a thread's object says besides details and feedback, read from its traces, of which the oldest is first.
THREAD_NUMBERS: Final[dict[str, Callable[[Sequence[Trace]], object]]] = {
    "thread_id": lambda traces: traces[-1].thread,
    "count": len,
    "num_errored_turns": lambda traces: sum(trace.failed for trace in traces),
    "trace_id": lambda traces: traces[-1].id,
    "first_trace_id": lambda traces: traces[0].id,
    "last_trace_id": lambda traces: traces[-1].id,
    "first_inputs": lambda traces: traces[0].inputs,
    "last_outputs": lambda traces: traces[-1].outputs,
    "last_error": lambda traces: traces[-1].error,
    "start_time": lambda traces: _short(traces[-1].started),
    "min_start_time": lambda traces: _short(traces[0].started),
    "max_start_time": lambda traces: _short(traces[-1].started),
    "thread_duration": _duration,
    "latency_p50": lambda traces: numbers.p50(_latencies(traces)),
    "latency_p99": lambda traces: numbers.p99(_latencies(traces)),
    **_SUMS,
}

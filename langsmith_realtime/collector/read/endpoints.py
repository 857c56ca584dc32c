"""The read endpoints, v1 and v2, that LangSmith's client uses."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from langsmith_realtime.collector.ingest.bodies import read_whole
from langsmith_realtime.collector.read import filters, views
from langsmith_realtime.collector.rules import Refused, json_type, time
from langsmith_realtime.collector.store import project_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from starlette.requests import Request

    from langsmith_realtime.collector.records import StoredRun
    from langsmith_realtime.collector.store import Store

#: Largest size of a query, in bytes.
_QUERY_BYTES: Final = 1024 * 1024
_DAY: Final = timedelta(days=1)


class ReadEndpoints:
    """The endpoints that return stored runs, traces, threads, projects and feedback.

    A run appears once its create has arrived.

    Args:
        store: Holds the runs and the feedback.
        link: Makes an attachment's URL from the request, the run's id and the attachment's name.
    """

    def __init__(self, store: Store, link: Callable[[Request, str, str], str]) -> None:
        self._store = store
        self._link = link

    # --- v1

    async def v1_run(self, request: Request) -> Response:
        """``GET /runs/{run_id}``: one run."""
        run = self._store.run(request.path_params["run_id"].lower())
        if run is None or not run.creates:
            raise HTTPException(404, f"Run not found: {request.path_params['run_id']}")
        return JSONResponse(views.v1_run(run, self._linker(request)))

    async def v1_runs(self, request: Request) -> Response:
        """``POST /runs/query``: a page of runs by descending ``dotted_order``, or ascending if ``order`` is ``asc``."""
        query = await _body(request)
        if not any(query.get(key) for key in ("session", "id", "parent_run", "trace", "reference_example")):
            raise Refused(
                "query",
                "At least one of 'session', 'id', 'parent_run', 'trace' or 'reference_example' must be specified",
            )
        runs = self._matching(
            projects=query.get("session"),
            ids=query.get("id"),
            trace_id=query.get("trace"),
            is_root=query.get("is_root"),
            run_type=query.get("run_type"),
            has_error=query.get("error"),
            since=query.get("start_time"),
            until=query.get("end_time"),
            query=query,
        )
        if query.get("parent_run"):
            runs = [run for run in runs if run.parent_run_id == query["parent_run"]]
        if query.get("order") != "asc":
            runs.reverse()
        page, cursor = _page(runs, query.get("limit"), query.get("cursor"), largest=100, default=100)
        link = self._linker(request)
        select = query.get("select")
        return JSONResponse(
            {"runs": [views.v1_run(run, link, select) for run in page], "cursors": {"next": cursor, "prev": None}}
        )

    async def sessions(self, request: Request) -> Response:
        """``GET /sessions``: a page of projects, newest first, filtered by ``name`` and ``name_contains``."""
        name = request.query_params.get("name")
        name_part = request.query_params.get("name_contains", "")
        found = [
            views.project(each, first)
            for each, first in self._store.projects().items()
            if (name is None or each == name) and name_part in each
        ]
        return JSONResponse(_numbered_page(request, found))

    async def session(self, request: Request) -> Response:
        """``GET /sessions/{session_id}``: one project."""
        for name, first in self._store.projects().items():
            view = views.project(name, first)
            if view["id"] == request.path_params["session_id"]:
                return JSONResponse(view)
        raise HTTPException(404, f"Session not found: {request.path_params['session_id']}")

    async def feedback(self, request: Request) -> Response:
        """``GET /feedback``: a page of feedback, oldest first, filtered by ``run`` and ``key``."""
        found = self._store.feedback(request.query_params.getlist("run") or None)
        if keys := request.query_params.getlist("key"):
            found = [each for each in found if each["key"] in keys]
        return JSONResponse([{"run_id": None, "trace_id": None, **each} for each in _numbered_page(request, found)])

    # --- v2

    async def v2_run(self, request: Request) -> Response:
        """``GET /api/v2/runs/{run_id}?project_id=…&selects=…``: one run."""
        run = self._store.run(request.path_params["run_id"].lower())
        project = _project_id(request)
        if run is None or not run.creates or project_id(run.project) != project:
            raise HTTPException(404, f"run not found in project {project}: {request.path_params['run_id']}")
        return JSONResponse(views.v2_run(run, self._linker(request), request.query_params.getlist("selects")))

    async def v2_runs(self, request: Request) -> Response:
        """``POST /api/v2/runs/query``: a page of runs in descending ``dotted_order`` order.

        Without ``min_start_time``, only runs that started in the last 24 hours.
        """
        query = await _body(request)
        if not query.get("project_ids"):
            raise Refused("query", "project_ids must have at least one project id, got none")
        runs = self._matching(
            projects=query["project_ids"],
            ids=query.get("ids"),
            trace_id=query.get("trace_id"),
            is_root=query.get("is_root"),
            run_type=query.get("run_type"),
            has_error=query.get("has_error"),
            since=query.get("min_start_time") or _yesterday(),
            until=query.get("max_start_time"),
            query=query,
        )
        page, cursor = _page(runs[::-1], query.get("page_size"), query.get("cursor"), largest=1000, default=100)
        link, selects = self._linker(request), query.get("selects") or ()
        return JSONResponse({"items": [views.v2_run(run, link, selects) for run in page], "next_cursor": cursor})

    async def threads(self, request: Request) -> Response:
        """``POST /api/v2/threads/query``: a page of threads; the thread whose last root run started latest is first.

        Without ``min_start_time``, only runs that started in the last 24 hours count.
        """
        query = await _body(request)
        runs = self._matching(
            projects=[query.get("project_id")],
            since=query.get("min_start_time") or _yesterday(),
            until=query.get("max_start_time"),
            query={**query, "filter": None, "trace_filter": query.get("filter") or query.get("trace_filter")},
        )
        page, cursor = _page(views.threads(runs), query.get("page_size"), query.get("cursor"), largest=100, default=20)
        return JSONResponse({"items": page, "next_cursor": cursor})

    async def thread_traces(self, request: Request) -> Response:
        """``GET /api/v2/threads/{thread_id}/traces?project_id=…``: a page of a thread's traces, oldest first."""
        params = request.query_params
        runs = self._matching(projects=[_project_id(request)], query=params)
        traces = _by_trace(run for run in runs if run.thread_id == request.path_params["thread_id"])
        items = [
            views.thread_trace(trace_runs[0], turn, views.total_tokens(trace_runs))
            for turn, trace_runs in enumerate(traces, start=1)
        ]
        page, cursor = _page(items, params.get("page_size"), params.get("cursor"), largest=100, default=20)
        if selects := params.getlist("selects"):
            wanted = {select.lower() for select in selects}
            page = [{key: value for key, value in trace.items() if key in wanted} for trace in page]
        return JSONResponse({"items": page, "next_cursor": cursor})

    async def traces(self, request: Request) -> Response:
        """``POST /api/v2/traces/query``: a page of traces, newest first.

        Without ``min_start_time``, only runs that started in the last 24 hours count.
        """
        query = await _body(request)
        runs = self._matching(
            projects=[query.get("project_id")],
            since=query.get("min_start_time") or _yesterday(),
            until=query.get("max_start_time"),
            query=query,
        )
        traces = [each for each in _by_trace(runs) if each[0].trace_id in (query.get("trace_ids") or each[0].trace_id)]
        page, cursor = _page(traces[::-1], query.get("page_size"), query.get("cursor"), largest=100, default=20)
        link, selects = self._linker(request), query.get("selects") or ()
        items = [
            {
                "root_run": views.v2_run(trace_runs[0], link, selects),
                "trace_aggregates": {"total_tokens": views.total_tokens(trace_runs)},
            }
            for trace_runs in page
        ]
        return JSONResponse({"items": items, "next_cursor": cursor})

    async def trace_runs(self, request: Request) -> Response:
        """``GET /api/v2/traces/{trace_id}/runs?project_id=…``: all runs of a trace in ``dotted_order`` order."""
        params = request.query_params
        runs = self._matching(
            projects=[_project_id(request)],
            trace_id=request.path_params["trace_id"],
            since=params.get("min_start_time"),
            until=params.get("max_start_time"),
            query=params,
        )
        link, selects = self._linker(request), params.getlist("selects")
        return JSONResponse({"items": [views.v2_run(run, link, selects) for run in runs]})

    # --- shared

    def _linker(self, request: Request) -> Callable[[str, str], str]:
        return lambda run_id, name: self._link(request, run_id, name)

    def _matching(
        self,
        *,
        query: Mapping[str, Any],
        projects: Iterable[str | None] | None = None,
        ids: Iterable[str] | None = None,
        trace_id: str | None = None,
        is_root: bool | None = None,
        run_type: str | None = None,
        has_error: bool | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> list[StoredRun]:
        """Return the runs that have a create and satisfy all given conditions, in ``dotted_order`` order.

        The query may have the filter expressions ``filter`` (applied to the run), ``trace_filter`` (applied to the
        run's root) and ``tree_filter`` (true for any run of the trace).
        """
        start, end = (time(each, "start_time") if each else None for each in (since, until))
        project_ids = None if projects is None else set(projects)
        conditions: list[Callable[[StoredRun], bool]] = [
            lambda run: run.creates > 0,
            lambda run: project_ids is None or project_id(run.project) in project_ids,
            lambda run: ids is None or run.id in ids,
            lambda run: is_root is None or (run.parent_run_id is None) is is_root,
            lambda run: run_type is None or run.run_type == run_type.lower(),
            lambda run: has_error is None or (run.error is not None) is has_error,
            lambda run: start is None or run.start_time >= start,
            lambda run: end is None or run.start_time <= end,
        ]
        if query.get("filter"):
            conditions.append(filters.parse(query["filter"]))
        for key, of_root in (("trace_filter", True), ("tree_filter", False)):
            if query.get(key):
                conditions.append(self._in_trace(filters.parse(query[key]), of_root=of_root))
        return [run for run in self._store.runs(trace_id) if all(condition(run) for condition in conditions)]

    def _in_trace(self, predicate: filters.Predicate, *, of_root: bool) -> filters.Predicate:
        traces = {
            run.trace_id for run in self._store.runs() if (run.parent_run_id is None or not of_root) and predicate(run)
        }
        return lambda run: run.trace_id in traces


def _by_trace(runs: Iterable[StoredRun]) -> list[list[StoredRun]]:
    """Return the runs of each trace, root first, without traces whose root is not in ``runs``."""
    traces: defaultdict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        traces[run.trace_id].append(run)
    return [trace_runs for trace_runs in traces.values() if trace_runs[0].parent_run_id is None]


def _page(
    items: Sequence[Any], size: object, cursor: object, *, largest: int, default: int
) -> tuple[list[Any], str | None]:
    """Return the page at a cursor, and the cursor of the next page (None at the end)."""
    try:
        count, start = int(str(size or default)), int(str(cursor or 0))
    except ValueError:
        message = f"the page size and the cursor must be integers, got {size!r} and {cursor!r}"
        raise Refused("query", message) from None
    if not 1 <= count <= largest:
        raise Refused("query", f"the page size must be between 1 and {largest}, got {count}")
    end = start + count
    return list(items[start:end]), str(end) if end < len(items) else None


def _numbered_page(request: Request, items: Sequence[Any]) -> list[Any]:
    params = request.query_params
    return _page(items, params.get("limit"), params.get("offset"), largest=100, default=100)[0]


def _project_id(request: Request) -> str:
    project = request.query_params.get("project_id")
    if not project:
        raise Refused("query", "project_id must be set: add ?project_id=… to the URL")
    return project


def _yesterday() -> str:
    return (datetime.now(UTC) - _DAY).isoformat()


async def _body(request: Request) -> dict[str, Any]:
    try:
        query = json.loads(await read_whole(request, _QUERY_BYTES))
    except ValueError as error:
        raise Refused("query", f"the body must be JSON: {error}") from None
    if not isinstance(query, dict):
        raise Refused("query", f"the body must be a JSON object, got {json_type(query)}")
    return query

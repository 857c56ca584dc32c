"""The read endpoints about runs and traces, v1 and v2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from langsmith_realtime.collector.not_served import not_served
from langsmith_realtime.collector.read import views
from langsmith_realtime.collector.read.query import (
    RunSearch,
    needed_project,
    page,
    page_of_runs,
    place,
    queried,
    yesterday,
)
from langsmith_realtime.collector.rules import Refused
from langsmith_realtime.collector.storage.store import project_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.requests import Request

    from langsmith_realtime.collector.records import StoredRun
    from langsmith_realtime.collector.storage.store import Store

#: What a query may have whose statistics are those of whole traces, which are columns.
_IN_COLUMNS: Final = frozenset({"session", "is_root", "start_time", "end_time", "select"})


class ReadEndpoints:
    """The endpoints that return stored runs and traces.

    A run appears once its create has arrived.

    Args:
        store: Holds the runs.
        link: Makes an attachment's URL from the request, the run's id and the attachment's name.
    """

    def __init__(self, store: Store, link: Callable[[Request, str, str], str]) -> None:
        self._store = store
        self._link = link
        self._search = RunSearch(store)

    # --- v1

    async def v1_run(self, request: Request) -> Response:
        """``GET /runs/{run_id}``: one run."""
        return JSONResponse(views.v1_run(self._run(request), self._linker(request)))

    @queried
    def v1_runs(self, request: Request, query: dict[str, Any]) -> Response:
        """``POST /runs/query``: a page of runs by descending ``dotted_order``, or ascending if ``order`` is ``asc``."""
        if query.get("query"):
            return not_served('The collector does not search by query; use the filter search("…")')
        runs = self._v1_found(query)
        found, cursor = page_of_runs(runs, query.get("limit"), largest=100, default=100)
        link = self._linker(request)
        select = query.get("select")
        return JSONResponse(
            {"runs": [views.v1_run(run, link, select) for run in found], "cursors": {"next": cursor, "prev": None}}
        )

    @queried
    def v1_stats(self, _: Request, query: dict[str, Any]) -> Response:
        """``POST /runs/stats``: statistics of the runs that the query finds; tokens are those below these runs, too."""
        if query.get("group_by") or query.get("groups"):
            return not_served("The collector has no statistics by group; leave out group_by")
        if query.get("is_root") and query.get("session") and not set(query) - _IN_COLUMNS:
            traces = [
                trace
                for project in query["session"]
                for trace in self._search.traces(
                    {}, project, since=query.get("start_time"), until=query.get("end_time")
                )
            ]
            return JSONResponse(views.project_stats(traces, self._store.traces.feedback(traces)))
        counted = list(self._v1_found(query))
        ids = {run.id for run in counted}
        below = (
            run for trace_id in sorted({run.trace_id for run in counted}) for run in self._store.find(trace_id=trace_id)
        )
        runs = [run for run in below if run.creates and not ids.isdisjoint((run.id, *run.ancestors))]
        return JSONResponse(views.run_stats(counted, runs))

    def _v1_found(self, query: dict[str, Any]) -> Iterable[StoredRun]:
        if not any(query.get(key) for key in ("session", "id", "parent_run", "trace", "reference_example")):
            raise Refused(
                "query",
                "At least one of 'session', 'id', 'parent_run', 'trace' or 'reference_example' must be specified",
            )
        search = self._search.oldest_first if query.get("order") == "asc" else self._search.newest_first
        return search(
            query,
            projects=query.get("session"),
            ids=query.get("id"),
            trace_id=query.get("trace"),
            parent_id=query.get("parent_run"),
            examples=query.get("reference_example"),
            is_root=query.get("is_root"),
            run_type=query.get("run_type"),
            has_error=query.get("error"),
            since=query.get("start_time"),
            until=query.get("end_time"),
        )

    async def show_project(self, request: Request) -> Response:
        """``GET /o/{tenant}/projects/p/{project}``, the link of a project: redirects to its list on the page."""
        names = self._search.names([request.path_params["project_id"].lower()])
        if not names:
            raise HTTPException(404, f"Project not found: {request.path_params['project_id']}")
        return RedirectResponse(f"/view/?project={quote(names[0], safe='')}")

    async def show(self, request: Request) -> Response:
        """``GET /o/{tenant}/projects/p/{project}/r/{run_id}``, the link of a run: redirects to the page."""
        return RedirectResponse(self._page_of(self._run(request)))

    # --- v2

    async def v2_run(self, request: Request) -> Response:
        """``GET /api/v2/runs/{run_id}?project_id=…&selects=…``: one run."""
        run = self._run(request, needed_project(request))
        return JSONResponse(views.v2_run(run, self._linker(request), request.query_params.getlist("selects")))

    async def run_url(self, request: Request) -> Response:
        """``GET /api/v2/runs/{run_id}/url?project_id=…&trace_id=…``: the address of the run on the page."""
        path = self._page_of(self._run(request, needed_project(request)))
        return JSONResponse({"url": f"{request.url.scheme}://{request.url.netloc}{path}"})

    @queried
    def v2_runs(self, request: Request, query: dict[str, Any]) -> Response:
        """``POST /api/v2/runs/query``: a page of runs in descending ``dotted_order`` order.

        Without ``min_start_time``, only runs that started in the last 24 hours.
        """
        if not query.get("project_ids"):
            raise Refused("query", "project_ids must have at least one project id, got none")
        runs = self._search.newest_first(
            query,
            projects=query["project_ids"],
            ids=query.get("ids"),
            trace_id=query.get("trace_id"),
            is_root=query.get("is_root"),
            run_type=query.get("run_type"),
            has_error=query.get("has_error"),
            since=query.get("min_start_time") or yesterday(),
            until=query.get("max_start_time"),
        )
        found, cursor = page_of_runs(runs, query.get("page_size"), largest=1000, default=100)
        link, selects = self._linker(request), query.get("selects") or ()
        return JSONResponse({"items": [views.v2_run(run, link, selects) for run in found], "next_cursor": cursor})

    @queried
    def traces(self, request: Request, query: dict[str, Any]) -> Response:
        """``POST /api/v2/traces/query``: a page of traces, newest first.

        Without ``min_start_time``, only traces whose root run started in the last 24 hours.
        """
        if not query.get("project_id"):
            raise Refused("query", "project_id must be set, got none")
        traces = self._search.traces(
            query,
            query["project_id"],
            since=query.get("min_start_time") or yesterday(),
            until=query.get("max_start_time"),
        )
        after = place(query.get("cursor"))
        later = (trace for trace in reversed(traces) if after is None or trace.dotted_order < after)
        found, more = page(later, query.get("page_size"), None, largest=100, default=20)
        link, selects = self._linker(request), query.get("selects") or ()
        stored = ((trace, self._store.run(trace.id)) for trace in found)
        items = [
            {
                "root_run": views.v2_run(root, link, selects),
                "trace_aggregates": {
                    "total_tokens": trace.total_tokens,
                    "total_cost": trace.total_cost,
                    "first_token_time": trace.first_token,
                },
            }
            for trace, root in stored
            if root is not None
        ]
        return JSONResponse({"items": items, "next_cursor": found[-1].dotted_order if more else None})

    def trace_runs(self, request: Request) -> Response:
        """``GET /api/v2/traces/{trace_id}/runs?project_id=…``: all runs of a trace in ``dotted_order`` order."""
        params = request.query_params
        runs = self._search.oldest_first(
            params,
            projects=[needed_project(request)],
            trace_id=request.path_params["trace_id"].lower(),
            since=params.get("min_start_time"),
            until=params.get("max_start_time"),
        )
        link, selects = self._linker(request), params.getlist("selects")
        return JSONResponse({"items": [views.v2_run(run, link, selects) for run in runs]})

    # --- shared

    def _run(self, request: Request, project: str | None = None) -> StoredRun:
        given = request.path_params["run_id"]
        run = self._store.run(given.lower())
        if run is None or not run.creates:
            raise HTTPException(404, f"Run not found: {given}")
        if project is not None and project_id(run.project) != project:
            raise HTTPException(404, f"run not found in project {project}: {given}")
        return run

    def _page_of(self, run: StoredRun) -> str:
        rows = (self._store.conversations.row(each) for each in (*reversed(run.ancestors), run.id))
        return views.run_path(run, next((str(row["id"]) for row in rows if row is not None), None))

    def _linker(self, request: Request) -> Callable[[str, str], str]:
        return lambda run_id, name: self._link(request, run_id, name)

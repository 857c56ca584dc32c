"""The endpoints about threads, all of v2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response

from langsmith_realtime.collector.not_served import not_served
from langsmith_realtime.collector.read import filters, views
from langsmith_realtime.collector.read.query import (
    RunSearch,
    by_trace,
    checked,
    needed_project,
    page,
    read_object,
    yesterday,
)
from langsmith_realtime.collector.rules import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from langsmith_realtime.collector.records import StoredRun
    from langsmith_realtime.collector.store import Store

_HOW_TO_SELECT: Final = "must name at least one statistic"


class ThreadEndpoints:
    """The endpoints that return threads, their traces and their statistics.

    Args:
        store: Holds the runs.
    """

    def __init__(self, store: Store) -> None:
        self._search = RunSearch(store)

    async def threads(self, request: Request) -> Response:
        """``POST /api/v2/threads/query``: a page of threads; the thread whose last root run started latest is first.

        Without ``min_start_time``, only runs that started in the last 24 hours count.
        """
        query = checked(await read_object(request))
        found = self._threads(self._runs(query), query)
        items, cursor = page(found, query.get("page_size"), query.get("cursor"), largest=100, default=20)
        return JSONResponse({"items": items, "next_cursor": cursor})

    async def traces(self, request: Request) -> Response:
        """``GET /api/v2/threads/{thread_id}/traces?project_id=…``: a page of a thread's traces, oldest first."""
        params = request.query_params
        runs = self._of_thread(request, needed_project(request), None)
        wanted = None if not params.get("filter") else filters.parse(params["filter"])
        traces = [
            views.thread_trace(trace_runs, turn)
            for turn, trace_runs in enumerate(by_trace(runs), start=1)
            if wanted is None or wanted(trace_runs[0])
        ]
        items, cursor = page(traces, params.get("page_size"), params.get("cursor"), largest=100, default=20)
        if selects := params.getlist("selects"):
            names = {select.lower() for select in selects}
            items = [{key: value for key, value in trace.items() if key in names} for trace in items]
        return JSONResponse({"items": items, "next_cursor": cursor})

    async def stats(self, request: Request) -> Response:
        """``GET /api/v2/threads/{thread_id}/stats?session_id=…&selects=…``: statistics of one thread."""
        selects = request.query_params.getlist("selects")
        if not selects:
            raise Refused("query", f"selects {_HOW_TO_SELECT}, got none")
        runs = self._of_thread(request, needed_project(request, "session_id"), request.query_params.get("filter"))
        return JSONResponse(views.thread_stats(runs, selects))

    async def all_stats(self, request: Request) -> Response:
        """``POST /api/v2/threads/stats``: statistics of all threads that the query finds, without ``buckets``."""
        query = checked(await read_object(request))
        if not query.get("select"):
            raise Refused("query", f"select {_HOW_TO_SELECT}, got none")
        if query.get("stride"):
            return not_served("The collector has no time series of threads; leave out stride")
        runs = self._runs(query)
        ids = {thread["thread_id"] for thread in self._threads(runs, query)}
        return JSONResponse(views.threads_stats([run for run in runs if run.thread_id in ids], query["select"]))

    def _runs(self, query: dict[str, Any]) -> list[StoredRun]:
        if not query.get("project_id"):
            raise Refused("query", "project_id must be set, got none")
        return self._search.oldest_first(
            {**query, "filter": None, "trace_filter": query.get("filter") or query.get("trace_filter")},
            projects=[query["project_id"]],
            since=query.get("min_start_time") or yesterday(),
            until=query.get("max_start_time"),
        )

    def _threads(self, runs: Sequence[StoredRun], query: dict[str, Any]) -> list[dict[str, Any]]:
        found = views.threads(runs)
        if not query.get("thread_filter"):
            return found
        return list(filter(filters.parse_thread_filter(query["thread_filter"]), found))

    def _of_thread(self, request: Request, project: str, expression: str | None) -> list[StoredRun]:
        """Return the runs of a thread; with a filter expression, those of the traces whose root satisfies it."""
        runs = self._search.oldest_first({"trace_filter": expression}, projects=[project])
        return [run for run in runs if run.thread_id == request.path_params["thread_id"]]

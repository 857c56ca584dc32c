"""The endpoints about threads, all of v2."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response

from langsmith_realtime.collector.not_served import not_served
from langsmith_realtime.collector.read import filters, views
from langsmith_realtime.collector.read.query import (
    RunSearch,
    needed_project,
    page,
    queried,
    yesterday,
)
from langsmith_realtime.collector.rules import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.requests import Request

    from langsmith_realtime.collector.storage.store import Store
    from langsmith_realtime.collector.storage.trace_numbers import Trace

_FILTERS: Final = ("filter", "trace_filter", "tree_filter", "thread_filter")
_HOW_TO_SELECT: Final = "must name at least one statistic"


class ThreadEndpoints:
    """The endpoints that return threads, their traces and their statistics.

    Args:
        store: Holds the runs.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._search = RunSearch(store)

    @queried
    def threads(self, _: Request, query: dict[str, Any]) -> Response:
        """``POST /api/v2/threads/query``: a page of threads; the thread whose last root run started latest is first.

        Without ``min_start_time``, only traces whose root run started in the last 24 hours count.
        """
        size, cursor = query.get("page_size"), query.get("cursor")
        if any(query.get(key) for key in _FILTERS):
            found = self._threads(self._traces(query), query)
            items, cursor = page(found, size, cursor, largest=100, default=20)
        else:  # the numbers of this page's threads are enough
            names, (since, until) = self._search.names([query.get("project_id")]) or [], _window(query)
            every = self._store.traces.threads(names, since=since, until=until)
            threads, cursor = page(every, size, cursor, largest=100, default=20)
            items = self._threads(self._traces(query, threads), query)
        feedback = self._store.traces.feedback(trace for traces in items for trace in traces)
        return JSONResponse({"items": [views.thread(traces, feedback) for traces in items], "next_cursor": cursor})

    def traces(self, request: Request) -> Response:
        """``GET /api/v2/threads/{thread_id}/traces?project_id=…``: a page of a thread's traces, oldest first."""
        params = request.query_params
        every = self._of_thread(request, needed_project(request), None)
        turns = {trace.id: turn for turn, trace in enumerate(every, start=1)}
        traces = self._of_thread(request, needed_project(request), params["filter"]) if params.get("filter") else every
        found, cursor = page(traces, params.get("page_size"), params.get("cursor"), largest=100, default=20)
        stored = ((trace, self._store.run(trace.id)) for trace in found)
        items = [views.thread_trace(root, trace, turns[trace.id]) for trace, root in stored if root is not None]
        if selects := params.getlist("selects"):
            names = {select.lower() for select in selects}
            items = [{key: value for key, value in trace.items() if key in names} for trace in items]
        return JSONResponse({"items": items, "next_cursor": cursor})

    def stats(self, request: Request) -> Response:
        """``GET /api/v2/threads/{thread_id}/stats?session_id=…&selects=…``: statistics of one thread."""
        selects = request.query_params.getlist("selects")
        if not selects:
            raise Refused("query", f"selects {_HOW_TO_SELECT}, got none")
        traces = self._of_thread(request, needed_project(request, "session_id"), request.query_params.get("filter"))
        return JSONResponse(views.thread_stats(traces, self._store.traces.feedback(traces), selects))

    @queried
    def all_stats(self, _: Request, query: dict[str, Any]) -> Response:
        """``POST /api/v2/threads/stats``: statistics of all threads that the query finds, without ``buckets``."""
        if not query.get("select"):
            raise Refused("query", f"select {_HOW_TO_SELECT}, got none")
        if query.get("stride"):
            return not_served("The collector has no time series of threads; leave out stride")
        traces = [trace for thread in self._threads(self._traces(query), query) for trace in thread]
        return JSONResponse(views.threads_stats(traces, self._store.traces.feedback(traces), query["select"]))

    def _traces(self, query: dict[str, Any], threads: Sequence[str] | None = None) -> list[Trace]:
        if not query.get("project_id"):
            raise Refused("query", "project_id must be set, got none")
        since, until = _window(query)
        return self._search.traces(
            query,
            query["project_id"],
            threads=True,
            of=threads,
            since=since,
            until=until,
        )

    def _threads(self, traces: Iterable[Trace], query: dict[str, Any]) -> list[list[Trace]]:
        """Return the traces of each thread, oldest first; the thread whose last trace started latest is first."""
        by_thread: defaultdict[str | None, list[Trace]] = defaultdict(list)
        for trace in traces:
            by_thread[trace.thread].append(trace)
        found = sorted(by_thread.values(), key=lambda thread: thread[-1].dotted_order, reverse=True)
        if not query.get("thread_filter"):
            return found
        holds = filters.parse_thread_filter(query["thread_filter"])
        return [thread for thread in found if holds(thread)]

    def _of_thread(self, request: Request, project: str, expression: str | None) -> list[Trace]:
        """Return the traces of a thread; with a filter expression, those whose root satisfies it."""
        return self._search.traces({"filter": expression}, project, of=[request.path_params["thread_id"]])


def _window(query: dict[str, Any]) -> tuple[str, str | None]:
    return query.get("min_start_time") or yesterday(), query.get("max_start_time")

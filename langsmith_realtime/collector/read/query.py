"""What queries have in common: their values, their conditions, and their pages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import wraps
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool

from langsmith_realtime.collector.ingest.bodies import read_whole
from langsmith_realtime.collector.json_bodies import parse_json
from langsmith_realtime.collector.read import filters
from langsmith_realtime.collector.rules import Refused, json_type, time
from langsmith_realtime.collector.storage.store import project_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from langsmith_realtime.collector.records import StoredRun
    from langsmith_realtime.collector.storage.store import Store
    from langsmith_realtime.collector.storage.trace_numbers import Trace

#: Largest size of a query, in bytes.
_QUERY_BYTES: Final = 1024 * 1024
#: Largest number of items before a page.
_LAST: Final = 10**9
_DAY: Final = timedelta(days=1)
_LISTS: Final = ("session", "id", "ids", "project_ids", "trace_ids", "select", "selects", "reference_example")
_TEXTS: Final = (
    *("trace", "trace_id", "parent_run", "project_id", "run_type", "order", "start_time", "end_time"),
    *("min_start_time", "max_start_time", "filter", "trace_filter", "tree_filter", "thread_filter"),
)
_ORDER: Final = re.compile(r"\d{8}T\d{12}Z[0-9A-Fa-f-]{36}(\.\d{8}T\d{12}Z[0-9A-Fa-f-]{36})*")
_FLAGS: Final = ("is_root", "error", "has_error")
_IDS: Final = ("session", "id", "ids", "project_ids", "trace_ids", "trace", "trace_id", "parent_run", "project_id")


def queried(
    answer: Callable[[Any, Request, dict[str, Any]], Response],
) -> Callable[[Any, Request], Awaitable[Response]]:
    """Make an endpoint of a method that answers a request and its checked query.

    The method runs in a thread, so that a slow query delays neither ingestion nor the page. Starlette runs endpoints
    that are no coroutine functions in threads, too.
    """

    @wraps(answer)
    async def endpoint(self: Any, request: Request) -> Response:
        return await run_in_threadpool(answer, self, request, checked(await read_object(request)))

    return endpoint


def checked(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return a query with ids in lower case.

    Raises:
        Refused: A value has the wrong JSON type (rule ``query``).
    """
    found = {key: value for key, value in query.items() if value is not None}
    for key in set(_LISTS).intersection(found):
        value = found[key]
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise Refused("query", f"{key} must be an array of strings, got {value!r:.100}")
    for keys, kind, name in ((_TEXTS, str, "a string"), (_FLAGS, bool, "a boolean")):
        for key in set(keys).intersection(found):
            if not isinstance(found[key], kind):
                raise Refused("query", f"{key} must be {name}, got {json_type(found[key])}")
    for key in _IDS:
        if key in found:
            value = found[key]
            found[key] = value.lower() if isinstance(value, str) else [each.lower() for each in value]
    return found


async def read_object(request: Request) -> dict[str, Any]:
    """Return the JSON object in a request's body. Raises Refused without one."""
    query = await read_json(request)
    if not isinstance(query, dict):
        raise Refused("query", f"the body must be a JSON object, got {json_type(query)}")
    return query


async def read_json(request: Request, limit: int = _QUERY_BYTES) -> Any:
    """Return the JSON value in a request's body of at most `limit` bytes. Raises Refused if it is no JSON."""
    try:
        return parse_json(await read_whole(request, limit))
    except (ValueError, RecursionError) as error:
        raise Refused("query", f"the body must be JSON: {error}") from None


def needed_project(request: Request, key: str = "project_id") -> str:
    """Return the project's id in a request's address. Raises Refused without one."""
    project = request.query_params.get(key)
    if not project:
        raise Refused("query", f"{key} must be set: add ?{key}=… to the URL")
    return project.lower()


def yesterday() -> str:
    """Return the time one day ago, the earliest start of runs in v2 queries that name none."""
    return (datetime.now(UTC) - _DAY).isoformat()


def page(
    items: Iterable[Any], size: object, cursor: object, *, largest: int, default: int
) -> tuple[list[Any], str | None]:
    """Return the page at a cursor, and the cursor of the next page (None at the end).

    Args:
        items: All items; those behind the page are not asked for.
        size: Number of items on a page, as received; None for the default.
        cursor: As received; None for the first page.
        largest: Largest number of items on a page.
        default: Number of items on a page if the query does not say.

    Raises:
        Refused: The size or the cursor is none of these (rule ``query``).
    """
    try:
        count, start = int(str(default if size is None else size)), int(str(0 if cursor is None else cursor))
    except ValueError:
        message = f"the page size and the cursor must be integers, got {size!r} and {cursor!r}"
        raise Refused("query", message) from None
    if not 1 <= count <= largest:
        raise Refused("query", f"the page size must be between 1 and {largest}, got {count}")
    if not 0 <= start <= _LAST:
        raise Refused("query", f"the cursor must not be negative and at most {_LAST}, got {start}")
    end = start + count
    found = list(islice(items, start, end + 1))
    return found[:count], str(end) if len(found) > count else None


def page_of_runs(
    runs: Iterable[StoredRun], size: object, *, largest: int, default: int
) -> tuple[list[StoredRun], str | None]:
    """Return the first runs, and the cursor that :func:`place` reads in the query for the next page (None at the end).

    The cursor is the last run's ``dotted_order``: runs that are stored between two pages move none from one to the
    other, and the runs of earlier pages are not read again. The other arguments are those of :func:`page`.
    """
    found, more = page(runs, size, None, largest=largest, default=default)
    return found, found[-1].dotted_order if more else None


def place(cursor: object) -> str | None:
    """Return the ``dotted_order`` in a cursor of :func:`page_of_runs`; None for the first page.

    Raises:
        Refused: The cursor is none of these (rule ``query``).
    """
    if cursor is None:
        return None
    if not isinstance(cursor, str) or not _ORDER.fullmatch(cursor):
        raise Refused("query", f"the cursor must be the one in the answer with the page before, got {cursor!r:.100}")
    return cursor


def numbered_page(request: Request, items: Sequence[Any]) -> list[Any]:
    """Return the page at the ``limit`` and ``offset`` in a request's address."""
    params = request.query_params
    return page(items, params.get("limit"), params.get("offset"), largest=100, default=100)[0]


def _stamp(since: str | None) -> str | None:
    """Return a time in the form of ``dotted_order``, an hour earlier, because ``start_time`` may say another one."""
    if not since:
        return None
    try:
        earlier = time(since, "start_time") - timedelta(hours=1)
        return f"{earlier.year:04d}{earlier:%m%dT%H%M%S%fZ}"
    except OverflowError:  # the year 1
        return None


class RunSearch:
    """Finds runs by the conditions that the queries of v1 and v2 share. Runs without a create are never found.

    Args:
        store: Holds the runs.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def oldest_first(self, query: Mapping[str, Any], **conditions: Any) -> Iterator[StoredRun]:
        """Yield the runs that satisfy all conditions, in ``dotted_order`` order, as they are asked for.

        Args:
            query: May have the filter expressions ``filter`` (applied to the run), ``trace_filter`` (applied to the
                run's root) and ``tree_filter`` (true for any run of the trace).
            conditions: Arguments of :meth:`_satisfies`.
        """
        return self._found(query, conditions, newest_first=False)

    def newest_first(self, query: Mapping[str, Any], **conditions: Any) -> Iterator[StoredRun]:
        """Yield the runs that satisfy all conditions by descending ``dotted_order``, as they are asked for."""
        return self._found(query, conditions, newest_first=True)

    def _found(
        self, query: Mapping[str, Any], conditions: Mapping[str, Any], *, newest_first: bool
    ) -> Iterator[StoredRun]:
        after = place(query.get("cursor"))
        holds = self._satisfies(query, **conditions)
        if conditions.get("ids") is not None:
            stored = filter(None, map(self._store.run, set(conditions["ids"])))
            runs = iter(sorted(stored, key=lambda run: run.dotted_order, reverse=newest_first))
            if after is not None:
                runs = (run for run in runs if run.dotted_order != after and (run.dotted_order < after) is newest_first)
        elif (roots := self._roots_in_columns(query, conditions, after, newest_first=newest_first)) is not None:
            runs = roots
        else:
            runs = self._store.find(
                projects=self.names(conditions.get("projects")),
                trace_id=conditions.get("trace_id"),
                thread=filters.parse(query["filter"]).thread if query.get("filter") else None,
                roots=conditions.get("is_root") is True,
                since=_stamp(conditions.get("since")),
                newest_first=newest_first,
                after=after,
            )
        return filter(holds, runs)

    def _roots_in_columns(
        self, query: Mapping[str, Any], conditions: Mapping[str, Any], after: str | None, *, newest_first: bool
    ) -> Iterator[StoredRun] | None:
        """Yield the root runs of a project that satisfy ``filter``, found without parsing any other run.

        None if the query is about other runs, about several projects, or about fields that are no columns.
        """
        names = self.names(conditions.get("projects"))
        wanted = filters.parse_trace_filter(query["filter"]) if query.get("filter") else None
        if not conditions.get("is_root") or names is None or len(names) != 1 or wanted is None or wanted.thread:
            return None
        traces = self._store.traces.find(
            names[0],
            texts=wanted.texts,
            since=conditions.get("since"),
            newest_first=newest_first,
            after=after,
        )
        return filter(None, (self._store.run(trace.id) for trace in traces if wanted(trace)))

    def traces(
        self,
        query: Mapping[str, Any],
        project: str,
        *,
        threads: bool = False,
        of: Sequence[str] | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> list[Trace]:
        """Return the numbers of traces in ``dotted_order`` order.

        Args:
            query: May have ``trace_ids``, and the filter expressions ``filter`` and ``trace_filter`` (both applied to
                the root run) and ``tree_filter`` (true for any run of the trace).
            project: Id of the project.
            threads: Only traces that belong to a thread.
            of: Only traces of these threads.
            since: Only root runs that started at this time or later.
            until: Only root runs that started at this time or earlier.
        """
        names = self.names([project]) or []
        expressions = [query[key] for key in ("filter", "trace_filter") if query.get(key)]
        of_root = [filters.parse(each) for each in expressions]
        in_columns = [filters.parse_trace_filter(each) for each in expressions]
        if of is None:
            of = [each.thread for each in of_root if each.thread is not None][:1] or None
        found = self._store.traces.traces(
            names,
            threads=threads,
            texts={text for holds in in_columns if holds is not None for text in holds.texts},
            of=of,
            ids=query.get("trace_ids") or None,
            since=since,
            until=until,
        )
        found = [trace for trace in found if all(holds is None or holds(trace) for holds in in_columns)]
        if None in in_columns:
            thread = of[0] if of is not None and len(of) == 1 else None
            roots = self._store.find(projects=names, thread=thread, roots=True, since=_stamp(since))
            satisfied = {root.id for root in roots if all(holds(root) for holds in of_root)}
            found = [trace for trace in found if trace.id in satisfied]
        if query.get("tree_filter"):
            wanted = filters.parse(query["tree_filter"])
            runs = self._store.find(projects=names, thread=wanted.thread, since=_stamp(since))
            satisfied = {run.trace_id for run in runs if wanted(run)}
            found = [trace for trace in found if trace.id in satisfied]
        return found

    def names(self, ids: Iterable[str | None] | None) -> list[str] | None:
        """Return the names of the projects with these ids; None for None."""
        if ids is None:
            return None
        wanted = set(ids)
        return [name for name in self._store.projects() if project_id(name) in wanted]

    def _satisfies(
        self,
        query: Mapping[str, Any],
        *,
        projects: Iterable[str | None] | None = None,
        ids: Iterable[str] | None = None,
        trace_id: str | None = None,
        parent_id: str | None = None,
        examples: Iterable[str] | None = None,
        is_root: bool | None = None,
        run_type: str | None = None,
        has_error: bool | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Callable[[StoredRun], bool]:
        start, end = (time(each, "start_time") if each else None for each in (since, until))
        project_ids = None if projects is None else set(projects)
        conditions: list[Callable[[StoredRun], bool]] = [
            lambda run: run.creates > 0,
            lambda run: trace_id is None or run.trace_id == trace_id,
            lambda run: project_ids is None or project_id(run.project) in project_ids,
            lambda run: ids is None or run.id in ids,
            lambda run: parent_id is None or run.parent_run_id == parent_id,
            lambda run: examples is None or (run.reference_example_id or "") in examples,
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
                conditions.append(self._in_trace(query[key], of_root=of_root))
        return lambda run: all(condition(run) for condition in conditions)

    def _in_trace(self, expression: str, *, of_root: bool) -> filters.Predicate:
        predicate, in_columns = filters.parse(expression), filters.parse_trace_filter(expression)
        if of_root and in_columns is not None:
            found = self._store.traces.traces(self._store.projects(), texts=in_columns.texts)
            ids = {trace.id for trace in found if in_columns(trace)}
            return lambda run: run.trace_id in ids
        runs = self._store.find(roots=of_root, thread=predicate.thread)
        traces = {run.trace_id for run in runs if predicate(run)}
        return lambda run: run.trace_id in traces

"""The table of the numbers of traces: one row each, kept up at every write, so that lists of threads and of traces and
their statistics parse no stored run."""

from __future__ import annotations

import json
from itertools import starmap
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from langsmith_realtime.collector import numbers
from langsmith_realtime.collector.rules import time

if TYPE_CHECKING:
    import sqlite3
    import threading
    from collections.abc import Collection, Iterable, Iterator

    from langsmith_realtime.collector.records import StoredRun

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS trace_numbers (
    id TEXT PRIMARY KEY,
    project TEXT,                  -- of the root run, like the columns from here to failed; NULL until it is stored
    dotted_order TEXT,
    thread TEXT,
    started TEXT,                  -- with microseconds and in UTC, so that the order of texts is that of times
    ended TEXT,
    latency REAL,                  -- seconds
    failed INTEGER,
    total_tokens INTEGER NOT NULL DEFAULT 0,    -- sums of all runs, like the other tokens and costs
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    total_cost REAL,               -- USD; NULL if no run states one
    prompt_cost REAL,
    completion_cost REAL,
    details TEXT NOT NULL DEFAULT '{}',         -- JSON, {"prompt_token": {"audio": 60}}
    first_token TEXT,              -- the first of them, as it was sent
    first_tokens TEXT NOT NULL DEFAULT '[]',    -- JSON, of each run the time and the seconds since the run's start
    error TEXT,                    -- of the root run, like previews of its inputs and outputs
    inputs TEXT,
    outputs TEXT
);
-- What only some filters read stands apart, because SQLite reads a table of short rows faster.
CREATE TABLE IF NOT EXISTS root_texts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    run_type TEXT NOT NULL,
    tags TEXT NOT NULL,            -- JSON, like the metadata
    metadata TEXT NOT NULL,
    searched TEXT NOT NULL         -- what search() looks at
);
CREATE INDEX IF NOT EXISTS trace_numbers_by_project ON trace_numbers (project, dotted_order);
CREATE INDEX IF NOT EXISTS trace_numbers_by_thread ON trace_numbers (thread);
-- The traces with a run of a thread, which need not be the root run.
CREATE TABLE IF NOT EXISTS traces_of_threads (
    thread TEXT NOT NULL, trace_id TEXT NOT NULL, PRIMARY KEY (thread, trace_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS threads_of_traces ON traces_of_threads (trace_id);
"""
_SUMS: Final = tuple(f"{side}_{what}" for what in ("tokens", "cost") for side in ("total", "prompt", "completion"))
_DETAILS: Final = tuple((side, what) for what in ("token", "cost") for side in ("prompt", "completion"))
#: Largest length of a preview, in characters.
_PREVIEW: Final = 200
#: How many traces one query names at most; more are found by a look at all feedback.
_FEW: Final = 1000
#: How many traces are read at once.
_PAGE: Final = 500


class Trace(NamedTuple):
    """The numbers of one trace. Texts and numbers of the root run stand beside sums of all runs.

    Attributes:
        started: Start of the root run, ISO 8601 with microseconds in UTC; so is ``ended``.
        latency: Duration of the root run in seconds; None until it has ended.
        failed: 1 if the root run has an error, else 0.
        total_cost: USD, like the other costs; None if no run states one.
        details: JSON object: the sums of each kind by ``prompt_token``, ``completion_token``, ``prompt_cost`` and
            ``completion_cost``.
        first_token: Time of the first token of all runs, as it was sent; None without one.
        first_tokens: JSON array: the time of the first token of each llm run, and the seconds since the run's start.
        inputs: Preview of the root run's inputs, None without any; so is ``outputs``.
        name: Name of the root run; like all that follows, empty unless it was asked for.
        tags: JSON array.
        metadata: JSON object.
        searched: The :func:`searched_text` of the root run.
    """

    id: str
    dotted_order: str
    thread: str | None
    started: str
    ended: str | None
    latency: float | None
    failed: int
    total_tokens: int
    prompt_tokens: int
    completion_tokens: int
    total_cost: float | None
    prompt_cost: float | None
    completion_cost: float | None
    details: str
    first_token: str | None
    first_tokens: str
    error: str | None
    inputs: str | None
    outputs: str | None
    name: str = ""
    run_type: str = ""
    tags: str = ""
    metadata: str = ""
    searched: str = ""


#: The attributes of a trace that are columns of the one and of the other table.
_OF_TEXTS: Final = tuple(Trace._field_defaults)
_OF_NUMBERS: Final = Trace._fields[: -len(_OF_TEXTS)]


class TraceNumbers:
    """The rows of traces in a store's SQLite file.

    Args:
        db: The store's connection.
        lock: Held during every use of the connection; :meth:`note` and :meth:`clear` expect that it is held.
    """

    def __init__(self, db: sqlite3.Connection, lock: threading.Lock) -> None:
        self._db = db
        self._lock = lock

    def clear(self) -> None:
        """Delete all rows, before every stored run is noted again."""
        self._db.execute("DELETE FROM trace_numbers")
        self._db.execute("DELETE FROM root_texts")
        self._db.execute("DELETE FROM traces_of_threads")

    def note(self, before: StoredRun | None, after: StoredRun) -> None:
        """Note a run that was written.

        Args:
            before: The run as it was noted before; None if it was not stored, or stored without a create.
            after: The run.
        """
        if after.thread_id is not None:
            self._db.execute("INSERT OR IGNORE INTO traces_of_threads VALUES (?, ?)", (after.thread_id, after.trace_id))
        if after.parent_run_id is None:
            self._note_root(after)
        earlier, later = (None if run is None else _counts(run) for run in (before, after))
        if before is not None and (earlier, before.trace_id) == (later, after.trace_id):
            return
        for run, counts, sign in ((before, earlier, -1), (after, later, 1)):
            if run is not None and counts is not None:
                self._add(run.trace_id, counts, cast("Literal[-1, 1]", sign))

    def _note_root(self, root: StoredRun) -> None:
        columns = {
            "id": root.trace_id,
            "project": root.project,
            "dotted_order": root.dotted_order,
            "thread": root.thread_id,
            "started": root.start_time.isoformat(timespec="microseconds"),
            "ended": root.end_time.isoformat(timespec="microseconds") if root.end_time else None,
            "latency": numbers.latency(root),
            "failed": int(root.status == "error"),
            "error": root.error,
            "inputs": preview(root.inputs),
            "outputs": preview(root.outputs),
        }
        changes = ", ".join(f"{name} = excluded.{name}" for name in columns)
        marks = ", ".join("?" for _ in columns)
        self._db.execute(
            f"INSERT INTO trace_numbers ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - names of columns
            f" ON CONFLICT (id) DO UPDATE SET {changes}",
            tuple(columns.values()),
        )
        tags, metadata = json.dumps(root.tags), json.dumps(root.metadata)
        self._db.execute(
            "INSERT OR REPLACE INTO root_texts VALUES (?, ?, ?, ?, ?, ?)",
            (root.trace_id, root.name, root.run_type, tags, metadata, searched_text(root)),
        )

    def _add(self, trace_id: str, counts: dict[str, Any], sign: Literal[-1, 1]) -> None:
        self._db.execute("INSERT OR IGNORE INTO trace_numbers (id) VALUES (?)", (trace_id,))
        names = (*_SUMS, "details", "first_tokens")
        stored = dict(
            zip(
                names,
                self._db.execute(f"SELECT {', '.join(names)} FROM trace_numbers WHERE id = ?", (trace_id,)).fetchone(),  # noqa: S608 - names of columns
                strict=True,
            )
        )
        for name in _SUMS:
            if counts[name] is not None:
                stored[name] = (stored[name] or 0) + sign * counts[name]
        details, firsts = json.loads(stored["details"]), json.loads(stored["first_tokens"])
        for name, kinds in counts["details"].items():
            known = details.setdefault(name, {})
            for kind, value in kinds.items():
                known[kind] = known.get(kind, 0) + sign * value
        if counts["first_token"] is not None:
            if sign == 1:
                firsts.append(counts["first_token"])
            else:
                firsts.remove(counts["first_token"])
        stored |= {
            "details": json.dumps(details),
            "first_token": min((moment for moment, _ in firsts), default=None),
            "first_tokens": json.dumps(firsts),
        }
        changes = ", ".join(f"{name} = ?" for name in stored)
        self._db.execute(f"UPDATE trace_numbers SET {changes} WHERE id = ?", (*stored.values(), trace_id))  # noqa: S608

    # Reading

    def traces(
        self,
        projects: Iterable[str],
        *,
        threads: bool = False,
        texts: Collection[str] = (),
        of: Iterable[str] | None = None,
        ids: Iterable[str] | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> list[Trace]:
        """Return the traces of which the root run is stored, in ``dotted_order`` order.

        Args:
            projects: Only traces of the projects with these names.
            threads: Only traces that belong to a thread.
            texts: Names of the attributes after ``outputs`` to be read, too, which takes longer.
            of: Only traces of these threads.
            ids: Only the traces with these ids.
            since: Only root runs that started at this time or later, as a client sent it.
            until: Only root runs that started at this time or earlier, as a client sent it.

        Raises:
            Refused: One of the times is none (rule ``field``).
        """
        where, values = _conditions(projects, since, until)
        if threads:
            where += " AND thread IS NOT NULL"
        for column, wanted in (("thread", of), ("id", ids)):
            if wanted is not None:  # the plus, because the index of projects finds too many
                where = f"+{where} AND {column} IN (SELECT value FROM json_each(?))"  # noqa: S608 - fixed texts
                values.append(json.dumps(list(wanted)))
        return self._traces(f"{where} ORDER BY dotted_order", values, texts=texts)

    def find(
        self, project: str, *, texts: Collection[str], since: str | None, newest_first: bool, after: str | None
    ) -> Iterator[Trace]:
        """Yield the traces of a project, read as they are asked for, so that the first ones cost little.

        Args:
            project: Name of the project.
            texts: As in :meth:`traces`.
            since: Only root runs that started at this time or later, as a client sent it.
            newest_first: Whether the ``dotted_order`` descends.
            after: Only traces that come after this ``dotted_order``.
        """
        limit, comparison, order = ("~", "<", "DESC") if newest_first else ("", ">", "ASC")
        limit = after or limit
        started = _moment(since) if since else ""
        # Equality of the project, so that an index has the order.
        where = (
            f"project = ? AND started >= ? AND dotted_order {comparison} ? ORDER BY dotted_order {order} LIMIT {_PAGE}"
        )
        while page := self._traces(where, [project, started, limit], texts=texts):
            yield from page
            limit = page[-1].dotted_order

    def _traces(self, where: str, values: list[str], *, texts: Collection[str]) -> list[Trace]:
        read = [name if name in texts else "''" for name in _OF_TEXTS] if texts else []
        columns = ", ".join([*_OF_NUMBERS, *read])
        tables = "trace_numbers" + " JOIN root_texts USING (id)" * bool(texts)
        return list(starmap(Trace, self._rows(f"SELECT {columns} FROM {tables} WHERE {where}", values)))  # noqa: S608

    def threads(self, projects: Iterable[str], *, since: str | None = None, until: str | None = None) -> list[str]:
        """Return the threads that have traces; the thread whose last trace started latest is first.

        The arguments and the errors are those of :meth:`traces`.
        """
        where, values = _conditions(projects, since, until)
        rows = self._rows(
            f"SELECT thread FROM trace_numbers WHERE {where} AND thread IS NOT NULL"  # noqa: S608 - fixed texts
            " GROUP BY thread ORDER BY max(dotted_order) DESC",
            values,
        )
        return [thread for (thread,) in rows]

    def feedback(self, traces: Iterable[Trace]) -> dict[str, list[dict[str, Any]]]:
        """Return the feedback of all runs of traces, oldest first, by the trace's id."""
        ids = [trace.id for trace in traces]
        tables = (
            "runs CROSS JOIN feedback" if len(ids) <= _FEW else "feedback CROSS JOIN runs"
        )  # the outer one is first
        rows = self._rows(
            f"SELECT trace_id, content FROM {tables} ON runs.id = feedback.run_id"  # noqa: S608 - fixed texts
            " WHERE trace_id IN (SELECT value FROM json_each(?)) ORDER BY feedback.rowid",
            [json.dumps(ids)],
        )
        found: dict[str, list[dict[str, Any]]] = {}
        for trace_id, content in rows:
            found.setdefault(trace_id, []).append(json.loads(content))
        return found

    def _rows(self, sql: str, values: list[str]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()


def _conditions(projects: Iterable[str], since: str | None, until: str | None) -> tuple[str, list[str]]:
    conditions, values = ["project IN (SELECT value FROM json_each(?))"], [json.dumps(list(projects))]
    for moment, comparison in ((since, ">="), (until, "<=")):
        if moment:
            conditions.append(f"started {comparison} ?")
            values.append(_moment(moment))
    return " AND ".join(conditions), values


def _moment(text: str) -> str:
    """Return a time, as a client sent it, in the form of ``started``. Raises Refused if it is none."""
    return time(text, "start_time").isoformat(timespec="microseconds")


def searched_text(run: StoredRun) -> str:
    """Return what the filter ``search`` looks at: name, inputs, outputs and error as JSON, in lower case."""
    return json.dumps([run.name, run.inputs, run.outputs, run.error], ensure_ascii=False).lower()


def preview(value: object) -> str | None:
    """Return the beginning of a value as a text; None for None."""
    return None if value is None else str(value)[:_PREVIEW]


def _counts(run: StoredRun) -> dict[str, Any] | None:
    """Return what a run adds to its trace; None if that is nothing."""
    first = numbers.first_token_time(run)
    if first is None and not numbers.usage(run):
        return None
    side: numbers.Side
    counts: dict[str, Any] = {}
    for side in ("total", "prompt", "completion"):
        counts[f"{side}_tokens"] = numbers.tokens(side, [run])
        counts[f"{side}_cost"] = numbers.cost(side, [run])
    counts["details"] = {
        f"{side}_{what}": found
        for side, what in _DETAILS
        if (found := numbers.details(cast("numbers.Side", side), [run], cast("Literal['token', 'cost']", what)))
    }
    counts["first_token"] = None
    if first is not None:
        counts["first_token"] = [first, (time(first, "time") - run.start_time).total_seconds()]
    return counts

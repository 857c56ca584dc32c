"""Stores runs and feedback in one SQLite file, and attachments as files beside it, readable by their owner only."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
import time as clock
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

from langsmith_realtime.collector.records import Attachment, StoredRun
from langsmith_realtime.collector.rules import Operation, Refused, conflict, start_time, time, wrong_place
from langsmith_realtime.collector.storage import conversations, documents, feedback, threads, trace_numbers, traces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from langsmith_realtime.collector.records import Violation
    from langsmith_realtime.collector.rules import Batch

_PARENT: Final = "lower(substr(dotted_order, -95, 36))"  # the last but one run id in dotted_order; '' for a root
_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY,
    trace_id TEXT NOT NULL,
    dotted_order TEXT NOT NULL,
    project TEXT NOT NULL,
    created TEXT,                  -- fields of the create, JSON
    updated TEXT,                  -- fields of the update, JSON
    revision INTEGER NOT NULL      -- number of the latest write, for Store.changed_since
);
CREATE INDEX IF NOT EXISTS runs_by_order ON runs (dotted_order);
CREATE INDEX IF NOT EXISTS runs_by_trace ON runs (trace_id, dotted_order);
CREATE INDEX IF NOT EXISTS runs_by_project ON runs (project, dotted_order);
CREATE INDEX IF NOT EXISTS runs_by_revision ON runs (revision);
CREATE INDEX IF NOT EXISTS runs_by_parent ON runs ({_PARENT});
{traces.SCHEMA}
CREATE TABLE IF NOT EXISTS attachments (
    run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    mime_type TEXT NOT NULL,
    PRIMARY KEY (run_id, name)
);
{feedback.SCHEMA}
{documents.SCHEMA}
{conversations.SCHEMA}
{trace_numbers.SCHEMA}"""
_SELECT: Final = (
    "SELECT id, project, created, updated,"
    " (SELECT json_group_object(name, mime_type) FROM attachments WHERE run_id = runs.id),"
    " (SELECT json_group_array(json(content)) FROM feedback WHERE run_id = runs.id) FROM runs"
)
#: Number of the form of the tables that :meth:`Store._index_anew` fills, as SQLite's ``user_version``. A folder with
#: another number is indexed anew.
VERSION: Final = 4
#: How many runs are read at once.
_PAGE: Final = 200
DEFAULT_PROJECT: Final = "default"


def project_id(name: str) -> str:
    """Return the id of a project, a UUID made from the project's name."""
    return str(uuid5(NAMESPACE_URL, f"langsmith-realtime:project:{name}"))


class Store:
    """A collector's folder with its runs, feedback and attachments. Any thread may call the methods.

    Args:
        directory: The folder. It is created if it does not exist; runs that it has already stay.
        trace_limit: Largest number of runs in one trace.
        durable: Whether SQLite waits for the disk at checkpoints, so that a power failure does not corrupt its file.
            The newest runs may still be lost.
    """

    def __init__(self, directory: Path, *, trace_limit: int, durable: bool) -> None:
        self.directory = directory
        self.incoming = directory / "attachments"
        for folder in (directory, self.incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for unfinished in self.incoming.glob("incoming-*"):
            unfinished.unlink()
        database = directory / "runs.sqlite3"
        os.close(os.open(database, os.O_CREAT | os.O_RDWR, 0o600))
        #: Called in any thread after something was stored or deleted.
        self.on_change: Callable[[], object] = lambda: None
        #: Called with the file of every audio attachment that has been stored.
        self.on_recording: Callable[[Path], object] = lambda _: None
        self._trace_limit = trace_limit
        self._lock = threading.Lock()
        self._db = sqlite3.connect(database, check_same_thread=False, isolation_level=None)
        synchronous = "NORMAL" if durable else "OFF"
        self._db.executescript(
            f"PRAGMA auto_vacuum=INCREMENTAL; PRAGMA synchronous={synchronous}; PRAGMA journal_mode=WAL; {_SCHEMA}"
        )
        traces.add_time_of_traces(self._db)
        (self._revision,) = self._db.execute("SELECT coalesce(max(revision), 0) FROM runs").fetchone()
        self.documents = documents.Documents(self._db, self._lock)
        self.feedback = feedback.Feedback(self._db, self._lock)
        self.conversations = conversations.Conversations(self._db, self._lock)
        self.threads = threads.Threads(self._db, self._lock)
        self.traces = trace_numbers.TraceNumbers(self._db, self._lock)
        if self._db.execute("PRAGMA user_version").fetchone() != (VERSION,):  # a folder of another version
            self._index_anew()

    def close(self) -> None:
        """Close the SQLite file. The store cannot be used afterwards."""
        with self._lock:
            self._db.close()

    def apply(self, batch: Batch) -> None:
        """Store the operations and the feedback of a checked request in one transaction.

        Adds a violation to ``batch.violations`` for each run that LangSmith would now show in the wrong place.

        Raises:
            Refused: A run's create or update is stored already (rule ``conflict``), or its trace is full
                (``trace-size``). Nothing of the batch is stored.
        """
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                moves: list[tuple[Path, Path]] = []
                for operation in batch.operations:
                    before = self._dotted_order(operation.id)
                    moves += self._write(operation)
                    batch.violations += self._wrong_places(operation.id, before)
                for each in batch.feedback:
                    self._revision += 1
                    run_id = self.feedback.write(each)
                    self._db.execute("UPDATE runs SET revision = ? WHERE id = ?", (self._revision, run_id))
                for received, stored in moves:
                    stored.parent.mkdir(mode=0o700, exist_ok=True)
                    received.replace(stored)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        self.on_change()
        for operation in batch.operations:
            for name, attachment in operation.attachments.items():
                if attachment.mime_type.startswith("audio/"):
                    self.on_recording(self._path(operation.id, name))

    def attach(self, run_id: str, name: str, mime_type: str, file: Path) -> Path:
        """Attach a copy of a file to a stored run; return the copy."""
        stored = self._path(run_id, name)
        stored.parent.mkdir(mode=0o700, exist_ok=True)
        for earlier in stored.parent.glob(f"{name}*"):
            earlier.unlink()
        stored.touch(mode=0o600)
        shutil.copyfile(file, stored)
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO attachments VALUES (?, ?, ?)", (run_id, name, mime_type))
            self._db.execute("UPDATE conversations SET recording = 1 WHERE id = ?", (run_id,))
        self.on_change()
        return stored

    def run(self, run_id: str) -> StoredRun | None:
        """Return the run with this id (a UUID in lower case), or None."""
        return next(iter(self._runs("WHERE id = ?", run_id)), None)

    def runs(self, trace_id: str | None = None, project: str | None = None) -> list[StoredRun]:
        """Return runs in ``dotted_order`` order: all, or only those of the given trace id and project name."""
        return self._runs(
            "WHERE trace_id = coalesce(?, trace_id) AND project = coalesce(?, project) ORDER BY dotted_order",
            trace_id,
            project,
        )

    def find(
        self,
        *,
        projects: list[str] | None = None,
        trace_id: str | None = None,
        thread: str | None = None,
        roots: bool = False,
        since: str | None = None,
        newest_first: bool = False,
        after: str | None = None,
    ) -> Iterator[StoredRun]:
        """Yield runs in ``dotted_order`` order, read as they are asked for, so that a first page costs little.

        Args:
            projects: Only runs of the projects with these names.
            trace_id: Only runs of this trace.
            thread: Only runs of traces in which a run belongs to this thread.
            roots: Only root runs.
            since: Only runs whose time in ``dotted_order`` is this one or later, in the form that it has there.
            newest_first: Whether the order is descending.
            after: Only runs that come after this ``dotted_order``.
        """
        limit, comparison, order = ("~", "<", "DESC") if newest_first else ("", ">", "ASC")
        limit = after or limit
        conditions: list[str] = []
        values: list[object] = []
        if projects is not None and len(projects) == 1:  # equality, so that an index has the order
            conditions.append("project = ?")
            values += projects
        elif projects is not None:
            conditions.append("project IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(projects))
        if trace_id is not None:
            conditions.append("trace_id = ?")
            values.append(trace_id)
        if thread is not None:  # the plus leaves the order to a sort, because the index of projects has too many runs
            conditions = [f"+{condition}" for condition in conditions]
            conditions.append("trace_id IN (SELECT trace_id FROM traces_of_threads WHERE thread = ?)")
            values.append(thread)
        if roots:
            conditions.append("instr(dotted_order, '.') = 0")
        if since is not None:
            conditions.append("substr(dotted_order, -58, 22) >= ?")
            values.append(since)
        where = " AND ".join([*conditions, f"dotted_order {comparison} ?"])
        while page := self._runs(f"WHERE {where} ORDER BY dotted_order {order} LIMIT {_PAGE}", *values, limit):
            yield from page
            if len(page) < _PAGE:
                break
            limit = page[-1].dotted_order

    def runs_below(self, dotted_order: str) -> list[StoredRun]:
        """Return the run with this ``dotted_order`` and all runs below it, in ``dotted_order`` order."""
        return self._runs(
            "WHERE dotted_order = ? OR (dotted_order > ? AND dotted_order < ?) ORDER BY dotted_order",
            dotted_order,
            f"{dotted_order}.",
            f"{dotted_order}/",  # the character after the period
        )

    def changed_since(self, revision: int) -> tuple[int, list[StoredRun]]:
        """Return the number of the newest write, and the runs written after the write `revision` (0 for all runs)."""
        newest = self._revision
        return newest, self._runs("WHERE revision > ? AND revision <= ?", revision, newest)

    def changed_below(self, dotted_order: str, revision: int) -> tuple[int, list[StoredRun]]:
        """Return the number of the newest write, and of the runs that :meth:`runs_below` returns those written after
        the write ``revision`` (0 for all), in no particular order."""
        newest = self._revision
        return newest, self._runs(
            "WHERE +revision > ? AND +revision <= ? AND (dotted_order = ? OR (dotted_order > ? AND dotted_order < ?))",
            revision,
            newest,
            dotted_order,
            f"{dotted_order}.",
            f"{dotted_order}/",
        )

    def projects(self) -> dict[str, str]:
        """Return the smallest ``dotted_order`` in each project with runs by its name; the latest of them is first."""
        return dict(
            self._rows(  # one look at the index for each project, not for each run
                "WITH RECURSIVE names(name) AS (SELECT min(project) FROM runs UNION ALL"
                " SELECT (SELECT min(project) FROM runs WHERE project > name) FROM names WHERE name IS NOT NULL)"
                " SELECT name, (SELECT min(dotted_order) FROM runs WHERE project = name) AS first FROM names"
                " WHERE name IS NOT NULL ORDER BY first DESC"
            )
        )

    def attachments(self, owner: str) -> dict[str, Attachment]:
        """Return the attachments of a run or of an example by name."""
        rows = self._rows("SELECT name, mime_type FROM attachments WHERE run_id = ?", owner)
        return {name: Attachment(mime_type, self._path(owner, name)) for name, mime_type in rows}

    def take(self, owner: str, name: str, mime_type: str, file: Path, *, copy: bool = False) -> None:
        """Make a file an attachment of an example, in the place of the one of this name.

        Args:
            owner: The example's id.
            name: The attachment's name.
            mime_type: The attachment's type.
            file: The file, on the same disk. It is moved.
            copy: Whether the file stays where it is, too.
        """
        stored = self._path(owner, name)
        stored.parent.mkdir(mode=0o700, exist_ok=True)
        if copy:
            stored.unlink(missing_ok=True)
            try:
                os.link(file, stored)  # a stored file is replaced, never changed, so both names may share it
            except OSError:  # a file system without links
                stored.touch(mode=0o600)
                shutil.copyfile(file, stored)
        else:
            file.replace(stored)
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO attachments VALUES (?, ?, ?)", (owner, name, mime_type))

    def drop_attachments(self, owner: str, names: Iterable[str] | None = None) -> None:
        """Delete attachments of a run or of an example: those of these names, all for None."""
        for name in list(self.attachments(owner)) if names is None else names:
            with self._lock:
                self._db.execute("DELETE FROM attachments WHERE run_id = ? AND name = ?", (owner, name))
            self._path(owner, name).unlink(missing_ok=True)
        if names is None:
            shutil.rmtree(self.incoming / owner, ignore_errors=True)

    def delete_traces(self, trace_ids: Iterable[str]) -> int:
        """Delete traces: their runs with attachments and feedback, and their conversations; return how many."""
        ids = list(trace_ids)
        for trace_id in ids:
            traces.delete_trace(self._db, self._lock, self.incoming, self.conversations, trace_id)
        if ids:
            self.on_change()
        return len(ids)

    def unchanged_since(self, moment: float) -> list[str]:
        """Return the ids of traces that were last written to before a time, in seconds since 1970, by that time."""
        rows = self._rows("SELECT id FROM traces WHERE written < ? ORDER BY written, rowid", moment)
        return [trace_id for (trace_id,) in rows]

    def bytes_used(self) -> int:
        """Return the size of the runs and the attachments in the folder, in bytes."""
        return traces.bytes_used(self._db, self._lock, self.incoming)

    def bytes_of(self, trace_id: str) -> int:
        """Return about how many bytes a trace takes."""
        return traces.bytes_of(self._db, self._lock, self.incoming, trace_id)

    def shrink(self) -> None:
        """Return the unused part of the SQLite file to the disk."""
        traces.shrink(self._db, self._lock)

    def place(self, run_id: str) -> tuple[str, str] | None:
        """Return the trace id and the project name of a run (a UUID in lower case), or None."""
        rows = self._rows("SELECT trace_id, project FROM runs WHERE id = ?", run_id)
        return (rows[0][0], rows[0][1]) if rows else None

    def traces_of(self, project: str) -> list[str]:
        """Return the ids of the traces that have runs in a project."""
        return [trace_id for (trace_id,) in self._rows("SELECT DISTINCT trace_id FROM runs WHERE project = ?", project)]

    def _write(self, operation: Operation) -> Iterator[tuple[Path, Path]]:
        """Write one operation, and yield where each attachment's file is and where it belongs."""
        column, other = ("created", "updated") if operation.kind == "post" else ("updated", "created")
        row = self._db.execute(f"SELECT {column}, {other} FROM runs WHERE id = ?", (operation.id,)).fetchone()  # noqa: S608 - two fixed names
        if row and row[0] is not None:
            raise conflict(operation.id)
        self._count_run(operation, is_new=row is None)
        received = {key: value for key, value in operation.fields.items() if value is not None}
        stored = json.loads(row[1]) if row and row[1] is not None else {}
        merged = {**stored, **received} if operation.kind == "patch" else {**received, **stored}
        self._revision += 1
        project = self._project_of(merged)
        self._db.execute(
            f"INSERT INTO runs (id, trace_id, dotted_order, project, {column}, revision) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608
            " ON CONFLICT (id) DO UPDATE SET trace_id = excluded.trace_id, dotted_order = excluded.dotted_order,"
            f" project = excluded.project, {column} = excluded.{column}, revision = excluded.revision",
            (
                operation.id,
                operation.trace_id,
                merged["dotted_order"],
                project,
                json.dumps(received),
                self._revision,
            ),
        )
        for name, attachment in operation.attachments.items():
            self._db.execute(
                "INSERT OR REPLACE INTO attachments VALUES (?, ?, ?)", (operation.id, name, attachment.mime_type)
            )
            yield attachment.path, self._path(operation.id, name)
        had_create = operation.kind == "patch" and bool(row and row[1] is not None)
        if operation.kind == "post" or had_create:
            before = self._run(operation.id, project, stored) if had_create else None
            self.traces.note(before, self._run(operation.id, project, merged))
        attached = self._db.execute("SELECT 1 FROM attachments WHERE run_id = ?", (operation.id,)).fetchone()
        if self.conversations.note(merged, project, self._revision, attached=attached is not None):
            for fields, of, revision, found, _ in self._fields_of_runs(f"{merged['dotted_order']}."):
                self.conversations.note(fields, of, revision, attached=found)

    def _index_anew(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self.conversations.clear()
        self.traces.clear()
        for fields, project, revision, attached, created in self._fields_of_runs(""):
            self.conversations.note(fields, project, revision, attached=attached)
            if created:
                self.traces.note(None, self._run(fields["id"], project, fields))
        self._db.execute(f"PRAGMA user_version={VERSION}")
        self._db.execute("COMMIT")

    def _fields_of_runs(self, prefix: str) -> Iterator[tuple[dict[str, Any], str, int, bool, bool]]:
        """Yield the fields of stored runs, project, revision, whether they have attachments, and whether a create.

        Args:
            prefix: What the ``dotted_order`` of the runs begins with.
        """
        rows = self._db.execute(
            "SELECT created, updated, project, revision, EXISTS (SELECT 1 FROM attachments WHERE run_id = runs.id)"
            " FROM runs WHERE dotted_order >= ? AND dotted_order < ? ORDER BY dotted_order",
            (prefix, f"{prefix}~"),
        )
        for created, updated, project, revision, attached in rows:
            fields = {**json.loads(created or "{}"), **json.loads(updated or "{}")}
            yield fields, project, revision, bool(attached), created is not None

    def _wrong_places(self, run_id: str, before: str | None) -> Iterator[Violation]:
        """Yield a violation for the run and for each of its children if its place is not below its stored parent.

        Each pair of parent and child is checked when the later of the two is stored, and again when one of them moves.

        Args:
            run_id: A run that has been written.
            before: The run's ``dotted_order`` before; None if it was not stored.
        """
        dotted_order = self._dotted_order(run_id)
        if dotted_order is None or dotted_order == before:
            return
        place = dotted_order.rpartition(".")[0]
        parent = self._dotted_order(place[-36:].lower())
        if parent is not None and parent.lower() != place.lower():
            yield wrong_place(run_id, dotted_order, parent)
        children = self._db.execute(
            f"SELECT id, dotted_order FROM runs WHERE {_PARENT} = ? ORDER BY dotted_order",  # noqa: S608 - a fixed expression
            (run_id,),
        )
        for child, order in children:
            if order.rpartition(".")[0].lower() != dotted_order.lower():
                yield wrong_place(child, order, dotted_order)

    def _dotted_order(self, run_id: str) -> str | None:
        row = self._db.execute("SELECT dotted_order FROM runs WHERE id = ?", (run_id,)).fetchone()
        return None if row is None else row[0]

    def _count_run(self, operation: Operation, *, is_new: bool) -> None:
        trace_id = operation.trace_id
        # A counter, because counting the rows of a trace for each of its runs takes quadratic time.
        (runs,) = self._db.execute("SELECT total(runs) FROM traces WHERE id = ?", (trace_id,)).fetchone()
        if is_new and runs >= self._trace_limit:
            message = f"trace {trace_id} must have at most {self._trace_limit} runs, got one more; start another trace"
            raise Refused("trace-size", message, operation.id)
        self._db.execute("INSERT OR REPLACE INTO traces VALUES (?, ?, ?)", (trace_id, int(runs) + is_new, clock.time()))

    def _project_of(self, fields: dict[str, Any]) -> str:
        if fields.get("session_name") or "session_id" not in fields:
            return fields.get("session_name") or DEFAULT_PROJECT
        projects = [name for (name,) in self._db.execute("SELECT id FROM documents WHERE kind = 'project'")]
        projects += [name for (name,) in self._db.execute("SELECT DISTINCT project FROM runs")]  # read from an index
        return next((name for name in projects if project_id(name) == fields["session_id"]), DEFAULT_PROJECT)

    def _runs(self, where: str, *values: object) -> list[StoredRun]:
        return [self._stored(*row) for row in self._rows(f"{_SELECT} {where}", *values)]

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def _path(self, run_id: str, name: str) -> Path:
        return self.incoming / run_id / name

    def _stored(  # noqa: PLR0917 - the columns of _SELECT
        self, run_id: str, project: str, created: str | None, updated: str | None, files: str, feedback: str
    ) -> StoredRun:
        return self._run(
            run_id,
            project,
            {**json.loads(created or "{}"), **json.loads(updated or "{}")},
            attachments={
                name: Attachment(mime_type, self._path(run_id, name)) for name, mime_type in json.loads(files).items()
            },
            creates=int(created is not None),
            updates=int(updated is not None),
            feedback=json.loads(feedback),
        )

    def _run(self, run_id: str, project: str, fields: dict[str, Any], **others: Any) -> StoredRun:
        ended = time(fields["end_time"], "end_time") if "end_time" in fields else None
        error = fields.get("error")
        return StoredRun(
            id=run_id,
            trace_id=fields["trace_id"],
            parent_run_id=fields.get("parent_run_id"),
            dotted_order=fields["dotted_order"],
            name=fields.get("name", ""),
            run_type=fields.get("run_type", ""),
            start_time=start_time(fields),
            end_time=ended,
            inputs=fields.get("inputs", {}),
            outputs=fields.get("outputs"),
            error=error,
            extra=fields.get("extra", {}),
            tags=fields.get("tags", []),
            events=fields.get("events", []),
            project=project,
            status="error" if error else "success" if ended else "pending",
            reference_example_id=fields.get("reference_example_id"),
            **others,
        )

"""The table of traces in a store's SQLite file: how many runs each has, when it changed, its size, and its end."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    import threading
    from pathlib import Path

    from langsmith_realtime.collector.storage.conversations import Conversations

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS traces (
    id TEXT PRIMARY KEY,
    runs INTEGER NOT NULL,
    written REAL                   -- when a run of it was last stored, in seconds since 1970
);
"""


def add_time_of_traces(db: sqlite3.Connection) -> None:
    """Give the traces in the folder of an earlier version a time of their last write: the start of their last run."""
    if not any(row[1] == "written" for row in db.execute("PRAGMA table_info(traces)")):
        db.execute("ALTER TABLE traces ADD COLUMN written REAL")
    for (trace_id,) in db.execute("SELECT id FROM traces WHERE written IS NULL").fetchall():
        (stamp,) = db.execute(
            "SELECT max(substr(dotted_order, -58, 22)) FROM runs WHERE trace_id = ?", (trace_id,)
        ).fetchone()
        moment = datetime.strptime(stamp, "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC) if stamp else datetime.now(UTC)
        db.execute("UPDATE traces SET written = ? WHERE id = ?", (moment.timestamp(), trace_id))


def bytes_used(db: sqlite3.Connection, lock: threading.Lock, files: Path) -> int:
    """Return the size of the content of a store's SQLite file and of its attachments with their peaks, in bytes."""
    with lock:
        pages, free, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size) + sum(path.stat().st_size for path in files.rglob("*") if path.is_file())


def bytes_of(db: sqlite3.Connection, lock: threading.Lock, files: Path, trace_id: str) -> int:
    """Return about how many bytes a trace takes: its JSON and its attachments."""
    with lock:
        (size,) = db.execute(
            "SELECT total(length(created)) + total(length(updated)) FROM runs WHERE trace_id = ?", (trace_id,)
        ).fetchone()
        attached = _attached(db, trace_id)
    return int(size) + sum(path.stat().st_size for run_id in attached for path in (files / run_id).glob("*"))


def delete_trace(
    db: sqlite3.Connection, lock: threading.Lock, files: Path, conversations: Conversations, trace_id: str
) -> None:
    """Delete a trace: its runs with attachments and feedback, and its conversations."""
    with lock:
        db.execute("BEGIN IMMEDIATE")
        try:
            attached = _attached(db, trace_id)
            for table, column in (("attachments", "run_id"), ("feedback", "run_id")):
                db.execute(
                    f"DELETE FROM {table} WHERE {column} IN (SELECT id FROM runs WHERE trace_id = ?)",  # noqa: S608 - fixed names
                    (trace_id,),
                )
            db.execute("DELETE FROM runs WHERE trace_id = ?", (trace_id,))
            for table, column in (
                *(("traces", "id"), ("trace_numbers", "id"), ("root_texts", "id")),
                ("traces_of_threads", "trace_id"),
            ):
                db.execute(f"DELETE FROM {table} WHERE {column} = ?", (trace_id,))  # noqa: S608 - fixed names
            conversations.forget(trace_id)
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
    for run_id in attached:
        shutil.rmtree(files / run_id, ignore_errors=True)


def shrink(db: sqlite3.Connection, lock: threading.Lock) -> None:
    """Return the unused part of a store's SQLite file to the disk."""
    with lock:
        if not db.execute("PRAGMA auto_vacuum").fetchone()[0]:  # a file of an earlier version, written anew once
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
            db.execute("VACUUM")
        db.execute("PRAGMA incremental_vacuum").fetchall()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _attached(db: sqlite3.Connection, trace_id: str) -> list[str]:
    rows = db.execute(
        "SELECT DISTINCT run_id FROM attachments WHERE run_id IN (SELECT id FROM runs WHERE trace_id = ?)", (trace_id,)
    )
    return [run_id for (run_id,) in rows]

"""Deletes what a store no longer keeps: traces by their age, and the oldest by the size of the folder."""

from __future__ import annotations

import shutil
import time as clock
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    import threading
    from pathlib import Path

    from langsmith_realtime.collector.conversations import Conversations
    from langsmith_realtime.collector.store import Store

#: Seconds between two looks at the store.
INTERVAL_S: Final = 600.0
#: Seconds after the last write to a trace during which it may still be growing, so that it is not deleted for its size.
GROWING_S: Final = 600.0
_DAY_S: Final = 86_400.0
_GB: Final = 1_000_000_000


@dataclass(frozen=True)
class Retention:
    """How much a store keeps.

    Attributes:
        days: Days after the last write to a trace until the trace is deleted; None for no limit.
        gb: Largest size of the folder, in gigabytes of 1,000,000,000 bytes; the traces that were written to first are
            deleted until the rest fits. None for no limit. A trace that was written to in the last ten minutes stays
            in any case, and so do datasets.

    Raises:
        TypeError: A value is no number.
        ValueError: A value is not above 0.
    """

    days: float | None = None
    gb: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("keep_days", self.days), ("keep_gb", self.gb)):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name} must be a number, got {value!r}")
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be above 0 and finite, got {value!r}; leave it out to keep everything")

    def apply(self, store: Store, now: float | None = None) -> int:
        """Delete what is too old or too much; return the number of deleted traces.

        Args:
            store: The store. Other threads may use it meanwhile; each trace is deleted in one transaction.
            now: Seconds since 1970; None for the time of the call.
        """
        now = clock.time() if now is None else now
        deleted = 0
        if self.days is not None:
            deleted += store.delete_traces(store.unchanged_since(now - self.days * _DAY_S))
        if self.gb is not None:
            limit = self.gb * _GB
            excess = store.bytes_used() - limit
            for trace_id in store.unchanged_since(now - GROWING_S) if excess > 0 else ():
                if excess <= 0:
                    break
                excess -= store.bytes_of(trace_id)
                deleted += store.delete_traces([trace_id])
                if excess <= 0:
                    excess = store.bytes_used() - limit  # the sizes of traces are estimates
        if deleted:
            store.shrink()
        return deleted


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
            db.execute("DELETE FROM traces WHERE id = ?", (trace_id,))
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

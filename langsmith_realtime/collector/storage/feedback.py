"""The table of feedback in a store's SQLite file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlite3
    import threading
    from collections.abc import Iterable

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS feedback (id TEXT PRIMARY KEY, run_id TEXT, content TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS feedback_by_run ON feedback (run_id);
"""


class Feedback:
    """Feedback as JSON objects, each with ``id``, ``key``, ``created_at`` and ``modified_at``.

    Any thread may call the methods.

    Args:
        db: The store's connection.
        lock: Held during every use of the connection; :meth:`write` expects that it is held.
    """

    def __init__(self, db: sqlite3.Connection, lock: threading.Lock) -> None:
        self._db = db
        self._lock = lock

    def write(self, feedback: dict[str, Any]) -> str | None:
        """Store feedback, in the place of the feedback that has its id.

        Args:
            feedback: A checked JSON object. It gets the times that it lacks.

        Returns:
            The id of the run, in lower case; None for feedback about a project.
        """
        run_id = feedback.get("run_id") or feedback.get("trace_id")
        run_id = run_id.lower() if isinstance(run_id, str) else None
        for key, value in (("created_at", datetime.now(UTC).isoformat()), ("modified_at", feedback.get("created_at"))):
            if feedback.get(key) is None:
                feedback[key] = value or feedback["created_at"]
        self._db.execute(
            "INSERT INTO feedback VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET run_id = excluded.run_id, content = excluded.content",
            (feedback["id"], run_id, json.dumps(feedback)),
        )
        return run_id

    def all(self, run_ids: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Return feedback, oldest first: of these runs (ids in lower case), or all for None."""
        where, values = "", []
        if run_ids is not None:
            where, values = "WHERE run_id IN (SELECT value FROM json_each(?))", [json.dumps(list(run_ids))]
        return self._read(where, values)

    def one(self, feedback_id: str) -> dict[str, Any] | None:
        """Return the feedback with this id (a UUID in lower case), or None."""
        return next(iter(self._read("WHERE id = ?", [feedback_id])), None)

    def delete(self, feedback_id: str) -> None:
        """Delete feedback if it is stored."""
        with self._lock:
            self._db.execute("DELETE FROM feedback WHERE id = ?", (feedback_id,))

    def _read(self, where: str, values: list[str]) -> list[dict[str, Any]]:
        with self._lock:
            rows = self._db.execute(f"SELECT content FROM feedback {where} ORDER BY rowid", values).fetchall()  # noqa: S608 - fixed texts
        return [json.loads(content) for (content,) in rows]

"""JSON objects in a store's SQLite file besides its runs: settings of projects, datasets, examples, feedback tokens."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import sqlite3
    import threading

    Kind = Literal["project", "dataset", "example", "feedback-token", "key"]

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS documents (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,           -- an example's dataset, a token's run; else empty
    content TEXT NOT NULL,         -- JSON
    UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS documents_by_owner ON documents (kind, owner, number);
"""


class Documents:
    """The objects. Any thread may call the methods; a stored object stays until it is deleted.

    Args:
        db: The store's connection.
        lock: Held during every use of the connection.
    """

    def __init__(self, db: sqlite3.Connection, lock: threading.Lock) -> None:
        self._db = db
        self._lock = lock

    def put(self, kind: Kind, document_id: str, content: dict[str, Any], owner: str = "") -> None:
        """Store an object, in the place of the one that has this id."""
        with self._lock:
            self._db.execute(
                "INSERT INTO documents (kind, id, owner, content) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (kind, id) DO UPDATE SET owner = excluded.owner, content = excluded.content",
                (kind, document_id, owner, json.dumps(content)),
            )

    def get(self, kind: Kind, document_id: str) -> dict[str, Any] | None:
        """Return an object, or None."""
        with self._lock:
            row = self._db.execute(
                "SELECT content FROM documents WHERE kind = ? AND id = ?", (kind, document_id)
            ).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def all(self, kind: Kind, owner: str | None = None) -> dict[str, dict[str, Any]]:
        """Return the objects of a kind by their id, the first stored first: all, or only those of an owner."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, content FROM documents WHERE kind = ? AND owner = coalesce(?, owner) ORDER BY number",
                (kind, owner),
            ).fetchall()
        return {document_id: json.loads(content) for document_id, content in rows}

    def count(self, kind: Kind, owner: str) -> int:
        """Return how many objects of a kind an owner has."""
        with self._lock:
            row = self._db.execute(
                "SELECT count(*) FROM documents WHERE kind = ? AND owner = ?", (kind, owner)
            ).fetchone()
        return int(row[0])

    def delete(self, kind: Kind, document_id: str) -> None:
        """Delete an object if it is stored."""
        with self._lock:
            self._db.execute("DELETE FROM documents WHERE kind = ? AND id = ?", (kind, document_id))

    def signing_key(self) -> bytes:
        """Return the store's 32 random bytes for signatures. They are made once, so signed links outlive a restart."""
        with self._lock:
            self._db.execute(
                "INSERT OR IGNORE INTO documents (kind, id, owner, content) VALUES ('key', 'signing', '', ?)",
                (json.dumps(secrets.token_hex()),),
            )
            row = self._db.execute("SELECT content FROM documents WHERE kind = 'key' AND id = 'signing'").fetchone()
        return bytes.fromhex(json.loads(row[0]))

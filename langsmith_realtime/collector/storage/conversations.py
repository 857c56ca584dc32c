"""The table of conversations: one row each, kept up at every write, so that lists and searches parse no stored run.

A conversation is a run with ``ls_integration: "langsmith-realtime"`` in its metadata; its id is that run's id. Numbers
are columns. What was said is in an FTS5 index of trigrams, which finds words of languages without spaces, too.
"""

from __future__ import annotations

import json
import sqlite3
import time as clock
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from langsmith_realtime.collector.numbers import as_number
from langsmith_realtime.collector.records import THREAD_KEYS
from langsmith_realtime.collector.rules import start_time, time
from langsmith_realtime.core.conversation.numbers.metrics import percentile
from langsmith_realtime.core.protocol.events import BETA_NAMES

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator, Mapping

    #: The fields of a run, from its create and its update.
    Fields = Mapping[str, Any]

#: A conversation without an end is live until nothing of it arrived for this many seconds.
LIVE_S: Final = 600.0
#: Largest number of choices of one filter of the list.
_MOST_CHOICES: Final = 200
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS conversations (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    trace_id TEXT NOT NULL,
    dotted_order TEXT NOT NULL,
    project TEXT NOT NULL,
    thread TEXT,
    started REAL NOT NULL,         -- seconds since 1970
    duration_s REAL,               -- NULL until it has ended
    written REAL NOT NULL,         -- when something of it was last written, in seconds since 1970
    revision INTEGER NOT NULL,     -- number of that write
    says TEXT,                     -- the user's first words
    model TEXT,
    tags TEXT NOT NULL DEFAULT '[]',
    turns INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0,
    errors INTEGER NOT NULL DEFAULT 0,          -- failed responses and events, and an abnormal end
    failed_tools INTEGER NOT NULL DEFAULT 0,
    p50_ms INTEGER,
    p95_ms INTEGER,
    slowest_ms INTEGER,
    tokens INTEGER NOT NULL DEFAULT 0,
    cost REAL,
    recording INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS conversations_by_start ON conversations (started);
CREATE INDEX IF NOT EXISTS conversations_by_thread ON conversations (thread, started);
CREATE INDEX IF NOT EXISTS conversations_by_project ON conversations (project);
CREATE INDEX IF NOT EXISTS conversations_by_revision ON conversations (revision);
-- What was said stands apart, because SQLite reads a table of short rows faster.
CREATE TABLE IF NOT EXISTS words_said (number INTEGER PRIMARY KEY, words TEXT NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS said USING fts5(
    words, content='words_said', content_rowid='number', tokenize='trigram'
);
CREATE TABLE IF NOT EXISTS answers (
    run_id TEXT PRIMARY KEY,
    conversation INTEGER NOT NULL,
    at REAL NOT NULL,              -- when it was first heard, in seconds of the conversation
    ms INTEGER,                    -- voice to voice, else latency to first audio; NULL for a failed tool
    mark TEXT NOT NULL             -- i: interrupted, e: error, t: a failed tool
);
CREATE INDEX IF NOT EXISTS answers_by_conversation ON answers (conversation, at);
"""
_SORTS: Final = {
    "start": "started",
    "length": "duration_s",
    "turns": "turns",
    "p50": "p50_ms",
    "p95": "p95_ms",
    "interruptions": "interruptions",
    "errors": "errors + failed_tools",
    "tokens": "tokens",
    "cost": "cost",
}
#: The choices of the list's filters by name. Few conversations differ in their tags, so each set is read once.
_CHOICES: Final = {
    "projects": "SELECT DISTINCT project AS value FROM conversations ORDER BY 1 LIMIT ?",
    "models": "SELECT DISTINCT model AS value FROM conversations WHERE model IS NOT NULL ORDER BY 1 LIMIT ?",
    "tags": "SELECT DISTINCT each.value FROM (SELECT DISTINCT tags FROM conversations), json_each(tags) AS each"
    " WHERE each.type = 'text' ORDER BY 1 LIMIT ?",
}
_SAID: Final = {
    "conversation.item.input_audio_transcription.completed": "transcript",
    "response.output_audio_transcript.done": "transcript",
    "response.output_text.done": "text",
}
#: Largest number of words of a search.
_MOST_WORDS: Final = 8
#: Longest part of a sentence that is shown for a search, and how much of it comes before the words, in characters.
_LONGEST_HIT: Final = 200
_BEFORE_HIT: Final = 24
#: Shortest text that an index of trigrams finds.
_TRIGRAM: Final = 3


@dataclass(frozen=True)
class Query:
    """Which conversations a list has.

    Attributes:
        q: Only conversations in which this was said.
        project: Only those of this project.
        thread: Only those of this thread, the oldest first.
        tag: Only those with this tag.
        model: Only those with this model.
        only: Any of ``live``, ``slow``, ``interrupted`` and ``errors``; all of them must hold.
        sort: A key of the columns, with a minus in front for descending order.
        slow_ms: An answer above this is slow.
        after: How many to skip.
        limit: How many at most.
    """

    q: str = ""
    project: str = ""
    thread: str = ""
    tag: str = ""
    model: str = ""
    only: tuple[str, ...] = ()
    sort: str = "-start"
    slow_ms: float = 1500
    after: int = 0
    limit: int = 100


class Conversations:
    """The rows of conversations in a store's SQLite file.

    Args:
        db: The store's connection.
        lock: Held during every use of the connection; :meth:`note` and :meth:`clear` expect that it is held.
    """

    def __init__(self, db: sqlite3.Connection, lock: threading.Lock) -> None:
        self._db = db
        self._db_lock = lock

    # Writing

    def clear(self) -> None:
        """Delete all rows, before every stored run is noted again."""
        columns = {name for _, name, *_ in self._db.execute("PRAGMA table_info(conversations)")}
        if "failed_tools" not in columns:  # the form of version 1
            self._db.execute("ALTER TABLE conversations ADD COLUMN failed_tools INTEGER NOT NULL DEFAULT 0")
        self._db.execute("DELETE FROM conversations")
        self._db.execute("DELETE FROM answers")
        self._db.execute("DELETE FROM words_said")
        self._db.execute("INSERT INTO said(said) VALUES ('rebuild')")

    def forget(self, trace_id: str) -> None:
        """Delete the conversations of a trace."""
        rows = self._db.execute("SELECT number FROM conversations WHERE trace_id = ?", (trace_id,)).fetchall()
        for (number,) in rows:
            self._set_words(number, self._words(number), "")
            for table, column in (("words_said", "number"), ("answers", "conversation"), ("conversations", "number")):
                self._db.execute(f"DELETE FROM {table} WHERE {column} = ?", (number,))  # noqa: S608 - fixed names

    def note(self, fields: Fields, project: str, revision: int, *, attached: bool) -> bool:
        """Note a run that was written, in the row of its conversation.

        Args:
            fields: The run's fields, from its create and its update.
            project: The run's project.
            revision: The number of the write.
            attached: Whether the run has attachments.

        Returns:
            Whether this run opened a conversation of which runs may be stored already; note these again.
        """
        metadata = _metadata(fields)
        if metadata.get("ls_integration") == "langsmith-realtime" and "tool_call_id" not in metadata:
            return self._note_root(fields, metadata, project, revision, attached=attached)
        ancestors = [segment[-36:] for segment in fields["dotted_order"].split(".")[:-1]]
        if not ancestors:
            return False
        row = self._db.execute(
            f"SELECT number, started, duration_s FROM conversations WHERE id IN ({_marks(ancestors)})",  # noqa: S608
            ancestors,
        ).fetchone()
        if row is None:
            return False
        number, started, duration = row
        self._db.execute(
            "UPDATE conversations SET revision = ?, written = ? WHERE number = ?", (revision, clock.time(), number)
        )
        at = start_time(dict(fields)).timestamp() - started
        if fields.get("run_type") == "llm" and "response_id" in metadata:
            self._note_response(number, fields, metadata, at, ended=duration is not None)
            return False
        failed = bool(fields.get("error")) and not metadata.get("ls_is_error_interrupt")
        if fields.get("run_type") == "tool":
            if failed:
                self._note_failed_tool(number, fields["id"], at)
        elif duration is None:
            self._note_words(number, fields)
            if failed:
                self._db.execute("UPDATE conversations SET errors = errors + 1 WHERE number = ?", (number,))
        return False

    def _note_root(
        self, fields: Fields, metadata: Mapping[str, Any], project: str, revision: int, *, attached: bool
    ) -> bool:
        thread = next((str(metadata[key]) for key in THREAD_KEYS if metadata.get(key) is not None), None)
        started = start_time(dict(fields)).timestamp()
        run_id = fields["id"]
        known = self._db.execute("SELECT number FROM conversations WHERE id = ?", (run_id,)).fetchone()
        words = None
        columns: dict[str, Any] = {
            "id": run_id,
            "trace_id": fields["trace_id"],
            "dotted_order": fields["dotted_order"],
            "project": project,
            "thread": thread,
            "started": started,
            "written": clock.time(),
            "revision": revision,
            "tags": json.dumps(fields.get("tags") or []),
        }
        if attached:
            columns["recording"] = 1
        if fields.get("end_time") is not None:
            said = [message for message in _messages(fields) if message["role"] in ("user", "assistant")]
            words = "\n".join(message["content"] for message in said)
            columns |= {
                "duration_s": time(fields["end_time"], "end_time").timestamp() - started,
                "says": next((message["content"] for message in said if message["role"] == "user"), None),
                "model": metadata["model"] if isinstance(metadata.get("model"), str) else None,
                "p50_ms": _latency(metadata, "p50_ms"),
                "p95_ms": _latency(metadata, "p95_ms"),
                "slowest_ms": _latency(metadata, "max_ms"),
                "tokens": as_number(metadata.get("total_tokens")) or 0,
                "cost": as_number(metadata.get("estimated_cost_usd")),
                **{key: as_number(metadata.get(key)) or 0 for key in ("turns", "interruptions", "errors")},
            }
            if fields.get("error"):
                columns["errors"] += 1
        names = ", ".join(columns)
        changes = ", ".join(f"{name} = excluded.{name}" for name in columns)
        self._db.execute(
            f"INSERT INTO conversations ({names}) VALUES ({_marks(columns)}) ON CONFLICT (id) DO UPDATE SET {changes}",  # noqa: S608 - names of columns
            list(columns.values()),
        )
        if words is not None:
            (number,) = self._db.execute("SELECT number FROM conversations WHERE id = ?", (run_id,)).fetchone()
            self._set_words(number, self._words(number), words)
        return known is None

    def _note_failed_tool(self, number: int, run_id: str, at: float) -> None:
        self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, NULL, 't')", (run_id, number, at))
        self._db.execute(
            "UPDATE conversations SET failed_tools ="
            " (SELECT count(*) FROM answers WHERE conversation = number AND mark = 't') WHERE number = ?",
            (number,),
        )

    def _note_response(
        self, number: int, fields: Fields, metadata: Mapping[str, Any], at: float, *, ended: bool
    ) -> None:
        ms = _latency(metadata, "ms")
        interrupted = bool(metadata.get("was_interrupted"))
        failed = bool(fields.get("error")) and not metadata.get("ls_is_error_interrupt")
        if ms is None and not interrupted and not failed:
            return
        mark = "i" * interrupted + "e" * failed
        heard_from = as_number(metadata.get("heard_from_s"))
        self._db.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
            (fields["id"], number, at if heard_from is None else heard_from, ms, mark),
        )
        if ended:
            return
        rows = self._db.execute("SELECT ms, mark FROM answers WHERE conversation = ?", (number,)).fetchall()
        known = [value for value, _ in rows if value is not None]
        self._db.execute(
            "UPDATE conversations SET p50_ms = ?, p95_ms = ?, slowest_ms = ?, turns = ?, interruptions = ?"
            " WHERE number = ?",
            (
                percentile(known, 50) if known else None,
                percentile(known, 95) if known else None,
                max(known, default=None),
                len(known),
                sum("i" in each for _, each in rows),
                number,
            ),
        )

    def _note_words(self, number: int, fields: Fields) -> None:
        event = (fields.get("inputs") or {}).get("event")
        if not isinstance(event, dict):
            return
        name = str(event.get("type"))
        kind = BETA_NAMES.get(name, name)
        text = event.get(_SAID[kind]) if kind in _SAID else _typed(event) if kind.startswith("conversation.i") else None
        if not isinstance(text, str) or not text.strip():
            return
        if kind.startswith("conversation."):
            self._db.execute("UPDATE conversations SET says = coalesce(says, ?) WHERE number = ?", (text, number))
        words = self._words(number)
        self._set_words(number, words, f"{words}\n{text}" if words else text)

    def _words(self, number: int) -> str:
        row = self._db.execute("SELECT words FROM words_said WHERE number = ?", (number,)).fetchone()
        return row[0] if row else ""

    def _set_words(self, number: int, before: str, words: str) -> None:
        if before == words:
            return
        if before:  # an index of external content must be told what it held
            self._db.execute("INSERT INTO said(said, rowid, words) VALUES ('delete', ?, ?)", (number, before))
        self._db.execute("INSERT OR REPLACE INTO words_said VALUES (?, ?)", (number, words))
        if words:
            self._db.execute("INSERT INTO said(rowid, words) VALUES (?, ?)", (number, words))

    # Reading

    def row(self, conversation_id: str) -> dict[str, Any] | None:
        """Return a conversation's row, or None; ``live`` in it tells whether it is running.

        Args:
            conversation_id: The id of the conversation's run, or of its trace.
        """
        rows = self._rows(
            "SELECT id, trace_id, dotted_order, project, thread, started, revision,"
            " duration_s IS NULL AND written > ? AS live"
            " FROM conversations WHERE id = ? OR trace_id = ? ORDER BY id = ? DESC, started LIMIT 1",
            [clock.time() - LIVE_S, conversation_id, conversation_id, conversation_id],
        )
        return rows[0] if rows else None

    def thread(self, thread: str) -> list[str]:
        """Return the ids of a thread's conversations, the oldest first."""
        return [
            row["id"] for row in self._rows("SELECT id FROM conversations WHERE thread = ? ORDER BY started", [thread])
        ]

    def revision(self) -> int:
        """Return the number of the latest write to a conversation; 0 without one."""
        return int(self._rows("SELECT coalesce(max(revision), 0) AS newest FROM conversations")[0]["newest"])

    def page(self, query: Query) -> dict[str, Any]:
        """Return a page of the list: ``counts``, ``conversations`` and ``next``."""
        kinds = marks(query.slow_ms)
        where, values = conditions(query)
        counted = ", ".join(f"coalesce(sum({mark}), 0) AS {name}" for name, mark in kinds.items())
        counts = self._rows(
            f'SELECT count(*) AS "all", count(DISTINCT thread) AS threads, {counted} FROM conversations WHERE {where}',  # noqa: S608
            values,
        )[0]
        shown = " AND ".join([where, *(kinds[name] for name in query.only if name in kinds)])
        descending = query.sort.startswith("-")
        column = _SORTS.get(query.sort.removeprefix("-"), "started")
        if query.thread:
            column, descending = "started", False
        rows = self._rows(
            f"SELECT *, {kinds['live']} AS live FROM conversations WHERE {shown}"  # noqa: S608
            f" ORDER BY {column} IS NULL, {column} {'DESC' if descending else 'ASC'}, number DESC LIMIT ? OFFSET ?",
            [*values, query.limit + 1, query.after],
        )
        page = rows[: query.limit]
        shapes = self._shapes([row["number"] for row in page])
        places = self._places({row["thread"] for row in page if row["thread"] is not None})
        hits = self._hits([row["number"] for row in page], query.q)
        return {
            "counts": counts,
            "conversations": [
                {**_listed(row, shapes.get(row["number"], []), places), "hit": hits.get(row["number"])} for row in page
            ],
            "next": query.after + query.limit if len(rows) > query.limit else None,
            "revision": self.revision(),
        }

    def choices(self) -> dict[str, Any]:
        """Return the choices of the filters: ``projects``, ``tags``, ``models`` and ``threads``, 200 of each at most.

        The threads are those of several conversations, the latest first, as ``[id, number of conversations]``.
        """
        found = {name: [row["value"] for row in self._rows(sql, [_MOST_CHOICES])] for name, sql in _CHOICES.items()}
        threads = self._rows(
            "SELECT thread, count(*) AS many FROM conversations WHERE thread IS NOT NULL"
            " GROUP BY thread HAVING many > 1 ORDER BY max(started) DESC LIMIT ?",
            [_MOST_CHOICES],
        )
        return {**found, "threads": [[row["thread"], row["many"]] for row in threads]}

    def _hits(self, numbers: list[int], q: str) -> dict[int, str]:
        """Return the sentence of each conversation that has all words of a search, else the first that has any."""
        words = [word.lower() for word in _searched(q)]
        if not words:
            return {}
        rows = self._rows(f"SELECT number, words FROM words_said WHERE number IN ({_marks(numbers)})", numbers)  # noqa: S608
        found: dict[int, str] = {}
        for row in rows:
            sentences = row["words"].split("\n")
            for has in (all, any):
                hit = next((each for each in sentences if has(word in each.lower() for word in words)), None)
                if hit is not None:
                    found[row["number"]] = _around(hit, words)
                    break
        return found

    def _shapes(self, numbers: list[int]) -> dict[int, list[list[Any]]]:
        """Return the answers of conversations, ``[heard from, ms, marks]``; a failed tool marks the answer after it."""
        shapes: dict[int, list[list[Any]]] = {number: [] for number in numbers}
        failed: dict[int, bool] = {}
        rows = self._rows(
            f"SELECT conversation, at, ms, mark FROM answers WHERE conversation IN ({_marks(numbers)}) ORDER BY at",  # noqa: S608
            numbers,
        )
        for row in rows:
            number = row["conversation"]
            if row["ms"] is None and row["mark"] in ("e", "t"):
                failed[number] = True
                continue
            mark = "e" if failed.pop(number, False) or "e" in row["mark"] else row["mark"]
            shapes[number].append([round(row["at"], 2), row["ms"], mark])
        return shapes

    def _places(self, threads: set[str]) -> dict[str, tuple[int, int]]:
        """Return the place of each conversation in its thread, from 1, and how many the thread has."""
        rows = self._rows(
            f"SELECT id, row_number() OVER (PARTITION BY thread ORDER BY started) AS place,"  # noqa: S608
            f" count(*) OVER (PARTITION BY thread) AS many FROM conversations WHERE thread IN ({_marks(threads)})",
            list(threads),
        )
        return {row["id"]: (row["place"], row["many"]) for row in rows}

    def _rows(self, sql: str, values: Iterable[Any] = ()) -> list[dict[str, Any]]:
        with self._db_lock:
            cursor = self._db.execute(sql, tuple(values))
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]


def marks(slow_ms: float) -> dict[str, str]:
    """Return what the names in ``only`` say of a conversation, as SQL that is 0 or 1.

    Args:
        slow_ms: An answer above this is slow.
    """
    return {
        "live": f"(duration_s IS NULL AND written > {clock.time() - LIVE_S})",
        "slow": f"coalesce(slowest_ms > {float(slow_ms)}, 0)",
        "interrupted": "(interruptions > 0)",
        "errors": "(errors + failed_tools > 0)",
    }


def conditions(query: Query) -> tuple[str, list[Any]]:
    """Return the SQL of the conditions of a query on conversations, without those in ``only``, and its values."""
    where: list[str] = ["1"]
    values: list[Any] = []
    for column in ("project", "thread", "model"):
        if getattr(query, column):
            where.append(f"{column} = ?")
            values.append(getattr(query, column))
    if query.tag:
        where.append("EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)")
        values.append(query.tag)
    words = _searched(query.q)
    for word in words:
        if len(word) >= _TRIGRAM:
            where.append("number IN (SELECT rowid FROM said WHERE said MATCH ?)")
            values.append('"' + word.replace('"', '""') + '"')
    if short := [word for word in words if len(word) < _TRIGRAM]:
        # One look at all texts for all short words; in lower case only for words that have one, which takes longer.
        found = (
            "instr(words, ?)" if word.lower() == word.upper() else "instr(lower(words), lower(?))" for word in short
        )
        where.append(f"number IN (SELECT number FROM words_said WHERE {' AND '.join(found)})")  # noqa: S608 - fixed texts
        values += short
    return " AND ".join(where), values


def _searched(q: str) -> list[str]:
    return q.replace("\0", " ").split()[:_MOST_WORDS]  # FTS5 reads no further than a NUL


def _around(sentence: str, words: list[str]) -> str:
    """Return the part of a long sentence that has the first of the words that it has."""
    at = min((place for word in words if (place := sentence.lower().find(word)) >= 0), default=0)
    begin = max(0, at - _BEFORE_HIT)
    if begin:
        begin = sentence.find(" ", begin, at) + 1 or begin
    return ("…" if begin else "") + sentence[begin : begin + _LONGEST_HIT]


def _listed(row: Mapping[str, Any], shape: list[list[Any]], places: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    place, many = places.get(row["id"], (1, 1))
    return {
        "id": row["id"],
        "project": row["project"],
        "thread": None if row["thread"] is None else {"id": row["thread"], "index": place, "count": many},
        "start": row["started"],
        "duration_s": row["duration_s"],
        "live": bool(row["live"]),
        "says": None if row["says"] is None else row["says"][:200],
        "model": row["model"],
        "tags": json.loads(row["tags"]),
        "turns": row["turns"],
        "interruptions": row["interruptions"],
        "errors": row["errors"] + row["failed_tools"],
        "voice_to_voice_p50_ms": row["p50_ms"],
        "voice_to_voice_p95_ms": row["p95_ms"],
        "total_tokens": row["tokens"],
        "estimated_cost_usd": row["cost"],
        "recording": bool(row["recording"]),
        "shape": shape,
    }


def _metadata(fields: Fields) -> dict[str, Any]:
    metadata = (fields.get("extra") or {}).get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _latency(metadata: Mapping[str, Any], of: str) -> float | None:
    """Return a latency in milliseconds, from voice to voice, else to the first audio; None without a number."""
    return as_number(metadata.get(f"voice_to_voice_{of}", metadata.get(f"latency_to_first_audio_{of}")))


def _messages(fields: Fields) -> Iterator[dict[str, Any]]:
    messages = (fields.get("outputs") or {}).get("messages")
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict) and isinstance(message.get("content"), str) and message["content"]:
            yield {"role": message.get("role"), "content": message["content"]}


def _typed(event: Mapping[str, Any]) -> str | None:
    """The text that the user typed, in an event that adds an item to the conversation."""
    item = event.get("item")
    if not str(event.get("type")).endswith((".added", ".created")) or not isinstance(item, dict):
        return None
    if item.get("role") != "user" or not isinstance(item.get("content"), list):
        return None
    parts = [part for part in item["content"] if isinstance(part, dict) and part.get("type") == "input_text"]
    return " ".join(str(part.get("text", "")) for part in parts) or None


def _marks(values: Iterable[Any]) -> str:
    return ", ".join("?" for _ in values)

"""The list of threads, made from the rows of their conversations. No stored run is parsed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from langsmith_realtime.collector.storage.conversations import conditions, marks
from langsmith_realtime.core.conversation.numbers.metrics import percentile

if TYPE_CHECKING:
    import sqlite3
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from langsmith_realtime.collector.storage.conversations import Query

#: What threads may be sorted by, with the name of the number.
_SORTS: Final = {
    "start": "start",
    "thread": "id",
    "conversations": "conversations",
    "length": "duration_s",
    "turns": "turns",
    "p50": "voice_to_voice_p50_ms",
    "p95": "voice_to_voice_p95_ms",
    "interruptions": "interruptions",
    "errors": "errors",
    "tokens": "total_tokens",
    "cost": "estimated_cost_usd",
}
_PERCENTILES: Final = {"voice_to_voice_p50_ms": 50, "voice_to_voice_p95_ms": 95}
#: What a thread's numbers are in SQL, of all its conversations.
_NUMBERS: Final = {
    "id": "thread",
    "start": "max(started)",
    "conversations": "count(*)",
    "duration_s": "sum(duration_s)",
    "turns": "sum(turns)",
    "interruptions": "sum(interruptions)",
    "errors": "sum(errors + failed_tools)",
    "total_tokens": "sum(tokens)",
    "estimated_cost_usd": "sum(cost)",
}
_ID, _START, _CONVERSATIONS = range(3)
#: Largest number of characters of the first words.
_SAYS: Final = 200


class Threads:
    """Lists the threads of conversations in a store's SQLite file.

    Args:
        db: The store's connection.
        lock: Held during every use of the connection.
    """

    def __init__(self, db: sqlite3.Connection, lock: threading.Lock) -> None:
        self._db = db
        self._db_lock = lock

    def page(self, query: Query) -> dict[str, Any]:
        """Return a page of the list: ``counts``, ``threads``, ``next`` and the ``revision`` of the conversations.

        A thread is listed if one of its conversations satisfies the query; for each of ``only``, one of its
        conversations must be so. The numbers of a thread are those of all its conversations: sums, and percentiles
        over all answers. ``start`` and ``says`` are those of the newest conversation.

        Args:
            query: Its ``sort`` may also be ``conversations`` or ``thread``. Where threads have the same number, the one
                with the newest conversation is first; threads without a number are last.
        """
        kinds = marks(query.slow_ms)
        rows = self._threads(query, kinds)
        found = [row for row in rows if all(row[_at(kind, kinds)] for kind in query.only if kind in kinds)]
        found.sort(key=lambda row: row[_START], reverse=True)
        column = _SORTS.get(query.sort.removeprefix("-"), "start")
        if column in _PERCENTILES:
            values = self._percentiles([row[_ID] for row in found], column)
            ordered = _sorted(found, lambda row: values.get(row[_ID]), query.sort)
        else:
            at = list(_NUMBERS).index(column)
            ordered = _sorted(found, lambda row: row[at], query.sort)
        end = query.after + query.limit
        threads = [
            {**dict(zip(_NUMBERS, row, strict=False)), "live": bool(row[_at("live", kinds)])}
            for row in ordered[query.after : end]
        ]
        self._add_texts(threads)
        for name in _PERCENTILES:
            values = self._percentiles([thread["id"] for thread in threads], name)
            for thread in threads:
                thread[name] = values.get(thread["id"])
        counts = {kind: sum(row[_at(kind, kinds)] for row in rows) for kind in kinds}
        return {
            "counts": {"all": len(rows), "conversations": sum(row[_CONVERSATIONS] for row in rows), **counts},
            "threads": threads,
            "next": end if len(ordered) > end else None,
            "revision": self._rows("SELECT coalesce(max(revision), 0) FROM conversations")[0][0],
        }

    def _threads(self, query: Query, kinds: Mapping[str, str]) -> list[tuple[Any, ...]]:
        """Return the ``_NUMBERS`` of each thread that has a conversation which satisfies a query, then its marks."""
        columns = ", ".join((*_NUMBERS.values(), *(f"max({mark})" for mark in kinds.values())))
        where, values = conditions(query)
        if values:
            where = f"thread IN (SELECT thread FROM conversations WHERE {where})"  # noqa: S608 - fixed texts
        return self._rows(
            f"SELECT {columns} FROM conversations WHERE thread IS NOT NULL AND {where} GROUP BY thread",  # noqa: S608
            values,
        )

    def _percentiles(self, ids: Sequence[str], name: str) -> dict[str, float]:
        """Return a percentile over all answers of each thread that has one."""
        rows = self._rows(
            "SELECT thread, json_group_array(ms) FROM answers JOIN conversations ON number = conversation"
            " WHERE ms IS NOT NULL AND thread IN (SELECT value FROM json_each(?)) GROUP BY thread",
            [json.dumps(ids)],
        )
        return {thread: percentile(json.loads(answers), _PERCENTILES[name]) for thread, answers in rows}

    def _add_texts(self, threads: list[dict[str, Any]]) -> None:
        """Add the first words of the newest conversation, and the ``models`` and ``projects`` of all of them."""
        rows = self._rows(
            "SELECT thread, says, model, project FROM conversations"
            " WHERE thread IN (SELECT value FROM json_each(?)) ORDER BY started",
            [json.dumps([thread["id"] for thread in threads])],
        )
        of = {thread["id"]: thread for thread in threads}
        for thread in threads:
            thread |= {"says": None, "models": [], "projects": []}
        for thread_id, says, model, project in rows:
            thread = of[thread_id]
            thread["says"] = says and says[:_SAYS]
            for name, value in (("models", model), ("projects", project)):
                if value is not None and value not in thread[name]:
                    thread[name].append(value)

    def _rows(self, sql: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        with self._db_lock:
            return self._db.execute(sql, tuple(values)).fetchall()


def _at(kind: str, kinds: Iterable[str]) -> int:
    return len(_NUMBERS) + list(kinds).index(kind)


def _sorted(
    rows: Sequence[tuple[Any, ...]], value: Callable[[tuple[Any, ...]], Any], sort: str
) -> list[tuple[Any, ...]]:
    """Return rows by a value, those without one last; rows with equal values stay in their order."""
    known = sorted((row for row in rows if value(row) is not None), key=value, reverse=sort.startswith("-"))
    return known + [row for row in rows if value(row) is None]

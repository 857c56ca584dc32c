"""What a store keeps: across restarts, by age, by size, and of folders of an earlier version."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from langsmith_realtime.collector import Collector
from langsmith_realtime.collector.storage.retention import GROWING_S, Retention
from tests.support.collector_requests import ask
from tests.support.stored_conversation import Conversation, with_three_problems

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 86_400


def stored(collector: Collector, number: int, *, sound: bool = False) -> Conversation:
    call = with_three_problems(thread=f"t{number}", start=datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=number))
    call.into(collector, sound=call.sound() if sound else None)
    if sound:  # its peaks count, too
        collector._sounds.start(collector.attachment(call.id, "conversation")[1]).result(30)
    return call


def written(collector: Collector, call: Conversation, moment: float) -> None:
    """Sets when a trace was last written to."""
    collector._store._db.execute("UPDATE traces SET written = ? WHERE id = ?", (moment, call.id))


def files(collector: Collector) -> set[str]:
    return {path.parent.name for path in collector._store.incoming.rglob("*") if path.is_file()}


def test_links_of_sound_and_the_page_outlive_a_restart(tmp_path: Path) -> None:
    with Collector(tmp_path) as collector:
        call = stored(collector, 1, sound=True)
        port = int(collector.url.rpartition(":")[2])
        page = ask("GET", f"{collector.url}/view/api/conversations/{call.id}").json()["recording"]["url"]
        link = ask("GET", f"{collector.url}/runs/{call.id}").json()["s3_urls"]["attachment.conversation"]
        token = {"run_id": call.id, "feedback_key": "thumbs"}
        feedback = ask("POST", f"{collector.url}/feedback/tokens", json=token).json()["url"]

    with Collector(tmp_path, port=port) as collector:
        for url in (link["presigned_url"], collector.url + page):
            assert ask("GET", url).content == call.sound()
        assert ask("GET", link["presigned_url"].replace("signature=", "signature=0")).status_code == 403
        assert ask("GET", f"{link['presigned_url']}ä").status_code == 403
        assert ask("POST", feedback, json={"score": 1}).status_code == 200
        assert [each["score"] for each in collector.feedback(call.id)] == [1]
        assert (tmp_path / "runs.sqlite3").stat().st_mode & 0o077 == 0
    with Collector(tmp_path / "other", port=port) as collector:
        stored(collector, 1)
        assert ask("GET", link["presigned_url"]).status_code == 403


def test_traces_that_did_not_change_for_too_long_are_deleted_with_all_that_is_theirs(tmp_path: Path) -> None:
    with Collector(tmp_path) as collector:
        old, new = stored(collector, 1, sound=True), stored(collector, 2, sound=True)
        for call in (old, new):
            ask("POST", f"{collector.url}/feedback", json={"id": call.id, "run_id": call.id, "key": "k", "score": 1})
        written(collector, old, time.time() - 8 * DAY_S)

    with Collector(tmp_path, keep_days=7) as collector:
        assert [run.id for run in collector.roots()] == [new.id]
        assert [each["run_id"] for each in collector.feedback()] == [new.id]
        assert files(collector) == {new.id}
        found = ask("GET", f"{collector.url}/view/api/conversations?q=parcel").json()
        assert [each["id"] for each in found["conversations"]] == [new.id]
        for table in ("answers", "words_said", "conversations", "traces", "attachments"):
            rows = collector._store._db.execute(f"SELECT * FROM {table}").fetchall()
            assert not any(old.id in row for row in rows), table
        stored(collector, 3)  # a store that has shrunk still takes runs
        assert len(collector.roots()) == 2


def test_the_oldest_traces_are_deleted_until_the_rest_fits(tmp_path: Path) -> None:
    with Collector(tmp_path) as collector:
        calls = [stored(collector, number, sound=True) for number in range(4)]
        now = time.time()
        for age, call in zip((4, 3, 2, 0), calls, strict=True):
            written(collector, call, now - age * DAY_S)
        used = collector._store.bytes_used()
        each = collector._store.bytes_of(calls[0].id)
        assert each > 2 * len(calls[0].sound()) // 3

        assert Retention(gb=(used + 1) / 1e9).apply(collector._store, now) == 0
        assert Retention(gb=(used - 1.5 * each) / 1e9).apply(collector._store, now) == 2
        assert {run.id for run in collector.roots()} == {call.id for call in calls[2:]}
        assert collector._store.bytes_used() <= used - 1.5 * each
        # The newest may still be growing, so it stays, whatever the limit.
        assert Retention(gb=1e-9).apply(collector._store, now) == 1
        assert [run.id for run in collector.roots()] == [calls[3].id]
        assert Retention(gb=1e-9).apply(collector._store, now + GROWING_S + 1) == 1
        assert files(collector) == set()


def test_a_folder_of_an_earlier_version_is_kept_by_the_start_of_its_last_run(tmp_path: Path) -> None:
    with Collector(tmp_path) as collector:
        call = stored(collector, 1)
    with sqlite3.connect(tmp_path / "runs.sqlite3") as database:
        database.executescript(
            "ALTER TABLE traces DROP COLUMN written; DROP TABLE documents; PRAGMA auto_vacuum=NONE; VACUUM"
        )
    database.close()
    start = call.start.timestamp()

    with Collector(tmp_path) as collector:
        assert Retention(days=1).apply(collector._store, start + DAY_S) == 0
        assert Retention(days=1).apply(collector._store, start + call.seconds + DAY_S) == 1
        assert collector.runs() == []
        assert collector._store._db.execute("PRAGMA auto_vacuum").fetchone() == (2,)

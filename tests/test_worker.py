"""The background thread: in order, bounded, and never in anybody's way."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from langsmith_realtime import SessionTracer, flush, guard, inbox, worker
from langsmith_realtime.collector import Collector
from langsmith_realtime.guard import Guard
from langsmith_realtime.testing import tone
from langsmith_realtime.worker import Worker
from tests.talking import the_tree


def test_work_is_done_in_the_order_it_was_given() -> None:
    mine, done = Worker(), list[int]()
    given = mine.inbox(Guard())
    for number in range(1000):
        assert given.put(done.append, number)
    assert mine.flush(5)
    assert done == list(range(1000))


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_work_that_fails_is_counted_and_the_next_is_done(error: type[BaseException]) -> None:
    mine, kept, done = Worker(), Guard(), threading.Event()

    def fails() -> None:
        raise error("out of order")

    given = mine.inbox(kept)
    given.put(fails)
    given.put(mine.later, fails)
    assert mine.flush(5)
    given.put(done.set)
    assert mine.flush(5)
    assert done.is_set()
    assert kept.count == 1
    assert [type(failure) for failure in guard.failures] == [error] * 2
    guard.failures.clear()


def test_a_log_that_fails_ends_no_thread() -> None:
    mine, kept, done = Worker(), Guard(), threading.Event()

    class UnwrittenError(Exception):
        """Of a kind that was not logged before."""

    def fails() -> None:
        raise UnwrittenError

    def fails_too(_: object) -> bool:
        raise UnwrittenError

    guard.logger.addFilter(fails_too)
    try:
        given = mine.inbox(kept)
        given.put(fails)
        given.put(done.set)
        assert mine.flush(5)
    finally:
        guard.logger.removeFilter(fails_too)
    assert done.is_set()
    assert kept.count == 1
    guard.failures.clear()


def test_flush_gives_up_when_its_time_is_up() -> None:
    mine, go_on = Worker(), threading.Event()

    def work() -> None:
        go_on.wait()

    mine.inbox(Guard()).put(work)
    began = time.monotonic()
    assert not mine.flush(0.05)
    assert time.monotonic() - began < 2
    go_on.set()
    assert mine.flush(5)


def test_who_may_keep_it_waiting_has_another_that_is_flushed_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, go_on, done = Worker(), threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(20)

    assert mine.apart is mine.apart
    mine.apart.inbox(Guard()).put(work)
    mine.inbox(Guard()).put(done.set)
    assert done.wait(5)
    flushed: list[float | None] = []

    def sent(timeout: float | None) -> bool:
        flushed.append(timeout)
        return True

    monkeypatch.setattr(mine.sender, "flush", sent)
    assert not mine.flush(0.05)
    assert len(flushed) == 1  # who does not hang is sent
    go_on.set()
    assert mine.flush(5)
    assert mine.apart.sender is mine.sender


def test_when_the_queue_is_full_audio_goes_first_and_the_root_says_how_much(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = SessionTracer()
    assert flush(10)
    monkeypatch.setattr(inbox, "AUDIO_LIMIT", 2)
    monkeypatch.setattr(inbox, "LIMIT", 4)
    busy, go_on = threading.Event(), threading.Event()

    def work() -> None:
        busy.set()
        go_on.wait()

    worker.worker().inbox(Guard()).put(work)
    assert busy.wait(5)
    for number in range(6):
        tracer.record_user_audio(tone(1000, 0.02))
        tracer.server_event({"type": "session.updated", "event_id": f"event_{number}", "session": {}})
    monkeypatch.undo()
    go_on.set()
    tracer.close()
    assert flush(10)
    root = the_tree_of(tracing)
    assert root["dropped_audio_chunks"] == 5
    assert root["dropped_events"] == 3
    assert root["event_count"] == 3


def the_tree_of(collector: Collector) -> dict[str, int]:
    (root,) = collector.roots()
    return dict(root.metadata)


def test_a_process_that_traced_nothing_ends_at_once() -> None:
    began = time.monotonic()
    Worker().finish()
    assert time.monotonic() - began < 0.1


def test_a_conversation_left_open_is_closed_at_the_end(tracing: Collector) -> None:
    tracer = SessionTracer()
    tracer.server_event({"type": "session.created", "event_id": "event_0", "session": {}})
    worker.worker().finish()
    assert the_tree(tracing).run.end_time is not None
    assert worker.worker().open == {}

"""The background thread: in order, bounded, and never in anybody's way."""

from __future__ import annotations

import asyncio
import threading

import pytest

from langsmith_realtime import SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.live import bounded_queue
from langsmith_realtime.live.process import process
from langsmith_realtime.live.worker import Worker
from langsmith_realtime.runtime import guard
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.testing import tone


def test_work_is_done_in_the_order_it_was_given() -> None:
    mine, done = Worker(), list[int]()
    given = mine.inbox(Guard())
    for number in range(1000):
        assert given.put(done.append, number)
    assert mine.catch_up().wait(20)
    assert done == list(range(1000))


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_work_that_fails_is_counted_and_the_next_is_done(error: type[BaseException]) -> None:
    mine, kept, done = Worker(), Guard(), threading.Event()

    def fails() -> None:
        raise error("out of order")

    given = mine.inbox(kept)
    given.put(fails)
    given.put(mine.later, fails)
    assert mine.catch_up().wait(20)
    given.put(done.set)
    assert mine.catch_up().wait(20)
    assert done.is_set()
    assert kept.count == 1
    assert [type(failure) for failure in guard.failures] == [error] * 2
    guard.failures.clear()


def test_when_the_queue_is_full_audio_goes_first_and_the_root_says_how_much(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = SessionTracer()
    assert flush(10)
    monkeypatch.setattr(bounded_queue, "AUDIO_LIMIT", 2)
    monkeypatch.setattr(bounded_queue, "LIMIT", 4)
    busy, go_on = threading.Event(), threading.Event()

    def work() -> None:
        busy.set()
        go_on.wait()

    process().worker.inbox(Guard()).put(work)
    assert busy.wait(20)
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

"""What the conversations of a process share: flushed together, and finished when it ends."""

from __future__ import annotations

import threading
import time

import pytest

from langsmith_realtime import SessionTracer
from langsmith_realtime.collector import Collector
from langsmith_realtime.live.process import Process, process
from langsmith_realtime.runtime.guard import Guard
from tests.support.conversations import the_tree


def test_flush_gives_up_when_its_time_is_up() -> None:
    mine, go_on = Process(), threading.Event()

    def work() -> None:
        go_on.wait(60)

    mine.worker.inbox(Guard()).put(work)
    began = time.monotonic()
    assert not mine.flush(0.05)
    assert time.monotonic() - began < 30  # the work would take 60
    go_on.set()
    assert mine.flush(20)


def test_who_may_keep_it_waiting_has_another_that_is_flushed_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, go_on, done = Process(), threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(60)

    mine.apart.inbox(Guard()).put(work)
    mine.worker.inbox(Guard()).put(done.set)
    assert done.wait(20)
    flushed: list[float | None] = []

    def sent(timeout: float | None) -> bool:
        flushed.append(timeout)
        return True

    monkeypatch.setattr(mine.sender, "flush", sent)
    assert not mine.flush(0.05)
    assert len(flushed) == 1  # who does not hang is sent
    go_on.set()
    assert mine.flush(20)


def test_a_process_that_traced_nothing_ends_at_once() -> None:
    ends, waited = Process(), list[float | None]()
    ends.flush = waited.append  # type: ignore[method-assign, assignment]
    ends.finish()
    assert waited == []


def test_a_conversation_left_open_is_closed_at_the_end(tracing: Collector) -> None:
    tracer = SessionTracer()
    tracer.server_event({"type": "session.created", "event_id": "event_0", "session": {}})
    process().finish()
    assert the_tree(tracing).run.end_time is not None
    assert process().open == {}

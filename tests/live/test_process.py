"""Process: flushing all conversations, and the end of the process."""

from __future__ import annotations

import threading
import time

import pytest

from langsmith_realtime import SessionTracer
from langsmith_realtime.collector import Collector
from langsmith_realtime.core.protocol.inputs import Opened
from langsmith_realtime.live.process import Process, process
from tests.support.conversations import the_tree


def test_flush_returns_false_after_its_timeout() -> None:
    shared, go_on = Process(), threading.Event()

    def block(*_: object) -> None:
        go_on.wait(60)

    shared.worker.open_queue(block).put_always(Opened())
    began = time.monotonic()
    assert not shared.flush(0.05)
    assert time.monotonic() - began < 30  # the worker is blocked for 60 s
    go_on.set()
    assert shared.flush(20)


def test_a_hanging_callback_does_not_stop_flush_for_other_conversations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared, go_on, done = Process(), threading.Event(), threading.Event()

    def block(*_: object) -> None:
        go_on.wait(60)

    shared.callback_worker.open_queue(block).put_always(Opened())
    shared.worker.open_queue(lambda *_: done.set()).put_always(Opened())
    assert done.wait(20)
    timeouts: list[float | None] = []

    def flush(timeout: float | None) -> bool:
        timeouts.append(timeout)
        return True

    monkeypatch.setattr(shared.sender, "flush", flush)
    assert not shared.flush(0.05)
    assert len(timeouts) == 1  # runs of the other conversations
    go_on.set()
    assert shared.flush(20)


def test_a_process_that_traced_nothing_ends_at_once() -> None:
    ends, waited = Process(), list[float | None]()
    ends.flush = waited.append  # type: ignore[method-assign, assignment]
    ends.finish()
    assert waited == []


def test_an_open_conversation_is_closed_when_the_process_ends(tracing: Collector) -> None:
    tracer = SessionTracer()
    tracer.server_event({"type": "session.created", "event_id": "event_0", "session": {}})
    process().finish()
    assert the_tree(tracing).run.end_time is not None
    assert process().open == {}

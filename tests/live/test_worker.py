"""Worker: it processes entries in order, survives failures, and drops audio first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from langsmith_realtime import SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.core.protocol.inputs import Input, Opened
from langsmith_realtime.live.process import process
from langsmith_realtime.live.worker import Worker
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.runtime import guard
from langsmith_realtime.testing import tone


def test_entries_are_processed_in_order() -> None:
    worker, done = Worker(Limits(batch_inputs=7)), list[Input]()

    def take(inputs: list[Input], pause: Callable[[], None]) -> None:
        assert len(inputs) <= 7
        done.extend(inputs)
        pause()

    queue = worker.open_queue(take)
    for number in range(1000):
        queue.put_event(Opened(float(number)))
    assert worker.catch_up().wait(20)
    assert [each.t for each in done] == list(range(1000))


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_a_failure_is_reported_and_the_next_entries_are_processed(error: type[BaseException]) -> None:
    worker, done = Worker(Limits(batch_inputs=1)), list[Input]()

    def take(inputs: list[Input], pause: Callable[[], None]) -> None:
        if inputs[0].t < 2:
            raise error("out of order")
        done.extend(inputs)

    first, other = worker.open_queue(take), worker.open_queue(take)
    for t in (0.0, 1.0, 2.0):
        first.put_event(Opened(t))
    other.put_event(Opened(3.0))
    assert worker.catch_up().wait(20)
    first.put_event(Opened(4.0))
    assert worker.catch_up().wait(20)
    assert [each.t for each in done] == [2.0, 3.0, 4.0]
    assert [type(failure) for failure in guard.failures] == [error] * 2
    guard.failures.clear()


def test_a_full_queue_drops_audio_first_and_the_root_counts_it(tracing: Collector, limits: Limits) -> None:
    tracer = SessionTracer()
    assert flush(10)
    limits.queue_audio_entries, limits.queue_entries = 2, 4
    busy, go_on = threading.Event(), threading.Event()

    def block(*_: object) -> None:
        busy.set()
        go_on.wait()

    process().worker.open_queue(block).put_always(Opened())
    assert busy.wait(20)
    for number in range(6):
        tracer.record_user_audio(tone(1000, 0.02))
        tracer.server_event({"type": "session.updated", "event_id": f"event_{number}", "session": {}})
    limits.queue_entries = Limits().queue_entries
    go_on.set()
    tracer.close()
    assert flush(10)
    root = the_metadata_of_the_root(tracing)
    assert root["dropped_audio_chunks"] == 5
    assert root["dropped_events"] == 3
    assert root["event_count"] == 3


def the_metadata_of_the_root(collector: Collector) -> dict[str, int]:
    (root,) = collector.roots()
    return dict(root.metadata)

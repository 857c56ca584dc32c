"""What the application does with our log keeps no thread of ours from its work, and never reaches its own."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator

import pytest

from langsmith_realtime import SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.delivery import operations
from langsmith_realtime.live.worker import Worker
from langsmith_realtime.runtime import guard
from langsmith_realtime.runtime.guard import Guard
from tests.support.conversations import the_tree


class UnwrittenError(Exception):
    """What fails."""


@pytest.fixture(params=["the logger's filter", "a handler's filter"])
def refused(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is logged while the application's filter fails on it."""
    monkeypatch.setattr(guard, "_logged", set())  # a kind is logged once
    seen: list[str] = []

    def fails(record: logging.LogRecord) -> bool:
        seen.append(record.getMessage())
        raise UnwrittenError

    logger, handler = logging.getLogger("langsmith_realtime"), logging.StreamHandler(io.StringIO())
    (logger if request.param == "the logger's filter" else handler).addFilter(fails)
    logger.addHandler(handler)
    yield seen
    logger.removeHandler(handler)
    logger.removeFilter(fails)


def test_work_that_fails_is_not_the_last(refused: list[str]) -> None:
    worker, kept, done = Worker(), Guard(), threading.Event()

    def fails() -> None:
        raise UnwrittenError

    given = worker.inbox(kept)
    given.put(fails)
    given.put(done.set)
    assert worker.catch_up().wait(5)
    assert done.is_set()
    assert kept.count == 1
    assert len(refused) == 1
    guard.failures.clear()


def test_runs_after_some_that_could_not_be_sent_are_sent(
    tracing: Collector, refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> dict[str, object]:
        raise UnwrittenError

    made = operations.run_dict
    monkeypatch.setattr("langsmith_realtime.delivery.batches.run_dict", fails)
    SessionTracer(journal=False).close()
    assert not flush(10)
    assert [message for message in refused if message.startswith("sending")]
    monkeypatch.setattr("langsmith_realtime.delivery.batches.run_dict", made)
    SessionTracer(journal=False).close()
    assert flush(10)
    assert the_tree(tracing).run.status == "success"


def test_a_warning_in_the_callers_thread_raises_nothing(tracing: Collector, refused: list[str]) -> None:
    tracer = SessionTracer()
    tracer.close()
    tracer.silence(seconds=1)
    assert [message for message in refused if "has ended" in message]
    assert flush(10)
    assert the_tree(tracing).run.status == "success"

"""A logging filter of the application that raises stops neither the package's threads nor the caller."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator

import pytest

from langsmith_realtime import SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.core.protocol.inputs import Closed, Input, Opened
from langsmith_realtime.delivery import operations
from langsmith_realtime.live.worker import Worker
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.runtime import guard
from tests.support.conversations import the_tree


class FilterError(Exception):
    """Raised by the application's filter, and by the entries that it logs."""


@pytest.fixture(params=["the logger's filter", "a handler's filter"])
def messages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The messages that a filter of the application raised for."""
    monkeypatch.setattr(guard, "_logged", set())  # a failure of a kind is logged once per process
    messages: list[str] = []

    def fails(record: logging.LogRecord) -> bool:
        messages.append(record.getMessage())
        raise FilterError

    logger, handler = logging.getLogger("langsmith_realtime"), logging.StreamHandler(io.StringIO())
    (logger if request.param == "the logger's filter" else handler).addFilter(fails)
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
    logger.removeFilter(fails)


def test_the_worker_goes_on_after_a_failure_that_cannot_be_logged(messages: list[str]) -> None:
    worker, done = Worker(Limits(batch_inputs=1)), list[float]()

    def take(inputs: list[Input], pause: Callable[[], None]) -> None:
        if inputs == [Opened()]:
            raise FilterError
        done.extend(each.t for each in inputs)

    queue = worker.open_queue(take)
    queue.put_event(Opened())
    queue.put_event(Closed(1.0))
    assert worker.catch_up().wait(20)
    assert done == [1.0]
    assert len(guard.failures) == 1
    assert len(messages) == 1
    guard.failures.clear()


def test_the_sender_goes_on_after_a_failure_that_cannot_be_logged(
    tracing: Collector, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> dict[str, object]:
        raise FilterError

    made = operations.run_dict
    monkeypatch.setattr("langsmith_realtime.delivery.batches.run_dict", fails)
    SessionTracer(journal=False).close()
    assert not flush(10)
    assert [message for message in messages if message.startswith("sending")]
    monkeypatch.setattr("langsmith_realtime.delivery.batches.run_dict", made)
    SessionTracer(journal=False).close()
    assert flush(10)
    assert the_tree(tracing).run.status == "success"


def test_a_warning_in_the_callers_thread_does_not_raise(tracing: Collector, messages: list[str]) -> None:
    tracer = SessionTracer()
    tracer.close()
    tracer.silence(seconds=1)
    assert [message for message in messages if "has ended" in message]
    assert flush(10)
    assert the_tree(tracing).run.status == "success"

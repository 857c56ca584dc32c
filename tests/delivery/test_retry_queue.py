"""Items that a destination refused: they keep their order and wait longer after each refusal."""

from __future__ import annotations

from langsmith_realtime.delivery.retry_queue import RetryQueue
from langsmith_realtime.options.limits import Limits


def queue_of(*items: int) -> RetryQueue[int]:
    made: RetryQueue[int] = RetryQueue(lambda size: size, Limits())
    for item in items:
        made.put(item)
    return made


def all_of(waiting: list[int]) -> tuple[list[int], list[int]]:
    return waiting, []


def test_refused_items_keep_their_place_and_wait_longer_each_time() -> None:
    queue = queue_of(1, 2)
    waits = []
    for _ in range(10):
        assert queue.take(all_of) == [1, 2]
        queue.finish_batch([1, 2], 100.0)
        assert queue.retry_at is not None
        waits.append(queue.retry_at - 100)
    assert waits[:3] == [1, 2, 4]
    assert waits[-1] == Limits().longest_retry_s
    queue.put(3)
    assert queue.take(all_of) == [1, 2, 3]
    queue.finish_batch([3], 200.0)
    queue.take(all_of)
    queue.finish_batch([], 200.0)
    assert not queue.is_retrying


def test_a_failure_is_logged_once() -> None:
    queue = queue_of(1, 2)
    assert queue.unresolved == 2
    queue.take(lambda waiting: (waiting[:1], waiting[1:]))
    queue.finish_batch([1], 0.0)
    assert queue.unresolved == 0  # what waits behind it fares no better
    queue.put(3)
    assert queue.unresolved == 1
    queue.take(lambda waiting: (waiting[:1], waiting[1:]))
    queue.finish_batch([], 0.0)
    assert (queue.known_failed, queue.unresolved) == (1, 1)


def test_an_emptied_queue_returns_all_items() -> None:
    queue = queue_of(1, 2, 3)
    queue.take(lambda waiting: (waiting[:1], waiting[1:]))
    assert queue.abandon() == [1, 2, 3]  # of the first nobody knows yet
    assert queue.waiting == []
    queue.finish_batch([], 0.0)
    assert queue.unresolved == 0

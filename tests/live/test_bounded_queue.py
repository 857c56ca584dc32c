"""BoundedQueue: entries stay in order, are counted for all conversations, and are processed in small batches."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from langsmith_realtime.live.bounded_queue import BoundedQueue, Chunk, QueueLoad
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.runtime import guard
from langsmith_realtime.runtime.guard import Guard

pytestmark = pytest.mark.newest  # no version matters to it


class Conversation:
    """A queue with its notifications, and the calls that the worker made from it."""

    def __init__(self, load: QueueLoad | None = None) -> None:
        self.notified: list[BoundedQueue] = []
        self.done: list[Any] = []
        self.pauses = 0
        self.guard = Guard()
        self.queue = BoundedQueue(load or QueueLoad(Limits()), self.notified.append, self.guard, self._chunks)

    @property
    def waiting(self) -> tuple[int, int]:
        """Number of entries, and of bytes of audio, that wait."""
        load = self.queue.load
        return load.entries_put - load.entries_taken, load.bytes_put - load.bytes_taken

    def chunk(self, sent: str, *, is_text: bool = False) -> bool:
        return self.queue.put_chunk(sent, 0.02, is_text)

    def note(self, call: str) -> None:
        self.done.append(call)

    def drain(self) -> None:
        self.queue.drain(self._pause)

    def _chunks(self, chunks: Iterator[Chunk]) -> None:
        for chunk in chunks:
            if chunk[0] == "broken":
                raise RuntimeError("out of order")
            self.done.append(chunk)

    def _pause(self) -> None:
        self.pauses += 1


def test_chunks_and_other_entries_stay_in_order() -> None:
    one = Conversation()
    one.queue.put_always(one.note, "opened")
    assert one.chunk("AAAA")
    assert one.chunk("{}", is_text=True)
    assert one.queue.put(one.note, "spoke")
    assert one.chunk("BBBB")
    one.drain()
    assert one.done == ["opened", ("AAAA", 0.02, False), ("{}", 0.02, True), "spoke", ("BBBB", 0.02, False)]


def test_the_worker_is_notified_once_until_it_drains_the_queue() -> None:
    one = Conversation()
    one.chunk("first")
    one.queue.put(one.note, "second")
    assert one.notified == [one.queue]
    one.drain()
    one.chunk("third")
    assert one.notified == [one.queue] * 2
    one.queue.put_always(one.note, "closed")
    assert one.notified == [one.queue] * 3


def test_an_entry_that_is_put_while_the_queue_is_drained_waits_for_the_next_round() -> None:
    one = Conversation()

    def put_again() -> None:
        one.queue.put(put_again)
        one.note("again")

    one.queue.put(put_again)
    for times in (1, 2):
        one.drain()
        assert one.done == ["again"] * times
        assert len(one.notified) == times + 1


def test_chunks_are_processed_in_batches_with_a_pause_after_each() -> None:
    one = Conversation()
    one.queue.put(one.note, "spoke")
    for _ in range(2 * Limits().batch_chunks + 1):
        one.chunk("chunk")
    one.drain()
    assert len(one.done) == 2 * Limits().batch_chunks + 2
    assert one.pauses == 4


def test_large_chunks_make_smaller_batches() -> None:
    one = Conversation(QueueLoad(Limits(batch_bytes=8)))
    for _ in range(5):
        one.chunk("AAAA")
    one.drain()
    assert one.pauses == 3
    assert len(one.done) == 5


def test_waiting_entries_and_bytes_are_counted_until_they_are_taken() -> None:
    one = Conversation()
    seen: list[tuple[int, int]] = []
    for chunk in ("AAAA", "BB", "broken"):
        one.chunk(chunk)
    one.queue.put(lambda: seen.append(one.waiting))
    one.queue.put_audio(100, lambda: seen.append(one.waiting))
    one.chunk("CCCCCC")
    assert one.waiting == (6, 118)
    one.drain()
    assert seen == [(2, 106), (1, 6)]
    assert one.waiting == (0, 0)
    guard.failures.clear()


def test_a_chunk_in_a_queue_without_take_chunks_is_reported() -> None:
    failures = Guard()
    notified: list[BoundedQueue] = []
    queue = BoundedQueue(QueueLoad(Limits()), notified.append, failures)
    queue.put_chunk("AAAA", 0.02, False)
    queue.put_chunk("AAAA", 0.04, False)
    queue.drain(lambda: None)
    assert failures.count == 2
    guard.failures.clear()


def test_an_entry_that_fails_does_not_affect_the_others() -> None:
    one = Conversation()

    def fails() -> None:
        raise RuntimeError("out of order")

    one.queue.put(fails)
    for chunk in ("AAAA", "broken", "broken", "BBBB", "broken"):
        one.chunk(chunk)
    one.queue.put(one.note, "next")
    one.drain()
    assert one.done == [("AAAA", 0.02, False), ("BBBB", 0.02, False), "next"]
    assert one.guard.count == 4
    guard.failures.clear()


def test_the_limits_hold_for_all_conversations_together() -> None:
    load = QueueLoad(Limits(queue_audio_entries=2, queue_light_entries=3, queue_entries=3))
    one, other = Conversation(load), Conversation(load)
    assert one.chunk("chunk")
    assert other.queue.put_audio(6_400, other.note, "audio")
    assert not one.chunk("chunk")
    assert not other.queue.put_audio(6_400, other.note, "audio")
    assert other.queue.put(other.note, "event")
    assert load.is_nearly_full
    assert not one.queue.put(one.note, "event")
    assert one.queue.put_always(one.note, "closed")
    one.drain()
    assert one.done == [("chunk", 0.02, False), "closed"]
    other.drain()
    assert one.chunk("chunk")


def test_audio_is_dropped_while_too_many_bytes_wait() -> None:
    one = Conversation(QueueLoad(Limits(queue_audio_bytes=10)))
    assert one.chunk("0123456789")
    assert not one.chunk("0")
    assert not one.queue.put_audio(1, one.note, "audio")
    one.drain()
    assert one.chunk("0")
    assert one.queue.put_audio(1, one.note, "audio")


def test_every_entry_of_another_thread_is_processed_in_order() -> None:
    one, many = Conversation(), 20_000
    wanted, ended = set(range(many)), threading.Event()

    def put() -> None:
        try:
            for number in range(many):
                if number % 3:
                    one.queue.put_chunk(str(number), 0.0, False)
                else:
                    one.queue.put(one.done.append, (str(number), 0.0, False))
        finally:
            ended.set()

    threading.Thread(target=put).start()
    while not ended.is_set() or one.notified:
        if one.notified:
            one.notified.pop()
            one.drain()
    assert [int(sent) for sent, *_ in one.done] == sorted(wanted)
    assert one.waiting == (0, 0)

"""What waits for the worker: in the order it was put, counted for all conversations, and taken a bit at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from langsmith_realtime.live import bounded_queue
from langsmith_realtime.live.bounded_queue import BoundedQueue, Chunk, QueueLoad
from langsmith_realtime.runtime import guard
from langsmith_realtime.runtime.guard import Guard

pytestmark = pytest.mark.newest  # no version matters to it


class Conversation:
    """An inbox, and what was done with what was in it."""

    def __init__(self, load: QueueLoad | None = None) -> None:
        self.due: list[BoundedQueue] = []
        self.done: list[Any] = []
        self.pauses = 0
        self.guard = Guard()
        self.inbox = BoundedQueue(load or QueueLoad(), self.due.append, self.guard, self._chunks)

    @property
    def waiting(self) -> tuple[int, int]:
        """Entries, and bytes of sound."""
        load = self.inbox.load
        return load.put - load.done, load.sound - load.sound_done

    def chunk(self, sent: str, *, is_text: bool = False) -> bool:
        return self.inbox.put_chunk(sent, 0.02, is_text)

    def note(self, what: str) -> None:
        self.done.append(what)

    def empty(self) -> None:
        self.inbox.empty(self._pause)

    def _chunks(self, chunks: Iterator[Chunk]) -> None:
        for chunk in chunks:
            if chunk[0] == "broken":
                raise RuntimeError("out of order")
            self.done.append(chunk)

    def _pause(self) -> None:
        self.pauses += 1


def test_chunks_keep_their_place_among_what_happens() -> None:
    one = Conversation()
    one.inbox.insist(one.note, "opened")
    assert one.chunk("AAAA")
    assert one.chunk("{}", is_text=True)
    assert one.inbox.put(one.note, "spoke")
    assert one.chunk("BBBB")
    one.empty()
    assert one.done == ["opened", ("AAAA", 0.02, False), ("{}", 0.02, True), "spoke", ("BBBB", 0.02, False)]


def test_who_puts_says_so_once_until_the_worker_comes() -> None:
    one = Conversation()
    one.chunk("first")
    one.inbox.put(one.note, "second")
    assert one.due == [one.inbox]
    one.empty()
    one.chunk("third")
    assert one.due == [one.inbox] * 2
    one.inbox.insist(one.note, "closed")
    assert one.due == [one.inbox] * 3


def test_what_is_put_meanwhile_is_for_the_next_time() -> None:
    one = Conversation()

    def goes_on() -> None:
        one.inbox.put(goes_on)
        one.note("again")

    one.inbox.put(goes_on)
    for times in (1, 2):
        one.empty()
        assert one.done == ["again"] * times
        assert len(one.due) == times + 1


def test_many_chunks_are_as_much_work_as_anything_else() -> None:
    one = Conversation()
    one.inbox.put(one.note, "spoke")
    for _ in range(2 * bounded_queue.CHUNKS + 1):
        one.chunk("chunk")
    one.empty()
    assert len(one.done) == 2 * bounded_queue.CHUNKS + 2
    assert one.pauses == 4


def test_large_chunks_are_not_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_queue, "CHUNKS_BYTES", 8)
    one = Conversation()
    for _ in range(5):
        one.chunk("AAAA")
    one.empty()
    assert one.pauses == 3
    assert len(one.done) == 5


def test_what_waits_is_counted_until_it_is_taken() -> None:
    one = Conversation()
    seen: list[tuple[int, int]] = []
    for chunk in ("AAAA", "BB", "broken"):
        one.chunk(chunk)
    one.inbox.put(lambda: seen.append(one.waiting))
    one.inbox.put_audio(100, lambda: seen.append(one.waiting))
    one.chunk("CCCCCC")
    assert one.waiting == (6, 118)
    one.empty()
    assert seen == [(2, 106), (1, 6)]
    assert one.waiting == (0, 0)
    guard.failures.clear()


def test_a_chunk_that_nobody_takes_is_reported() -> None:
    kept = Guard()
    due: list[BoundedQueue] = []
    box = BoundedQueue(QueueLoad(), due.append, kept)
    box.put_chunk("AAAA", 0.02, False)
    box.put_chunk("AAAA", 0.04, False)
    box.empty(lambda: None)
    assert kept.count == 2
    guard.failures.clear()


def test_what_fails_costs_only_itself() -> None:
    one = Conversation()

    def fails() -> None:
        raise RuntimeError("out of order")

    one.inbox.put(fails)
    for chunk in ("AAAA", "broken", "broken", "BBBB", "broken"):
        one.chunk(chunk)
    one.inbox.put(one.note, "next")
    one.empty()
    assert one.done == [("AAAA", 0.02, False), ("BBBB", 0.02, False), "next"]
    assert one.guard.count == 4
    guard.failures.clear()


def test_all_conversations_share_what_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    load = QueueLoad()
    one, other = Conversation(load), Conversation(load)
    monkeypatch.setattr(bounded_queue, "AUDIO_LIMIT", 2)
    monkeypatch.setattr(bounded_queue, "STRUCTURE_LIMIT", 3)
    monkeypatch.setattr(bounded_queue, "LIMIT", 3)
    assert one.chunk("chunk")
    assert other.inbox.put_audio(6_400, other.note, "sound")
    assert not one.chunk("chunk")
    assert not other.inbox.put_audio(6_400, other.note, "sound")
    assert other.inbox.put(other.note, "event")
    assert load.is_crowded
    assert not one.inbox.put(one.note, "event")
    assert one.inbox.insist(one.note, "closed")
    one.empty()
    assert one.done == [("chunk", 0.02, False), "closed"]
    other.empty()
    assert one.chunk("chunk")


def test_bytes_of_sound_that_wait_are_counted_until_they_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Conversation()
    monkeypatch.setattr(bounded_queue, "AUDIO_BYTES", 10)
    assert one.chunk("0123456789")
    assert not one.chunk("0")
    assert not one.inbox.put_audio(1, one.note, "sound")
    one.empty()
    assert one.chunk("0")
    assert one.inbox.put_audio(1, one.note, "sound")


def test_nothing_is_lost_between_threads() -> None:
    one, many = Conversation(), 20_000
    wanted, ended = set(range(many)), threading.Event()

    def put() -> None:
        try:
            for number in range(many):
                if number % 3:
                    one.inbox.put_chunk(str(number), 0.0, False)
                else:
                    one.inbox.put(one.done.append, (str(number), 0.0, False))
        finally:
            ended.set()

    threading.Thread(target=put).start()
    while not ended.is_set() or one.due:
        if one.due:
            one.due.pop()
            one.empty()
    assert [int(sent) for sent, *_ in one.done] == sorted(wanted)
    assert one.waiting == (0, 0)

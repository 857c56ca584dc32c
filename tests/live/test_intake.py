"""Intake: entries stay in order, dropped ones are counted, and silence takes the place of dropped audio."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from langsmith_realtime.core.protocol.audio_formats import PCM16, Format
from langsmith_realtime.core.protocol.events import APPEND
from langsmith_realtime.live.bounded_queue import BoundedQueue, Chunk, Intake, QueueLoad
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.runtime import guard
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.nesting import ParentRun

pytestmark = pytest.mark.newest  # no version matters to it

AUDIO = base64.b64encode(b"\1\1" * 480).decode()
SILENCE = base64.b64encode(bytes(960)).decode()
TEXT = f'{{"type": "{APPEND}", "audio": "{AUDIO}"}}'


class RecordedCalls:
    """A session on the worker's side of an intake that records its calls."""

    def __init__(self, limits: Limits) -> None:
        self.calls: list[Any] = []
        self.load = QueueLoad(limits)
        self.guard = Guard()
        self.queue = BoundedQueue(self.load, lambda _: None, self.guard, self._chunks)
        self.intake = Intake(self.queue, self, self.guard)

    def process(self) -> list[Any]:
        """Process the queue and return the new calls."""
        self.queue.drain(lambda: None)
        self.load.reset()
        calls, self.calls = self.calls, []
        return calls

    def note(self, *arguments: object) -> None:
        self.calls.append(arguments)

    def _chunks(self, chunks: Iterator[Chunk]) -> None:
        for sent, t, is_text in chunks:
            self.calls.append(("chunk", sent, t, is_text))

    def server_frame(self, frame: object, t: float, ref: ParentRun | None, agent_speaking: bool | None) -> None:
        self.calls.append(("received", frame, t))

    def client_frame(self, frame: object, t: float) -> None:
        self.calls.append(("sent", frame, t))

    def user_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        self.calls.append(("user", pcm, t))

    def agent_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        self.calls.append(("agent", pcm, t))

    def format(self, channel: int, *, fed: bool) -> Format:
        return PCM16


@pytest.fixture
def worker(limits: Limits) -> RecordedCalls:
    return RecordedCalls(limits)


def test_dropped_events_are_counted_and_put_always_drops_none(worker: RecordedCalls, limits: Limits) -> None:
    limits.queue_light_entries = 1
    limits.queue_entries = 2
    worker.intake.put_event(worker.note, "first", light=True)
    assert worker.intake.is_nearly_full
    worker.intake.put_event(worker.note, "light", light=True)
    worker.intake.put_event(worker.note, "second")
    worker.intake.put_event(worker.note, "third")
    worker.intake.put_always(worker.note, "end")
    assert worker.process() == [("first",), ("second",), ("end",)]
    assert worker.intake.dropped == {"dropped_audio_chunks": 0, "dropped_events": 2}


@pytest.mark.parametrize("is_text", [False, True])
def test_silence_takes_the_place_of_a_dropped_chunk_before_the_next_entry(
    worker: RecordedCalls, limits: Limits, is_text: bool
) -> None:
    chunk = TEXT if is_text else AUDIO
    limits.queue_audio_entries = 1
    worker.intake.put_chunk(worker.client_frame, chunk, 1.0, is_text)
    worker.intake.put_chunk(worker.client_frame, chunk, 1.02, is_text)
    worker.intake.put_event(worker.note, "next")
    silence = ("sent", {"type": APPEND, "audio": SILENCE}, 1.02)
    assert worker.process() == [("chunk", chunk, 1.0, is_text), silence, ("next",)]
    assert worker.intake.dropped == {"dropped_audio_chunks": 1, "dropped_events": 0}


def test_the_next_chunk_comes_after_the_silence(worker: RecordedCalls, limits: Limits) -> None:
    limits.queue_audio_entries = 1
    worker.intake.put_chunk(worker.client_frame, AUDIO, 1.0, False)
    worker.intake.put_chunk(worker.client_frame, AUDIO, 1.02, False)
    assert worker.process() == [("chunk", AUDIO, 1.0, False)]
    worker.intake.put_chunk(worker.client_frame, AUDIO, 1.04, False)
    worker.intake.put_chunk(worker.client_frame, TEXT, 1.06, True)
    assert worker.process() == [
        ("sent", {"type": APPEND, "audio": SILENCE}, 1.02),
        ("sent", {"type": APPEND, "audio": AUDIO}, 1.04),
    ]
    assert worker.intake.dropped["dropped_audio_chunks"] == 2


def test_a_dropped_chunk_that_cannot_be_measured_is_counted_and_reported(worker: RecordedCalls, limits: Limits) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    limits.queue_audio_entries = 0
    worker.intake.put_audio(960, fails, worker.note, "audio")
    assert worker.process() == []
    assert worker.intake.dropped["dropped_audio_chunks"] == 1
    assert worker.guard.count == 1
    guard.failures.clear()

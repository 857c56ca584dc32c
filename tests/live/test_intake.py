"""What callers hand over: in order, counted where there is no room, and sound that is dropped leaves its silence."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from langsmith_realtime.core.protocol.audio_formats import PCM16, Format
from langsmith_realtime.core.protocol.events import APPEND
from langsmith_realtime.live import bounded_queue
from langsmith_realtime.live.bounded_queue import BoundedQueue, Chunk, Intake, QueueLoad
from langsmith_realtime.runtime import guard
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.nesting import ParentRun

pytestmark = pytest.mark.newest  # no version matters to it

LOUD = base64.b64encode(b"\1\1" * 480).decode()
SILENT = base64.b64encode(bytes(960)).decode()
TEXT = f'{{"type": "{APPEND}", "audio": "{LOUD}"}}'


class Told:
    """The worker's side of a conversation, which hears what the intake was given when it has time."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.load = QueueLoad()
        self.kept = Guard()
        self.inbox = BoundedQueue(self.load, lambda _: None, self.kept, self._chunks)
        self.intake = Intake(self.inbox, self, self.kept)

    def work(self) -> list[Any]:
        """What it hears now."""
        self.inbox.drain(lambda: None)
        self.load.reset()
        heard, self.heard = self.heard, []
        return heard

    def note(self, *what: object) -> None:
        self.heard.append(what)

    def _chunks(self, chunks: Iterator[Chunk]) -> None:
        for sent, t, is_text in chunks:
            self.heard.append(("chunk", sent, t, is_text))

    def server_frame(self, frame: object, t: float, ref: ParentRun | None, agent_speaking: bool | None) -> None:
        self.heard.append(("received", frame, t))

    def client_frame(self, frame: object, t: float) -> None:
        self.heard.append(("sent", frame, t))

    def user_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        self.heard.append(("user", pcm, t))

    def agent_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        self.heard.append(("agent", pcm, t))

    def format(self, channel: int, *, fed: bool) -> Format:
        return PCM16


@pytest.fixture
def told() -> Told:
    return Told()


def test_events_there_is_no_room_for_are_counted_and_what_insists_is_taken(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_queue, "LIGHT_LIMIT", 1)
    monkeypatch.setattr(bounded_queue, "LIMIT", 2)
    told.intake.put_event(told.note, "first", light=True)
    assert told.intake.is_nearly_full
    told.intake.put_event(told.note, "light", light=True)
    told.intake.put_event(told.note, "second")
    told.intake.put_event(told.note, "third")
    told.intake.put_always(told.note, "end")
    assert told.work() == [("first",), ("second",), ("end",)]
    assert told.intake.dropped == {"dropped_audio_chunks": 0, "dropped_events": 2}


@pytest.mark.parametrize("is_text", [False, True])
def test_a_chunk_that_is_dropped_is_silent_before_whatever_comes_next(
    told: Told, monkeypatch: pytest.MonkeyPatch, is_text: bool
) -> None:
    chunk = TEXT if is_text else LOUD
    monkeypatch.setattr(bounded_queue, "AUDIO_LIMIT", 1)
    told.intake.put_chunk(told.client_frame, chunk, 1.0, is_text)
    told.intake.put_chunk(told.client_frame, chunk, 1.02, is_text)
    told.intake.put_event(told.note, "next")
    silence = ("sent", {"type": APPEND, "audio": SILENT}, 1.02)
    assert told.work() == [("chunk", chunk, 1.0, is_text), silence, ("next",)]
    assert told.intake.dropped == {"dropped_audio_chunks": 1, "dropped_events": 0}


def test_the_next_chunk_brings_the_silence_along(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_queue, "AUDIO_LIMIT", 1)
    told.intake.put_chunk(told.client_frame, LOUD, 1.0, False)
    told.intake.put_chunk(told.client_frame, LOUD, 1.02, False)
    assert told.work() == [("chunk", LOUD, 1.0, False)]
    told.intake.put_chunk(told.client_frame, LOUD, 1.04, False)
    told.intake.put_chunk(told.client_frame, TEXT, 1.06, True)
    assert told.work() == [
        ("sent", {"type": APPEND, "audio": SILENT}, 1.02),
        ("sent", {"type": APPEND, "audio": LOUD}, 1.04),
    ]
    assert told.intake.dropped["dropped_audio_chunks"] == 2


def test_who_cannot_tell_what_is_lost_costs_nobody_anything(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(bounded_queue, "AUDIO_LIMIT", 0)
    told.intake.put_audio(960, fails, told.note, "sound")
    assert told.work() == []
    assert told.intake.dropped["dropped_audio_chunks"] == 1
    assert told.kept.count == 1
    guard.failures.clear()

"""Pipeline: the journal gets each input before the session, and a failure of one input costs only that input."""

from __future__ import annotations

import asyncio
import base64
import itertools
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.protocol.audio_formats import PCM16, USER, Format
from langsmith_realtime.core.protocol.inputs import (
    Annotated,
    Audio,
    ClientFrame,
    Closed,
    Input,
    Opened,
    Ref,
    ServerFrame,
    Silence,
    ToolEnded,
)
from langsmith_realtime.journal.writer import JournalWriter
from langsmith_realtime.live.coalescing import parsed
from langsmith_realtime.live.pipeline import Pipeline
from langsmith_realtime.runtime import guard
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.session import Session
from tests.support.hostile_conversations import SETTINGS
from tests.support.inputs import conversations, segments

pytestmark = pytest.mark.newest  # no version matters to it


class Parts:
    """A session and a journal that record what they are told, and fail at the inputs of some kinds."""

    def __init__(self, *, error: type[BaseException] = RuntimeError) -> None:
        self.calls: list[tuple[str, object]] = []
        self.guard = Guard()
        self._error = error
        self.fails_at: set[tuple[str, type]] = set()
        self.silence_after: tuple[type, ...] = ()
        self.pipeline = Pipeline(cast("Session", self), cast("JournalWriter", self), self.guard)

    def process(self, *inputs: Input) -> list[tuple[str, object]]:
        self.pipeline.take(list(inputs), lambda: self.calls.append(("pause", None)))
        calls, self.calls = self.calls, []
        return calls

    def _note(self, call: str, given: Input) -> None:
        self.calls.append((call, given))
        if (call, type(given)) in self.fails_at:
            raise self._error("out of order")

    def write(self, given: Input) -> None:
        self._note("write", given)

    def take(self, given: Input) -> None:
        self._note("take", given)

    def taken(self, given: Input) -> None:
        self._note("taken", given)

    def found_silences(self, given: Input) -> list[Silence]:
        return [Silence(given.t, item_id="item_1")] if isinstance(given, self.silence_after) else []

    def flush(self) -> None:
        self.calls.append(("flush", None))

    def format(self, channel: int, *, fed: bool) -> Format:
        assert not fed
        return PCM16


def chunk(t: float) -> ClientFrame:
    return ClientFrame({"type": "input_audio_buffer.append", "audio": base64.b64encode(b"\1\1" * 480).decode()}, t)


def test_the_journal_gets_each_input_before_the_session_and_is_flushed_at_the_end() -> None:
    calls = Parts().process(Opened(), Closed(1.0))
    assert [(call, type(given)) for call, given in calls if given is not None] == [
        ("write", Opened),
        ("take", Opened),
        ("taken", Opened),
        ("write", Closed),
        ("take", Closed),
        ("taken", Closed),
    ]
    assert [call for call, given in calls if given is None] == ["pause", "pause", "flush"]
    assert calls[-1] == ("flush", None)


def test_after_each_flush_the_spans_may_end_until_the_conversation_does() -> None:
    parts = Parts()

    def written() -> None:
        parts.calls.append(("written", None))
        raise RuntimeError("an exporter of the application")

    parts.pipeline = Pipeline(cast("Session", parts), cast("JournalWriter", parts), parts.guard, written)
    assert [call for call, _ in parts.process(Opened())][-2:] == ["flush", "written"]
    assert [call for call, _ in parts.process(Closed(1.0))][-1] == "flush"
    assert parts.guard.count == 1
    guard.failures.clear()


@pytest.mark.parametrize("given", [ServerFrame({"type": "error"}, 1.0, Ref(1)), Closed(1.0)])
def test_a_silence_that_the_session_finds_is_in_the_journal_before_the_end(given: Input) -> None:
    parts = Parts()
    parts.silence_after = (type(given),)
    calls = [(call, type(each)) for call, each in parts.process(given) if each is not None]
    kinds = [Silence, type(given)] if isinstance(given, Closed) else [type(given), Silence]
    assert calls == [(call, kind) for kind in kinds for call in ("write", "take", "taken")]


def test_both_get_the_joined_inputs() -> None:
    calls = Parts().process(chunk(1.0), chunk(1.02), Closed(1.1))
    joined: Any = Audio(USER, b"\1\1" * 960, 1.02, event={"type": "input_audio_buffer.append"})
    assert calls[:2] == [("write", joined), ("pause", None)]
    assert calls[2:4] == [("take", joined), ("taken", joined)]  # before the next input, and joined up to a second


def test_audio_that_arrives_at_several_times_is_written_at_once_and_taken_together() -> None:
    parts = Parts()
    assert [call for call, _ in parts.process(Opened())] == ["write", "take", "taken", "pause", "flush"]
    for t in (1.0, 1.02, 1.04):
        assert [call for call, _ in parts.process(chunk(t))] == ["write", "pause", "flush"]
    calls = parts.process(Closed(1.1))
    (audio,) = [given for call, given in calls if call == "take" and isinstance(given, Audio)]
    assert audio.data == b"\1\1" * 1440


def test_audio_waits_for_the_session_for_at_most_a_second() -> None:
    parts = Parts()
    taken = [call for step in range(60) for call, _ in parts.process(chunk(1.0 + step * 0.02)) if call == "take"]
    assert 1 <= len(taken) <= 2


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, asyncio.CancelledError, GeneratorExit])
@pytest.mark.parametrize("call", ["take", "taken", "write"])
def test_a_failure_is_counted_and_costs_only_its_input(call: str, error: type[BaseException]) -> None:
    parts = Parts(error=error)
    parts.fails_at = {(call, Annotated), (call, ToolEnded)}
    calls = parts.process(Opened(), Annotated(0.5), chunk(0.6), ToolEnded("call_1", 0.7), Closed(1.0))
    assert parts.guard.count == 2
    assert [type(failure) for failure in guard.failures] == [error] * 2
    whole = [type(given) for each, given in calls if each == "taken"]
    assert [kind for kind in whole if kind not in (Annotated, ToolEnded)] == [Opened, Audio, Closed]
    assert calls[-1] == ("flush", None)
    guard.failures.clear()


def test_a_failure_of_the_format_costs_only_the_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()

    def fails(*_: object, **__: object) -> Format:
        raise ZeroDivisionError

    monkeypatch.setattr(parts, "format", fails)
    calls = parts.process(Opened(), chunk(1.0), chunk(1.02), Closed(1.1))
    assert parts.guard.count == 2
    assert [type(given) for call, given in calls if call == "take"] == [Opened, Closed]
    guard.failures.clear()


@pytest.mark.parametrize("examples", [30, pytest.param(1000, marks=pytest.mark.soak)])
def test_nothing_is_lost_or_late_however_the_worker_takes_the_inputs(examples: int) -> None:
    sizes = st.lists(st.integers(1, 20), min_size=1, max_size=10)
    settings(SETTINGS, max_examples=examples)(given(conversations(), sizes)(assert_nothing_is_lost_or_late))()


def assert_nothing_is_lost_or_late(inputs: list[Input], sizes: list[int]) -> None:
    parts, calls, remaining = Parts(), list[tuple[str, Any]](), [*inputs, Closed(1e9)]
    for size in itertools.cycle(sizes):
        calls += parts.process(*remaining[:size])
        remaining = remaining[size:]
        if not remaining:
            break
    expected = segments(parsed(each) for each in (*inputs, Closed(1e9)))
    assert segments(each for call, each in calls if call == "write") == expected
    assert segments(each for call, each in calls if call == "take") == expected
    assert parts.guard.count == 0
    latest = 0.0
    for call, each in calls:
        if call == "take":
            assert each.t >= latest - Tracks.MAX_LAG_S
            latest = max(latest, each.t)

"""`silence`: the audio is silent whenever it arrives, wherever it is placed, and in every format."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from langsmith import Client

from langsmith_realtime import Recording, SessionTracer, flush
from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.audio.writes import ChannelWrite, Write
from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.conversation.user_turns import SPAN_MARGIN_S, Moment, Utterances
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.core.protocol.inputs import (
    Audio,
    ClientFrame,
    Closed,
    Input,
    Played,
    Ref,
    ServerFrame,
    Silence,
)
from langsmith_realtime.live.coalescing import parsed
from langsmith_realtime.options.calls import checked_silence
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.recording.finishing import FinishedRecording
from langsmith_realtime.recording.recorder import Recorder
from langsmith_realtime.recording.silencing import SilencedSpans
from langsmith_realtime.runtime import guard
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.langsmith_runs import LangSmithRuns
from langsmith_realtime.trace.run_trees.root_run import start_conversation_runs
from langsmith_realtime.trace.session import Session
from tests.support.audio.sounds import RATE, numbered, tone
from tests.support.conversations import the_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from langsmith_realtime.collector import Collector
    from langsmith_realtime.core.audio.decoding import Samples
    from langsmith_realtime.delivery.operations import Operation

pytestmark = pytest.mark.newest


class Sent(list["Operation"]):
    """Collects operations instead of sending them."""

    def put(self, operation: Operation) -> None:
        self.append(operation)

    def run_apart(self, work: Callable[[], None]) -> None:
        work()


@dataclass
class Call:
    """A recorded conversation with times that the test gives."""

    folder: Path
    how: dict[str, Any] = field(default_factory=dict)
    ended: list[FinishedRecording] = field(default_factory=list)

    def __post_init__(self) -> None:
        client = Client(api_url="http://127.0.0.1:9", api_key="k", auto_batch_tracing=False)
        sent = Sent()
        recording = Recording(directory=self.folder, **{"keep": True, **self.how})
        self.recorder = Recorder(
            recording, name="call", limit_s=None, hidden=set(), guard=Guard(), run_in_thread=lambda work: work()
        )
        tracks = Tracks()
        runs = LangSmithRuns(start_conversation_runs(Options(client=client), Guard()), sent, sent)  # type: ignore[arg-type]
        self.session = Session(Conversation(tracks=tracks), [runs], self.recorder, Guard())
        self.server("session.created", 0.0, session={"id": "sess_1", "model": "gpt-realtime"})

    def server(self, name: str, t: float, **body: Any) -> None:
        run = None if name.endswith(".delta") else Ref(1 + round(t * 1e6))
        self.take(ServerFrame({"type": name, **body}, t, run))

    def take(self, given: Input) -> None:
        self.session.take(parsed(given))

    def user_speaks(self, since: float, until: float) -> None:
        """The user speaks: chunks of 100 ms, each sent when it ends."""
        for number in range(round(since * 10), round(until * 10)):
            chunk = base64.b64encode(tone(0.1).astype("<i2").tobytes()).decode()
            self.take(ClientFrame({"type": "input_audio_buffer.append", "audio": chunk}, (number + 1) / 10))

    def agent_speaks(self, t: float, seconds: float, item_id: str = "agent_1") -> None:
        """The agent speaks: all audio arrives at once."""
        delta = base64.b64encode(tone(seconds).astype("<i2").tobytes()).decode()
        where = {"response_id": f"resp_{item_id}", "item_id": item_id}
        self.server("response.output_audio.delta", t, delta=delta, **where)

    def silence(self, t: float, **how: Any) -> None:
        self.take(Silence(t, *checked_silence(t, **how)))

    def on_disk(self) -> Samples:
        """The samples that are in the file now."""
        raw = np.fromfile(self.folder / "call.wav", dtype="<i2")[22:]
        return raw[: len(raw) // 2 * 2].reshape(-1, 2)

    def end(self, t: float) -> Samples:
        self.take(Closed(t))
        return self.on_disk()


def sounds(channel: Samples) -> list[tuple[float, float]]:
    """Begin and end of audible spans, in seconds rounded to 0.1, with at least 50 ms between them."""
    places = np.flatnonzero(np.abs(channel) > 100)
    pieces = np.split(places, np.flatnonzero(np.diff(places) > RATE // 20) + 1)
    return [(round(piece[0] / RATE, 1), round((piece[-1] + 1) / RATE, 1)) for piece in pieces if len(piece)]


# Times


def test_the_last_seconds_are_silent_on_both_sides(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.agent_speaks(0.5, 6.0)
    call.user_speaks(0.0, 6.0)
    call.silence(5.0, seconds=2.0)
    call.user_speaks(6.0, 8.0)
    heard = call.end(8.0)
    assert sounds(heard[:, USER]) == [(0.0, 3.0), (5.0, 8.0)]
    assert sounds(heard[:, AGENT]) == [(0.5, 3.0), (5.0, 6.5)]


def test_silenced_audio_is_removed_from_the_disk_at_once(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.agent_speaks(0.0, 3.0)
    call.user_speaks(0.0, 5.0)
    assert call.on_disk()[: 2 * RATE].any()
    call.silence(5.0, seconds=5.0)
    assert not call.on_disk().any()
    call.end(5.0)


def test_an_open_silence_lasts_until_a_call_ends_it(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.user_speaks(0.0, 2.0)
    call.agent_speaks(1.0, 8.0)
    call.silence(2.0, since=2.0)
    call.user_speaks(2.0, 5.0)
    call.silence(5.0, until=6.0)  # in the future
    call.user_speaks(5.0, 9.0)
    heard = call.end(9.0)
    assert sounds(heard[:, USER]) == [(0.0, 2.0), (6.0, 9.0)]
    assert sounds(heard[:, AGENT]) == [(1.0, 2.0), (6.0, 9.0)]


def test_silences_may_lie_ahead_inside_another_or_never_end(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.silence(0.0, since=1.0, until=2.0)
    call.user_speaks(0.0, 6.0)
    call.silence(6.0, since=3.0, until=4.0)
    call.silence(6.0, since=8.0, until=float("inf"))
    call.user_speaks(6.0, 12.0)
    heard = call.end(12.0)
    assert sounds(heard[:, USER]) == [(0.0, 1.0), (2.0, 3.0), (4.0, 8.0)]


def test_the_silent_parts_are_told_in_order_and_those_that_touch_are_one() -> None:
    silences = SilencedSpans()
    silences.add_span(6.0, 8.0)
    silences.add_span(1.0, 3.0)
    silences.add_span(3.0, 4.0)
    silences.add_item("spoken")
    silences.add_item("unknown")
    silences.locate(lambda item_id, _: (AGENT, 7.5, 9.5) if item_id == "spoken" else None)
    silences.add_span(20.0, None)
    silences.apply([ChannelWrite(AGENT, Write(0, tone(12.0)))], RATE, 12.0)
    silences.add_span(11.5, None)
    assert silences.silent_parts(11.0, RATE) == [
        {"side": side, "from_s": since, "to_s": until}
        for side, since, until in (
            ("user", 1.0, 4.0),
            ("agent", 1.0, 4.0),
            ("user", 6.0, 8.0),
            ("agent", 6.0, 9.5),
            ("agent", 11.5, 12.0),
        )
    ]


def test_until_without_an_open_silence_silences_all_from_the_beginning(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.user_speaks(0.0, 4.0)
    call.silence(4.0, until=2.0)
    assert sounds(call.end(4.0)[:, USER]) == [(2.0, 4.0)]


def test_a_silence_covers_audio_that_a_correction_moves_into_it(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.agent_speaks(1.0, 4.0)
    call.silence(2.0, since=5.0, until=6.0)
    call.take(Played("agent_1", 0.0, 3.0, 3.0))  # its playback begins at 3 s
    call.take(Played("agent_1", 500.0, 3.5, 3.5))
    heard = call.end(9.0)
    assert sounds(heard[:, AGENT])[-2:] == [(3.0, 5.0), (6.0, 7.0)]


def test_an_open_silence_may_be_requested_twice(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.user_speaks(0.0, 4.0)
    call.silence(4.0, since=3.0)
    call.silence(4.0, since=3.5)
    call.silence(4.0, seconds=2.5)
    call.user_speaks(4.0, 8.0)
    call.silence(8.0, until=7.0)
    assert sounds(call.end(9.0)[:, USER]) == [(0.0, 1.5), (7.0, 8.0)]


# Items


def test_an_agents_item_is_silent_wherever_it_plays(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.agent_speaks(0.0, 2.0, "first")
    call.silence(0.5, item_id="second")  # before any of its audio arrived
    call.agent_speaks(0.6, 2.0, "second")
    call.agent_speaks(0.7, 2.0, "third")
    call.user_speaks(0.0, 6.0)
    call.take(Played("first", 500.0, 1.5, 1.5))  # its playback is a second late
    heard = call.end(8.0)
    assert [sounds(heard[:, AGENT])[0][1], *sounds(heard[:, AGENT])[-1]] == [pytest.approx(3.0, abs=1.0), 5.0, 7.0]
    assert not heard[3 * RATE : 5 * RATE, AGENT].any()
    assert sounds(heard[:, USER]) == [(0.0, 6.0)]


def test_a_silent_items_audio_stays_silent_after_a_truncation(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.server("response.created", 0.0, response={"id": "resp_agent_1"})
    call.agent_speaks(0.0, 4.0)
    call.server("input_audio_buffer.speech_started", 1.0, item_id="user_1", audio_start_ms=900)
    call.silence(1.5, item_id="agent_1")
    truncation = {"type": "conversation.item.truncate", "item_id": "agent_1", "content_index": 0, "audio_end_ms": 1400}
    call.take(ClientFrame(truncation, 2.0))
    assert not call.end(6.0)[:, AGENT].any()


def test_a_silent_item_of_the_user_includes_audio_sent_after_the_silence_call(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.user_speaks(0.0, 6.0)
    call.server("input_audio_buffer.speech_started", 6.0, item_id="user_1", audio_start_ms=5000)
    call.silence(6.1, item_id="user_1")  # while the user speaks it
    call.agent_speaks(6.2, 1.0)
    call.user_speaks(6.1, 9.0)
    call.server("input_audio_buffer.speech_stopped", 9.0, item_id="user_1", audio_end_ms=8900)
    call.server("input_audio_buffer.committed", 9.1, item_id="user_1")
    call.user_speaks(9.0, 14.0)
    heard = call.end(14.0)
    places = [place for piece in sounds(heard[:, USER]) for place in piece]
    assert places == pytest.approx([0.0, 5.0 - SPAN_MARGIN_S, 9.0 + SPAN_MARGIN_S, 14.0], abs=0.21)
    assert sounds(heard[:, AGENT]) == [(6.2, 7.2)]


def test_an_item_without_turn_detection_is_the_audio_since_the_buffer_was_empty(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.user_speaks(0.0, 2.0)
    call.server("input_audio_buffer.committed", 2.0, item_id="user_1")
    call.user_speaks(2.0, 4.0)
    call.server("input_audio_buffer.cleared", 4.0)
    call.user_speaks(4.0, 6.0)
    call.server("input_audio_buffer.committed", 6.0, item_id="user_2")
    call.server("input_audio_buffer.committed", 6.0)
    call.user_speaks(6.0, 8.0)
    call.silence(8.0, item_id="user_2")
    assert sounds(call.end(8.0)[:, USER]) == [(0.0, 3.7), (6.3, 8.0)]


def test_audio_that_the_application_recorded_is_silent_around_a_silenced_item(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.agent_speaks(3.0, 2.0)
    for at in (0.0, 3.4, 8.0):
        call.take(Audio(AGENT, tone(2.0).astype("<i2").tobytes(), at + 0.1, at))
    call.silence(9.0, item_id="agent_1")
    assert sounds(call.end(12.0)[:, AGENT]) == [(0.0, 2.0), (8.0, 10.0)]


def test_an_unknown_item_silences_nothing(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.user_speaks(0.0, 1.0)
    call.silence(1.0, item_id="nobody's")
    assert sounds(call.end(1.0)[:, USER]) == [(0.0, 1.0)]


# Smaller formats


@pytest.mark.parametrize("times", [1, 4])
def test_silenced_audio_is_encoded_again(tmp_path: Path, times: int) -> None:
    call = Call(tmp_path, {"format": "flac"})
    call.agent_speaks(0.0, 20.0)
    call.user_speaks(0.0, 60.0)
    flac = tmp_path / "call.flac"
    _until(lambda: flac.exists() and flac.stat().st_size > 100_000)
    for number in range(times):  # after three restarts encoding waits for the end
        call.silence(60.0 + number, since=float(number), until=10.0)
    if times > 1:
        _until(lambda: not flac.exists())
    call.take(Closed(66.0))
    heard, _ = soundfile.read(flac, dtype="int16")
    assert not heard[: 10 * RATE].any()
    assert sounds(heard[:, AGENT]) == [(10.0, 20.0)]
    assert np.array_equal(heard, soundfile.read(tmp_path / "call.wav", dtype="int16")[0])


def _until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# Arguments


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, ValueError),
        ({"seconds": 1, "item_id": "i"}, ValueError),
        ({"seconds": 1, "since": 0}, ValueError),
        ({"item_id": "i", "until": 1}, ValueError),
        ({"item_id": 7}, TypeError),
        ({"seconds": "1"}, TypeError),
        ({"seconds": True}, TypeError),
        ({"seconds": 0}, ValueError),
        ({"seconds": float("nan")}, ValueError),
        ({"since": float("nan")}, ValueError),
        ({"since": 1e9}, ValueError),
        ({"since": 2, "until": 1}, ValueError),
        ({"until": float("nan")}, ValueError),
        ({"until": []}, TypeError),
    ],
)
def test_wrong_arguments_of_silence_raise_errors(given: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        checked_silence(100.0, **given)


def test_a_wrong_call_of_silence_is_logged_and_not_raised(tracing: Collector, caplog: pytest.LogCaptureFixture) -> None:
    with SessionTracer() as tracer:
        tracer.silence()
        assert "silence() needs seconds, or item_id, or since and/or until" in caplog.text
        tracer.silence(item_id="nobody's")
    tracer.silence(seconds=1)
    assert "silence() has no effect" in caplog.text
    assert the_tree(tracing).metadata["tracing_failures"] == 1
    guard.failures.clear()
    SessionTracer(enabled=False).silence(seconds=1)


# A whole conversation


def test_a_card_number_is_in_no_file_and_no_attachment(tracing: Collector, tmp_path: Path) -> None:
    with SessionTracer(recording=Recording(directory=tmp_path, keep=True)) as tracer:
        now = time.monotonic()
        tracer.record_user_audio(tone(6.0).astype("<i2").tobytes(), at=now)
        tracer.silence(since=now + 2, until=now + 4)
    root = the_tree(tracing)
    _, attached = tracing.attachment(root.run.id, "conversation")
    for path in (attached, *tmp_path.glob("*.wav")):
        heard, _ = soundfile.read(path, dtype="int16")
        assert sounds(heard[:, USER]) == [(0.0, 2.0), (4.0, 6.0)]
    assert root.metadata["user_talk_s"] == pytest.approx(0, abs=1), "numbers are of what was said"
    (part,) = root.metadata["recording_silenced"]  # the agent has no audio that is silent
    assert part == {"side": "user", "from_s": pytest.approx(2, abs=0.1), "to_s": pytest.approx(4, abs=0.1)}
    assert flush(timeout=10)
    assert "card" not in json.dumps(root.run.inputs)


# Placement in the recording


def test_writes_outside_silences_are_unchanged() -> None:
    silences = SilencedSpans()
    write = ChannelWrite(USER, Write(0, numbered(100)))
    assert silences.apply([write], RATE, 1.0)[0] is write
    silences.add_span(10.0, 11.0)
    assert silences.apply([write], RATE, 1.0) == [write]
    assert silences


def test_an_utterance_that_was_sent_at_once_is_as_long_as_its_audio() -> None:
    utterances = Utterances()
    utterances.started("item", Moment(1.0, None, 0.0))
    utterances.stopped("item", Moment(1.1, None, 5000.0))
    assert list(utterances.span("item") or ()) == pytest.approx([1.1 - 5 - SPAN_MARGIN_S, 6.0 + SPAN_MARGIN_S])
    assert utterances.span("another") is None


def test_a_limited_number_of_utterances_is_remembered() -> None:
    utterances = Utterances()
    for number in range(1001):
        utterances.committed(f"item_{number}", float(number))
    utterances.stopped("item_0", Moment(0.0))
    utterances.started(None, Moment(0.0))
    assert utterances.span("item_0") is None
    assert utterances.span("item_1") is not None


# The journal


def test_a_users_item_is_silent_in_the_journal_too(
    tracing: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGSMITH_REALTIME_DIR", str(tmp_path))
    chunk = {"type": "input_audio_buffer.append", "audio": base64.b64encode(b"\1" * 4800).decode()}
    with SessionTracer(journal="keep") as tracer:
        tracer.silence(item_id="user_1")  # before the item is known
        tracer.client_event(chunk)
        assert flush(timeout=10)
        (raw,) = tmp_path.glob("*/audio.raw")
        _until(lambda: raw.read_bytes() == b"\1" * 4800)
        tracer.server_event({"type": "input_audio_buffer.speech_started", "item_id": "user_1", "audio_start_ms": 0})
        tracer.client_event(chunk)
        tracer.server_event({"type": "input_audio_buffer.committed", "item_id": "user_1"})
        tracer.client_event(chunk)  # near the silenced audio
        _until(lambda: not any(raw.read_bytes()))
    the_tree(tracing)
    assert not any(raw.read_bytes())

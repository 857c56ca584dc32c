"""What is silenced on demand is silent: whenever it comes, wherever it is placed, in whatever form."""

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
from langsmith_realtime.options.silence import checked_silence
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.recording.recorder import Recorded, Recorder
from langsmith_realtime.recording.silencing import SilencedSpans
from langsmith_realtime.runtime import guard
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.langsmith_runs import LangSmithRuns
from langsmith_realtime.trace.run_trees.root_run import start_conversation_runs
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of
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
    """What would be sent."""

    def put(self, operation: Operation) -> None:
        self.append(operation)

    def run_apart(self, work: Callable[[], None]) -> None:
        work()


@dataclass
class Call:
    """A recorded conversation whose clock the test holds."""

    folder: Path
    how: dict[str, Any] = field(default_factory=dict)
    ended: list[Recorded] = field(default_factory=list)

    def __post_init__(self) -> None:
        client = Client(api_url="http://127.0.0.1:9", api_key="k", auto_batch_tracing=False)
        sent = Sent()
        recording = Recording(directory=self.folder, **{"keep": True, **self.how})
        self.recorder = Recorder(
            recording, name="call", limit_s=None, hidden=set(), guard=Guard(), aside=lambda work: work()
        )
        tracks = Tracks()
        self.family = start_conversation_runs(Options(client=client), Guard())
        runs = LangSmithRuns(self.family, sent, sent)  # type: ignore[arg-type]
        self.session = Session(Conversation(tracks=tracks), runs, self.recorder, Guard())
        self.server("session.created", 0.0, session={"id": "sess_1", "model": "gpt-realtime"})

    def server(self, name: str, t: float, **body: Any) -> None:
        start = microseconds_of(self.family.root.start_time) + round(t * 1e6)
        ref = None if name.endswith(".delta") else self.family.event(name, start, None, name)
        self.session.server_frame({"type": name, **body}, t, ref, None)

    def user_speaks(self, since: float, until: float) -> None:
        """In chunks of 100 ms, handed over as they end."""
        for number in range(round(since * 10), round(until * 10)):
            chunk = base64.b64encode(tone(0.1).astype("<i2").tobytes()).decode()
            self.session.client_frame({"type": "input_audio_buffer.append", "audio": chunk}, (number + 1) / 10)

    def agent_speaks(self, t: float, seconds: float, item_id: str = "agent_1") -> None:
        """All of it arriving at once."""
        delta = base64.b64encode(tone(seconds).astype("<i2").tobytes()).decode()
        where = {"response_id": f"resp_{item_id}", "item_id": item_id}
        self.server("response.output_audio.delta", t, delta=delta, **where)

    def silence(self, t: float, **how: Any) -> None:
        self.session.silence(t, *checked_silence(t, **how))

    def on_disk(self) -> Samples:
        """The WAV as it is now."""
        raw = np.fromfile(self.folder / "call.wav", dtype="<i2")[22:]
        return raw[: len(raw) // 2 * 2].reshape(-1, 2)

    def end(self, t: float) -> Samples:
        self.session.closed(t, None, {})
        return self.on_disk()


def sounds(channel: Samples) -> list[tuple[float, float]]:
    """Where there is sound, in tenths of a second, for pieces more than 50 ms apart."""
    places = np.flatnonzero(np.abs(channel) > 100)
    pieces = np.split(places, np.flatnonzero(np.diff(places) > RATE // 20) + 1)
    return [(round(piece[0] / RATE, 1), round((piece[-1] + 1) / RATE, 1)) for piece in pieces if len(piece)]


# Times.


def test_the_last_seconds_are_silent_on_both_sides(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.agent_speaks(0.5, 6.0)
    call.user_speaks(0.0, 6.0)
    call.silence(5.0, seconds=2.0)
    call.user_speaks(6.0, 8.0)
    heard = call.end(8.0)
    assert sounds(heard[:, USER]) == [(0.0, 3.0), (5.0, 8.0)]
    assert sounds(heard[:, AGENT]) == [(0.5, 3.0), (5.0, 6.5)]


def test_what_is_silenced_is_gone_from_the_disk_at_once(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.agent_speaks(0.0, 3.0)
    call.user_speaks(0.0, 5.0)
    assert call.on_disk()[: 2 * RATE].any()
    call.silence(5.0, seconds=5.0)
    assert not call.on_disk().any()
    call.end(5.0)


def test_from_now_on_until_somebody_says_so(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.user_speaks(0.0, 2.0)
    call.agent_speaks(1.0, 8.0)
    call.silence(2.0, since=2.0)
    call.user_speaks(2.0, 5.0)
    call.silence(5.0, until=6.0)  # it may lie ahead
    call.user_speaks(5.0, 9.0)
    heard = call.end(9.0)
    assert sounds(heard[:, USER]) == [(0.0, 2.0), (6.0, 9.0)]
    assert sounds(heard[:, AGENT]) == [(1.0, 2.0), (6.0, 9.0)]


def test_a_time_ahead_a_time_within_and_one_that_never_ends(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.silence(0.0, since=1.0, until=2.0)
    call.user_speaks(0.0, 6.0)
    call.silence(6.0, since=3.0, until=4.0)
    call.silence(6.0, since=8.0, until=float("inf"))
    call.user_speaks(6.0, 12.0)
    heard = call.end(12.0)
    assert sounds(heard[:, USER]) == [(0.0, 1.0), (2.0, 3.0), (4.0, 8.0)]


def test_until_alone_with_nothing_to_end_is_all_from_the_beginning(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.user_speaks(0.0, 4.0)
    call.silence(4.0, until=2.0)
    assert sounds(call.end(4.0)[:, USER]) == [(2.0, 4.0)]


def test_silence_holds_for_sound_that_a_correction_moves_there_and_not_where_it_was(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.agent_speaks(1.0, 4.0)
    call.silence(2.0, since=5.0, until=6.0)
    call.session.agent_played("agent_1", 0.0, 3.0, 3.0)  # it begins at 3 s only
    call.session.agent_played("agent_1", 500.0, 3.5, 3.5)
    heard = call.end(9.0)
    assert sounds(heard[:, AGENT])[-2:] == [(3.0, 5.0), (6.0, 7.0)]


def test_what_is_silent_until_somebody_says_so_may_be_asked_for_twice(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.user_speaks(0.0, 4.0)
    call.silence(4.0, since=3.0)
    call.silence(4.0, since=3.5)
    call.silence(4.0, seconds=2.5)
    call.user_speaks(4.0, 8.0)
    call.silence(8.0, until=7.0)
    assert sounds(call.end(9.0)[:, USER]) == [(0.0, 1.5), (7.0, 8.0)]


# Items.


def test_an_agents_item_is_silent_wherever_it_plays(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.agent_speaks(0.0, 2.0, "first")
    call.silence(0.5, item_id="second")  # before any of it has come
    call.agent_speaks(0.6, 2.0, "second")
    call.agent_speaks(0.7, 2.0, "third")
    call.user_speaks(0.0, 6.0)
    call.session.agent_played("first", 500.0, 1.5, 1.5)  # all of it is played a second later
    heard = call.end(8.0)
    assert [sounds(heard[:, AGENT])[0][1], *sounds(heard[:, AGENT])[-1]] == [pytest.approx(3.0, abs=1.0), 5.0, 7.0]
    assert not heard[3 * RATE : 5 * RATE, AGENT].any()
    assert sounds(heard[:, USER]) == [(0.0, 6.0)]


def test_what_a_truncation_brings_back_of_a_silent_item_stays_silent(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.server("response.created", 0.0, response={"id": "resp_agent_1"})
    call.agent_speaks(0.0, 4.0)
    call.server("input_audio_buffer.speech_started", 1.0, item_id="user_1", audio_start_ms=900)
    call.silence(1.5, item_id="agent_1")
    truncation = {"type": "conversation.item.truncate", "item_id": "agent_1", "content_index": 0, "audio_end_ms": 1400}
    call.session.client_frame(truncation, 2.0)
    assert not call.end(6.0)[:, AGENT].any()


def test_a_users_item_is_silent_with_what_was_said_after_it_was_named(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.user_speaks(0.0, 6.0)
    call.server("input_audio_buffer.speech_started", 6.0, item_id="user_1", audio_start_ms=5000)
    call.silence(6.1, item_id="user_1")  # while it is spoken
    call.agent_speaks(6.2, 1.0)
    call.user_speaks(6.1, 9.0)
    call.server("input_audio_buffer.speech_stopped", 9.0, item_id="user_1", audio_end_ms=8900)
    call.server("input_audio_buffer.committed", 9.1, item_id="user_1")
    call.user_speaks(9.0, 14.0)
    heard = call.end(14.0)
    places = [place for piece in sounds(heard[:, USER]) for place in piece]
    assert places == pytest.approx([0.0, 5.0 - SPAN_MARGIN_S, 9.0 + SPAN_MARGIN_S, 14.0], abs=0.21)
    assert sounds(heard[:, AGENT]) == [(6.2, 7.2)]


def test_without_turn_detection_an_item_is_what_was_written_since_the_buffer_was_empty(tmp_path: Path) -> None:
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


def test_sound_the_application_fed_is_silent_around_the_item_that_was_received(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.agent_speaks(3.0, 2.0)
    for at in (0.0, 3.4, 8.0):
        call.session.agent_audio(tone(2.0).astype("<i2").tobytes(), at + 0.1, at)
    call.silence(9.0, item_id="agent_1")
    assert sounds(call.end(12.0)[:, AGENT]) == [(0.0, 2.0), (8.0, 10.0)]


def test_an_item_nobody_heard_of_silences_nothing(tmp_path: Path) -> None:
    call = Call(tmp_path)
    call.user_speaks(0.0, 1.0)
    call.silence(1.0, item_id="nobody's")
    assert sounds(call.end(1.0)[:, USER]) == [(0.0, 1.0)]


# Smaller forms.


@pytest.mark.parametrize("times", [1, 4])
def test_what_was_encoded_before_it_was_silenced_is_encoded_again(tmp_path: Path, times: int) -> None:
    call = Call(tmp_path, {"format": "flac"})
    call.agent_speaks(0.0, 20.0)
    call.user_speaks(0.0, 60.0)
    flac = tmp_path / "call.flac"
    _until(lambda: flac.exists() and flac.stat().st_size > 100_000)
    for number in range(times):  # so often that it is left for the end
        call.silence(60.0 + number, since=float(number), until=10.0)
    if times > 1:
        _until(lambda: not flac.exists())
    call.session.closed(66.0, None, {})
    heard, _ = soundfile.read(flac, dtype="int16")
    assert not heard[: 10 * RATE].any()
    assert sounds(heard[:, AGENT]) == [(10.0, 20.0)]
    assert np.array_equal(heard, soundfile.read(tmp_path / "call.wav", dtype="int16")[0])


def _until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# Arguments.


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
def test_what_cannot_be_silenced_is_refused(given: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        checked_silence(100.0, **given)


def test_a_wrong_call_is_logged_and_never_raised(tracing: Collector, caplog: pytest.LogCaptureFixture) -> None:
    with SessionTracer() as tracer:
        tracer.silence()
        assert "silence() needs seconds, or item_id, or since and/or until" in caplog.text
        tracer.silence(item_id="nobody's")
    tracer.silence(seconds=1)
    assert "silence() has no effect" in caplog.text
    assert the_tree(tracing).metadata["tracing_failures"] == 1
    guard.failures.clear()
    SessionTracer(enabled=False).silence(seconds=1)


# A whole conversation.


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
    assert flush(timeout=10)
    assert "card" not in json.dumps(root.run.inputs)


# The core.


def test_writes_that_nobody_silenced_are_left_alone() -> None:
    silences = SilencedSpans()
    write = ChannelWrite(USER, Write(0, numbered(100)))
    assert silences.applied([write], RATE, 1.0)[0] is write
    silences.between(10.0, 11.0)
    assert silences.applied([write], RATE, 1.0) == [write]
    assert silences


def test_an_utterance_that_was_pushed_at_once_is_as_long_as_it_plays() -> None:
    utterances = Utterances()
    utterances.started("item", Moment(1.0, None, 0.0))
    utterances.stopped("item", Moment(1.1, None, 5000.0))
    assert list(utterances.span("item") or ()) == pytest.approx([1.1 - 5 - SPAN_MARGIN_S, 6.0 + SPAN_MARGIN_S])
    assert utterances.span("another") is None


def test_so_many_utterances_are_remembered() -> None:
    utterances = Utterances()
    for number in range(1001):
        utterances.committed(f"item_{number}", float(number))
    utterances.stopped("item_0", Moment(0.0))
    utterances.started(None, Moment(0.0))
    assert utterances.span("item_0") is None
    assert utterances.span("item_1") is not None


# The journal.


def test_a_users_item_is_silent_in_the_journal_too(
    tracing: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGSMITH_REALTIME_DIR", str(tmp_path))
    chunk = {"type": "input_audio_buffer.append", "audio": base64.b64encode(b"\1" * 4800).decode()}
    with SessionTracer(journal="keep") as tracer:
        tracer.silence(item_id="user_1")  # before anything is known of it
        tracer.client_event(chunk)
        assert flush(timeout=10)
        (raw,) = tmp_path.glob("*/audio.raw")
        _until(lambda: raw.read_bytes() == b"\1" * 4800)
        tracer.server_event({"type": "input_audio_buffer.speech_started", "item_id": "user_1", "audio_start_ms": 0})
        tracer.client_event(chunk)
        tracer.server_event({"type": "input_audio_buffer.committed", "item_id": "user_1"})
        tracer.client_event(chunk)  # close to it
        _until(lambda: not any(raw.read_bytes()))
    the_tree(tracing)
    assert not any(raw.read_bytes())

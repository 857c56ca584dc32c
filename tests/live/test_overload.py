"""More than can be worked on: sound goes first and leaves its silence, responses and the end stay, nobody waits."""

from __future__ import annotations

import base64
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from langsmith import Client

from langsmith_realtime import Recording, SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.delivery import retry_queue
from langsmith_realtime.delivery.feedback import FeedbackSender
from langsmith_realtime.delivery.operations import Operation
from langsmith_realtime.delivery.retry_queue import RetryQueue
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.journal.masking import TimeBudget
from langsmith_realtime.live import bounded_queue
from langsmith_realtime.live.dropped_audio import DroppedAudio, fill_before
from langsmith_realtime.live.process import process
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.testing import tone
from langsmith_realtime.trace.run_trees.root_run import start_conversation_runs
from langsmith_realtime.trace.session import Session, build_session
from tests.support.audio.sounds import RATE, numbered
from tests.support.conversations import stored_trees, the_tree


def item(number: int) -> dict[str, Any]:
    return {"type": "conversation.item.done", "event_id": f"item_{number}", "item": {"id": f"item_{number}"}}


def response(number: int) -> list[dict[str, Any]]:
    body = {"id": f"resp_{number}", "conversation_id": "conv_1"}
    return [
        {"type": "response.created", "event_id": f"created_{number}", "response": {**body, "status": "in_progress"}},
        {"type": "response.done", "event_id": f"done_{number}", "response": {**body, "status": "completed"}},
    ]


def append(sound: bytes) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(sound).decode()}


def delta(sound: bytes, item_id: str = "item_1") -> dict[str, Any]:
    where = {"response_id": "resp_1", "item_id": item_id, "content_index": 0}
    return {"type": "response.output_audio.delta", **where, "delta": base64.b64encode(sound).decode()}


@contextmanager
def paused() -> Iterator[None]:
    """While nobody works on what is recorded."""
    busy, goes_on = threading.Event(), threading.Event()

    def wait() -> None:
        busy.set()
        goes_on.wait(20)

    process().worker.inbox(Guard()).put(wait)
    assert busy.wait(10)
    try:
        yield
    finally:
        goes_on.set()


# Sound that was dropped is silent where it was


class Noting(Sender):
    def __init__(self, made: list[Operation]) -> None:
        super().__init__()
        self.made = made

    def put(self, operation: Operation) -> None:
        self.made.append(operation)

    def aside(self, work: Callable[[], None]) -> None:
        work()


#: Who is told of what was dropped.
LOST = {
    "client_frame": "sent",
    "server_frame": "received",
    "user_audio": "user_fed",
    "agent_audio": "agent_fed",
    "agent_played": "played",
}


class Recorded:
    """A conversation on simulated time, of which some of the sound is dropped."""

    def __init__(self, tmp_path: Path, **options: Any) -> None:
        recording = Recording(directory=tmp_path, format="wav", sample_rate=RATE)
        client = Client(api_url="http://127.0.0.1:9", api_key="k", info={})
        checked, guard = Options.of(client=client, enabled=True, recording=recording, **options), Guard()
        self.made: list[Operation] = []
        sender = Noting(self.made)
        self.session: Session = build_session(
            checked, start_conversation_runs(checked, guard), sender, FeedbackSender(), guard
        ).session
        self.session.opened()
        self._gaps = DroppedAudio()

    def happens(self, how: str, *arguments: Any, dropped: bool = False) -> None:
        if dropped:
            getattr(self._gaps, LOST[how])(*arguments)
        elif self._gaps.waiting:
            fill_before(self._gaps.take(), self.session, getattr(self.session, how), arguments)
        else:
            getattr(self.session, how)(*arguments)

    def close(self, t: float) -> npt.NDArray[np.int16]:
        self.happens("closed", t, None, {})
        ((_, path),) = self.made[-1].attachments.values()
        sound, rate = soundfile.read(path, dtype="int16", always_2d=True)
        assert rate == RATE
        return np.asarray(sound, dtype=np.int16)

    @property
    def metadata(self) -> dict[str, Any]:
        return dict(self.made[-1].run.extra["metadata"])


def conversation(recorded: Recorded, how: str, dropped: Callable[[int], bool]) -> npt.NDArray[np.int16]:
    """3 s of numbered samples, in chunks of 20 ms, of which some are dropped; the agent's in deltas at once."""
    sound = numbered(3 * RATE).tobytes()
    size = RATE // 50 * 2
    for number, start in enumerate(range(0, len(sound), size)):
        chunk, t = sound[start : start + size], 1.0 + (number + 1) * 0.02
        if how == "client_frame":
            recorded.happens(how, append(chunk), t, dropped=dropped(number))
        elif how == "server_frame":
            recorded.happens(how, delta(chunk), 1.0 + number * 0.001, None, None, dropped=dropped(number))
        else:
            recorded.happens(how, chunk, t, None, dropped=dropped(number))
    return recorded.close(6.0)


@pytest.mark.newest
@pytest.mark.parametrize(
    ("how", "channel"), [("client_frame", 0), ("server_frame", 1), ("user_audio", 0), ("agent_audio", 1)]
)
@pytest.mark.parametrize("lost", [range(60, 61), range(50, 110), range(130, 150)], ids=["one", "a second", "the last"])
def test_a_dropped_chunk_is_silent_and_nothing_else_moves(tmp_path: Path, how: str, channel: int, lost: range) -> None:
    whole = conversation(Recorded(tmp_path), how, lambda _: False)
    holed = conversation(Recorded(tmp_path), how, lambda number: number in lost)
    begin = int(np.flatnonzero(whole[:, channel])[0])
    hole = slice(begin + lost[0] * RATE // 50, begin + (lost[-1] + 1) * RATE // 50)
    assert not holed[hole].any()
    expected = whole.copy()
    expected[hole] = 0
    np.testing.assert_array_equal(holed, expected)


@pytest.mark.newest
@pytest.mark.parametrize(("name", "silent"), [("g711_ulaw", 0xFF), ("g711_alaw", 0xD5)])
def test_the_silence_is_in_the_format_of_the_sound(tmp_path: Path, name: str, silent: int) -> None:
    recorded = Recorded(tmp_path, user_format=name)
    for number in range(100):
        loud = bytes([silent ^ 0x55] * 160)
        recorded.happens("client_frame", append(loud), 1.0 + number * 0.02, dropped=40 <= number < 60)
    user = recorded.close(4.0)[:, 0].astype(float)
    hole = slice(round(1.85 * RATE), round(2.1 * RATE))
    assert np.abs(user[hole]).max() < 20
    assert np.abs(user[round(1.2 * RATE) : round(1.6 * RATE)]).min() > 500


@pytest.mark.newest
def test_when_the_user_spoke_is_still_known_to_the_millisecond(tmp_path: Path) -> None:
    latencies = []
    for dropped in (False, True):
        recorded = Recorded(tmp_path)
        created = {"type": "session.created", "session": {"id": "sess_1"}}
        recorded.happens("server_frame", created, 0.0, recorded.made[0].run, None)
        for number in range(200):
            chunk = append(b"\1\1" * (RATE // 50))
            recorded.happens("client_frame", chunk, (number + 1) * 0.02, dropped=dropped and 50 <= number < 150)
        ref = recorded.made[0].run
        stopped = {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 3500, "item_id": "item_u"}
        recorded.happens("server_frame", stopped, 4.0, ref, None)
        begins, ends = response(1)
        recorded.happens("server_frame", begins, 4.1, ref, None)
        recorded.happens("server_frame", delta(b"\1\1" * RATE), 4.2, None, None)
        recorded.happens("server_frame", ends, 4.3, ref, None)
        recorded.close(9.0)
        latencies.append(recorded.metadata["latency_to_first_audio_p50_ms"])
    assert latencies[0] == latencies[1] == pytest.approx(700, abs=1)


@pytest.mark.newest
def test_sound_that_came_with_its_time_needs_no_silence(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    for number in range(10):
        at = 1.0 + number * 0.1
        recorded.happens("user_audio", b"\1\1" * (RATE // 10), at + 0.1, at, dropped=number == 5)
    recorded.happens("agent_played", "item_1", 100.0, 2.0, 2.0, dropped=True)
    assert recorded._gaps.waiting == []
    user = recorded.close(3.0)[:, 0]
    assert not user[round(1.5 * RATE) : round(1.6 * RATE)].any()
    assert user[round(1.61 * RATE)] != 0


@pytest.mark.newest
def test_what_is_no_sound_leaves_no_silence_and_lengths_are_all_that_is_remembered() -> None:
    gaps = DroppedAudio()
    gaps.sent({"type": "input_audio_buffer.append", "audio": 7}, 1.0)
    gaps.sent('{"type":"input_audio_buffer.append", and no more', 1.0)
    assert gaps.waiting == []
    for number in range(10_000):  # 200 s
        gaps.sent(append(b"\0" * 960), number * 0.02)
        gaps.received(delta(b"\0" * 4800), number * 0.02)
    taken = gaps.take()
    assert len(taken) < 1000
    assert sum(gap.size for gap in taken) == 10_000 * (960 + 4800)
    assert gaps.waiting == []
    gaps.give_back(taken)
    assert gaps.take() == taken


# What is dropped first


@pytest.mark.parametrize(("limit", "value"), [("AUDIO_LIMIT", 3), ("AUDIO_BYTES", 3 * 6_400)])
def test_the_agents_sound_goes_before_events_and_its_length_is_known(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    tracer = SessionTracer()
    begins, ends = response(1)
    with tracer:
        tracer.server_event(begins)
        assert flush(10)
        monkeypatch.setattr(bounded_queue, limit, value)
        with paused():
            for _ in range(10):
                tracer.server_event(delta(b"\1\1" * (RATE // 10)))
            spoken = {"id": "item_1", "type": "message", "role": "assistant", "content": []}
            tracer.server_event({**ends, "response": {**ends["response"], "output": [spoken]}})
    root = the_tree(tracing)
    assert root.metadata["dropped_audio_chunks"] == 7
    assert "dropped_events" not in root.metadata
    assert root["model"].metadata["spoken_ms"] == 1000


def test_what_only_says_that_it_arrived_goes_before_responses_and_the_end_is_never_dropped(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = SessionTracer()
    words = {"type": "response.output_audio_transcript.delta", "response_id": "resp_1", "item_id": "item_1"}
    monkeypatch.setattr(bounded_queue, "STRUCTURE_LIMIT", 5)
    monkeypatch.setattr(bounded_queue, "LIMIT", 20)
    with paused():
        for number in range(10):
            tracer.server_event(item(number))
        tracer.server_event({**words, "content_index": 0, "delta": "hello"})
        for number in range(5):
            for event in response(number):
                tracer.server_event(event)
        for number in range(10):
            tracer.server_event({"type": "error", "event_id": f"error_{number}", "error": {"message": "no"}})
        tracer.close()
        monkeypatch.undo()
    names = Counter(the_tree(tracing).names())
    assert names["response.created"] == names["response.done"] == 5
    assert 0 < names["conversation.item.done"] <= 5
    assert names["error"] < 10
    root = the_tree(tracing)
    assert root.run.end_time is not None
    assert root.metadata["dropped_events"] == 21 - names["conversation.item.done"] - names["error"]


def test_what_is_to_be_silent_is_however_much_waits(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recording = Recording(directory=tmp_path, keep=True)
    with SessionTracer(recording=recording) as tracer:
        tracer.record_user_audio(tone(440, 0.5), at=time.monotonic())
        assert flush(10)
        with paused():
            monkeypatch.setattr(bounded_queue, "LIMIT", 0)
            tracer.silence(since=time.monotonic() - 10, until=time.monotonic() + 10)
        monkeypatch.undo()
    the_tree(tracing)
    (path,) = tmp_path.glob("*.wav")
    assert not soundfile.read(path)[0].any()


# One that does not answer, beside others


def slow(collector: Collector, delay: float, times: int) -> None:
    collector.respond_with(202, delay=delay, times=times, stored=True)


def test_an_endpoint_that_hangs_holds_up_neither_callers_nor_others(collector: Collector) -> None:
    with Collector() as hanging:
        slow(hanging, 1.0, 50)
        stuck = SessionTracer(client=Client(api_url=hanging.url, api_key="k"), enabled=True)
        well = SessionTracer(client=Client(api_url=collector.url, api_key="k"), enabled=True)
        longest = 0.0
        for tracer in (stuck, well):
            for number in range(50):
                began = time.perf_counter()
                tracer.server_event(item(number))
                longest = max(longest, time.perf_counter() - began)
            tracer.close()
        collector.wait_for(lambda runs: len(runs) == 51 and runs[0].end_time is not None)
        assert longest < 0.1
        assert not [run for run in hanging.runs() if run.end_time]
        assert flush(20)
        (root,) = stored_trees(hanging)
        assert len(root.children) == 50


@pytest.mark.parametrize("setting", ["anonymizer", "hide_inputs"])
def test_masking_that_takes_its_time_holds_up_neither_callers_nor_others(collector: Collector, setting: str) -> None:
    threads = set()

    def masks(data: Any) -> Any:
        threads.add(threading.current_thread())
        time.sleep(0.05)
        return data

    if setting == "anonymizer":
        client = Client(api_url=collector.url, api_key="k", anonymizer=masks)
    else:
        client = Client(api_url=collector.url, api_key="k", hide_inputs=masks)
    well = SessionTracer(client=Client(api_url=collector.url, api_key="k"), enabled=True, thread_id="well")
    stuck = SessionTracer(client=client, enabled=True, thread_id="stuck", recording=False)
    stuck.client_event(append(b"\1\1" * 480))
    for number in range(10):
        stuck.server_event(item(number))
    stuck.close()
    well.server_event(item(0))
    well.close()
    collector.wait_for(lambda runs: any(run.metadata.get("thread_id") == "well" and run.end_time for run in runs))
    assert not any(run.metadata.get("thread_id") == "stuck" and run.end_time for run in collector.roots())
    assert flush(20)
    assert len(collector.roots()) == 2
    assert threading.current_thread() not in threads


@pytest.mark.newest
def test_masking_of_many_conversations_leaves_half_of_the_time_to_the_rest() -> None:
    purse = TimeBudget(0.5, 1.0)
    now = spent = 100.0
    while now < 200.0:
        if not purse.is_empty(now):
            purse.spend(0.3)
            spent += 0.3
            now += 0.3
        now += 0.01
    assert spent - 100 == pytest.approx(50, abs=2)
    assert not purse.is_empty(1000.0)
    purse.spend(1.0)
    assert purse.is_empty(1000.0)


# What waits to be sent has an end


@pytest.mark.parametrize("journal", [True, False])
def test_what_waits_is_bounded_and_loses_only_what_a_trace_can_do_without(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, journal: bool
) -> None:
    tracer = SessionTracer(journal=journal)
    assert flush(10)
    monkeypatch.setattr(retry_queue, "WAITING_LIMIT", 25)
    slow(tracing, 0.8, 1)
    tracer.server_event(response(0)[0])
    # Until that is under way, all that follows would go with it.
    deadline = time.monotonic() + 5
    while not any(known.in_flight for known in process().sender._queues.values()) and time.monotonic() < deadline:
        time.sleep(0.005)
    for number in range(300):
        tracer.server_event(item(number))
        if number % 60 == 0:
            for event in response(number + 1):
                tracer.server_event(event)
    tracer.close()
    assert not flush(20)
    assert process().sender.failed > 0
    (root,) = stored_trees(tracing)
    names = Counter(root.names())
    assert names["response.created"] == 6
    assert names["response.done"] == 5
    assert 0 < names["conversation.item.done"] < 120
    assert root.metadata["dropped_runs"] == 300 - names["conversation.item.done"]
    assert root.run.end_time is not None


@pytest.mark.newest
def test_what_goes_is_the_oldest_and_counts_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_queue, "WAITING_LIMIT", 10)
    monkeypatch.setattr(retry_queue, "WAITING_BYTES", 1_000)
    monkeypatch.setattr(retry_queue, "HEALTHY_FACTOR", 2)
    waits = RetryQueue[int](abs)
    for size in (1, 2, 3):
        waits.put(size)
    waits.take(lambda waiting: (waiting[:1], waiting[1:]))
    waits.finish_batch([1], 0.0)  # in trouble: three are known to have failed
    assert waits.make_room(lambda _: True) == []
    for size in range(4, 12):
        waits.put(-size)
    assert waits.is_full
    assert waits.make_room(lambda size: size > 0) == [1, 2]
    assert waits.waiting[0] == 3
    assert waits.unresolved == 8
    assert len(waits.waiting) == 9
    for _ in range(20):
        waits.put(-50)
    assert waits.make_room(lambda size: size > 0) == [3]
    assert waits.is_overfull
    asked: list[int] = []

    def may_go(size: int) -> bool:
        asked.append(size)
        return True

    assert waits.make_room(may_go) == []
    assert asked == []  # there was nothing to find, a moment ago

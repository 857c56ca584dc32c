"""Overload: audio is dropped first and replaced by silence, responses and the end are kept, and no caller waits."""

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
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.core.protocol.inputs import Audio, ClientFrame, Closed, Input, Opened, Played, Ref, ServerFrame
from langsmith_realtime.delivery.feedback import FeedbackSender
from langsmith_realtime.delivery.operations import Operation
from langsmith_realtime.delivery.retry_queue import RetryQueue
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.journal.masking import TimeBudget
from langsmith_realtime.live.bounded_queue import BoundedQueue, QueueLoad
from langsmith_realtime.live.pipeline import Pipeline
from langsmith_realtime.live.process import process
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.testing import tone
from langsmith_realtime.trace.run_trees.root_run import start_conversation_runs
from langsmith_realtime.trace.session import build_session
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


def append(audio: bytes) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()}


def delta(audio: bytes, item_id: str = "item_1") -> dict[str, Any]:
    where = {"response_id": "resp_1", "item_id": item_id, "content_index": 0}
    return {"type": "response.output_audio.delta", **where, "delta": base64.b64encode(audio).decode()}


@contextmanager
def blocked_worker() -> Iterator[None]:
    """Block the worker, so that all entries wait in the queues."""
    busy, goes_on = threading.Event(), threading.Event()

    def block(*_: object) -> None:
        busy.set()
        goes_on.wait(20)

    process().worker.open_queue(block).put_always(Opened())
    assert busy.wait(10)
    try:
        yield
    finally:
        goes_on.set()


# Silence in the place of dropped audio


class RecordingSender(Sender):
    """Keeps the operations instead of sending them."""

    def __init__(self, operations: list[Operation]) -> None:
        super().__init__()
        self.operations = operations

    def put(self, operation: Operation) -> None:
        self.operations.append(operation)

    def run_apart(self, work: Callable[[], None]) -> None:
        work()


class RecordedConversation:
    """A recorded conversation on simulated time, of which some audio is dropped."""

    def __init__(self, tmp_path: Path, **options: Any) -> None:
        recording = Recording(directory=tmp_path, format="wav", sample_rate=RATE)
        client = Client(api_url="http://127.0.0.1:9", api_key="k", info={})
        checked, guard = Options.of(client=client, enabled=True, recording=recording, **options), Guard()
        self.operations: list[Operation] = []
        sender = RecordingSender(self.operations)
        runs = start_conversation_runs(checked, guard)
        parts = build_session(checked, runs, sender, FeedbackSender(), guard)
        self._pipeline = Pipeline(parts.session, None, guard)
        self._limits = Limits()
        self.queue = BoundedQueue(QueueLoad(self._limits), lambda _: None)
        self.event(Opened())

    def audio(self, given: Input, *, dropped: bool = False) -> None:
        """Put audio into the queue, which is full if the audio is to be dropped."""
        self._limits.queue_audio_entries = 0 if dropped else Limits().queue_audio_entries
        self.queue.put_audio(given, 0)
        self._process()

    def event(self, given: Input) -> None:
        self.queue.put_always(given)
        self._process()

    def _process(self) -> None:
        for inputs in self.queue.batches(1):
            self._pipeline.take(inputs, lambda: None)

    def close(self, t: float) -> npt.NDArray[np.int16]:
        self.event(Closed(t, None, self.queue.dropped))
        ((_, path),) = self.operations[-1].attachments.values()
        audio, rate = soundfile.read(path, dtype="int16", always_2d=True)
        assert rate == RATE
        return np.asarray(audio, dtype=np.int16)

    @property
    def metadata(self) -> dict[str, Any]:
        return dict(self.operations[-1].run.extra["metadata"])


#: Makes an input of a chunk of audio and its time.
MakeAudio = Callable[[bytes, float], Input]


def appended(audio: bytes, t: float) -> Input:
    return ClientFrame(append(audio), t)


def received(audio: bytes, t: float) -> Input:
    return ServerFrame(delta(audio), t)


def fed_user(audio: bytes, t: float) -> Input:
    return Audio(USER, audio, t)


def fed_agent(audio: bytes, t: float) -> Input:
    return Audio(AGENT, audio, t)


def record_numbered(
    recorded: RecordedConversation, make: MakeAudio, dropped: Callable[[int], bool]
) -> npt.NDArray[np.int16]:
    """Record 3 s of numbered samples in chunks of 20 ms, of which some are dropped. Deltas arrive in a burst."""
    audio = numbered(3 * RATE).tobytes()
    size = RATE // 50 * 2
    for number, start in enumerate(range(0, len(audio), size)):
        t = 1.0 + number * 0.001 if make is received else 1.0 + (number + 1) * 0.02
        recorded.audio(make(audio[start : start + size], t), dropped=dropped(number))
    return recorded.close(6.0)


@pytest.mark.newest
@pytest.mark.parametrize(
    ("make", "channel"), [(appended, USER), (received, AGENT), (fed_user, USER), (fed_agent, AGENT)]
)
@pytest.mark.parametrize(
    "dropped", [range(60, 61), range(50, 110), range(130, 150)], ids=["one", "a second", "the last"]
)
def test_dropped_audio_is_silent_and_no_other_audio_moves(
    tmp_path: Path, make: MakeAudio, channel: int, dropped: range
) -> None:
    whole = record_numbered(RecordedConversation(tmp_path), make, lambda _: False)
    overloaded = RecordedConversation(tmp_path)
    partial = record_numbered(overloaded, make, lambda number: number in dropped)
    begin = int(np.flatnonzero(whole[:, channel])[0])
    gap = slice(begin + dropped[0] * RATE // 50, begin + (dropped[-1] + 1) * RATE // 50)
    assert not partial[gap].any()
    expected = whole.copy()
    expected[gap] = 0
    np.testing.assert_array_equal(partial, expected)
    assert overloaded.metadata["dropped_audio_chunks"] == len(dropped)


@pytest.mark.newest
@pytest.mark.parametrize(("name", "silent"), [("g711_ulaw", 0xFF), ("g711_alaw", 0xD5)])
def test_the_silence_is_in_the_format_of_the_audio(tmp_path: Path, name: str, silent: int) -> None:
    recorded = RecordedConversation(tmp_path, user_format=name)
    for number in range(100):
        loud = bytes([silent ^ 0x55] * 160)
        recorded.audio(appended(loud, 1.0 + number * 0.02), dropped=40 <= number < 60)
    user = recorded.close(4.0)[:, 0].astype(float)
    gap = slice(round(1.85 * RATE), round(2.1 * RATE))
    assert np.abs(user[gap]).max() < 20
    assert np.abs(user[round(1.2 * RATE) : round(1.6 * RATE)]).min() > 500


@pytest.mark.newest
def test_dropped_audio_does_not_change_the_latency(tmp_path: Path) -> None:
    latencies = []
    for dropped in (False, True):
        recorded = RecordedConversation(tmp_path)
        created = {"type": "session.created", "session": {"id": "sess_1"}}
        recorded.event(ServerFrame(created, 0.0, Ref(1)))
        for number in range(200):
            chunk = appended(b"\1\1" * (RATE // 50), (number + 1) * 0.02)
            recorded.audio(chunk, dropped=dropped and 50 <= number < 150)
        stopped = {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 3500, "item_id": "item_u"}
        recorded.event(ServerFrame(stopped, 4.0, Ref(2)))
        begins, ends = response(1)
        recorded.event(ServerFrame(begins, 4.1, Ref(3)))
        recorded.audio(received(b"\1\1" * RATE, 4.2))
        recorded.event(ServerFrame(ends, 4.3, Ref(4)))
        recorded.close(9.0)
        latencies.append(recorded.metadata["latency_to_first_audio_p50_ms"])
    assert latencies[0] == latencies[1] == pytest.approx(700, abs=1)


@pytest.mark.newest
def test_dropped_audio_with_a_time_leaves_no_gap(tmp_path: Path) -> None:
    recorded = RecordedConversation(tmp_path)
    for number in range(10):
        at = 1.0 + number * 0.1
        recorded.audio(Audio(USER, b"\1\1" * (RATE // 10), at + 0.1, at), dropped=number == 5)
    recorded.audio(Played("item_1", 100.0, 2.0, 2.0), dropped=True)
    user = recorded.close(3.0)[:, 0]
    assert not user[round(1.5 * RATE) : round(1.6 * RATE)].any()
    assert user[round(1.61 * RATE)] != 0
    assert recorded.metadata["dropped_audio_chunks"] == 2


# The order of dropping


@pytest.mark.parametrize(("limit", "value"), [("queue_audio_entries", 3), ("queue_audio_bytes", 3 * 6_400)])
def test_the_agents_audio_is_dropped_before_events_and_its_length_is_counted(
    tracing: Collector, limits: Limits, limit: str, value: int
) -> None:
    tracer = SessionTracer()
    begins, ends = response(1)
    with tracer:
        tracer.server_event(begins)
        assert flush(10)
        setattr(limits, limit, value)
        with blocked_worker():
            for _ in range(10):
                tracer.server_event(delta(b"\1\1" * (RATE // 10)))
            spoken = {"id": "item_1", "type": "message", "role": "assistant", "content": []}
            tracer.server_event({**ends, "response": {**ends["response"], "output": [spoken]}})
    root = the_tree(tracing)
    assert root.metadata["dropped_audio_chunks"] == 7
    assert "dropped_events" not in root.metadata
    assert root["model"].metadata["spoken_ms"] == 1000


def test_light_events_are_dropped_before_responses_and_the_end_is_never_dropped(
    tracing: Collector, limits: Limits
) -> None:
    tracer = SessionTracer()
    words = {"type": "response.output_audio_transcript.delta", "response_id": "resp_1", "item_id": "item_1"}
    limits.queue_light_entries, limits.queue_entries = 5, 20
    with blocked_worker():
        for number in range(10):
            tracer.server_event(item(number))
        tracer.server_event({**words, "content_index": 0, "delta": "hello"})
        for number in range(5):
            for event in response(number):
                tracer.server_event(event)
        for number in range(10):
            tracer.server_event({"type": "error", "event_id": f"error_{number}", "error": {"message": "no"}})
        tracer.close()
        limits.queue_light_entries, limits.queue_entries = 100, 100
    names = Counter(the_tree(tracing).names())
    assert names["response.created"] == names["response.done"] == 5
    assert 0 < names["conversation.item.done"] <= 5
    assert names["error"] < 10
    root = the_tree(tracing)
    assert root.run.end_time is not None
    assert root.metadata["dropped_events"] == 21 - names["conversation.item.done"] - names["error"]


def test_silencing_is_never_dropped(tracing: Collector, limits: Limits, tmp_path: Path) -> None:
    recording = Recording(directory=tmp_path, keep=True)
    with SessionTracer(recording=recording) as tracer:
        tracer.record_user_audio(tone(440, 0.5), at=time.monotonic())
        assert flush(10)
        with blocked_worker():
            limits.queue_entries = 0
            tracer.silence(since=time.monotonic() - 10, until=time.monotonic() + 10)
        limits.queue_entries = Limits().queue_entries
    the_tree(tracing)
    (path,) = tmp_path.glob("*.wav")
    assert not soundfile.read(path)[0].any()


# A slow endpoint, or a slow function of the application, beside other conversations


def slow_down(collector: Collector, delay: float, times: int) -> None:
    collector.respond_with(202, delay=delay, times=times, stored=True)


def test_a_slow_endpoint_delays_neither_callers_nor_other_conversations(collector: Collector) -> None:
    with Collector() as hanging:
        slow_down(hanging, 1.0, 50)
        slow_client, threads = Client(api_url=hanging.url, api_key="k"), set[int]()
        slow_client.session.hooks["response"].append(lambda *_, **__: threads.add(threading.get_ident()))
        slow = SessionTracer(client=slow_client, enabled=True)
        fast = SessionTracer(client=Client(api_url=collector.url, api_key="k"), enabled=True)
        for tracer in (slow, fast):
            for number in range(50):
                tracer.server_event(item(number))
            tracer.close()
        collector.wait_for(lambda runs: len(runs) == 51 and runs[0].end_time is not None, timeout=30)
        assert not [run for run in hanging.runs() if run.end_time]
        assert flush(20)
        assert threads
        assert threading.get_ident() not in threads, "the caller's thread waits for no answer"
        (root,) = stored_trees(hanging)
        assert len(root.children) == 50


@pytest.mark.parametrize("setting", ["anonymizer", "hide_inputs"])
def test_slow_masking_delays_neither_callers_nor_other_conversations(collector: Collector, setting: str) -> None:
    threads = set()

    def masks(data: Any) -> Any:
        threads.add(threading.current_thread())
        time.sleep(0.02)
        return data

    if setting == "anonymizer":
        client = Client(api_url=collector.url, api_key="k", anonymizer=masks)
    else:
        client = Client(api_url=collector.url, api_key="k", hide_inputs=masks)
    fast = SessionTracer(client=Client(api_url=collector.url, api_key="k"), enabled=True, thread_id="fast")
    slow = SessionTracer(client=client, enabled=True, thread_id="slow", recording=False)
    slow.client_event(append(b"\1\1" * 480))
    for number in range(10):
        slow.server_event(item(number))
    slow.close()
    fast.server_event(item(0))
    fast.close()
    collector.wait_for(
        lambda runs: any(run.metadata.get("thread_id") == "fast" and run.end_time for run in runs), timeout=30
    )
    assert not any(run.metadata.get("thread_id") == "slow" and run.end_time for run in collector.roots())
    assert flush(20)
    assert len(collector.roots()) == 2
    assert threading.current_thread() not in threads


@pytest.mark.newest
def test_masking_takes_at_most_half_of_the_time() -> None:
    budget = TimeBudget(0.5, 1.0)
    now = spent = 100.0
    while now < 200.0:
        if not budget.is_empty(now):
            budget.spend(0.3)
            spent += 0.3
            now += 0.3
        now += 0.01
    assert spent - 100 == pytest.approx(50, abs=2)
    assert not budget.is_empty(1000.0)
    budget.spend(1.0)
    assert budget.is_empty(1000.0)


# The queue of runs to be sent


@pytest.mark.parametrize("journal", [True, False])
def test_the_send_queue_is_bounded_and_drops_only_light_runs(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, journal: bool
) -> None:
    tracer = SessionTracer(journal=journal)
    assert flush(10)
    monkeypatch.setattr(process().limits, "waiting_runs", 25)
    slow_down(tracing, 0.8, 1)
    tracer.server_event(response(0)[0])
    # Wait until that run is being sent: otherwise the following ones would go into its batch.
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
def test_the_oldest_runs_are_dropped_first_and_count_as_reported() -> None:
    retries = RetryQueue[int](abs, Limits(waiting_runs=10, waiting_bytes=1_000, waiting_factor=2))
    for size in (1, 2, 3):
        retries.put(size)
    retries.take(lambda waiting: (waiting[:1], waiting[1:]))
    retries.finish_batch([1], 0.0)  # in trouble: three are known to have failed
    assert retries.make_room(lambda _: True) == []
    for size in range(4, 12):
        retries.put(-size)
    assert retries.is_full
    assert retries.make_room(lambda size: size > 0) == [1, 2]
    assert retries.waiting[0] == 3
    assert retries.unresolved == 8
    assert len(retries.waiting) == 9
    for _ in range(20):
        retries.put(-50)
    assert retries.make_room(lambda size: size > 0) == [3]
    assert retries.is_overfull
    asked: list[int] = []

    def may_go(size: int) -> bool:
        asked.append(size)
        return True

    assert retries.make_room(may_go) == []
    assert asked == []  # there was nothing to find, a moment ago

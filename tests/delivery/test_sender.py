"""Runs on their way to LangSmith: batched, verified, and sent as the client wants them sent."""

from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from langsmith import Client

from langsmith_realtime import Recording, SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.delivery import batches, operations, sender
from langsmith_realtime.delivery.operations import Operation
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.journal.file import state_directory
from langsmith_realtime.live.process import process
from langsmith_realtime.runtime import threads
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.testing import tone
from tests.support.conversations import stored_trees, the_tree, trees


def talk(tracer: SessionTracer, events: int = 3) -> None:
    with tracer:
        for number in range(events):
            tracer.server_event({"type": "session.updated", "event_id": f"event_{number}", "session": {}})


def test_many_runs_share_a_request_and_each_is_one_operation(tracing: Collector) -> None:
    talk(SessionTracer(), events=200)
    root = the_tree(tracing)
    assert len(root.children) == 200
    writes = [request for request in tracing.requests if request.path == "/runs/multipart"]
    assert len(writes) <= 8
    assert sum(request.operations for request in writes) == 202  # the root's two, and one for every event


def test_the_root_is_there_while_the_conversation_goes_on(tracing: Collector) -> None:
    tracer = SessionTracer()
    (root,) = tracing.wait_for(lambda runs: len(runs) == 1)
    assert root.id == tracer.run_id
    assert root.status == "pending"
    tracer.close()
    assert the_tree(tracing).run.status == "success"


def test_one_bad_run_does_not_cost_the_others(tracing: Collector) -> None:
    tracing.respond_with(422)
    talk(SessionTracer())
    assert len(the_tree(tracing).children) == 3


@pytest.mark.parametrize("journal", [True, False])
def test_the_root_says_how_many_runs_the_server_refused(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, journal: bool
) -> None:
    made = operations.run_dict

    def bad(operation: Operation) -> dict[str, Any]:
        fields = made(operation)
        return {**fields, "run_type": "chair"} if fields["name"] == "rate_limits.updated" else fields

    monkeypatch.setattr("langsmith_realtime.delivery.batches.run_dict", bad)
    with SessionTracer(journal=journal) as tracer:
        for number, name in enumerate(("session.created", "rate_limits.updated", "rate_limits.updated")):
            tracer.server_event({"type": name, "event_id": f"event_{number}"})
        tracer.record_user_audio(tone(1000, 0.1))
        assert not flush(10)
        tracing.respond_with(422)  # and then the recording
    assert flush(10)
    (root,) = stored_trees(tracing, broken=["run-type"])
    assert root.names() == ["session.created"]
    assert root.run.end_time is not None
    assert root.metadata["refused_runs"] == 2
    assert "HTTP 422" in root.metadata["recording_error"]


def test_what_waits_for_a_thread_is_sent_once_there_is_one(tracing: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def begin(work: Callable[[], None], name: str) -> threading.Thread | None:
        begun.append(name)
        return None if len(begun) == 1 else threads_begin(work, name)

    process().worker.inbox(Guard())  # its own thread is there
    assert flush(10)
    threads_begin = threads.start_thread
    monkeypatch.setattr(threads, "start_thread", begin)
    monkeypatch.setattr(threads, "run_at_exit", lambda _: False)
    with SessionTracer(journal=False) as tracer:
        tracer.server_event({"type": "session.created", "event_id": "event_0", "session": {}})
    assert flush(10)
    root = the_tree(tracing)
    assert root.names() == ["session.created"]
    assert root.run.end_time is not None
    assert len(begun) == 2


def test_of_several_endpoints_all_must_have_taken_it(collector: Collector) -> None:
    with Collector() as other:
        client = Client(api_urls={collector.url: "one", other.url: "another"}, info={})
        collector.respond_with(503, times=6)
        talk(SessionTracer(client=client, enabled=True, recording=False))
        for _ in range(6):
            if flush(20):
                break
        assert [len(each.runs()) for each in (collector, other)] == [4, 4]
        assert not [*state_directory().iterdir()]


def test_a_full_batch_waits_for_nobody(tracing: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "BATCH_WAIT_S", 600.0)
    monkeypatch.setattr(sender, "BATCH_RUNS", 20)
    monkeypatch.setattr(batches, "BATCH_RUNS", 20)
    with SessionTracer() as tracer:
        for number in range(19):  # and the root
            tracer.server_event({"type": "session.updated", "event_id": f"event_{number}", "session": {}})
        deadline = time.monotonic() + 30
        while len(tracing.runs()) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(tracing.runs()) == 20


@pytest.mark.parametrize("replicas", [None, [{"project_name": "one"}]])
def test_a_run_that_cannot_be_written_down_costs_itself_alone(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, replicas: Any
) -> None:
    transform = Client._run_transform

    def fails(self: Client, run: Any, *how: Any, **more: Any) -> Any:
        if run["name"] == "rate_limits.updated":
            raise RuntimeError("out of order")
        return transform(self, run, *how, **more)

    monkeypatch.setattr(Client, "_run_transform", fails)
    monkeypatch.setattr(sender, "BATCH_WAIT_S", 10.0)  # all together
    with SessionTracer(replicas=replicas) as tracer:
        for number, name in enumerate(("session.created", "rate_limits.updated", "session.updated")):
            tracer.server_event({"type": name, "event_id": f"event_{number}"})
    assert not flush(10)
    root = the_tree(tracing)
    assert root.names() == ["session.created", "session.updated"]
    assert root.metadata["refused_runs"] == 1
    assert "sending a run to LangSmith failed" in caplog.text


def test_a_recording_that_is_refused_leaves_the_trace_and_stays_on_disk(
    tracing: Collector, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tracer = SessionTracer(recording=Recording(directory=tmp_path))
    tracer.record_user_audio(tone(1000, 0.1))
    assert flush(10)
    tracing.respond_with(422)
    tracer.close()
    root = the_tree(tracing)
    assert root.run.status == "success"
    assert root.run.attachments == {}
    (kept,) = tmp_path.iterdir()
    assert kept.name == f"{tracer.run_id}.wav"
    assert str(kept) in caplog.text
    assert "refused the recording (HTTP 422)" in caplog.text
    assert re.fullmatch(
        r"LangSmith refused the WAV of [\d.]+ kB \(HTTP 422\); it is kept where it was recorded",
        root.metadata["recording_error"],
    )
    assert "recording_format" not in root.metadata


@pytest.mark.parametrize(
    ("refusals", "mime"), [(1, "audio/flac"), (2, "audio/ogg"), (3, "audio/ogg"), (4, None)], ids=str
)
def test_a_recording_that_is_too_large_for_the_server_is_offered_in_smaller_forms(
    tracing: Collector, tmp_path: Any, refusals: int, mime: str | None
) -> None:
    tracer = SessionTracer(recording=Recording(directory=tmp_path))
    began = time.monotonic()
    tracer.record_user_audio(tone(1000, 1.0), at=began)
    assert flush(10)
    tracing.respond_with(413, times=refusals)
    tracer.close()
    root = the_tree(tracing)
    assert root.run.status == "success"
    if mime is None:
        assert root.run.attachments == {}
        assert root.metadata["recording_error"].count("(HTTP 413)") == 4
        assert [path.name for path in tmp_path.iterdir()] == [f"{tracer.run_id}.wav"]
        return
    kind, path = tracing.attachment(root.run.id, "conversation")
    assert kind == mime
    sound, rate = soundfile.read(path)
    assert len(sound) == pytest.approx(rate, abs=0.1 * rate)
    assert root.metadata["recording_format"] == {"audio/flac": "flac", "audio/ogg": "opus"}[mime]
    assert root.metadata["recording_reduced"].count("(HTTP 413)") == refusals
    assert "recording_error" not in root.metadata
    assert list(tmp_path.iterdir()) == []


def test_flush_says_when_something_was_not_delivered(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(api_url="http://127.0.0.1:9", api_key="lsv2_pt_0123456789abcdef", info={})
    tracer = SessionTracer(client=client, enabled=True)
    tracer.close()
    assert not flush(timeout=0.05)  # nobody answers, and the time is up
    assert not flush(timeout=60)
    assert "lsv2_pt" not in caplog.text


def test_flush_with_nothing_to_do_is_true_and_checks_its_argument() -> None:
    assert flush()
    assert flush(timeout=5)
    with pytest.raises(TypeError, match="not str"):
        flush(timeout="5")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not bool"):
        flush(timeout=True)
    with pytest.raises(ValueError, match="negative"):
        flush(timeout=-1)


def test_a_conflict_counts_as_delivered(tracing: Collector) -> None:
    tracer = SessionTracer()
    assert flush(10)
    tracing.respond_with(409, stored=True)
    tracer.close()
    assert flush(10)


def test_replicas_go_through_langsmiths_own_queue(tracing: Collector, caplog: pytest.LogCaptureFixture) -> None:
    tracer = SessionTracer(replicas=[{"project_name": "one"}, {"project_name": "two"}])
    with tracer:
        tracer.server_event({"type": "session.created", "event_id": "event_0", "session": {}})
        tracer.record_user_audio(tone(1000, 0.1))
    roots = trees(tracing)
    assert {root.run.project for root in roots} == {"one", "two"}
    for root in roots:
        assert root.names() == ["session.created"]
        assert "conversation" in root.run.attachments
        assert root.metadata["event_count"] == 1


def test_a_client_that_buffers_its_runs_itself_is_let_do_so(collector: Collector) -> None:
    processed: list[Any] = []

    def process(runs: Any) -> Any:
        processed.extend(runs)
        return runs

    client = Client(api_url=collector.url, api_key="k", process_buffered_run_ops=process, run_ops_buffer_size=1)
    talk(SessionTracer(client=client, enabled=True))
    assert flush(10)
    collector.wait_for(lambda runs: len(runs) == 4 and runs[0].end_time is not None)
    assert len(stored_trees(collector)) == 1
    assert processed


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_sampling_holds_for_the_whole_conversation(collector: Collector, rate: float) -> None:
    client = Client(api_url=collector.url, api_key="k", tracing_sampling_rate=rate)
    tracer = SessionTracer(client=client, enabled=True)
    tracer.record_user_audio(tone(1000, 0.1))
    talk(tracer)
    assert flush(10)
    assert len(collector.runs()) == (4 if rate else 0)


def test_a_failure_while_sending_is_logged_and_sending_goes_on(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as broken:

        def ingest(*_: object, **__: object) -> None:
            raise RuntimeError("out of order")

        broken.setattr(Client, "_run_transform", ingest)
        first = SessionTracer()
        assert not flush(10)
    with caplog.at_level(logging.WARNING):
        assert "out of order" in caplog.text
    first.close()
    talk(SessionTracer(thread_id="second"))
    assert flush(10)
    assert any(run.metadata.get("thread_id") == "second" for run in tracing.roots())


def test_leaving_does_not_wait_for_the_upload(tracing: Collector) -> None:
    tracing.respond_with(202, delay=1.0, stored=True)
    began = time.monotonic()
    talk(SessionTracer())
    assert time.monotonic() - began < 0.5
    assert flush(10)


@pytest.mark.parametrize("status", [401, 403])
def test_an_answer_that_is_the_same_for_every_run_is_taken_once(tracing: Collector, status: int) -> None:
    tracer = SessionTracer()
    assert flush(10)
    before = len(tracing.requests)
    tracing.respond_with(status, times=50)
    talk(tracer, events=20)
    assert not flush(20)
    assert len(tracing.requests) - before <= 3


def test_a_batch_that_is_too_large_is_halved(tracing: Collector) -> None:
    tracer = SessionTracer()
    assert flush(10)
    tracing.respond_with(413)
    talk(tracer, events=20)
    assert len(the_tree(tracing).children) == 20


def test_what_nobody_took_is_tried_again_until_somebody_does(tracing: Collector) -> None:
    tracing.respond_with(403)
    talk(SessionTracer())
    assert not flush(10)
    assert flush(10)
    assert len(the_tree(tracing).children) == 3


def test_a_destination_in_trouble_is_tried_again_without_being_asked(tracing: Collector) -> None:
    tracing.respond_with(403)
    talk(SessionTracer())
    runs = tracing.wait_for(lambda runs: len(runs) == 4 and runs[0].end_time is not None, timeout=10)
    assert next(request.status for request in tracing.requests if request.path == "/runs/multipart") == 403
    assert len(runs) == 4


def test_a_destination_that_hangs_holds_up_no_other(tracing: Collector) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        client = Client(api_url=f"http://127.0.0.1:{hangs.getsockname()[1]}", api_key="k", info={})
        talk(SessionTracer(client=client, enabled=True))
        talk(SessionTracer())
        tracing.wait_for(lambda runs: len(runs) == 4 and runs[0].end_time is not None, timeout=5)
        process().sender.give_up()


def test_flush_tells_what_was_refused_before_it_was_called_and_tells_it_once(tracing: Collector) -> None:
    tracing.respond_with(422, times=50)
    talk(SessionTracer())
    deadline = time.monotonic() + 10
    while process().sender.failed == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not flush(10)
    assert flush(10)


def test_what_is_prepared_aside_is_waited_for_and_its_failure_is_told(caplog: pytest.LogCaptureFixture) -> None:
    sender, goes_on = Sender(), threading.Event()

    def fails() -> None:
        goes_on.wait(10)
        raise RuntimeError("out of order")

    sender.run_apart(fails)
    assert not sender.flush(0.01)
    goes_on.set()
    assert not sender.flush(10)
    assert sender.flush(10)
    assert "out of order" in caplog.text


def test_where_no_thread_can_begin_it_is_prepared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    done: list[str] = []
    sender = Sender()
    sender.run_apart(lambda: done.append(threading.current_thread().name))
    assert done == [threading.current_thread().name]
    assert sender.flush(0)


@pytest.mark.newest
def test_a_recording_is_sent_without_being_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "import sys\n" + COLLECT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as collector:
        assert collector.stdin is not None
        assert collector.stdout is not None
        client = Client(api_url=collector.stdout.readline().strip(), api_key="k")
        recording = Recording(format="wav", sample_rate=96_000, directory=tmp_path)
        tracer = SessionTracer(client=client, enabled=True, recording=recording)
        tracer.record_user_audio(tone(1000, 0.1), at=time.monotonic())
        tracer.record_user_audio(tone(1000, 0.1), at=time.monotonic() + 15)
        assert flush(10)
        tracemalloc.start()
        try:
            tracer.close()
            assert flush(20)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        told, _ = collector.communicate()
    assert int(told) > 5_700_000
    assert peak < 5_000_000  # it would be twice the file


#: A collector of its own process; it tells where it is, and in the end how large the recording was.
COLLECT = """
from langsmith_realtime.collector import Collector
with Collector() as collector:
    print(collector.url, flush=True)
    sys.stdin.read()
    (root,) = collector.roots()
    print(collector.attachment(root.id, "conversation")[1].stat().st_size)
"""

"""The sender delivers runs in batches, retries them, and reports their verdicts."""

from __future__ import annotations

import logging
import math
import re
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import soundfile
from langsmith import Client
from urllib3.util.retry import Retry

from langsmith_realtime import Recording, SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.delivery import operations
from langsmith_realtime.delivery.operations import Operation
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.live.process import process
from langsmith_realtime.runtime import threads
from langsmith_realtime.testing import tone
from tests.support.conversations import stored_trees, the_tree, trees


def converse(tracer: SessionTracer, events: int = 3) -> None:
    with tracer:
        for number in range(events):
            tracer.server_event({"type": "session.updated", "event_id": f"event_{number}", "session": {}})


def test_many_runs_share_a_request_and_each_event_is_one_operation(tracing: Collector) -> None:
    converse(SessionTracer(), events=200)
    root = the_tree(tracing)
    assert len(root.children) == 200
    writes = [request for request in tracing.requests if request.path == "/runs/multipart"]
    assert len(writes) <= 8
    assert sum(request.operations for request in writes) == 202  # two for the root, one for each event


def test_the_root_is_posted_while_the_conversation_is_open(tracing: Collector) -> None:
    tracer = SessionTracer()
    (root,) = tracing.wait_for(lambda runs: len(runs) == 1, timeout=30)
    assert root.id == tracer.run_id
    assert root.status == "pending"
    tracer.close()
    assert the_tree(tracing).run.status == "success"


def test_one_invalid_run_does_not_prevent_the_delivery_of_the_others(tracing: Collector) -> None:
    tracing.respond_with(422)
    converse(SessionTracer())
    assert len(the_tree(tracing).children) == 3


@pytest.mark.parametrize("journal", [True, False])
def test_the_root_has_the_number_of_refused_runs(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, journal: bool
) -> None:
    run_dict = operations.run_dict

    def with_invalid_run_type(operation: Operation) -> dict[str, Any]:
        fields = run_dict(operation)
        return {**fields, "run_type": "chair"} if fields["name"] == "rate_limits.updated" else fields

    monkeypatch.setattr("langsmith_realtime.delivery.batches.run_dict", with_invalid_run_type)
    with SessionTracer(journal=journal) as tracer:
        for number, name in enumerate(("session.created", "rate_limits.updated", "rate_limits.updated")):
            tracer.server_event({"type": name, "event_id": f"event_{number}"})
        tracer.record_user_audio(tone(1000, 0.1))
        assert not flush(10)
        tracing.respond_with(422)  # also for the recording
    assert flush(10)
    (root,) = stored_trees(tracing, broken=["run-type"])
    assert root.names() == ["session.created"]
    assert root.run.end_time is not None
    assert root.metadata["refused_runs"] == 2
    assert "HTTP 422" in root.metadata["recording_error"]


def test_operations_are_sent_once_a_thread_can_be_started(tracing: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def fail_once(work: Callable[[], None], name: str) -> threading.Thread | None:
        started.append(name)
        return None if len(started) == 1 else start_thread(work, name)

    process().worker.open_queue(lambda inputs, pause: None)  # starts the worker's thread
    assert flush(10)
    start_thread = threads.start_thread
    monkeypatch.setattr(threads, "start_thread", fail_once)
    monkeypatch.setattr(threads, "run_at_exit", lambda _: False)
    with SessionTracer(journal=False) as tracer:
        tracer.server_event({"type": "session.created", "event_id": "event_0", "session": {}})
    assert flush(10)
    root = the_tree(tracing)
    assert root.names() == ["session.created"]
    assert root.run.end_time is not None
    assert len(started) == 2


def test_a_run_is_delivered_when_all_endpoints_have_accepted_it(collector: Collector) -> None:
    with Collector() as other:
        client = Client(api_urls={collector.url: "one", other.url: "another"}, info={}, retry_config=Retry(0))
        collector.respond_with(503, times=4)
        converse(SessionTracer(client=client, enabled=True, recording=False))
        for _ in range(6):
            if flush(20):
                break
        assert [len(each.runs()) for each in (collector, other)] == [4, 4]
        assert not [*state_directory().iterdir()]


def test_a_full_batch_is_sent_at_once(tracing: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process().limits, "request_wait_s", 600.0)
    monkeypatch.setattr(process().limits, "request_runs", 20)
    with SessionTracer() as tracer:
        for number in range(19):  # the root is the twentieth run
            tracer.server_event({"type": "session.updated", "event_id": f"event_{number}", "session": {}})
        deadline = time.monotonic() + 30
        while len(tracing.runs()) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(tracing.runs()) == 20


@pytest.mark.parametrize("replicas", [None, [{"project_name": "one"}]])
def test_a_run_that_cannot_be_prepared_does_not_prevent_the_delivery_of_the_others(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, replicas: Any
) -> None:
    transform = Client._run_transform

    def fails(self: Client, run: Any, *arguments: Any, **options: Any) -> Any:
        if run["name"] == "rate_limits.updated":
            raise RuntimeError("out of order")
        return transform(self, run, *arguments, **options)

    monkeypatch.setattr(Client, "_run_transform", fails)
    monkeypatch.setattr(process().limits, "request_wait_s", 10.0)  # all runs in one batch
    with SessionTracer(replicas=replicas) as tracer:
        for number, name in enumerate(("session.created", "rate_limits.updated", "session.updated")):
            tracer.server_event({"type": name, "event_id": f"event_{number}"})
    assert not flush(10)
    root = the_tree(tracing)
    assert root.names() == ["session.created", "session.updated"]
    assert root.metadata["refused_runs"] == 1
    assert "sending a run to LangSmith failed" in caplog.text


def test_a_refused_recording_stays_on_disk_and_the_trace_is_delivered(
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
def test_a_recording_that_is_too_large_is_sent_in_a_smaller_format(
    tracing: Collector, tmp_path: Any, refusals: int, mime: str | None
) -> None:
    before = time.monotonic()
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
    assert 0.9 <= len(sound) / rate <= 1.0 + (began - before) + 0.1
    assert root.metadata["recording_format"] == {"audio/flac": "flac", "audio/ogg": "opus"}[mime]
    assert root.metadata["recording_reduced"].count("(HTTP 413)") == refusals
    assert "recording_error" not in root.metadata
    assert list(tmp_path.iterdir()) == []


def test_flush_returns_false_when_a_run_was_not_delivered(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    # Without retries of LangSmith's client, which take 18 s.
    client = Client(api_url="http://127.0.0.1:9", api_key="lsv2_pt_0123456789abcdef", info={}, retry_config=Retry(0))
    tracer = SessionTracer(client=client, enabled=True)
    tracer.close()
    assert not flush(timeout=0.05)  # no answer within the timeout
    assert not flush(timeout=60)
    assert "lsv2_pt" not in caplog.text


def test_flush_returns_true_without_work_and_checks_its_argument() -> None:
    assert flush()
    assert flush(timeout=5)
    with pytest.raises(TypeError, match="got str"):
        flush(timeout="5")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got bool"):
        flush(timeout=True)
    with pytest.raises(ValueError, match="must not be negative"):
        flush(timeout=-1)
    with pytest.raises(ValueError, match="must not be negative, got nan"):
        flush(timeout=math.nan)


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


def test_a_client_with_buffered_processing_sends_through_its_own_queue(collector: Collector) -> None:
    processed: list[Any] = []

    def process(runs: Any) -> Any:
        processed.extend(runs)
        return runs

    client = Client(api_url=collector.url, api_key="k", process_buffered_run_ops=process, run_ops_buffer_size=1)
    converse(SessionTracer(client=client, enabled=True))
    assert flush(10)
    collector.wait_for(lambda runs: len(runs) == 4 and runs[0].end_time is not None, timeout=30)
    assert len(stored_trees(collector)) == 1
    assert processed


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_sampling_applies_to_the_whole_conversation(collector: Collector, rate: float) -> None:
    client = Client(api_url=collector.url, api_key="k", tracing_sampling_rate=rate)
    tracer = SessionTracer(client=client, enabled=True)
    tracer.record_user_audio(tone(1000, 0.1))
    converse(tracer)
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
    converse(SessionTracer(thread_id="second"))
    assert flush(10)
    assert any(run.metadata.get("thread_id") == "second" for run in tracing.roots())


def test_leaving_the_block_does_not_wait_for_the_upload(tracing: Collector) -> None:
    tracing.respond_with(202, delay=1.0, stored=True)
    converse(SessionTracer())
    assert [request for request in tracing.requests if request.method == "POST"] == []  # no request has been answered
    assert flush(10)


@pytest.mark.parametrize("status", [307, 308])
def test_a_run_that_is_redirected_counts_by_the_answer_of_the_other_place(collector: Collector, status: int) -> None:
    class Redirecting(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Location", f"{collector.url}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as moved:
        threading.Thread(target=moved.serve_forever, daemon=True).start()
        client = Client(api_url=f"http://127.0.0.1:{moved.server_address[1]}", api_key="k")
        converse(SessionTracer(client=client, enabled=True, recording=False))
        assert flush(20)
        collector.respond_with(403)
        converse(SessionTracer(client=client, enabled=True, recording=False))
        assert not flush(20), "the other place refused it"
        assert flush(20)
        moved.shutdown()
    assert [len(root.children) for root in stored_trees(collector)] == [3, 3]


@pytest.mark.parametrize("status", [401, 403])
def test_a_batch_is_not_split_after_a_status_that_does_not_depend_on_its_runs(tracing: Collector, status: int) -> None:
    tracer = SessionTracer()
    assert flush(10)
    before = len(tracing.requests)
    tracing.respond_with(status, times=50)
    converse(tracer, events=20)
    assert not flush(20)
    assert len(tracing.requests) - before <= 3


def test_a_batch_that_is_too_large_is_halved(tracing: Collector) -> None:
    tracer = SessionTracer()
    assert flush(10)
    tracing.respond_with(413)
    converse(tracer, events=20)
    assert len(the_tree(tracing).children) == 20


def test_runs_are_retried_until_the_server_accepts_them(tracing: Collector) -> None:
    tracing.respond_with(403)
    converse(SessionTracer())
    assert not flush(10)
    assert flush(10)
    assert len(the_tree(tracing).children) == 3


def test_a_failing_destination_is_retried_without_a_flush(tracing: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process().limits, "first_retry_s", 0.05)
    monkeypatch.setattr(process().limits, "request_wait_s", 0.05)
    tracing.respond_with(403)
    converse(SessionTracer())
    runs = tracing.wait_for(lambda runs: len(runs) == 4 and runs[0].end_time is not None, timeout=30)
    assert next(request.status for request in tracing.requests if request.path == "/runs/multipart") == 403
    assert len(runs) == 4


def test_a_hanging_destination_delays_no_other(tracing: Collector) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        client = Client(api_url=f"http://127.0.0.1:{hangs.getsockname()[1]}", api_key="k", info={})
        converse(SessionTracer(client=client, enabled=True))
        converse(SessionTracer())
        tracing.wait_for(lambda runs: len(runs) == 4 and runs[0].end_time is not None, timeout=30)
        process().sender.give_up()


def test_flush_reports_earlier_refusals_once(tracing: Collector) -> None:
    tracing.respond_with(422, times=50)
    converse(SessionTracer())
    deadline = time.monotonic() + 30
    while process().sender.failed == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not flush(10)
    assert flush(10)


def test_flush_waits_for_work_run_apart_and_reports_its_failure(caplog: pytest.LogCaptureFixture) -> None:
    sender, released = Sender(), threading.Event()

    def fails() -> None:
        released.wait(10)
        raise RuntimeError("out of order")

    sender.run_apart(fails)
    assert not sender.flush(0.01)
    released.set()
    assert not sender.flush(10)
    assert sender.flush(10)
    assert "out of order" in caplog.text


def test_work_runs_in_the_calling_thread_if_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
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
    command = [sys.executable, "-c", "import sys\n" + COLLECTOR_PROGRAM]
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
        size, _ = collector.communicate()
    assert int(size) > 5_700_000
    assert peak < 5_000_000  # reading the file into memory takes twice its size


#: Runs a collector in its own process; prints its URL first, and the size of the recording at the end.
COLLECTOR_PROGRAM = """
from langsmith_realtime.collector import Collector
with Collector() as collector:
    print(collector.url, flush=True)
    sys.stdin.read()
    (root,) = collector.roots()
    print(collector.attachment(root.id, "conversation")[1].stat().st_size)
"""

"""The end of a process: recorded runs are sent before it exits, and an endpoint without answers does not block it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import wave
from pathlib import Path

import pytest

from langsmith_realtime.collector import Collector
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.live.process import EXIT_LIMIT, EXIT_PATIENCE
from langsmith_realtime.runtime import threads
from tests import ROOT
from tests.support.conversations import stored_trees

pytestmark = pytest.mark.nocover

TALK = """
from langsmith_realtime import SessionTracer
from langsmith_realtime.testing import tone
tracer = SessionTracer()
tracer.server_event({"type": "session.created", "event_id": "event_0", "session": {}})
tracer.record_user_audio(tone(1000, 0.1))
"""


#: A conversation whose recording is uploaded to a store in pieces of 10 kB, each of which takes TAKES seconds.
STORE = """
import io, sys, time
import fsspec
from langsmith_realtime import Recording, SessionTracer, flush
from langsmith_realtime.live import process
from langsmith_realtime.recording import storage
from langsmith_realtime.testing import tone
process.EXIT_PATIENCE, storage.STEP_S, storage.PIECE_BYTES = 0.3, 0.6, 10_000
class File(io.BytesIO):
    def write(self, data):
        time.sleep(TAKES)
        return super().write(data)
    def close(self):
        open(f"{FOLDER}/stored", "wb").write(self.getvalue())
        super().close()
class Store(fsspec.AbstractFileSystem):
    protocol = "slow"
    def _open(self, path, mode="rb", **_):
        return File()
fsspec.register_implementation("slow", Store)
tracer = SessionTracer(recording=Recording(directory="slow://bucket", sample_rate=96_000))
flush(20)  # the worker's imports may take longer than EXIT_PATIENCE
tracer.record_user_audio(tone(1000, 0.15), at=time.monotonic())
time.sleep(0.15)
"""


def run(
    code: str, endpoint: str, *, talk: str = TALK, timeout: float = 60
) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run code in a subprocess; return its output and the seconds from its last line to its end."""
    environment = {
        **os.environ,
        "LANGSMITH_ENDPOINT": endpoint,
        "LANGSMITH_API_KEY": "lsv2_pt_0123456789abcdef",
        "LANGSMITH_TRACING": "true",
        "PYTHONWARNINGS": "error",
    }
    code = f"{talk}\n{code}\nimport time; print('END', time.time())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    ended = time.time()
    times = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("END")]
    return done, ended - float(times[0]) if times else 0.0


def own_traceback_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines of tracebacks that name this package: LangSmith's client fails to start threads at exit, too."""
    return [line for line in done.stderr.splitlines() if "/langsmith_realtime/" in line]


@pytest.mark.parametrize(
    "ending",
    [
        "tracer.close()",
        "pass  # never closed",
        "import sys; tracer.__exit__(None, SystemExit(3), None); print('END', __import__('time').time()); sys.exit(3)",
        "raise RuntimeError('out of order')",
        "raise KeyboardInterrupt",
    ],
    ids=["closed", "never-closed", "sys.exit", "exception", "Ctrl-C"],
)
def test_recorded_runs_are_sent_before_the_process_ends(collector: Collector, ending: str) -> None:
    done, _ = run(ending, collector.url)
    (root,) = stored_trees(collector)
    assert root.names() == ["session.created"], done.stderr
    assert root.run.end_time is not None
    assert "conversation" in root.run.attachments
    assert root.run.error is None
    if "RuntimeError" not in ending:
        assert not own_traceback_lines(done)
    if ending.startswith("raise"):  # the status is that of the program without tracing: a shell sees Ctrl-C in it
        untraced = subprocess.run([sys.executable, "-c", ending], capture_output=True, check=False)
        assert done.returncode == untraced.returncode


#: Refuses new threads at the end of the process, as Python 3.12 does.
NO_MORE_THREADS = """
import threading
from langsmith_realtime.runtime import threads
threads.NEEDS_SPARE = True
def refuse(*_, **__):
    raise RuntimeError("can't create new thread at interpreter shutdown")
threading._register_atexit(lambda: setattr(threading, "_start_new_thread", refuse))
# From Python 3.13 on:
threading._register_atexit(lambda: setattr(threading, "_start_joinable_thread", refuse))
"""


@pytest.mark.newest  # the interpreter matters, not LangSmith's client
# What is closed before the end has less left to do there, whatever its options.
@pytest.mark.parametrize(
    ("options", "ending"),
    [
        ("", "tracer.close()"),
        ("", "pass"),
        ("redact=lambda payload: payload", "pass"),
        ("recording=Recording(format='flac')", "pass"),
        ("recording=Recording(format='flac')", "tracer.close()"),
    ],
)
def test_runs_are_sent_at_exit_even_if_no_thread_can_start(collector: Collector, options: str, ending: str) -> None:
    talk = TALK.replace("SessionTracer()", f"SessionTracer({options})").replace(
        "import SessionTracer", "import Recording, SessionTracer"
    )
    done, took = run(ending, collector.url, talk=NO_MORE_THREADS + talk)
    (root,) = stored_trees(collector)
    assert root.names() == ["session.created"], done.stderr
    assert root.run.end_time is not None
    assert "conversation" in root.run.attachments
    assert not own_traceback_lines(done)
    assert took < EXIT_LIMIT / 3


@pytest.mark.newest
def test_a_conversation_that_begins_at_exit_does_not_raise(collector: Collector) -> None:
    late = """
import atexit
@atexit.register
def talk():
    tracer = SessionTracer()
    tracer.server_event({"type": "session.created", "event_id": "event_0", "session": {}})
    tracer.close()
    print("TALKED")
"""
    done, _ = run(late, collector.url, talk=f"{NO_MORE_THREADS}\nfrom langsmith_realtime import SessionTracer")
    assert "TALKED" in done.stdout, done.stderr
    assert done.returncode == 0


@pytest.mark.newest
def test_events_before_the_end_are_sent_though_a_daemon_thread_goes_on(collector: Collector) -> None:
    talking = """
import threading, time
number = 0
def go_on():
    global number
    while True:
        number += 1
        tracer.server_event({"type": "session.updated", "event_id": f"event_{number}"})
        time.sleep(0.001)
threading.Thread(target=go_on, daemon=True).start()
while number <= 100:
    time.sleep(0.01)
"""
    done, took = run(talking, collector.url)
    (root,) = stored_trees(collector)
    assert len(root.children) >= 100
    assert root.run.metadata["event_count"] == len(root.children)
    assert took < EXIT_LIMIT / 3
    assert done.returncode == 0


def test_an_endpoint_without_answers_does_not_block_the_exit() -> None:
    # A tenth of the patience: the bound is far above what a busy machine adds to it, and below the limit.
    impatient = "from langsmith_realtime.live import process\nprocess.EXIT_PATIENCE = 0.5\n"
    done, took = run("tracer.close()", "http://127.0.0.1:9", talk=impatient + TALK)
    assert done.returncode == 0
    assert took < EXIT_LIMIT / 3
    assert "0123456789abcdef" not in done.stdout + done.stderr


def test_the_exit_waits_five_seconds_without_progress() -> None:
    assert EXIT_PATIENCE == 5.0  # as docs/deploying.md says


@pytest.mark.newest
def test_the_exit_waits_for_a_slow_endpoint(collector: Collector) -> None:
    collector.respond_with(202, times=2, delay=0.6, stored=True)
    run("tracer.close()", collector.url)
    (root,) = stored_trees(collector)
    assert root.run.end_time is not None


@pytest.mark.newest
def test_the_exit_waits_for_a_slow_store_while_the_upload_makes_progress(collector: Collector, tmp_path: Path) -> None:
    done, took = run("tracer.close()", collector.url, talk=f"FOLDER, TAKES = {str(tmp_path)!r}, 0.2\n{STORE}")
    (root,) = stored_trees(collector)
    assert root.run.metadata["recording_url"].startswith("slow://bucket/"), done.stderr
    with wave.open(str(tmp_path / "stored")) as stored:
        assert stored.getnframes() / stored.getframerate() >= 0.15
    assert took > 0.8  # several times EXIT_PATIENCE


@pytest.mark.newest
def test_work_is_in_progress_while_its_steps_are_in_time() -> None:
    assert not threads.is_progressing()
    with threads.work_in_progress(step_s=0.0) as step:
        step()
        assert not threads.is_progressing()
        with threads.work_in_progress():
            assert threads.is_progressing()
    assert not threads.is_progressing()


@pytest.mark.newest
def test_a_store_that_hangs_does_not_block_the_exit(collector: Collector, tmp_path: Path) -> None:
    done, took = run("tracer.close()", collector.url, talk=f"FOLDER, TAKES = {str(tmp_path)!r}, 60\n{STORE}")
    assert done.returncode == 0, done.stderr
    assert took < 30  # the store would take 60 s for each piece
    (folder,) = state_directory().iterdir()
    assert {path.suffix for path in folder.iterdir()} == {".jsonl", ".raw", ".wav"}

"""How processes end: what was recorded is sent before the interpreter goes, and a dead endpoint holds nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import wave
from pathlib import Path

import pytest

from langsmith_realtime.collector import Collector
from langsmith_realtime.journal import file as journal
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


#: A conversation whose recording goes to a store that takes 10 kB at a time, and its time for that.
STORE = """
import io, sys, time
import fsspec
from langsmith_realtime import Recording, SessionTracer
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
tracer.record_user_audio(tone(1000, 0.15), at=time.monotonic())
time.sleep(0.15)
"""


def run(
    code: str, endpoint: str, *, talk: str = TALK, timeout: float = 60
) -> tuple[subprocess.CompletedProcess[str], float]:
    """A process of its own with LangSmith's settings; what it printed and how long it took beyond starting."""
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
    said = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("END")]
    return done, ended - float(said[0]) if said else 0.0


def said_of_ours(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines of tracebacks that are about our code; LangSmith's client, too, begins threads that it may not."""
    return [line for line in done.stderr.splitlines() if "/langsmith_realtime/" in line]


@pytest.mark.parametrize(
    "ending",
    [
        "tracer.close()",
        "pass  # never closed",
        "import sys; tracer.__exit__(None, SystemExit(3), None); print('END', __import__('time').time()); sys.exit(3)",
        "raise RuntimeError('out of order')",
    ],
    ids=["closed", "never-closed", "sys.exit", "exception"],
)
def test_what_was_recorded_is_sent_before_the_process_ends(collector: Collector, ending: str) -> None:
    done, _ = run(ending, collector.url)
    (root,) = stored_trees(collector)
    assert root.names() == ["session.created"], done.stderr
    assert root.run.end_time is not None
    assert "conversation" in root.run.attachments
    assert root.run.error is None
    if "RuntimeError" not in ending:
        assert not said_of_ours(done)


#: From the end of the process on there are no new threads, as in Python 3.12.
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
def test_nothing_is_lost_where_no_thread_begins_at_the_end(collector: Collector, options: str, ending: str) -> None:
    talk = TALK.replace("SessionTracer()", f"SessionTracer({options})").replace(
        "import SessionTracer", "import Recording, SessionTracer"
    )
    done, took = run(ending, collector.url, talk=NO_MORE_THREADS + talk)
    (root,) = stored_trees(collector)
    assert root.names() == ["session.created"], done.stderr
    assert root.run.end_time is not None
    assert "conversation" in root.run.attachments
    assert not said_of_ours(done)
    assert took < EXIT_LIMIT / 3


@pytest.mark.newest
def test_a_conversation_that_begins_too_late_raises_nothing(collector: Collector) -> None:
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
def test_a_daemon_thread_still_talking_at_the_end_loses_nothing_before_it(collector: Collector) -> None:
    talking = """
import threading, time
def go_on():
    number = 0
    while True:
        number += 1
        tracer.server_event({"type": "session.updated", "event_id": f"event_{number}"})
        time.sleep(0.001)
threading.Thread(target=go_on, daemon=True).start()
time.sleep(0.3)
"""
    done, took = run(talking, collector.url)
    (root,) = stored_trees(collector)
    assert len(root.children) > 50
    assert root.run.metadata["event_count"] == len(root.children)
    assert took < EXIT_LIMIT / 3
    assert done.returncode == 0


def test_a_dead_endpoint_does_not_hold_the_process() -> None:
    # A tenth of the patience: the bound is far above what a busy machine adds to it, and below the limit.
    impatient = "from langsmith_realtime import process\nprocess.EXIT_PATIENCE = 0.5\n"
    done, took = run("tracer.close()", "http://127.0.0.1:9", talk=impatient + TALK)
    assert done.returncode == 0
    assert took < EXIT_LIMIT / 3
    assert "0123456789abcdef" not in done.stdout + done.stderr


def test_the_end_of_the_process_waits_five_seconds_for_an_endpoint() -> None:
    assert EXIT_PATIENCE == 5.0  # as docs/deploying.md says


@pytest.mark.newest
def test_a_slow_endpoint_is_waited_for(collector: Collector) -> None:
    collector.respond_with(202, times=2, delay=0.6, stored=True)
    run("tracer.close()", collector.url)
    (root,) = stored_trees(collector)
    assert root.run.end_time is not None


@pytest.mark.newest
def test_a_slow_store_is_waited_for_while_it_takes_the_recording(collector: Collector, tmp_path: Path) -> None:
    done, took = run("tracer.close()", collector.url, talk=f"FOLDER, TAKES = {str(tmp_path)!r}, 0.2\n{STORE}")
    (root,) = stored_trees(collector)
    assert root.run.metadata["recording_url"].startswith("slow://bucket/"), done.stderr
    with wave.open(str(tmp_path / "stored")) as stored:
        assert stored.getnframes() / stored.getframerate() >= 0.15
    assert took > 0.8  # several times the patience with who does nothing


@pytest.mark.newest
def test_work_comes_on_while_it_makes_its_steps_in_time() -> None:
    assert not threads.is_progressing()
    with threads.work_in_progress(step_s=0.0) as step:
        step()
        assert not threads.is_progressing()
        with threads.work_in_progress():
            assert threads.is_progressing()
    assert not threads.is_progressing()


@pytest.mark.newest
def test_a_store_that_hangs_does_not_hold_the_process(collector: Collector, tmp_path: Path) -> None:
    done, took = run("tracer.close()", collector.url, talk=f"FOLDER, TAKES = {str(tmp_path)!r}, 60\n{STORE}")
    assert done.returncode == 0, done.stderr
    assert took < 30  # the store would take 60 s for each piece
    (folder,) = journal.state_directory().iterdir()
    assert {path.suffix for path in folder.iterdir()} == {".jsonl", ".raw", ".wav"}

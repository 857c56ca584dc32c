"""How processes end: what was recorded is sent before the interpreter goes, and a dead endpoint holds nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from langsmith_realtime.collector import Collector
from tests.talking import stored_trees

ROOT = Path(__file__).parents[1]
TALK = """
from langsmith_realtime import SessionTracer
from langsmith_realtime.testing import tone
tracer = SessionTracer()
tracer.server_event({"type": "session.created", "event_id": "event_0", "session": {}})
tracer.record_user_audio(tone(1000, 0.1))
"""


def run(code: str, endpoint: str, *, timeout: float = 60) -> tuple[subprocess.CompletedProcess[str], float]:
    """A process of its own with LangSmith's settings; what it printed and how long it took beyond starting."""
    environment = {
        **os.environ,
        "LANGSMITH_ENDPOINT": endpoint,
        "LANGSMITH_API_KEY": "lsv2_pt_0123456789abcdef",
        "LANGSMITH_TRACING": "true",
        "PYTHONWARNINGS": "error",
    }
    code = f"{TALK}\n{code}\nimport time; print('END', time.time())"
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
        assert "Traceback" not in done.stderr


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
    assert took < 10
    assert done.returncode == 0


def test_a_dead_endpoint_does_not_hold_the_process(tmp_path: Path) -> None:
    done, took = run("tracer.close()", "http://127.0.0.1:9")
    assert done.returncode == 0
    assert took < 8  # 5 s of patience, and a slow machine
    assert "0123456789abcdef" not in done.stdout + done.stderr


def test_a_slow_endpoint_is_waited_for(collector: Collector) -> None:
    collector.respond_with(202, times=2, delay=1.5, stored=True)
    run("tracer.close()", collector.url)
    (root,) = stored_trees(collector)
    assert root.run.end_time is not None

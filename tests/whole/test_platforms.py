"""A conversation on a platform without ``fcntl``, forks and access by position: traced, recorded and recovered."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from langsmith_realtime.collector import Collector
from langsmith_realtime.journal.folder import AUDIO, DELIVERED, LINES
from langsmith_realtime.journal.recovery import DIED
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.testing import tone
from tests import ROOT
from tests.support.audio.sounds import read_wav
from tests.support.conversations import Node, stored_trees

pytestmark = [
    pytest.mark.newest,  # tests the files, not the libraries
    pytest.mark.nocover,
    pytest.mark.skipif(sys.platform != "linux", reason="makes Linux lack what Windows lacks"),
]

#: Nobody knows whether the operation arrived that was under way when its process was killed: it is sent again.
UNKNOWN = ("conflict",)
EVENTS = 20
#: A conversation of so many events and 0.5 s of each side's audio, and what the process does then.
CONVERSATION = f"""
import tests.support.windows
import sys, time
from langsmith_realtime import Recording, SessionTracer, flush
from langsmith_realtime.testing import tone
tracer = SessionTracer(thread_id="thread-1", journal=JOURNAL, recording=Recording(format=FORMAT))
tracer.server_event({{"type": "session.created", "event_id": "event_0", "session": {{"model": "gpt-realtime"}}}})
for number in range(1, {EVENTS}):
    tracer.server_event({{"type": "session.updated", "event_id": f"event_{{number}}"}})
tracer.record_user_audio(tone(1000, 0.5))
"""
STAYS = "time.sleep(60)"
ENDS = "tracer.close()\nassert flush(20)"
RECOVERS = """
import tests.support.windows
import sys
from langsmith_realtime.cli.main import main
sys.exit(main(["recover"]))
"""


@contextmanager
def process(code: str, collector: Collector) -> Iterator[subprocess.Popen[str]]:
    """A process of its own with LangSmith's settings, ended after the block."""
    settings = {
        "LANGSMITH_ENDPOINT": collector.url,
        "LANGSMITH_API_KEY": "lsv2_pt_0123456789abcdef",
        "LANGSMITH_TRACING": "true",
        "PYTHONWARNINGS": "error",
    }
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as running:
        try:
            yield running
        finally:
            running.kill()
            running.wait()


def output(code: str, collector: Collector) -> str:
    """What a process prints that is let end."""
    with process(code, collector) as running:
        said, _ = running.communicate(timeout=60)
    assert running.returncode == 0, said
    return said


def conversation(then: str, *, journal: object = None, file_format: str | None = None) -> str:
    return f"JOURNAL, FORMAT = {True if journal is None else journal!r}, {file_format!r}\n{CONVERSATION}{then}"


def journaled_folder(running: subprocess.Popen[str]) -> Path:
    """Wait until the journal has the whole conversation; its folder."""
    until = time.monotonic() + 30
    while time.monotonic() < until and running.poll() is None:
        for folder in state_directory().iterdir() if state_directory().exists() else ():
            sound = folder / AUDIO
            if sound.exists() and sound.stat().st_size == len(tone(1000, 0.5)):
                return folder
        time.sleep(0.02)
    running.kill()
    assert running.stdout is not None
    pytest.fail(f"the journal is not complete: {running.stdout.read()}")


def assert_complete(collector: Collector, root: Node) -> None:
    """Every event has its run, and the recording has every sample that the user said."""
    names = [child.run.inputs["event"]["event_id"] for child in root.children]
    assert names == [f"event_{number}" for number in range(EVENTS)]
    rate, (user, agent) = read_wav(collector.attachment(root.run.id, "conversation")[1])
    said = np.frombuffer(tone(1000, 0.5), "<i2")
    assert rate == 24_000
    first = np.flatnonzero(user)[0] - np.flatnonzero(said)[0]
    assert np.array_equal(user[first : first + len(said)], said)
    assert not agent.any()


def test_a_conversation_is_traced_and_recorded_and_leaves_no_file(collector: Collector) -> None:
    output(conversation(ENDS), collector)
    (root,) = stored_trees(collector)
    assert root.run.error is None
    assert_complete(collector, root)
    assert list(state_directory().iterdir()) == []


def test_a_killed_process_frees_its_journal_and_another_completes_the_conversation(collector: Collector) -> None:
    with process(conversation(STAYS), collector) as running:
        folder = journaled_folder(running)
        assert "its process is alive" in output(RECOVERS, collector)
        running.kill()
        running.wait()
    assert "1 completed, 0 left" in output(RECOVERS, collector)
    (root,) = stored_trees(collector, broken=UNKNOWN)
    assert root.run.error == DIED
    assert_complete(collector, root)
    assert not folder.exists()


def test_a_kept_journal_is_renamed_after_delivery(collector: Collector) -> None:
    output(conversation(ENDS, journal="keep"), collector)
    (folder,) = state_directory().iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [AUDIO, DELIVERED]
    assert not (folder / LINES).exists()


@pytest.mark.parametrize("file_format", ["flac", "opus"])
def test_a_smaller_recording_replaces_the_wav(collector: Collector, file_format: str) -> None:
    output(conversation(ENDS, file_format=file_format), collector)
    (root,) = stored_trees(collector)
    assert root.run.metadata["recording_format"] == file_format
    assert list(state_directory().iterdir()) == []

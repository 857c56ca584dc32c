"""Many conversations at once, after which the process has what it had before: `python -m bench.soak`, in small."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench.soak
from bench.soak import Footprint, open_files, soak
from langsmith_realtime import SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.journal.file import state_directory
from langsmith_realtime.live.process import process
from langsmith_realtime.testing import tone
from tests.support.conversations import trees

pytestmark = [pytest.mark.newest, pytest.mark.nocover]  # openai's send_raw


@pytest.fixture(autouse=True, scope="module")
def _nobody_else_sends() -> None:
    """What tests before these still send comes to its end first: it would come and go between two looks."""
    until = time.monotonic() + 5
    for sender in (process().sender, process().feedback):
        sender.give_up()
        for thread in threading.enumerate():
            if thread.name.startswith(sender.name):
                thread.join(max(0.0, until - time.monotonic()))


def settled() -> Footprint:
    """What the process has once nothing comes and goes of what other tests left behind."""
    has: tuple[int, int] | None = None
    for _ in range(20):
        gc.collect()
        had, has = has, (threading.active_count(), open_files())
        if had == has:
            break
        time.sleep(0.2)
    return Footprint.now()


@pytest.fixture
def allocations() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("allocations")
@pytest.mark.parametrize(
    ("count", "real_time"), [(bench.soak.THREADS, False), pytest.param(12, True, marks=pytest.mark.soak)]
)
def test_after_many_conversations_nothing_is_left_of_them(
    tracing: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, real_time: bool
) -> None:
    if not real_time:  # one in each thread, and none in the event loop, which keeps time by itself
        monkeypatch.setattr(bench.soak, "_until", lambda _: None)
    before, after, talked = soak(tmp_path, conversations=count, turns=1)
    assert before.grown_to(after) == []
    assert list(state_directory().iterdir()) == []

    roots = trees(tracing)
    assert len(roots) == 2 * count  # half of them warmed up
    for root in roots:
        assert root.run.end_time is not None
        assert "conversation" in root.run.attachments
        assert "dropped_events" not in root.metadata
        assert "dropped_audio_chunks" not in root.metadata
    assert talked.late_s > 0
    assert sum(root.metadata["event_count"] for root in roots[count:]) < talked.events  # the deltas are no runs


@pytest.mark.usefixtures("allocations")
def test_a_conversation_that_goes_on_would_be_seen(tracing: Collector) -> None:
    before, chunk = settled(), tone(440, 0.01)
    tracer = SessionTracer()
    for number in range(300):
        tracer.server_event({"type": "session.updated", "event_id": f"event_{number}", "session": {"number": number}})
        tracer.record_user_audio(chunk)
    assert flush(10)
    more = before.grown_to(Footprint.now())
    assert "1 SessionTracer" in more
    assert any(each.endswith("open files") for each in more)  # its journal, its recording
    assert any(each.endswith("kB in our modules") for each in more)
    tracer.close()


def test_what_there_is_less_of_is_not_left() -> None:
    more = Footprint(memory_mb=100, allocated_kb=100, threads=5, files=5, objects=Counter(Session=3))
    less = Footprint(memory_mb=90, allocated_kb=90, threads=4, files=4, objects=Counter(Session=2))
    assert more.grown_to(less) == []
    assert less.grown_to(more) == ["1 Session", "1 threads", "1 open files"]


def test_memory_that_is_in_use_is_known() -> None:
    before = Footprint.now()
    large, small = bytearray(50_000_000), [object() for _ in range(200_000)]
    known = {"MB", "blocks of memory"} if before.memory_mb else {"blocks of memory"}  # not everywhere
    assert _memory(before.grown_to(Footprint.now())) == known
    del large, small
    assert _memory(before.grown_to(Footprint.now())) == set()


def _memory(more: list[str]) -> set[str]:
    """What of it is memory: what another test's conversation still sends comes and goes meanwhile."""
    return {each.partition(" ")[2] for each in more} & {"MB", "blocks of memory"}

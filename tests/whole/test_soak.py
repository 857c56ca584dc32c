"""A short `bench.soak`: many conversations at once leak no resources."""

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
from bench.soak import ResourceUsage, open_files, soak
from langsmith_realtime import SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.live.process import process
from langsmith_realtime.testing import tone
from tests.support.conversations import trees

pytestmark = [pytest.mark.newest, pytest.mark.nocover]  # openai's send_raw


@pytest.fixture(autouse=True, scope="module")
def _earlier_senders_stopped() -> None:
    """Ends the sender threads of earlier tests, which would otherwise end between two measurements."""
    until = time.monotonic() + 5
    for sender in (process().sender, process().feedback):
        sender.give_up()
        for thread in threading.enumerate():
            if thread.name.startswith(sender.name):
                thread.join(max(0.0, until - time.monotonic()))


def settled() -> ResourceUsage:
    """Measures the resources once the threads and files of earlier tests are closed."""
    counts: tuple[int, int] | None = None
    for _ in range(20):
        gc.collect()
        previous, counts = counts, (threading.active_count(), open_files())
        if previous == counts:
            break
        time.sleep(0.2)
    return ResourceUsage.now()


@pytest.fixture
def allocations() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("allocations")
@pytest.mark.parametrize(
    ("count", "real_time"), [(bench.soak.THREADS, False), pytest.param(12, True, marks=pytest.mark.soak)]
)
def test_many_conversations_leak_no_resources(
    tracing: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, real_time: bool
) -> None:
    if not real_time:  # one in each thread, none in the event loop, which runs at real speed
        monkeypatch.setattr(bench.soak, "_sleep_until", lambda _: None)
    before, after, stats = soak(tmp_path, conversations=count, turns=1)
    assert before.growth_to(after) == []
    assert list(state_directory().iterdir()) == []

    roots = trees(tracing)
    assert len(roots) == 2 * count  # half of them are the warm-up
    for root in roots:
        assert root.run.end_time is not None
        assert "conversation" in root.run.attachments
        assert "dropped_events" not in root.metadata
        assert "dropped_audio_chunks" not in root.metadata
    assert stats.largest_delay_s > 0
    assert sum(root.metadata["event_count"] for root in roots[count:]) < stats.events  # deltas are not runs


@pytest.mark.usefixtures("allocations")
def test_the_resources_of_an_open_conversation_are_reported(tracing: Collector) -> None:
    before, chunk = settled(), tone(440, 0.01)
    tracer = SessionTracer()
    for number in range(300):
        tracer.server_event({"type": "session.updated", "event_id": f"event_{number}", "session": {"number": number}})
        tracer.record_user_audio(chunk)
    assert flush(10)
    growth = before.growth_to(ResourceUsage.now())
    assert "1 SessionTracer" in growth
    assert any(text.endswith("open files") for text in growth)  # its journal, its recording
    assert any(text.endswith("kB allocated by this package") for text in growth)
    tracer.close()


def test_resources_that_shrink_are_not_reported() -> None:
    more = ResourceUsage(memory_mb=100, allocated_kb=100, threads=5, files=5, objects=Counter(Session=3))
    less = ResourceUsage(memory_mb=90, allocated_kb=90, threads=4, files=4, objects=Counter(Session=2))
    assert more.growth_to(less) == []
    assert less.growth_to(more) == ["1 Session", "1 threads", "1 open files"]


def test_memory_in_use_is_measured() -> None:
    before = ResourceUsage.now()
    large, small = bytearray(50_000_000), [object() for _ in range(200_000)]
    expected = {"MB", "blocks of memory"} if before.memory_mb else {"blocks of memory"}  # not every system tells
    assert _memory(before.growth_to(ResourceUsage.now())) == expected
    del large, small
    assert _memory(before.growth_to(ResourceUsage.now())) == set()


def _memory(growth: list[str]) -> set[str]:
    """Returns the kinds of memory that grew. Other resources may belong to an earlier test that still sends."""
    return {text.partition(" ")[2] for text in growth} & {"MB", "blocks of memory"}

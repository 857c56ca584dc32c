"""Many conversations at once, after which the process has what it had before: `python -m bench.soak`, in small."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.soak import ResourceUsage, soak
from langsmith_realtime import SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.journal.file import state_directory
from langsmith_realtime.live.process import process
from langsmith_realtime.testing import tone
from tests.support.conversations import trees

pytestmark = [pytest.mark.newest, pytest.mark.unmeasured]  # openai's send_raw


@pytest.fixture(autouse=True, scope="module")
def _nobody_else_sends() -> None:
    """What tests before these still send comes to its end first: it would come and go between two looks."""
    until = time.monotonic() + 5
    for sender in (process().sender, process().feedback):
        sender.give_up()
        for thread in threading.enumerate():
            if thread.name.startswith(sender.name):
                thread.join(max(0.0, until - time.monotonic()))


@pytest.fixture
def allocations() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("allocations")
def test_after_many_conversations_nothing_is_left_of_them(tracing: Collector, tmp_path: Path) -> None:
    before, after, stats = soak(tmp_path, conversations=12, turns=1)
    assert before.growth_to(after) == []
    assert list(state_directory().iterdir()) == []

    roots = trees(tracing)
    assert len(roots) == 2 * 12  # half of them warmed up
    for root in roots:
        assert root.run.end_time is not None
        assert "conversation" in root.run.attachments
        assert "dropped_events" not in root.metadata
        assert "dropped_audio_chunks" not in root.metadata
    assert stats.largest_delay_s > 0
    assert sum(root.metadata["event_count"] for root in roots[12:]) < stats.events  # the deltas are no runs


@pytest.mark.usefixtures("allocations")
def test_a_conversation_that_goes_on_would_be_seen(tracing: Collector) -> None:
    before, chunk = ResourceUsage.now(), tone(440, 0.01)
    tracer = SessionTracer()
    for number in range(300):
        tracer.server_event({"type": "session.updated", "event_id": f"event_{number}", "session": {"number": number}})
        tracer.record_user_audio(chunk)
    assert flush(10)
    more = before.growth_to(ResourceUsage.now())
    assert "1 SessionTracer" in more
    assert any(each.endswith("open files") for each in more)  # its journal, its recording
    assert any(each.endswith("kB allocated by this package") for each in more)
    tracer.close()


def test_what_there_is_less_of_is_not_left() -> None:
    more = ResourceUsage(memory_mb=100, allocated_kb=100, threads=5, files=5, objects=Counter(Session=3))
    less = ResourceUsage(memory_mb=90, allocated_kb=90, threads=4, files=4, objects=Counter(Session=2))
    assert more.growth_to(less) == []
    assert less.growth_to(more) == ["1 Session", "1 threads", "1 open files"]


def test_memory_that_is_in_use_is_known() -> None:
    before = ResourceUsage.now()
    large, small = bytearray(50_000_000), [object() for _ in range(200_000)]
    known = {"MB", "blocks of memory"} if before.memory_mb else {"blocks of memory"}  # not everywhere
    assert _memory(before.growth_to(ResourceUsage.now())) == known
    del large, small
    assert _memory(before.growth_to(ResourceUsage.now())) == set()


def _memory(more: list[str]) -> set[str]:
    """What of it is memory: what another test's conversation still sends comes and goes meanwhile."""
    return {each.partition(" ")[2] for each in more} & {"MB", "blocks of memory"}

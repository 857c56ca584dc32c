"""LangSmith's audio player needs to know when the recording started."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

from langsmith_realtime import Recording, SessionTracer
from langsmith_realtime.collector import Collector
from tests.support.conversations import the_tree

STARTED_AT, OFFSET = "ls_audio_recording_started_at", "ls_audio_recording_start_offset_ms"


def test_a_recording_starts_with_the_root_run(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.record_user_audio(b"\x10\x20" * 2400)
    root = the_tree(tracing)
    assert root.run.attachments
    assert root.metadata[STARTED_AT] == root.run.start_time.replace(tzinfo=UTC).timestamp()
    assert root.metadata[OFFSET] == 0


def test_a_conversation_without_a_recording_has_no_start_of_one(tracing: Collector) -> None:
    with SessionTracer(recording=False) as tracer:
        tracer.record_user_audio(b"\x10\x20" * 2400)
    root = the_tree(tracing)
    assert {STARTED_AT, OFFSET}.isdisjoint(root.metadata)


def test_a_recording_in_a_store_has_its_start_too(tracing: Collector, tmp_path: Path) -> None:
    with SessionTracer(recording=Recording(directory=f"file://{tmp_path}")) as tracer:
        tracer.record_user_audio(b"\x10\x20" * 2400)
    root = the_tree(tracing)
    assert "recording_url" in root.metadata
    assert root.metadata[OFFSET] == 0

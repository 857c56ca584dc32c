"""Conversations with ``layout="turns"``: what LangSmith shows, and where the caller's own work stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from langsmith import traceable

from langsmith_realtime import SessionTracer
from langsmith_realtime.collector import Collector
from tests.support.conversations import recording_paths, recordings, the_tree, trees


def _spoken(item_id: str) -> list[dict[str, object]]:
    return [
        {"type": f"input_audio_buffer.{what}", "item_id": item_id}
        for what in ("speech_started", "speech_stopped", "committed")
    ]


def test_events_model_and_tool_runs_stand_below_their_turn(tracing: Collector) -> None:
    @traceable(run_type="tool")
    def weather(city: str) -> str:
        return f"sunny in {city}"

    call = {"id": "i1", "type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Rome"}'}
    with SessionTracer(layout="turns", recording=False) as tracer:
        tracer.server_event({"type": "session.created", "session": {"id": "s", "model": "gpt-realtime"}})
        for event in _spoken("u1"):
            tracer.server_event(event)
        tracer.server_event({"type": "response.created", "response": {"id": "r1"}})
        tracer.server_event(
            {"type": "response.done", "response": {"id": "r1", "status": "completed", "output": [call]}}
        )
        output = weather("Rome")
        tracer.client_event(
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": "c1", "output": output},
            }
        )
        tracer.server_event({"type": "response.created", "response": {"id": "r2"}})
        tracer.server_event({"type": "response.done", "response": {"id": "r2", "status": "completed", "output": []}})
        for event in _spoken("u2"):
            tracer.server_event(event)
    root = the_tree(tracing)
    assert root.names() == ["session.created", "turn", "turn"]
    first, second = root.children[1:]
    assert first.names() == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "response.created",
        "response.done",
        "response.created",
        "response.done",
    ]
    assert first["response.created"].names() == ["model"]
    assert first["response.done"].names() == ["weather"]
    assert first["weather"].metadata["tool_call_id"] == "c1"
    assert second.names() == [
        f"input_audio_buffer.{what}" for what in ("speech_started", "speech_stopped", "committed")
    ]
    assert first.metadata["thread_id"] == root.metadata["thread_id"]
    assert first.run.end_time is not None


def test_a_frame_that_is_no_event_stands_in_the_turn_that_is_open(tracing: Collector) -> None:
    with SessionTracer(layout="turns", recording=False) as tracer:
        tracer.server_event("no JSON")
        for event in _spoken("u1"):
            tracer.server_event(event)
        tracer.server_event("no JSON either")
    root = the_tree(tracing)
    assert root.names() == ["malformed_frame", "turn"]
    turn = root["turn"]
    assert turn.names()[-1] == "malformed_frame"
    assert turn.run.end_time is not None
    assert turn.run.end_time >= turn["malformed_frame"].run.start_time


@pytest.mark.parametrize("path", recording_paths(), ids=lambda path: path.stem)
def test_a_recording_has_the_same_runs_in_turns_as_flat(path: Path, tracing: Collector) -> None:
    for layout in ("flat", "turns"):
        with SessionTracer(layout=layout, thread_id=layout, recording=False) as tracer:
            for frame in recordings()[path.stem]:
                (tracer.server_event if frame["dir"] == "server" else tracer.client_event)(frame["event"])
    flat, turns = sorted(trees(tracing), key=lambda tree: str(tree.metadata["thread_id"]))
    inner = [run for child in turns.children for run in (child.children if child.run.name == "turn" else [child])]
    assert [node.shape() for node in inner] == [node.shape() for node in flat.children]

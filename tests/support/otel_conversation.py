"""A conversation of one question, one tool call and one interrupted answer, as frames for a SessionTracer."""

from __future__ import annotations

from typing import Any

from langsmith_realtime import SessionTracer

SESSION = {
    "type": "session.created",
    "session": {
        "id": "sess_1",
        "model": "gpt-realtime",
        "instructions": "Be brief.",
        "audio": {
            "input": {"turn_detection": {"type": "server_vad"}, "transcription": {"model": "whisper-1"}},
            "output": {"voice": "marin"},
        },
    },
}
CALL = {
    "id": "item_call",
    "type": "function_call",
    "name": "look_up",
    "call_id": "call_1",
    "arguments": '{"city": "Paris"}',
    "status": "completed",
}
USAGE = {
    "total_tokens": 130,
    "input_tokens": 100,
    "output_tokens": 30,
    "input_token_details": {
        "cached_tokens": 40,
        "text_tokens": 60,
        "audio_tokens": 40,
        "cached_tokens_details": {"text_tokens": 30, "audio_tokens": 10},
    },
    "output_token_details": {"text_tokens": 10, "audio_tokens": 20},
}


def speaks(tracer: SessionTracer, words: str = "How warm is it in Paris?", item_id: str = "item_user") -> None:
    """The user says something, and the server transcribes it."""
    for event in (
        {"type": "input_audio_buffer.speech_started", "item_id": item_id},
        {"type": "input_audio_buffer.speech_stopped", "item_id": item_id},
        {"type": "input_audio_buffer.committed", "item_id": item_id, "previous_item_id": None},
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": item_id,
            "content_index": 0,
            "transcript": words,
        },
    ):
        tracer.server_event(event)


def begins(tracer: SessionTracer, response_id: str) -> None:
    tracer.server_event({"type": "response.created", "response": {"id": response_id, "status": "in_progress"}})


def calls(tracer: SessionTracer, response_id: str = "resp_1", call: dict[str, Any] | None = None) -> None:
    """The response announces a call; it is not done yet."""
    call = CALL if call is None else call
    tracer.server_event({"type": "response.output_item.done", "response_id": response_id, "item": call})


def ends(tracer: SessionTracer, response_id: str, *output: dict[str, Any], **fields: Any) -> None:
    response = {"id": response_id, "status": "completed", "output": list(output), "usage": USAGE, **fields}
    tracer.server_event({"type": "response.done", "response": response})


def answers(tracer: SessionTracer, call_id: str = "call_1", output: str = "21 degrees") -> None:
    """The application sends a call's result, and the server accepts it."""
    item = {"id": f"result_{call_id}", "type": "function_call_output", "call_id": call_id, "output": output}
    tracer.client_event({"type": "conversation.item.create", "item": item})
    tracer.server_event({"type": "conversation.item.done", "item": item})


def says(tracer: SessionTracer, response_id: str, words: str, item_id: str = "item_answer") -> dict[str, Any]:
    """The agent says something; returns the item for ``response.done``."""
    where = {"response_id": response_id, "item_id": item_id, "content_index": 0}
    tracer.server_event({"type": "response.output_audio_transcript.delta", **where, "delta": words})
    tracer.server_event({"type": "response.output_audio_transcript.done", **where, "transcript": words})
    content = [{"type": "output_audio", "transcript": words}]
    return {"id": item_id, "type": "message", "role": "assistant", "content": content, "status": "completed"}


def hold(tracer: SessionTracer) -> None:
    """A whole conversation: a question, a call, its result, and an answer."""
    tracer.server_event(SESSION)
    speaks(tracer)
    begins(tracer, "resp_1")
    calls(tracer)
    ends(tracer, "resp_1", CALL)
    answers(tracer)
    tracer.client_event({"type": "response.create"})
    begins(tracer, "resp_2")
    ends(tracer, "resp_2", says(tracer, "resp_2", "It is 21 degrees."))

"""A conversation of one question, one tool call and an answer, as frames for a SessionTracer or over a connection."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

from langsmith_realtime import SessionTracer, flush, wrap_realtime
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn
from tests.support.conversations import async_client
from tests.support.otlp_receiver import Providers

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


def says(
    tracer: SessionTracer, response_id: str, words: str, item_id: str = "item_answer", audio: bytes = b""
) -> dict[str, Any]:
    """The agent says something, with PCM16 or without sound; returns the item for ``response.done``."""
    where = {"response_id": response_id, "item_id": item_id, "content_index": 0}
    if audio:
        sound = base64.b64encode(audio).decode()
        tracer.server_event({"type": "response.output_audio.delta", **where, "delta": sound})
    tracer.server_event({"type": "response.output_audio_transcript.delta", **where, "delta": words})
    tracer.server_event({"type": "response.output_audio_transcript.done", **where, "transcript": words})
    content = [{"type": "output_audio", "transcript": words}]
    return {"id": item_id, "type": "message", "role": "assistant", "content": content, "status": "completed"}


def hold(tracer: SessionTracer, audio: bytes = b"") -> None:
    """A whole conversation: a question, a call, its result, and an answer, which may have sound."""
    tracer.server_event(SESSION)
    speaks(tracer)
    begins(tracer, "resp_1")
    calls(tracer)
    ends(tracer, "resp_1", CALL)
    answers(tracer)
    tracer.client_event({"type": "response.create"})
    begins(tracer, "resp_2")
    ends(tracer, "resp_2", says(tracer, "resp_2", "It is 21 degrees.", audio=audio))


def run(providers: Providers, held: Callable[[SessionTracer], None] = hold, **options: Any) -> None:
    """Holds a conversation without LangSmith, and waits until everything has arrived."""
    otel = options.pop("otel", None) or providers.otel()
    with SessionTracer(**{"otel": otel, "langsmith": False, "thread_id": "call-7", **options}) as tracer:
        held(tracer)
    arrive(providers)


def arrive(providers: Providers) -> None:
    assert flush(60), "the spans were not exported within 60 s"
    providers.flush()


SCRIPT = Script([Turn(Call("look_up", {"city": "Paris"}, call_id="call_1")), Turn(Say("Sunny."))], speed=0)


def run_asyncio(providers: Providers, work: Callable[[], Any], **options: Any) -> None:
    """Holds a conversation with wrap_realtime; ``work`` is called while the call is carried out."""

    async def main(server: RealtimeServer) -> None:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw, otel=providers.otel(), langsmith=False, **options) as connection,
        ):
            await connection.response.create()
            done = 0
            while done < 2:
                event = await asyncio.wait_for(connection.recv(), 10)  # another task parses the event
                if event.type != "response.done":
                    continue
                done += 1
                if done == 1:
                    result = work()
                    if asyncio.iscoroutine(result):
                        await result
                    item: Any = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
                    await connection.conversation.item.create(item=item)
                    await connection.response.create()

    with RealtimeServer(SCRIPT) as server:
        asyncio.run(main(server))
    arrive(providers)

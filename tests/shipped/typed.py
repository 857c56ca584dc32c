"""A user's program for strict type checkers, which read it beside the installed package; it is never run.

``assert_type`` says which type a user must see. A ``type: ignore`` marks what a checker must refuse: both checkers
report the ones that nothing needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

from langsmith.run_trees import RunTree
from openai import AsyncOpenAI, OpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection, RealtimeConnection
from openai.types.realtime import RealtimeServerEvent

import langsmith_realtime
from langsmith_realtime import Keep, Price, Recording, SessionTracer, flush, wrap_realtime
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn


async def asynchronous(client: AsyncOpenAI, call_id: str) -> None:
    async with (
        client.realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw, thread_id=call_id) as connection,
    ):
        plain: AsyncRealtimeConnection = connection
        assert_type(connection.langsmith, SessionTracer)
        assert_type(connection.langsmith.trace_id, str | None)
        assert_type(connection.langsmith.url, str | None)
        connection.record_user_audio(b"\0\0", at=0.0)
        connection.record_agent_audio(b"\0\0")
        connection.played("item_1", 250.0)
        connection.silence(seconds=20)
        async for event in connection:
            assert_type(event, RealtimeServerEvent)
            if event.type == "response.function_call_arguments.done":
                with connection.tool(event.call_id):
                    await plain.response.create()
        connection.played(250.0, "item_1")  # type: ignore[arg-type]
        connection.no_such_method()  # type: ignore[attr-defined]


def synchronous(client: OpenAI, parent: RunTree) -> None:
    with client.realtime.connect(model="gpt-realtime") as raw, wrap_realtime(raw, parent=parent) as connection:
        plain: RealtimeConnection = connection
        assert_type(connection.langsmith, SessionTracer)
        for event in connection:
            assert_type(event, RealtimeServerEvent)
        with connection.tool("call_1"):
            plain.response.create()


def redact(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


def worth_keeping(numbers: Mapping[str, Any]) -> bool:
    return bool(numbers.get("error"))


def a_socket_of_ones_own(received: str, sent: Mapping[str, Any]) -> str | None:
    with SessionTracer(
        thread_id="call-1",
        project_name="calls",
        tags=["phone"],
        metadata={"carrier": "a"},
        enabled=True,
        recording=Recording(format="flac", sample_rate=16_000),
        max_audio_seconds=60,
        is_agent_speaking=lambda: False,
        journal="keep",
        prices={"my-deployment": Price(text_input=4)},
        feedback=["voice_to_voice_ms"],
        keep=Keep(errors=True, share=0.1),
        redact=redact,
        transcripts=False,
        user_format="g711_ulaw",
        agent_format={"type": "audio/pcm", "rate": 16_000},
    ) as tracer:
        assert_type(tracer, SessionTracer)
        tracer.server_event(received)
        tracer.client_event(sent)
    SessionTracer(keep=worth_keeping, parent={"langsmith-trace": "..."}, recording=False)
    SessionTracer(treads=1)  # type: ignore[call-arg]
    SessionTracer(journal="always")  # type: ignore[arg-type]
    return tracer.run_id


def the_rest() -> None:
    assert_type(langsmith_realtime.__version__, str)
    assert_type(flush(timeout=10), bool)
    script = Script([Turn(Call("lookup_weather", {"city": "Paris"})), Turn(Say("Sunny."))])
    with RealtimeServer(script) as server:
        assert_type(server.base_url, str)

"""The whole trace of a short conversation, without ids and times, as a snapshot.

``UPDATE_SNAPSHOTS=1 pytest tests/whole/test_snapshot.py`` writes the snapshot; read the difference before a commit.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from langsmith import traceable

from langsmith_realtime import wrap_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn, tone
from tests.support.conversations import async_client, the_tree
from tests.support.normalised_traces import normalised

SNAPSHOT = Path(__file__).parent / "snapshots" / "conversation.json"
SCRIPT = Script(
    [
        Turn(
            Call("lookup_weather", {"city": "Paris"}, call_id="call_1"), Call("remember", "not JSON", call_id="call_2")
        ),
        Turn(Say("It is sunny in Paris.", audio=tone(440, 0.2))),
    ],
    speed=0,
    seed=7,
)


@traceable(run_type="tool")
def lookup_weather(city: str) -> str:
    return f"sunny in {city}"


async def talk(server: RealtimeServer) -> None:
    async with (
        async_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw, thread_id="thread-1", tags=["shop"], metadata={"shop": 7}) as connection,
    ):
        tool = {"type": "function", "name": "lookup_weather", "parameters": {"type": "object"}}
        session: Any = {"type": "realtime", "instructions": "Be brief.", "tools": [tool]}
        await connection.session.update(session=session)
        user: Any = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Weather in Paris?"}],
        }
        await connection.conversation.item.create(item=user)
        await connection.response.create()
        async for event in connection:
            if event.type == "rate_limits.updated" and not responses_due(connection):
                break
            if event.type == "response.done" and event.response.output and event.response.output[0].type != "message":
                for call_id, output in (("call_1", lookup_weather("Paris")), ("call_2", "remembered")):
                    result: Any = {"type": "function_call_output", "call_id": call_id, "output": output}
                    await connection.conversation.item.create(item=result)
                await connection.response.create()
                connection.__dict__["responses_due"] = 2


def responses_due(connection: Any) -> int:
    """Counts a response as ended, and returns how many are still due. Rate limits follow each response."""
    connection.__dict__["responses_due"] = connection.__dict__.get("responses_due", 1) - 1
    due: int = connection.__dict__["responses_due"]
    return due


def test_a_short_conversation_has_the_trace_of_the_snapshot(tracing: Collector) -> None:
    with RealtimeServer(SCRIPT) as server:
        asyncio.run(talk(server))
    trace = json.dumps(normalised(the_tree(tracing)), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(trace, "utf-8")
    assert trace == SNAPSHOT.read_text("utf-8")

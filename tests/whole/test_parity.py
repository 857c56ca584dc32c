"""One conversation in every way of running gives one trace, but for the differences that this file states."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from langsmith_realtime import wrap_openai_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Call, Close, RealtimeServer, Say, Script, Turn, silence, speech_like, tone
from tests import ROOT
from tests.support.conversations import Node, async_client, sync_client, the_tree, tracing_to
from tests.support.normalised_traces import normalised
from tests.support.surfaces import (
    After,
    Client,
    Frame,
    Part,
    as_text,
    asynchronously,
    dispatch,
    iterate,
    iterate_sync,
    synchronously,
    through_a_tracer,
)

#: A spoken question, a tool call, a spoken answer, and the server's farewell.
SCRIPT = Script(
    [
        Turn(Call("lookup_weather", {"city": "Paris"}, call_id="call_1")),
        Turn(Say("It is sunny in Paris.", audio=tone(440, 1.0)), then=[Close(1000)]),
    ],
    user_transcripts=["What is the weather?"],
    session={"audio": {"input": {"transcription": {"model": "whisper-1"}}}},
    speed=0,
    seed=7,
)


def append(pcm: bytes) -> Frame:
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}


ASK: Frame = {"type": "response.create"}
RESULT: Frame = {
    "type": "conversation.item.create",
    "item": {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
}
#: The client's frames after the first event of each type.
REPLIES: dict[str, list[Frame]] = {
    "session.created": [
        {"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief."}},
        append(speech_like("What is the weather?", 0.3)),
        append(silence(0.6)),
    ],
    "response.done": [RESULT, ASK],
}
PART = Part(replies=[After(kind, frames) for kind, frames in REPLIES.items()])

Way = Callable[[RealtimeServer, Client, Path], None]


def by(talk: Any) -> Way:
    return lambda server, client, _: talk(server, client)


def with_a_wrapped_client(server: RealtimeServer, client: Client, _: Path) -> None:
    with wrap_openai_realtime(sync_client(server)).realtime.connect(model="gpt-realtime") as connection:
        for event in connection:
            for frame in client.receive(event.to_dict(warnings=False)):
                connection.send(frame)  # type: ignore[arg-type]


def with_a_wrapped_asynchronous_client(server: RealtimeServer, client: Client, _: Path) -> None:
    async def talk() -> None:
        traced = wrap_openai_realtime(async_client(server))
        connection = await traced.realtime.connect(model="gpt-realtime").enter()
        async for event in connection:
            for frame in client.receive(event.to_dict(warnings=False)):
                await connection.send(frame)  # type: ignore[arg-type]

    asyncio.run(talk())


#: Plays the part of `PART` with openai's client alone.
APP = """
import json, sys
from openai import OpenAI

url, replies = json.loads(sys.argv[1])
client = OpenAI(api_key="test", base_url=url, websocket_base_url=url.replace("http", "ws", 1))
with client.realtime.connect(model="gpt-realtime") as connection:
    for event in connection:
        for frame in replies.pop(event.type, []):
            connection.send(frame)
"""


def without_code(server: RealtimeServer, _: Client, folder: Path) -> None:
    (folder / "app.py").write_text(APP)
    arguments = json.dumps([server.base_url, REPLIES])
    command = ["-m", "langsmith_realtime.cli.main", "run", sys.executable, "app.py", arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *command], cwd=folder, env=environment, check=True, timeout=60)


#: Metadata of the root that may differ: a tracer does not see how its socket was closed.
STATED = {"SessionTracer": {"closed_by", "close_code"}}
WAYS: dict[str, Way] = {
    "raw, asynchronous": by(asynchronously(iterate)),
    "raw, synchronous": by(synchronously(iterate_sync)),
    "dispatch_events": by(asynchronously(dispatch)),
    "SessionTracer": by(through_a_tracer(as_text)),
    "wrapped client": with_a_wrapped_client,
    "wrapped client, enter()": with_a_wrapped_asynchronous_client,
    "no code": without_code,
}
MARKS: dict[str, list[Any]] = {"dispatch_events": [pytest.mark.newest], "no code": [pytest.mark.nocover]}


def comparable(root: Node) -> Any:
    """Returns a trace without ids and times. The server is faster than speech, so words may have no time at all."""
    text = json.dumps(normalised(root)).replace(root.metadata["thread_id"], "thread")
    return json.loads(re.sub(r', "(start|end)_ms": 0', "", text))


def trace_of(way: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Node:
    """Holds the conversation in one way, and returns its trace."""
    with Collector() as collector, tracing_to(collector, monkeypatch), RealtimeServer(SCRIPT) as server:
        WAYS[way](server, Client(PART), folder)
        assert server.problems == []
        return the_tree(collector)


@pytest.mark.parametrize("way", [pytest.param(way, marks=MARKS.get(way, []), id=way) for way in WAYS])
def test_every_way_of_running_gives_the_trace_of_the_plain_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    plain = comparable(trace_of("raw, asynchronous", monkeypatch, tmp_path))
    root = trace_of(way, monkeypatch, tmp_path)
    trace = comparable(root)
    for key in STATED.get(way, ()):
        assert key not in trace["metadata"]
        del plain["metadata"][key]
    assert trace == plain
    # What the comparison leaves out, because it is in milliseconds, and what keeps it from being one of empty traces.
    asking, answer = root.find("model")
    assert answer.metadata["spoken_ms"] == 1000
    assert root["lookup_weather"].run.outputs == {"role": "tool", "content": "sunny", "tool_call_id": "call_1"}
    assert [message["role"] for message in (root.run.outputs or {})["messages"]] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert asking.run.error is answer.run.error is None
    assert sorted(root.run.attachments) == ["conversation"]

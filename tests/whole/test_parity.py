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
from dataclasses import dataclass, replace
from functools import cache
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


QUESTION = speech_like("What is the weather?", 0.3), silence(0.6)


def append(pcm: bytes) -> Frame:
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}


INSTRUCTIONS = "Be brief."
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "lookup_weather",
    "description": "Says the weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
ASK: Frame = {"type": "response.create"}
RESULT: Frame = {
    "type": "conversation.item.create",
    "item": {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
}
#: The client's frames after the first event of each type.
REPLIES: dict[str, list[Frame]] = {
    "session.created": [
        {"type": "session.update", "session": {"type": "realtime", "instructions": INSTRUCTIONS, "tools": [WEATHER]}},
        *map(append, QUESTION),
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


def with_the_agents_sdk(server: RealtimeServer, client: Client, _: Path) -> None:
    """Plays the part of `PART`: with these settings, the SDK configures the session alike, and it answers the call."""
    from agents import FunctionTool  # noqa: PLC0415 - an extra
    from agents.realtime import RealtimeAgent, RealtimeRunner  # noqa: PLC0415

    from langsmith_realtime import wrap_realtime_session  # noqa: PLC0415

    async def answer(context: Any, arguments: str) -> str:
        return str(RESULT["item"]["output"])

    async def talk() -> None:
        tool = FunctionTool(WEATHER["name"], WEATHER["description"], WEATHER["parameters"], answer)
        agent = RealtimeAgent[Any](name="Front", instructions=INSTRUCTIONS, tools=[tool])
        settings: Any = {
            "voice": "alloy",
            "input_audio_transcription": {"model": "whisper-1"},
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 200,
                "create_response": True,
                "interrupt_response": True,
            },
        }
        runner = RealtimeRunner(agent, config={"model_settings": settings, "tracing_disabled": True})
        at: Any = {"url": f"{server.url}?model=gpt-realtime", "api_key": "test"}
        async with wrap_realtime_session(await runner.run(model_config=at)) as session:
            async for event in session:
                told = event.data if event.type == "raw_model_event" else None
                if told is not None and told.type == "raw_server_event" and told.data["type"] == "session.created":
                    for pcm in QUESTION:
                        await session.send_audio(pcm)

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


@dataclass(frozen=True)
class Differences:
    """How the trace of a way differs from that of the plain connection.

    `missing`: metadata of the root that it lacks. `added`: metadata, on the root and on `model` runs, that it adds.
    `events`: runs that it may add below the root. `tools_begin_early`: the SDK carries out a call before the response
    is done, so the call's run stands below an earlier event.
    """

    missing: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()
    tools_begin_early: bool = False


UNSEEN_SOCKET = frozenset({"closed_by", "close_code"})
STATED = {
    "SessionTracer": Differences(missing=UNSEEN_SOCKET),
    "Agents SDK": Differences(
        missing=UNSEEN_SOCKET,
        added=frozenset({"agent", "agents"}),
        # The SDK asks the server for each transcribed item.
        events=frozenset({"agent_changed", "conversation.item.retrieved"}),
        tools_begin_early=True,
    ),
}
WAYS: dict[str, Way] = {
    "raw, asynchronous": by(asynchronously(iterate)),
    "raw, synchronous": by(synchronously(iterate_sync)),
    "dispatch_events": by(asynchronously(dispatch)),
    "SessionTracer": by(through_a_tracer(as_text)),
    "wrapped client": with_a_wrapped_client,
    "wrapped client, enter()": with_a_wrapped_asynchronous_client,
    "no code": without_code,
    "Agents SDK": with_the_agents_sdk,
}
MARKS: dict[str, list[Any]] = {
    "dispatch_events": [pytest.mark.newest],
    "no code": [pytest.mark.nocover],
    "Agents SDK": [pytest.mark.newest],  # tests/adapters has the tests with its oldest version
}


def comparable(root: Node, stated: Differences) -> Any:
    """Returns a trace without ids and times, and without what may differ.

    The server is faster than speech, so words may have no time at all.
    """
    text = json.dumps(normalised(without(root, stated))).replace(root.metadata["thread_id"], "thread")
    return json.loads(re.sub(r', "(start|end)_ms": 0', "", text))


def without(root: Node, stated: Differences) -> Node:
    """Returns a trace without what may differ; the runs of tools stand at the end instead of below their events."""
    hidden = stated.missing | stated.added

    def shown(node: Node) -> Node:
        metadata = {key: value for key, value in node.metadata.items() if key not in hidden}
        children = [shown(child) for child in node.children if not is_moved(child) and not is_added(child)]
        return Node(replace(node.run, extra={**node.run.extra, "metadata": metadata}), children)

    def is_moved(node: Node) -> bool:
        return stated.tools_begin_early and node.run.run_type == "tool"

    def is_added(node: Node) -> bool:
        return node.run.name in stated.events

    tools = [shown(tool) for tool in root.find("lookup_weather") if is_moved(tool)]
    trace = shown(root)
    trace.children += tools
    return trace


def trace_of(way: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Node:
    """Holds the conversation in one way, and returns its trace."""
    with Collector() as collector, tracing_to(collector, monkeypatch), RealtimeServer(SCRIPT) as server:
        WAYS[way](server, Client(PART), folder)
        assert server.problems == []
        return the_tree(collector)


@cache
def plain_trace() -> Node:
    """The trace of the plain connection."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return trace_of("raw, asynchronous", monkeypatch, Path())


@pytest.mark.parametrize("way", [pytest.param(way, marks=MARKS.get(way, []), id=way) for way in WAYS])
def test_every_way_of_running_gives_the_trace_of_the_plain_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    stated, plain, root = STATED.get(way, Differences()), plain_trace(), trace_of(way, monkeypatch, tmp_path)
    assert stated.added <= root.metadata.keys() | next(root.find("model")).metadata.keys()
    assert stated.missing <= plain.metadata.keys()
    assert not stated.missing & root.metadata.keys()
    if stated.tools_begin_early:
        assert root["response.output_item.done"].names() == plain["response.done"].names() == ["lookup_weather"]
    assert comparable(root, stated) == comparable(plain, stated)
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

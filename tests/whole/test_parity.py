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
from langsmith import traceable

from langsmith_realtime import wrap_openai_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import (
    Call,
    Close,
    McpCall,
    RealtimeServer,
    Say,
    Script,
    Turn,
    silence,
    speech_like,
    tone,
)
from tests import ROOT
from tests.support.conversations import Node, async_client, sync_client, the_tree, tracing_to
from tests.support.normalised_traces import normalised
from tests.support.snippets import text_of
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

#: A spoken question, a tool call, an answer that the client cuts, an event that the server refuses, an answer with a
#: call of an MCP tool that is not cut, and the server's farewell.
SCRIPT = Script(
    [
        Turn(Call("lookup_weather", {"city": "Paris"}, call_id="call_1")),
        Turn(Say("It is sunny in Paris.", audio=tone(440, 1.0))),
        Turn(
            McpCall("find", {"q": "umbrella"}, output="one shop", server_label="shops", seconds=0),
            Say("Goodbye.", audio=tone(440, 0.5)),
            then=[Close(1000)],
        ),
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
#: How much of the first answer the client says it has played.
HEARD_MS = 0
CUT: Frame = {"type": "conversation.item.truncate", "content_index": 0, "audio_end_ms": HEARD_MS}
REFUSED: Frame = {"type": "conversation.item.delete", "item_id": "no_such_item"}
#: The client's frames after an event: its type, and how many events of that type there were.
REPLIES: dict[str, list[Frame]] = {
    "session.created 1": [
        {"type": "session.update", "session": {"type": "realtime", "instructions": INSTRUCTIONS, "tools": [WEATHER]}},
        *map(append, QUESTION),
    ],
    "response.done 1": [RESULT, ASK],
    "response.done 2": [REFUSED, CUT, ASK],
}


@traceable
def look_up(city: str) -> str:
    return "sunny"


def work(events: list[Frame]) -> list[Frame]:
    """Carries the tool out, once the call is complete."""
    look_up("Paris")
    return []


def naming_the_item(frames: list[Frame]) -> Callable[[list[Frame]], list[Frame]]:
    """The frames, with the item of the latest answer in the truncation."""

    def named(events: list[Frame]) -> list[Frame]:
        item_id = events[-1]["response"]["output"][0]["id"]
        return [{**frame, "item_id": item_id} if frame is CUT else frame for frame in frames]

    return named


PART = Part(
    replies=[
        After("session.created", REPLIES["session.created 1"]),
        After("response.output_item.done", work),
        After("response.done", REPLIES["response.done 1"]),
        After("response.done", naming_the_item(REPLIES["response.done 2"]), nth=2),
    ]
)

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
    from agents.realtime import RealtimeAgent, RealtimeModelSendRawMessage, RealtimeRunner  # noqa: PLC0415

    from langsmith_realtime import wrap_realtime_session  # noqa: PLC0415

    async def answer(context: Any, arguments: str) -> str:
        return look_up("Paris")

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
            answers = 0
            async for event in session:
                told = event.data if event.type == "raw_model_event" else None
                if told is None or told.type != "raw_server_event":
                    continue
                frames: list[Frame] = []
                if told.data["type"] == "session.created":
                    for pcm in QUESTION:
                        await session.send_audio(pcm)
                elif told.data["type"] == "response.done":
                    answers += 1
                    frames = naming_the_item([REFUSED, CUT])([told.data]) if answers == 2 else []
                elif told.data["type"] == "conversation.item.retrieved" and answers == 2:
                    frames = [ASK]  # after the SDK has read the cut item, because the server closes after the answer
                for frame in frames:
                    message: Any = {"type": frame["type"], "other_data": frame}
                    await session.model.send_event(RealtimeModelSendRawMessage(message=message))

    asyncio.run(talk())


#: Plays the part of `PART` with openai's client alone.
APP = """
import json, sys
from langsmith import traceable
from openai import OpenAI

@traceable
def look_up(city):
    return "sunny"

url, replies = json.loads(sys.argv[1])
client = OpenAI(api_key="test", base_url=url, websocket_base_url=url.replace("http", "ws", 1))
kinds = []
with client.realtime.connect(model="gpt-realtime") as connection:
    for event in connection:
        kinds.append(event.type)
        if event.type == "response.output_item.done" and event.item.type == "function_call":
            look_up("Paris")
        for frame in replies.get(f"{event.type} {kinds.count(event.type)}", []):
            if frame["type"] == "conversation.item.truncate":
                frame["item_id"] = event.response.output[0].id
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

    `missing`: metadata of the root that it lacks. `added`: metadata, on the root and on `model` runs, and keys of
    messages that it adds. `events`: runs that it may add below the root.
    """

    missing: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()


OF_THE_AGENTS_SDK = "OpenAI Agents SDK: `wrap_realtime_session`"
STATED = {
    "`SessionTracer`": Differences(missing=frozenset({"closed_by", "close_code"})),  # it does not see the socket
    OF_THE_AGENTS_SDK: Differences(
        added=frozenset({"agent", "agents"}),
        # The SDK asks the server for each transcribed item.
        events=frozenset({"agent_changed", "conversation.item.retrieved"}),
    ),
}
#: The ways, by the rows of the table in docs/ways.md. What follows a row's name tells two ways of it apart.
WAYS: dict[str, Way] = {
    "`wrap_realtime`, asynchronous client": by(asynchronously(iterate)),
    "`wrap_realtime`, synchronous client": by(synchronously(iterate_sync)),
    "`wrap_realtime`, `on()` and `dispatch_events()`": by(asynchronously(dispatch)),
    "`SessionTracer`": by(through_a_tracer(as_text)),
    "`wrap_openai_realtime(client)`": with_a_wrapped_client,
    "`wrap_openai_realtime(client)`, enter()": with_a_wrapped_asynchronous_client,
    OF_THE_AGENTS_SDK: with_the_agents_sdk,
    "no code: `langsmith-realtime run`, `LANGSMITH_REALTIME_AUTO`": without_code,
}
PLAIN = next(iter(WAYS))
MARKS: dict[str, list[Any]] = {
    "`wrap_realtime`, `on()` and `dispatch_events()`": [pytest.mark.newest],
    OF_THE_AGENTS_SDK: [pytest.mark.newest],  # tests/adapters has the tests with its oldest version
    "no code: `langsmith-realtime run`, `LANGSMITH_REALTIME_AUTO`": [pytest.mark.nocover],
}


# What each way captures, by the columns of the table.


def captures_events(root: Node) -> None:
    assert root.names()[0] == "session.created"
    assert root.names().count("response.done") == 3
    assert not [name for name in root.names() if name.endswith(".delta")]
    assert str(root["error"].run.error).startswith("item_delete_invalid_item_id")
    assert root.metadata["errors"] == 1


def captures_what_you_send(root: Node) -> None:
    assert root.run.inputs["instructions"] == "Be brief."
    roles = [message["role"] for message in (root.run.outputs or {})["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "assistant", "tool", "assistant"]


def captures_the_microphone(root: Node) -> None:
    assert root.metadata["recording_source_user"] == "sent"
    assert root.metadata["user_talk_s"] > 0  # measured in the recording
    assert sorted(root.run.attachments) == ["conversation"]


def captures_what_was_heard(root: Node) -> None:
    asking, cut, last = root.find("model")
    assert "spoken_ms" not in asking.metadata
    assert (cut.metadata["spoken_ms"], cut.metadata["heard_ms"]) == (1000, HEARD_MS)  # from the truncation
    assert cut.metadata["was_interrupted"] is True
    assert last.metadata["spoken_ms"] == 500
    assert last.metadata["heard_ms"] < 500  # from the playback model: the conversation ends before it is played
    assert root.metadata["recording_source"] == "playback_model"


def captures_tools(root: Node) -> None:
    call = root["lookup_weather"]
    assert call.run.inputs == {"city": "Paris"}
    assert call.run.outputs == {"role": "tool", "content": "sunny", "tool_call_id": "call_1"}
    assert call.shape() == ("lookup_weather", ["look_up"])
    assert call.run.error is None
    assert call.run.end_time is not None
    assert call.run.end_time > call.run.start_time
    by_server = root["find"]
    assert (by_server.run.run_type, by_server.run.inputs, by_server.metadata["server_label"]) == (
        "tool",
        {"q": "umbrella"},
        "shops",
    )
    assert (by_server.run.outputs or {})["content"] == "one shop"


def captures_no_agents(root: Node) -> None:
    assert not {"agents", "guardrails_tripped", "approvals"} & set(root.metadata)


def captures_the_agent(root: Node) -> None:
    assert root.metadata["agents"] == ["Front"]
    assert [model.metadata["agent"] for model in root.find("model")] == ["Front"] * 3


AGENTS = "agents, guardrails, approvals"
CELLS: dict[str, Callable[[Node], None]] = {
    "events": captures_events,
    "what you send": captures_what_you_send,
    "microphone": captures_the_microphone,
    "what was heard": captures_what_was_heard,
    "tools": captures_tools,
    AGENTS: captures_no_agents,
}


def comparable(root: Node, stated: Differences) -> Any:
    """Returns a trace without ids and times, and without what may differ.

    The server is faster than speech, so words may have no time at all.
    """
    text = json.dumps(normalised(without(root, stated))).replace(root.metadata["thread_id"], "thread")
    text = re.sub(r"\bmcp_[A-Za-z0-9]{8,}", "the MCP call", text)
    return json.loads(re.sub(r', "(start|end)_ms": 0', "", text))


def without(root: Node, stated: Differences) -> Node:
    """Returns a trace without what may differ."""
    hidden = stated.missing | stated.added

    def told(outputs: Any) -> Any:
        if not isinstance(outputs, dict) or not isinstance(outputs.get("messages"), list):
            return outputs
        messages = [{key: value for key, value in each.items() if key not in hidden} for each in outputs["messages"]]
        return {**outputs, "messages": messages}

    def shown(node: Node) -> Node:
        metadata = {key: value for key, value in node.metadata.items() if key not in hidden}
        children = [shown(child) for child in node.children if child.run.name not in stated.events]
        if "event_count" in metadata:
            metadata["event_count"] -= sum(node.names().count(name) for name in stated.events - {"agent_changed"})
        return Node(
            replace(node.run, outputs=told(node.run.outputs), extra={**node.run.extra, "metadata": metadata}), children
        )

    return shown(root)


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
        return trace_of(PLAIN, monkeypatch, Path())


@pytest.mark.parametrize("way", [pytest.param(way, marks=MARKS.get(way, []), id=way) for way in WAYS])
def test_every_way_of_running_gives_the_trace_of_the_plain_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    stated, plain, root = STATED.get(way, Differences()), plain_trace(), trace_of(way, monkeypatch, tmp_path)
    assert stated.added <= root.metadata.keys() | next(root.find("model")).metadata.keys()
    assert stated.missing <= plain.metadata.keys()
    assert not stated.missing & root.metadata.keys()
    assert comparable(root, stated) == comparable(plain, stated)
    cells = CELLS | ({AGENTS: captures_the_agent} if way == OF_THE_AGENTS_SDK else {})
    for captured in cells.values():
        captured(root)


def test_each_row_and_each_column_of_the_table_has_its_tests() -> None:
    lines = [line for line in text_of("docs/ways.md").splitlines() if line.startswith("|")]
    columns, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert [cell.strip() for cell in columns[1:]] == list(CELLS)
    named = {row[0] for row in rows}
    assert named == {way.removesuffix(", enter()") for way in WAYS}

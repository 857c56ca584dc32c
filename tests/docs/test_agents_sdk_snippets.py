"""Runs the snippets of README and docs about the OpenAI Agents SDK."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.agents_sdk import model_config as local  # isort: split

from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession
from websockets.asyncio.server import serve

from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Close, Pause, RealtimeServer, Say, Script, Turn, silence, speech_like
from tests.support.conversations import the_tree
from tests.support.phone import CALL_SID, STREAM_SID, Phone
from tests.support.snippets import run, snippet

SERVER = Script(on_connect=[Pause(0.2), Close(1000)])


class Runner(RealtimeRunner):
    """A runner whose sessions connect to a local server."""

    def __init__(self, server: RealtimeServer) -> None:
        detection = {"type": "server_vad", "silence_duration_ms": 100}
        config: Any = {"model_settings": {"turn_detection": detection}}
        super().__init__(RealtimeAgent[Any](name="Front"), config=config)
        self._server = server

    async def run(self, *, model_config: Any = None, **_: Any) -> RealtimeSession:
        merged: Any = {**local(self._server), **(model_config or {})}
        return await super().run(model_config=merged)


@pytest.mark.parametrize(
    "source",
    [
        snippet("README.md", "wrap_realtime_session"),
        snippet("docs/migrating.md", "wrap_realtime_session"),
    ],
)
def test_the_lines_that_wrap_a_session(tracing: Collector, source: str) -> None:
    with RealtimeServer(SERVER) as server:
        run(source, runner=Runner(server), call_id="call-1")
    root = the_tree(tracing)
    assert root.names()[0] == "session.created"
    assert root.run.error is None


def test_the_lines_that_listen_to_a_session(tracing: Collector) -> None:
    from agents.realtime.openai_realtime import OpenAIRealtimeWebSocketModel  # noqa: PLC0415

    with RealtimeServer(SERVER) as server:
        agent = RealtimeAgent[Any](name="Front")
        session = RealtimeSession(OpenAIRealtimeWebSocketModel(), agent, None, model_config=local(server))
        run(snippet("docs/ways.md", "tracer.listener"), session=session, call_id="call-1")
    root = the_tree(tracing)
    assert root.names()[0] == "session.created"
    assert root.metadata["thread_id"] == "call-1"


def test_the_lines_that_answer_a_call_of_twilios(tracing: Collector) -> None:
    phone = Phone(speech_like("Hello", 0.3) + silence(0.9))

    async def converse(server: RealtimeServer) -> None:
        names = run(snippet("docs/telephony.md", "async def answer"), runner=Runner(server))
        async with serve(names["answer"], "127.0.0.1", 0) as bridge:
            await phone.call(next(iter(bridge.sockets)).getsockname()[1])

    with RealtimeServer(Script([Turn(Say("Hi.", seconds=3))], speed=16)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert root.metadata["thread_id"] == CALL_SID
    assert root.metadata["stream_sid"] == STREAM_SID
    assert root.metadata["recording_source"] == "played_positions"
    assert "ignored_positions" not in root.metadata
    (answer,) = root.find("model")
    assert answer.metadata["heard_ms"] == pytest.approx(phone.heard_ms[-1], abs=400)

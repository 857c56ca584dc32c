"""A session of the Agents SDK that is traced without code, and that the application wraps once it is entered."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.support.agents_sdk import listeners, model_config, outputs, until_answers  # isort: split

from agents.realtime import RealtimeAgent, RealtimeSession
from agents.realtime.openai_realtime import OpenAIRealtimeWebSocketModel
from langsmith import get_current_run_tree

from langsmith_realtime import SessionTracer, wrap_realtime_session
from langsmith_realtime.adapters.no_code import agents_sessions, import_hook
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import RealtimeServer, Say, Script, Turn
from tests.support.conversations import Node, the_tree, trees

SCRIPT = Script([Turn(Say("Hi.")), Turn(Say("Yes."))], speed=0)


class Session(RealtimeSession):
    """A session as it is in a process that is traced without code."""


agents_sessions.patch(Session)


@pytest.fixture(autouse=True)
def without_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment asks for tracing without code."""
    monkeypatch.setattr(import_hook, "_asking", {import_hook.ENVIRONMENT})


def session_at(server: RealtimeServer) -> Session:
    agent = RealtimeAgent[Any](name="Front")
    return Session(OpenAIRealtimeWebSocketModel(), agent, None, model_config=model_config(server))


async def say(session: RealtimeSession, words: str) -> None:
    await session.send_message(words)
    await until_answers(session)


def said(root: Node) -> list[str]:
    return [message["content"] for message in outputs(root)["messages"]]


def test_a_wrap_before_the_first_event_continues_the_trace_with_its_own_options(tracing: Collector) -> None:
    lines: list[tuple[str, str]] = []

    async def converse(server: RealtimeServer) -> str:
        session: Any = await session_at(server).enter()
        trace_id: str = session.langsmith.trace_id
        wrapped = wrap_realtime_session(
            session, thread_id="call-7", tags=["phone"], on_message=lambda *line: lines.append(line)
        )
        async with wrapped as same:
            assert same is session
            assert (session.langsmith.trace_id, session.langsmith.thread_id) == (trace_id, "call-7")
            assert str(getattr(get_current_run_tree(), "id", None)) == trace_id
            with pytest.raises(ValueError, match="must not be traced already"):
                wrap_realtime_session(session)
            await say(session, "Hello")
        assert get_current_run_tree() is None
        await say(session, "Still there?")  # the session is open, and its trace has ended
        await session.close()
        assert listeners(session) == []
        return trace_id

    with RealtimeServer(SCRIPT) as server:
        trace_id = asyncio.run(converse(server))
    root = the_tree(tracing)
    assert (str(root.run.id), root.metadata["thread_id"], root.run.tags) == (trace_id, "call-7", ["phone"])
    assert root.names().count("session.created") == 1
    assert "missed" not in root.metadata
    assert said(root) == ["Hello", "Hi."]
    assert lines == [("user", "Hello"), ("assistant", "Hi.")]
    assert root["model"].metadata["agent"] == "Front"


def test_the_options_of_a_later_wrap_are_ignored_with_one_warning(
    tracing: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    async def converse(server: RealtimeServer) -> None:
        async with session_at(server) as session:
            await say(session, "Hello")
            async with wrap_realtime_session(session, tags=["late"], metadata={"a": 1}):
                await say(session, "Still there?")

    with RealtimeServer(SCRIPT) as server, caplog.at_level(logging.WARNING, "langsmith_realtime"):
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert root.run.tags == []
    assert said(root) == ["Hello", "Hi.", "Still there?", "Yes."]
    (warning,) = [record.message for record in caplog.records if record.name.startswith("langsmith_realtime")]
    assert warning.startswith("wrap_realtime_session: metadata, tags came too late")


@pytest.mark.parametrize("environment", ["true", "false"])
def test_the_wrap_decides_whether_the_session_is_traced(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", environment)
    is_on = environment == "true"

    async def converse(server: RealtimeServer) -> None:
        async with session_at(server) as session:
            async with wrap_realtime_session(session, enabled=not is_on) as wrapped:
                assert wrapped.langsmith.enabled is not is_on
                await say(session, "Hello")
            await say(session, "Still there?")

    with RealtimeServer(SCRIPT) as server:
        asyncio.run(converse(server))
    assert len(trees(tracing)) == (0 if is_on else 1)


def test_a_session_that_a_tracer_listens_to_is_traced_once(
    tracing: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    async def converse(server: RealtimeServer) -> None:
        session = session_at(server)
        with SessionTracer(thread_id="mine") as tracer, tracer.listener(session):
            async with session:
                await say(session, "Hello")

    with RealtimeServer(SCRIPT) as server:
        asyncio.run(converse(server))
    assert the_tree(tracing).metadata["thread_id"] == "mine"
    assert "not traced" not in caplog.text

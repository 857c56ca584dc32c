"""Conversations of the OpenAI Agents SDK with a local server. Skips the test file without the SDK, but not on CI."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if find_spec("agents") is None:
    assert not os.environ.get("CI"), "openai-agents is not installed"
    pytest.skip("openai-agents is not installed", allow_module_level=True)

from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession

from langsmith_realtime import wrap_realtime_session
from langsmith_realtime.testing import RealtimeServer
from tests.support.conversations import Node

if TYPE_CHECKING:
    from langsmith_realtime.adapters.agents_sdk import TracedSession


def model_config(server: RealtimeServer, **more: Any) -> Any:
    """The configuration with which the SDK's model connects to the local server."""
    return {"url": f"{server.url}?model=gpt-realtime", "api_key": "test", **more}


async def session_of(
    server: RealtimeServer, agent: RealtimeAgent[Any], *, context: Any = None, config: Any = None, **more: Any
) -> RealtimeSession:
    """A session of the agent that is not entered."""
    runner = RealtimeRunner(agent, config=config)
    return await runner.run(context=context, model_config=model_config(server, **more))


@asynccontextmanager
async def traced(
    server: RealtimeServer, agent: RealtimeAgent[Any], *, config: Any = None, tracker: Any = None, **options: Any
) -> AsyncIterator[TracedSession]:
    """A traced session of the agent."""
    more = {} if tracker is None else {"playback_tracker": tracker}
    session = await session_of(server, agent, config=config, **more)
    async with wrap_realtime_session(session, **options) as entered:
        yield entered


async def until(session: RealtimeSession, kind: str, times: int = 1) -> list[str]:
    """Iterates until the event of that type has arrived so many times; returns the types of all events."""
    seen: list[str] = []
    async with asyncio.timeout(20):
        async for event in session:
            seen.append(event.type)
            if seen.count(kind) == times:
                return seen
    raise AssertionError(f"the session ended before {times} {kind}: {seen}")


async def until_answers(session: RealtimeSession, times: int = 1) -> None:
    """Iterates until so many responses are done."""
    await until(session, "agent_end", times)


def listeners(session: RealtimeSession) -> list[Any]:
    """Who listens to the session's model."""
    model: Any = session.model
    return list(model._listeners)


def outputs(node: Node) -> dict[str, Any]:
    """The outputs of a run. Fails if it has none."""
    assert node.run.outputs is not None
    return node.run.outputs

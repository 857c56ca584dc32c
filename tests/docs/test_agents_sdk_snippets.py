"""Runs the snippets of README and docs about the OpenAI Agents SDK."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.agents_sdk import model_config  # isort: split

from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession

from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Close, Pause, RealtimeServer, Script
from tests.support.conversations import the_tree
from tests.support.snippets import run, snippet

SERVER = Script(on_connect=[Pause(0.2), Close(1000)])


class Runner(RealtimeRunner):
    """A runner whose sessions connect to a local server."""

    def __init__(self, server: RealtimeServer) -> None:
        super().__init__(RealtimeAgent[Any](name="Front"))
        self._server = server

    async def run(self, **_: Any) -> RealtimeSession:
        return await super().run(model_config=model_config(self._server))


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
        session = RealtimeSession(OpenAIRealtimeWebSocketModel(), agent, None, model_config=model_config(server))
        run(snippet("docs/ways.md", "tracer.listener"), session=session, call_id="call-1")
    root = the_tree(tracing)
    assert root.names()[0] == "session.created"
    assert root.metadata["thread_id"] == "call-1"

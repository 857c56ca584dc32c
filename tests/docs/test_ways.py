"""Runs the snippets of docs/ways.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, OpenAI

from langsmith_realtime import wrap_openai_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import RealtimeServer, Replay
from tests.support.conversations import sync_client, the_tree, trees
from tests.support.snippets import run, snippet

#: A server that says hello and hangs up, because the snippets only receive.
GREETING = Replay([{"dir": "server", "event": {"type": "session.created", "event_id": "e_1", "session": {}}}])


def connecting_to(monkeypatch: pytest.MonkeyPatch, kind: Any, **settings: Any) -> None:
    """Have the snippets' clients of a class connect where these settings say."""
    made = kind.__init__

    def make(client: Any, **given: Any) -> None:
        made(client, **{"api_key": "test", **given, **settings})

    monkeypatch.setattr(kind, "__init__", make)


def test_a_wrapped_client_traces_the_conversation_of_the_snippet(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = snippet("docs/ways.md", "wrap_openai_realtime(AsyncOpenAI()")
    with RealtimeServer(GREETING) as server:
        urls = {"base_url": server.base_url, "websocket_base_url": server.websocket_base_url}
        connecting_to(monkeypatch, AsyncOpenAI, **urls)
        run(source)
    root = the_tree(tracing)
    assert (root.names(), root.run.tags) == (["session.created"], ["shop"])


def test_the_options_of_a_connection_follow_from_its_arguments(tracing: Collector) -> None:
    source = snippet("docs/ways.md", "def options_of")
    with RealtimeServer(GREETING) as server:
        client: OpenAI = run(source, client=sync_client(server), wrap_openai_realtime=wrap_openai_realtime)["client"]
        for arguments in ({"model": "gpt-realtime"}, {"model": "gpt-realtime", "extra_query": {"call_id": "no"}}):
            with client.realtime.connect(**arguments) as connection:
                assert [event.type for event in connection] == ["session.created"]
    assert len(trees(tracing)) == 2
    options_of: Callable[..., Any] = run(source, client=sync_client(server), wrap_openai_realtime=wrap_openai_realtime)[
        "options_of"
    ]
    assert options_of({"call_id": "rtc_1"}) == {"thread_id": "rtc_1"}


def test_azures_client_is_traced(tracing: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    source = snippet("docs/ways.md", "AsyncAzureOpenAI(")
    with RealtimeServer(GREETING) as server:
        url = f"ws://127.0.0.1:{server.port}/openai"
        connecting_to(monkeypatch, AsyncAzureOpenAI, websocket_base_url=url)
        run(source, endpoint="https://example.openai.azure.com", key="test")
    assert the_tree(tracing).metadata["ls_provider"] == "azure"


def test_headers_name_the_run_below_which_the_conversation_is_traced(tracing: Collector) -> None:
    source = snippet("docs/ways.md", "trace_headers()", "def call")
    with RealtimeServer(GREETING) as server:
        run(source, client=sync_client(server))["call"]()
    assert the_tree(tracing).names() == ["realtime_session"]

"""The snippets of docs/otel.md run unchanged, and do what the page says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from openai.resources.realtime.realtime import RealtimeConnection
from opentelemetry import trace

from langsmith_realtime.testing import Close, RealtimeServer, Say, Script, Turn
from tests.support import otel_conversation as talk
from tests.support.conversations import async_client, sync_client
from tests.support.otlp_receiver import OtlpReceiver, Providers
from tests.support.snippets import run, snippet

pytestmark = pytest.mark.newest


class RequestingClient:
    """A client whose new connections request a response, for a snippet that only receives."""

    def __init__(self, server: RealtimeServer) -> None:
        self.realtime = self
        self._client = sync_client(server)

    @contextmanager
    def connect(self, *, model: str) -> Iterator[RealtimeConnection]:
        with self._client.realtime.connect(model=model) as connection:
            connection.response.create()
            yield connection


@pytest.fixture(autouse=True)
def _global_provider(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the global provider for a test; OpenTelemetry takes only the first one of a process."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", providers.tracer)


def test_one_option_shows_the_conversation_with_the_global_provider(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    with RealtimeServer(Script(on_connect=[Close(1000)])) as server:
        run(snippet("docs/otel.md", "otel=True"), client=async_client(server))
    talk.arrive(providers)
    assert receiver.the_span("realtime_session").attributes["langsmith_realtime.close_code"] == 1000


def test_the_options_of_otel(providers: Providers, receiver: OtlpReceiver) -> None:
    script = Script([Turn(Say("Hello."), then=[Close(1000)])], speed=8)
    with RealtimeServer(script) as server:
        run(snippet("docs/otel.md", "Otel("), client=RequestingClient(server))
    talk.arrive(providers)
    response = receiver.the_span("chat")
    assert response.attributes["openinference.span.kind"] == "LLM"
    assert "Hello." in json.loads(response.attributes["gen_ai.output.messages"])[0]["parts"][0]["content"]

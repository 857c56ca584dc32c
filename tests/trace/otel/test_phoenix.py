"""Phoenix, started for real: what its API says of a conversation that was sent to it. `make phoenix` runs this."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from langsmith_realtime import Otel, SessionTracer, flush
from tests import ROOT
from tests.support import otel_conversation as talk
from tests.support.phoenix import Phoenix, phoenix
from tests.support.pictures import Line, check_picture, tree

pytestmark = [pytest.mark.beside, pytest.mark.timeout(300)]

COMMAND = ROOT / ".venv-phoenix/bin/phoenix"
SPANS = 5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    """Phoenix with two projects, each with one conversation: with content, and without."""
    assert COMMAND.exists(), "Phoenix is not installed; run `make phoenix`"
    with phoenix(COMMAND, tmp_path_factory.mktemp("phoenix")) as running:
        for project, thread, content in (("voice-agent", "call-7", True), ("silent-agent", "call-8", False)):
            provider = running.provider(project)
            otel = Otel(tracer_provider=provider, preset="phoenix", content=content)
            with SessionTracer(otel=otel, langsmith=False, thread_id=thread) as tracer:
                talk.hold(tracer)
            assert flush(20)
            provider.shutdown()
        yield running


@pytest.fixture(scope="module")
def spans(server: Phoenix) -> list[dict[str, Any]]:
    """The spans of the conversation with content."""
    return server.spans("voice-agent", SPANS)


def attributes(spans: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The attributes of the last span of a kind."""
    return dict([span for span in spans if span["span_kind"] == kind][-1]["attributes"])


def test_the_conversation_is_a_session_with_tokens_and_words(server: Phoenix, spans: list[dict[str, Any]]) -> None:
    (session,) = server.get("/v1/projects/voice-agent/sessions")["data"]
    assert session["session_id"] == "call-7"
    assert len(session["traces"]) == 1
    counts = {side: session[f"token_count_{side}"] for side in ("prompt", "completion", "total")}
    assert counts == {"prompt": 200, "completion": 60, "total": 260}
    shown = "sessions(first: 9) { edges { node { sessionId firstInput { value } lastOutput { value } } } }"
    answer = server.query(f"{{ projects {{ edges {{ node {{ name {shown} }} }} }} }}")
    projects = {each["node"]["name"]: each["node"]["sessions"]["edges"] for each in answer["projects"]["edges"]}
    (row,) = (each["node"] for each in projects["voice-agent"])
    assert row["firstInput"]["value"] == "How warm is it in Paris?"
    assert row["lastOutput"]["value"] == "It is 21 degrees."


def test_every_span_has_a_kind_and_its_place(spans: list[dict[str, Any]]) -> None:
    def tokens(span: dict[str, Any]) -> str:
        given = span["attributes"]
        total = given.get("llm.token_count.total")
        audio = given.get("llm.token_count.prompt_details.audio"), given.get("llm.token_count.completion_details.audio")
        return "" if total is None else f"{total} ({audio[0]} + {audio[1]} of sound)"

    lines = [
        Line(span["context"]["span_id"], span["parent_id"], span["name"], (span["span_kind"], tokens(span)))
        for span in spans
    ]
    check_picture("phoenix", tree(lines, ("name", "kind", "tokens")))


def test_a_response_has_its_messages_and_its_cached_tokens(spans: list[dict[str, Any]]) -> None:
    response = attributes(spans, "LLM")
    assert response["llm.input_messages.0.message.role"] == "tool"
    assert response["llm.input_messages.0.message.content"] == "21 degrees"
    assert response["llm.output_messages.0.message.role"] == "assistant"
    assert response["llm.output_messages.0.message.content"] == "It is 21 degrees."
    assert (response["output.value"], response["output.mime_type"]) == ("It is 21 degrees.", "text/plain")
    assert response["input.mime_type"] == "application/json"
    assert response["llm.token_count.prompt_details.cache_read"] == 40
    calling = next(span for span in spans if span["span_kind"] == "LLM")["attributes"]
    called = "llm.output_messages.0.message.tool_calls.0.tool_call.function"
    assert calling[f"{called}.name"] == "look_up"
    assert "Paris" in calling[f"{called}.arguments"]
    tool = attributes(spans, "TOOL")
    assert (tool["tool.name"], tool["output.value"]) == ("look_up", "21 degrees")


def test_without_content_the_session_has_its_tokens_and_no_words(server: Phoenix) -> None:
    silent = server.spans("silent-agent", SPANS)
    assert "Paris" not in str(silent)
    assert "21 degrees" not in str(silent)
    (session,) = server.get("/v1/projects/silent-agent/sessions")["data"]
    assert session["token_count_total"] == 260


@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_logs_and_metrics_are_refused(server: Phoenix, signal: str) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(f"{server.base_url}/v1/{signal}", b"", headers, method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 405
    refused.value.close()

"""Azure Monitor: docs/examples/otel_azure.py with Azure's real distro, and what an ingestion endpoint gets of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn
from tests import ROOT
from tests.support.azure_ingestion import AzureIngestion, Item, azure_ingestion
from tests.support.pictures import Line, check_picture, tree

pytestmark = pytest.mark.beside

SCRIPT = Script([Turn(Call("look_up", {"city": "Paris"}, call_id="call_1")), Turn(Say("Sunny."))], speed=0)
#: Runs the example, which asks a question by voice, then a conversation that fails, inside a request to a web server.
#: The process ends as every program does: nothing is flushed here.
PROGRAM = """
import asyncio, runpy, sys
from langsmith_realtime.testing import speech_like
example = runpy.run_path("docs/examples/otel_azure.py")
question = speech_like("How is the weather in Paris?", 0.3)
asyncio.run(example["main"](question, url=sys.argv[1], api_key="test"))

from opentelemetry import trace
from langsmith_realtime import Otel, SessionTracer
from tests.support import otel_conversation as talk
with trace.get_tracer("app").start_as_current_span("POST /calls", kind=trace.SpanKind.SERVER):
    with SessionTracer(otel=Otel(preset="azure"), langsmith=False) as tracer:
        talk.begins(tracer, "resp_1")
        details = {"error": {"code": "server_error", "message": "try again"}}
        talk.ends(tracer, "resp_1", status="failed", status_details=details)
"""


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureIngestion]:
    """What Azure gets of the example."""
    with azure_ingestion() as ingestion, RealtimeServer(SCRIPT) as server:
        environment = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "DD_", "LANGSMITH_"))
            },
            **ingestion.environment,
            "OTEL_TRACES_SAMPLER": "always_on",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
            "PYTHONPATH": str(ROOT),
            "LANGSMITH_REALTIME_DIR": str(tmp_path_factory.mktemp("state")),
        }
        command = [sys.executable, "-c", PROGRAM, f"{server.url}?model=gpt-realtime"]
        subprocess.run(command, check=True, cwd=ROOT, env=environment, timeout=100)
        yield ingestion


def spans_of(ingested: AzureIngestion) -> list[Item]:
    """The example's dependencies, by their starts."""
    spans = ingested.of("RemoteDependencyData")
    trace_id = spans[0].tags["ai.operation.id"]
    return [item for item in spans if item.tags["ai.operation.id"] == trace_id]


def dependency(ingested: AzureIngestion, name: str) -> Item:
    """The example's last dependency with a name."""
    return [item for item in spans_of(ingested) if item.name == name][-1]


def test_the_conversation_arrives_as_a_tree_of_dependencies(ingested: AzureIngestion) -> None:
    spans = spans_of(ingested)
    assert {item.parent_id for item in spans} <= {None, *(item.data["id"] for item in spans)}, "no orphan"
    # The session's tag since 1.8.11 of the distro, before that a property.
    assert len({item.tags.get("ai.session.id") or item.properties["session.id"] for item in spans}) == 1
    lines = [
        Line(
            item.data["id"],
            item.parent_id,
            item.name,
            ("dependency", item.data["type"], "succeeded" if item.data["success"] else "failed"),
        )
        for item in spans
    ]
    logged = [item for item in ingested.of("MessageData") if item.properties.get("logger_name") == "shop"]
    lines += [Line(f"log {index}", item.parent_id, item.name, ("trace",)) for index, item in enumerate(logged)]
    check_picture("azure", tree(lines, ("name", "table", "type", "success")))


def test_a_failure_inside_a_request_is_a_failed_dependency_and_an_exception_with_its_text(
    ingested: AzureIngestion,
) -> None:
    (request,) = ingested.of("RequestData")
    below = [item for item in ingested.of("RemoteDependencyData") if item not in spans_of(ingested)]
    session, response = below
    assert (session.name, session.parent_id, response.parent_id) == (
        "realtime_session",
        request.data["id"],
        session.data["id"],
    )
    assert not response.data["success"]
    assert "error.type" not in response.properties, "docs/otel/azure.md says that it is lost"
    assert response.properties["error.message"] == "failed: server_error: try again"
    (exception,) = ingested.of("ExceptionData")
    assert exception.parent_id == response.data["id"]
    (told,) = exception.data["exceptions"]
    assert told["typeName"] == "server_error"
    assert "try again" in told["message"]


def test_responses_are_calls_of_a_model_with_tokens_and_words(ingested: AzureIngestion) -> None:
    response = dependency(ingested, "chat gpt-realtime")
    assert (response.data["type"], response.data["target"]) == ("GenAI | openai", "openai")
    assert int(response.properties["gen_ai.usage.output_tokens"]) > 0
    assert "Sunny." in response.properties["gen_ai.output.messages"]
    assert response.properties["microsoft.gen_ai.main_agent.name"] == "clerk", "the distro copies it from the session"
    assert "Paris" in dependency(ingested, "execute_tool look_up").properties["gen_ai.tool.call.result"]


def test_the_agents_own_logging_stands_in_the_span_of_its_tool(ingested: AzureIngestion) -> None:
    (logged,) = [item for item in ingested.of("MessageData") if item.properties.get("logger_name") == "shop"]
    assert logged.name == "looking up the weather"
    assert logged.parent_id == dependency(ingested, "execute_tool look_up").data["id"]


def test_events_are_traces_with_their_type_in_the_text(ingested: AzureIngestion) -> None:
    own = [item for item in ingested.of("MessageData") if item.properties.get("logger_name") == "langsmith_realtime"]
    texts = [item.name for item in own]
    for kind in ("started", "session.created", "response.done", "ended"):
        assert any(f'"type": "{kind}"' in text for text in texts), kind
    names = [item.name for item in ingested.of("MessageData")]
    assert "gen_ai.audio.first_audio" in names, "an event of a span is a trace, too"


def test_metrics_arrive(ingested: AzureIngestion) -> None:
    arrived = {item.name: item.data["metrics"][0] for item in ingested.of("MetricData")}
    duration = arrived["gen_ai.client.operation.duration"]
    assert duration["count"] >= 1
    assert duration["max"] >= duration["min"] >= 0
    for name in ("gen_ai.client.token.usage", "langsmith_realtime.tokens", "langsmith_realtime.tool_calls"):
        assert arrived[name]["value"] > 0, name

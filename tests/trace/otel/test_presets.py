"""What each preset adds for its backend, and the tables of docs/otel, which are made of what arrived."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from langsmith_realtime import SessionTracer
from langsmith_realtime.options.otel import PRESETS
from langsmith_realtime.trace.otel.spans.presets import PRESETS as TABLES
from tests import ROOT
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers
from tests.support.pictures import Line, check_picture, tree

pytestmark = pytest.mark.newest

#: The attributes by which a backend shows a span, for the picture of its page. The pictures for Azure and Phoenix are
#: made of what these backends received, in test_azure.py and test_phoenix.py.
PICTURED = {
    "genai": ("gen_ai.operation.name", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
    "langsmith": ("langsmith.span.kind", "langsmith.metadata.thread_id"),
    "langfuse": ("langfuse.observation.type", "langfuse.session.id"),
    "braintrust": ("braintrust.span_attributes.type", "braintrust.tags"),
    "datadog": ("gen_ai.operation.name", "session.id"),
    "honeycomb": ("gen_ai.operation.name", "gen_ai.agent.name", "gen_ai.usage.output_tokens"),
}
KINDS = {"realtime_session": "session", "user_speech": "user speech", "chat": "response", "execute_tool": "tool"}


def kind_of(name: str) -> str:
    return KINDS[name.split(maxsplit=1)[0]]


def hold(tracer: SessionTracer) -> None:
    """A conversation whose answer has sound."""
    talk.hold(tracer, audio=bytes(4800))


def received(
    providers: Providers, receiver: OtlpReceiver, preset: str, *, content: bool = False, **options: Any
) -> dict[str, dict[str, Any]]:
    """The attributes of the last span of each kind."""
    receiver.all_spans.clear()
    otel = providers.otel(preset=preset, content=content)
    talk.run(providers, hold, **{"otel": otel, "tags": ["vip"], "feedback": ["turns", "heard_share"], **options})
    return {kind_of(span.name): span.attributes for span in receiver.spans()}


def test_every_preset_has_a_table() -> None:
    assert set(TABLES) == set(PRESETS)


def test_a_preset_shows_no_content_unless_it_is_asked_for(providers: Providers, receiver: OtlpReceiver) -> None:
    for preset in PRESETS:
        told = str(received(providers, receiver, preset))
        for word in ("Paris", "21 degrees", "How warm"):
            assert word not in told, preset


def test_langsmith_gets_the_thread_on_every_span_and_usage_without_double_counts(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    spans = received(providers, receiver, "langsmith", content=True)
    assert {attributes["langsmith.metadata.thread_id"] for attributes in spans.values()} == {"call-7"}
    assert {kind: attributes["langsmith.span.kind"] for kind, attributes in spans.items()} == {
        "session": "chain",
        "user speech": "chain",
        "response": "llm",
        "tool": "tool",
    }
    usage = json.loads(spans["response"]["langsmith.usage_metadata"])
    details = usage["input_token_details"]
    assert usage["input_tokens"] == sum(details.values()) == 100
    assert json.loads(spans["response"]["gen_ai.completion"])["messages"][0]["content"] == "It is 21 degrees."
    assert spans["tool"]["gen_ai.completion"] == "21 degrees"
    assert spans["session"]["langsmith.span.tags"] == "vip"


def test_langfuse_gets_parts_of_the_usage_that_add_up(providers: Providers, receiver: OtlpReceiver) -> None:
    spans = received(providers, receiver, "langfuse", content=True)
    details = json.loads(spans["response"]["langfuse.observation.usage_details"])
    assert details.pop("total") == 130 == sum(details.values())
    assert details["input_cached_audio"] == 10
    assert spans["response"]["langfuse.observation.completion_start_time"].endswith("Z")
    assert {attributes["langfuse.session.id"] for attributes in spans.values()} == {"call-7"}


def test_phoenix_gets_a_session_kinds_tokens_and_messages_that_it_does_not_drop(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    spans = received(providers, receiver, "phoenix", content=True)
    assert {kind: attributes["openinference.span.kind"] for kind, attributes in spans.items()} == {
        "session": "AGENT",
        "user speech": "CHAIN",
        "response": "LLM",
        "tool": "TOOL",
    }
    response = spans["response"]
    assert response["session.id"] == "call-7"
    assert response["llm.token_count.prompt"] == 100
    assert response["llm.token_count.prompt_details.audio"] == 40
    assert response["llm.token_count.completion_details.audio"] == 20
    (message,) = json.loads(response["gen_ai.output.messages"])
    assert message["finish_reason"] == "stop"


def test_braintrust_gets_input_output_metadata_metrics_tags_and_scores(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    spans = received(providers, receiver, "braintrust", content=True)
    session, response = spans["session"], spans["response"]
    assert json.loads(session["braintrust.input_json"])["messages"][0]["content"] == "How warm is it in Paris?"
    history = json.loads(session["braintrust.metadata"])["conversation_history"]
    assert [message["role"] for message in history] == ["user", "assistant", "tool", "assistant"]
    assert json.loads(session["braintrust.metrics"])["tokens"] == 260
    assert "duration" in json.loads(session["braintrust.metrics"])
    assert session["braintrust.tags"] == ["vip"]
    (name, score), *others = json.loads(session["braintrust.scores"]).items()
    assert (name, others) == ("heard_share", [])
    assert 0 <= score <= 1, "Braintrust refuses other scores"
    assert json.loads(session["braintrust.metrics"])["turns"] == 1
    told = json.loads(session["braintrust.metadata"])
    assert (told["total_tokens"], told["turns"]) == (260, 1)
    assert told["duration_s"] >= 0
    metrics = json.loads(response["braintrust.metrics"])
    assert (metrics["prompt_tokens"], metrics["prompt_cached_tokens"], metrics["completion_tokens"]) == (100, 40, 30)
    assert metrics["time_to_first_token"] < 5
    assert json.loads(response["braintrust.metadata"])["conversation_history"]


def test_braintrust_lists_the_call_of_a_remote_caller_with_the_callers_own_search_below_its_tool(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    def held(tracer: SessionTracer) -> None:
        tracer.server_event(talk.SESSION)
        talk.begins(tracer, "resp_1")
        talk.calls(tracer)
        with providers.tracer.get_tracer("app").start_as_current_span("search documents"):
            pass
        talk.ends(tracer, "resp_1", talk.CALL)
        talk.answers(tracer)

    remote = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    headers = {"traceparent": f"00-{remote[0]}-{remote[1]}-01"}
    talk.run(providers, held, otel=providers.otel(preset="braintrust"), parent=headers)
    tree = ("realtime_session", [("chat gpt-realtime", [("execute_tool look_up", ["search documents"])])])
    assert receiver.shape() == [tree]
    session = receiver.the_span("realtime_session")
    assert (session.parent_id, session.links) == ("", [remote])
    assert {span.trace_id for span in receiver.all_spans} == {session.trace_id}


def test_azure_gets_the_legacy_system_and_the_text_of_an_error(providers: Providers, receiver: OtlpReceiver) -> None:
    def fails(tracer: SessionTracer) -> None:
        tracer.server_event(talk.SESSION)
        talk.begins(tracer, "resp_1")
        details = {"error": {"code": "server_error", "message": "try again"}}
        talk.ends(tracer, "resp_1", status="failed", status_details=details)

    talk.run(providers, fails, otel=providers.otel(preset="azure", content=True))
    response = receiver.the_span("chat")
    assert response.attributes["gen_ai.system"] == "openai"
    assert response.attributes["session.id"] == "call-7"
    assert "try again" in response.attributes["error.message"], "Azure loses the description of the status"


@pytest.mark.parametrize("preset", PRESETS)
def test_the_table_of_the_presets_page_is_what_arrives(
    preset: str, providers: Providers, receiver: OtlpReceiver
) -> None:
    options = {"thread_id": None, "metadata": {"agent_name": "clerk"}} if preset == "honeycomb" else {}
    plain = received(providers, receiver, "genai", content=True, **options)
    spans = received(providers, receiver, preset, content=True, **options)
    rows = []
    for kind in KINDS.values():
        for name, value in spans[kind].items():
            if name.startswith("langsmith_realtime."):
                continue
            if preset != "genai" and name in plain[kind]:
                continue
            rows.append(f"| {kind} | `{name}` | {_shown(value)} |")
    table = "\n".join(["| span | attribute | for example |", "|---|---|---|", *sorted(rows)])
    page = ROOT / "docs/otel" / f"{preset}.md"
    if os.environ.get("UPDATE_OTEL_PAGES"):
        _write(page, table)
    written = page.read_text("utf-8")
    place = written.find("| span | attribute |")
    assert _timeless(written[place:].strip()) == _timeless(table), f"run with UPDATE_OTEL_PAGES=1 to write {page.name}"
    if preset in PICTURED:
        check_picture(preset, _picture(receiver, PICTURED[preset]))


def _picture(receiver: OtlpReceiver, names: tuple[str, ...]) -> str:
    lines = []
    for span in receiver.spans():
        values = [span.attributes.get(name, "") for name in names]
        cells = tuple(", ".join(value) if isinstance(value, list) else str(value) for value in values)
        lines.append(Line(span.span_id, span.parent_id, span.name, cells))
    return tree(lines, ("span", *names))


def _timeless(table: str) -> list[str]:
    """The rows of a table, without times and ids that the package made; long values are cut where no time matters."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\d+\.\d+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "0", table)
    return [re.sub(r"(\| `.{40}).*…", r"\1…", row) for row in text.splitlines()]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = json.dumps(value) if isinstance(value, list) else str(value)
    text = text if len(text) <= 60 else f"{text[:57]}…"
    return f"`{text}`".replace("|", "\\|") if text else ""


def _write(page: Path, table: str) -> None:
    text = page.read_text("utf-8") if page.exists() else ""
    start = text.find("| span | attribute |")
    head = (text if start < 0 else text[:start]).rstrip()
    page.write_text(f"{head}\n\n{table}\n", "utf-8")

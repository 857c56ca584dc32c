"""What LangSmith reads from the runs: parameters, cost, thread, and the link."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from langsmith import Client

from langsmith_realtime import Price, SessionTracer
from langsmith_realtime.delivery.langsmith_client.links import openable
from tests.support.conversations import the_tree

if TYPE_CHECKING:
    from langsmith_realtime.collector import Collector

USAGE = {
    "input_tokens": 30,
    "output_tokens": 10,
    "input_token_details": {
        "text_tokens": 10,
        "audio_tokens": 20,
        "cached_tokens": 8,
        "cached_tokens_details": {"audio_tokens": 8},
    },
    "output_token_details": {"audio_tokens": 10},
}
SESSION = {
    "id": "s",
    "instructions": "Greet.",
    "temperature": 0.8,
    "max_output_tokens": 4096,
    "tool_choice": "auto",
    "output_modalities": ["audio"],
}


def respond(tracer: SessionTracer, response_id: str) -> None:
    response = {"id": response_id, "status": "completed", "conversation_id": "c"}
    tracer.server_event({"type": "response.created", "response": response})
    tracer.server_event({"type": "response.done", "response": {**response, "usage": USAGE}})


def test_a_model_run_has_the_keys_that_langsmith_reads(tracing: Collector) -> None:
    own = Price(text_input=1, audio_input=2, cached_audio_input=0.5, text_output=3, audio_output=4)
    with SessionTracer(model="mine", prices={"mine": own}) as tracer:
        tracer.server_event({"type": "session.created", "session": SESSION})
        respond(tracer, "r1")
        tracer.server_event({"type": "session.updated", "session": {"id": "s", "instructions": "Say goodbye."}})
        respond(tracer, "r2")
    root = the_tree(tracing)
    first, second = (run for run in tracing.runs() if run.name == "model")
    metadata = first.metadata
    assert (metadata["ls_model_name"], metadata["ls_temperature"], metadata["ls_max_tokens"]) == ("mine", 0.8, 4096)
    assert metadata["ls_invocation_params"] == {"tool_choice": "auto", "output_modalities": ["audio"]}
    usage = metadata["usage_metadata"]
    assert usage["input_token_details"] == {"text": 10, "audio": 12, "cache_read": 8}
    assert (usage["input_cost"], usage["output_cost"], usage["total_cost"]) == (38e-6, 40e-6, 78e-6)
    assert (first.inputs or {}).keys() == {"messages"}
    assert (second.inputs or {})["instructions"] == "Say goodbye."
    assert root.metadata["session_changes"] == 1
    assert (root.run.inputs or {})["instructions"] == "Greet."


def test_an_unlimited_number_of_tokens_is_no_limit(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.server_event({"type": "session.created", "session": {"id": "s", "max_response_output_tokens": "inf"}})
        respond(tracer, "r1")
    the_tree(tracing)
    (run,) = (run for run in tracing.runs() if run.name == "model")
    assert not {"ls_max_tokens", "ls_temperature", "ls_invocation_params", "ls_model_name"} & run.metadata.keys()


def test_hidden_inputs_hide_other_instructions(collector: Collector) -> None:
    client = Client(api_url=collector.url, api_key="k", hide_inputs=True)
    with SessionTracer(client=client, enabled=True) as tracer:
        tracer.server_event({"type": "session.created", "session": SESSION})
        respond(tracer, "r1")
        tracer.server_event({"type": "session.updated", "session": {"id": "s", "instructions": "Say goodbye."}})
        respond(tracer, "r2")
    the_tree(collector)
    assert "goodbye" not in repr([(run.inputs, run.outputs, run.metadata) for run in collector.runs()])


def test_a_thread_without_a_name_is_a_uuid7(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        assert uuid.UUID(tracer.thread_id).version == 7
        assert tracer.thread_id != tracer.run_id
    with SessionTracer(thread_id="mine") as tracer:
        assert tracer.thread_id == "mine"


def test_no_setting_of_the_machine_is_sent(tracing: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_REALTIME_KEEP_DAYS", "31")
    monkeypatch.setenv("LANGCHAIN_WHATEVER", "/home/somebody")
    with SessionTracer(metadata={"LANGSMITH_OWN": "mine"}) as tracer:
        tracer.server_event({"type": "session.created", "session": SESSION})
    the_tree(tracing)
    for run in tracing.runs():
        settings = [key for key in run.metadata if key.startswith(("LANGSMITH_", "LANGCHAIN_"))]
        assert settings == ["LANGSMITH_OWN"]


def test_the_link_of_a_local_server_opens(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.server_event({"type": "session.created", "session": SESSION})
    the_tree(tracing)
    assert tracer.url is not None
    assert tracer.url.startswith(f"{tracing.url}/o/")
    answer = httpx.get(tracer.url, follow_redirects=True)
    assert (answer.status_code, str(answer.url)) == (200, f"{tracing.url}/view/c/{tracer.run_id}")
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("settings", "url", "link"),
    [
        ({"api_url": "http://127.0.0.1:1984"}, "http://localhost/o/1?poll=true", "http://127.0.0.1:1984/o/1?poll=true"),
        ({"api_url": "http://localhost:80/api/v1/"}, "http://localhost/o/1", "http://localhost:80/o/1"),
        ({"api_url": "https://localhost:9/ls/api"}, "http://localhost/o/1", "https://localhost:9/ls/o/1"),
        (
            {"api_url": "http://localhost:9", "web_url": "http://localhost"},
            "http://localhost/o/1",
            "http://localhost/o/1",
        ),
        ({"api_url": "http://localhost:9"}, "https://smith.langchain.com/o/1", "https://smith.langchain.com/o/1"),
    ],
)
def test_a_link_has_the_port_of_a_local_endpoint(settings: dict[str, Any], url: str, link: str) -> None:
    assert openable(url, Client(api_key="k", auto_batch_tracing=False, **settings)) == link

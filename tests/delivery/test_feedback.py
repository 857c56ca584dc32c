"""A conversation's metrics become feedback scores of its root run."""

from __future__ import annotations

import os
import threading
import uuid
from typing import Any

import pytest
from langsmith import Client, RunTree

from langsmith_realtime import SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.core.conversation.numbers.metric_names import SCORES
from langsmith_realtime.delivery.feedback import Feedback, FeedbackSender
from langsmith_realtime.options.tracing import Options
from tests.support.conversations import stored_trees, the_tree

USAGE = {
    "input_tokens": 30,
    "output_tokens": 20,
    "total_tokens": 50,
    "input_token_details": {"text_tokens": 10, "audio_tokens": 20},
    "output_token_details": {"text_tokens": 5, "audio_tokens": 15},
}


def converse(tracer: SessionTracer, *, model: str = "gpt-realtime") -> None:
    """Holds a conversation of one response with usage, and an error."""
    with tracer:
        tracer.server_event({"type": "session.created", "event_id": "e1", "session": {"model": model}})
        tracer.server_event({"type": "response.done", "event_id": "e2", "response": {"id": "r", "usage": USAGE}})
        tracer.server_event({"type": "error", "event_id": "e3", "error": {"message": "no"}})


def scores(collector: Collector, run_id: str | None = None) -> dict[str, Any]:
    return {each["key"]: each["score"] for each in collector.feedback(run_id)}


def test_the_root_run_gets_a_score_for_each_known_metric(tracing: Collector) -> None:
    tracer = SessionTracer(feedback=True)
    converse(tracer)
    root = the_tree(tracing)
    assert root.run.id == tracer.run_id
    found = scores(tracing, tracer.run_id)
    assert set(found) <= set(SCORES)
    assert found["errors"] == root.metadata["errors"] == 1
    assert found["turns"] == 0
    assert found["estimated_cost_usd"] == round(root.metadata["estimated_cost_usd"], 4) == 0.0017
    assert "voice_to_voice_p50_ms" not in found  # the conversation has no speech
    assert len(tracing.feedback()) == len(found)


def test_only_the_named_metrics_are_sent(tracing: Collector) -> None:
    converse(SessionTracer(feedback=["total_tokens", "event_count", "silence_s"]))
    the_tree(tracing)
    assert scores(tracing) == {"total_tokens": 50, "event_count": 3}


@pytest.mark.parametrize("off", [False, None, []])
def test_no_scores_are_sent_without_the_feedback_option(tracing: Collector, off: Any) -> None:
    converse(SessionTracer(feedback=off))
    converse(SessionTracer())
    assert flush(10)
    assert tracing.feedback() == []


def test_a_score_names_its_run_trace_and_project_and_does_not_extend_retention(tracing: Collector) -> None:
    parent = RunTree(name="call", run_type="chain", inputs={}, project_name="calls")
    parent.post()
    tracer = SessionTracer(feedback=["turns"], parent=parent)
    converse(tracer)
    converse(SessionTracer(feedback=["turns"], parent=parent))
    parent.end()
    parent.patch()
    parent.client.flush()
    assert flush(10)
    score = tracing.feedback(tracer.run_id)[0]
    assert (score["run_id"], score["trace_id"]) == (tracer.run_id, tracer.trace_id)
    assert score["run_id"] != score["trace_id"]
    assert score["session_id"] == str(parent.client.read_project(project_name="calls").id)
    assert score["extend_trace_retention"] is False
    assert score["feedback_source"]["type"] == "api"
    assert uuid.UUID(score["id"])
    # The sender reads the project once, this test reads it once.
    assert len([request for request in tracing.requests if request.path == "/sessions"]) == 2


def test_each_conversation_has_its_own_scores(tracing: Collector) -> None:
    first, second = SessionTracer(feedback=["errors"]), SessionTracer(feedback=["errors"])
    converse(first)
    second.close()
    assert flush(10)
    assert scores(tracing, first.run_id) == {"errors": 1}
    assert scores(tracing, second.run_id) == {"errors": 0}


def test_an_incomplete_cost_is_not_a_score(tracing: Collector) -> None:
    converse(SessionTracer(feedback=["estimated_cost_usd", "errors"]), model="somebody-elses")
    assert the_tree(tracing).metadata["estimated_cost_incomplete"] == ["somebody-elses"]
    assert scores(tracing) == {"errors": 1}


def test_close_and_the_runs_do_not_wait_for_the_scores(tracing: Collector) -> None:
    tracer = SessionTracer(feedback=["errors"])
    assert flush(10)
    posted = len(tracing.requests)
    threads: list[str] = []
    closed = threading.Event()
    post = Client.request_with_retries

    def note(client: Client, *arguments: Any, **options: Any) -> Any:
        assert closed.wait(20), "closing waited for a request"
        threads.append(threading.current_thread().name)
        return post(client, *arguments, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Client, "request_with_retries", note)
        converse(tracer)
        assert threads == []
        closed.set()
        assert flush(10)
    assert set(threads) - {"langsmith-realtime-sender"} == {"langsmith-realtime-feedback"}
    paths = [request.path for request in tracing.requests[posted:]]
    assert paths.index("/runs/multipart") < paths.index("/feedback")


def test_flush_returns_false_when_a_score_was_not_delivered(
    tracing: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    tracer = SessionTracer(feedback=["errors", "turns"])
    assert flush(10)
    tracing.respond_with(202)
    tracing.respond_with(403, times=2)
    tracer.close()
    assert not flush(10)
    assert "the feedback of a conversation could not be sent: LangSmithError" in caplog.text
    assert os.environ["LANGSMITH_API_KEY"] not in caplog.text
    assert flush(10)  # a failure is reported once
    assert the_tree(tracing).run.status == "success"


@pytest.mark.parametrize(("status", "times"), [(401, 2), (429, 20), (500, 20), (503, 20)])
def test_scores_are_retried_until_the_endpoint_accepts_them(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, status: int, times: int
) -> None:
    monkeypatch.setattr("langsmith.client.time.sleep", lambda _seconds: None)
    tracer = SessionTracer(feedback=["errors", "turns"])
    assert flush(10)
    tracing.respond_with(202)
    tracing.respond_with(status, times=times)
    tracer.close()
    assert not flush(10)
    for _ in range(20):  # LangSmith's client retries several times by itself
        if flush(10):
            break
    assert scores(tracing) == {"errors": 0, "turns": 0}


@pytest.mark.parametrize("status", [404, 500])
def test_a_score_is_retried_after_404_and_server_errors(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr("langsmith.client.time.sleep", lambda _seconds: None)
    tracer = SessionTracer(feedback=["errors"])
    assert flush(10)
    tracing.respond_with(202)
    tracing.respond_with(status, times=2)
    tracer.close()
    assert flush(10)
    assert scores(tracing) == {"errors": 0}


def test_a_score_that_exists_already_counts_as_delivered(tracing: Collector) -> None:
    tracer = SessionTracer(feedback=["errors", "turns"])
    assert flush(10)
    tracing.respond_with(202)
    tracing.respond_with(409, stored=True)
    tracer.close()
    assert flush(10)
    assert scores(tracing) == {"errors": 0, "turns": 0}


def test_the_project_id_is_left_out_if_it_cannot_be_read(tracing: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no reading with this key")

    monkeypatch.setattr(Client, "read_project", refuse)
    converse(SessionTracer(feedback=["errors"], project_name="write-only"))
    assert flush(10)
    (score,) = tracing.feedback()
    assert "session_id" not in score


@pytest.mark.newest
def test_a_score_of_a_run_with_an_address_has_the_address(tracing: Collector) -> None:
    address = {"kind": "AGENT", "id": "shop", "environment": "STAGING"}
    converse(SessionTracer(feedback=["errors"], address=address))
    assert flush(10)
    (score,) = tracing.feedback()
    assert "shop" in score["address"]
    assert "session_id" not in score


def test_flush_returns_false_when_the_scored_run_is_never_stored(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langsmith.client.time.sleep", lambda _seconds: None)
    tracer = SessionTracer(feedback=["errors"])
    assert flush(10)
    tracing.respond_with(202)
    tracing.respond_with(404, times=3)
    tracer.close()
    assert not flush(10)


# Sampling and masking of LangSmith's client


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_scores_are_sent_only_for_sampled_conversations(collector: Collector, rate: float) -> None:
    client = Client(api_url=collector.url, api_key="k", tracing_sampling_rate=rate)
    converse(SessionTracer(client=client, enabled=True, feedback=["errors"]))
    assert flush(10)
    assert len(collector.feedback()) == len(stored_trees(collector)) == rate


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_an_older_client_sends_scores_only_with_a_rate_above_zero(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    monkeypatch.setattr(Client, "_should_sample", lambda _client: bool(rate))  # as in langsmith 0.8
    client = Client(api_url=collector.url, api_key="k", info={}, tracing_sampling_rate=rate)
    run = RunTree(name="realtime_session", inputs={}, ls_client=client)
    sender = FeedbackSender()
    sender.put(Feedback(run, scores={"errors": 0}))
    assert sender.flush(10)
    assert scores(collector) == ({"errors": 0} if rate else {})


def test_a_missing_run_is_no_failure_when_the_client_samples(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langsmith.client.time.sleep", lambda _seconds: None)
    client = Client(api_url=collector.url, api_key="k", tracing_sampling_rate=1.0)
    tracer = SessionTracer(client=client, enabled=True, feedback=["errors"])
    assert flush(10)
    collector.respond_with(202)
    collector.respond_with(404, times=3)
    tracer.close()
    assert flush(10)
    assert collector.feedback() == []


@pytest.mark.parametrize(
    ("hide_metadata", "visible"),
    [
        (True, {}),
        (False, {"errors": 1, "turns": 0}),
        (lambda metadata: {key: value for key, value in metadata.items() if key != "turns"}, {"errors": 1}),
        (lambda metadata: dict.fromkeys(metadata, "hidden"), {}),
    ],
)
def test_metadata_hidden_by_the_client_is_not_sent_as_a_score(
    collector: Collector, hide_metadata: Any, visible: dict[str, float]
) -> None:
    client = Client(api_url=collector.url, api_key="k", hide_metadata=hide_metadata)
    converse(SessionTracer(client=client, enabled=True, feedback=["errors", "turns"]))
    assert flush(10)
    assert scores(collector) == visible


def test_inherited_replicas_get_no_scores_and_the_root_has_feedback_skipped(tracing: Collector) -> None:
    parent = RunTree(name="call", run_type="chain", inputs={}, replicas=[{"project_name": "one"}])
    converse(SessionTracer(feedback=True, parent=parent))
    assert flush(10)
    (root,) = (run for run in tracing.runs() if run.name == "realtime_session")
    assert root.metadata["feedback_skipped"] == "replicas"
    assert tracing.feedback() == []


# The option


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"feedback": "turns"},
            TypeError,
            "feedback must be of type bool or list or tuple or set or frozenset, got str",
        ),
        ({"feedback": ["latency"]}, ValueError, "feedback: 'latency' is not a metric; choose from duration_s, turns,"),
        ({"feedback": [["turns"]]}, ValueError, "is not a metric"),
        ({"feedback": True, "replicas": [{"project_name": "one"}]}, ValueError, "exclude each other"),
    ],
)
def test_an_invalid_feedback_option_raises(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SessionTracer(**options)


def test_the_feedback_option_is_normalised_to_metric_names() -> None:
    assert Options.of(feedback=True).feedback == frozenset(SCORES)
    assert Options.of(feedback=("turns", "turns")).feedback == {"turns"}
    assert Options.of().feedback == Options.of(feedback=False).feedback == frozenset()
    assert Options.of(feedback=False, replicas=[{"project_name": "one"}]).feedback == frozenset()

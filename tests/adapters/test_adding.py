"""``add``: what the application learns while the conversation runs."""

from __future__ import annotations

import threading

import pytest

from langsmith_realtime import SessionTracer
from langsmith_realtime.collector import Collector
from langsmith_realtime.runtime import guard
from tests.support.conversations import the_tree

CREATED = {"type": "session.created", "session": {"id": "s", "model": "gpt-realtime"}}


def test_everything_that_was_added_is_on_the_root(tracing: Collector) -> None:
    with SessionTracer(tags=["phone"], metadata={"region": "eu"}) as tracer:
        tracer.add(metadata={"customer": "c-17"})
        tracer.server_event(CREATED)
        tracer.add(tags=["vip", "phone"], outputs={"documents": [1, 2]})
        adding = threading.Thread(target=lambda: tracer.add(metadata={"verdict": "kind"}, outputs={"score": 0.5}))
        adding.start()
        adding.join()
    root = the_tree(tracing)
    assert {key: root.metadata[key] for key in ("customer", "verdict", "region")} == {
        "customer": "c-17",
        "verdict": "kind",
        "region": "eu",
    }
    assert (root.run.tags or []) == ["phone", "vip"]
    assert root.run.outputs == {"documents": [1, 2], "score": 0.5, "messages": []}
    assert "customer" not in root["session.created"].metadata  # it was added to the root


def test_the_numbers_of_the_conversation_win_over_an_added_key(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.server_event(CREATED)
        tracer.add(metadata={"model": "mine", "turns": 99, "thread_id": "other"})
    root = the_tree(tracing)
    assert root.metadata["model"] == "gpt-realtime"
    assert root.metadata["turns"] == 0
    assert root.metadata["thread_id"] == tracer.thread_id


def test_a_secret_that_was_added_is_not_sent(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
        tracer.add(metadata={"key": key}, tags=[key])
    root = the_tree(tracing)
    assert "abcdefghijklmnop" not in str((root.metadata, root.run.tags))


def test_hidden_words_hide_the_outputs_that_were_added(tracing: Collector) -> None:
    with SessionTracer(transcripts=False) as tracer:
        tracer.add(outputs={"quote": "I said this"})
    assert "I said this" not in str(the_tree(tracing).run.outputs)


@pytest.mark.parametrize(
    "wrong",
    [{"metadata": [1]}, {"outputs": {1: 2}}, {"tags": "vip"}, {"tags": [1]}, {"outputs": {"messages": []}}],
    ids=str,
)
def test_a_wrong_argument_is_counted_and_adds_nothing(tracing: Collector, wrong: dict[str, object]) -> None:
    with SessionTracer() as tracer:
        tracer.add(**wrong)  # type: ignore[arg-type]
    root = the_tree(tracing)
    assert root.metadata["tracing_failures"] == 1
    guard.failures.clear()


def test_adding_after_the_end_warns(tracing: Collector, caplog: pytest.LogCaptureFixture) -> None:
    with SessionTracer() as tracer:
        pass
    tracer.add(metadata={"late": True})
    assert "add() has no effect" in caplog.text
    assert "late" not in the_tree(tracing).metadata

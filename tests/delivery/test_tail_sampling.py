"""With ``keep=``, a conversation is held until it has ended, and then sent or dropped."""

from __future__ import annotations

import contextvars
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langsmith import Client, get_current_run_tree, run_trees, traceable

from langsmith_realtime import Keep, Recording, SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.journal.recovery import Fate, recover
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.live.process import process
from langsmith_realtime.runtime import guard
from langsmith_realtime.testing import tone
from tests.support.conversations import stored_trees, the_tree, trees


@traceable
def look_up() -> str:
    return "found"


def event(number: int, **body: Any) -> dict[str, Any]:
    return {"type": "conversation.item.done", "event_id": f"event_{number}", "item": {"id": f"item_{number}"}, **body}


def failed(number: int = 99) -> dict[str, Any]:
    return {"type": "error", "event_id": f"event_{number}", "error": {"message": "no", "code": "no"}}


def converse(tracer: SessionTracer, *events: dict[str, Any]) -> None:
    with tracer:
        tracer.record_user_audio(tone(1000, 0.05))
        for each in events or (event(0),):
            tracer.server_event(each)
            look_up()


# Keep


@pytest.mark.newest
@pytest.mark.parametrize(
    ("numbers", "kept"),
    [
        ({}, False),
        ({"errors": 0, "interruptions": 0, "latency_to_first_audio_p95_ms": 1500.0}, False),
        ({"errors": 1}, True),
        ({"error": "the caller's own failed"}, True),
        ({"interruptions": 2}, True),
        ({"latency_to_first_audio_p95_ms": 1500.1}, True),
        ({"duration_s": 1e9}, False),
    ],
    ids=str,
)
def test_keep_keeps_conversations_above_a_threshold(numbers: dict[str, Any], kept: bool) -> None:
    keep = Keep(errors=True, interruptions=True, latency_to_first_audio_p95_ms=1500)
    assert keep({**numbers, "trace_id": str(uuid4())}) is kept


@pytest.mark.newest
def test_the_share_of_kept_conversations_depends_on_the_trace_id_only() -> None:
    ids = [str(uuid4()) for _ in range(4000)]
    kept = [trace_id for trace_id in ids if Keep(errors=True, share=0.1)({"trace_id": trace_id})]
    assert 0.07 < len(kept) / len(ids) < 0.13
    assert all(Keep(share=0.2)({"trace_id": trace_id}) for trace_id in kept)
    assert all(Keep(share=1)({"trace_id": trace_id}) for trace_id in ids)
    assert not any(Keep(errors=False)({"trace_id": trace_id, "errors": 3}) for trace_id in ids)


@pytest.mark.newest
def test_keep_has_a_repr_and_refuses_invalid_arguments() -> None:
    assert repr(Keep(errors=True, turns=3, share=0.25)) == "Keep(errors=0, turns=3, share=0.25)"
    with pytest.raises(ValueError, match="'erors' is not a metric"):
        Keep(erors=True)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Keep(share=10)
    with pytest.raises(TypeError, match="turns must be a number, got str"):
        Keep(turns="3")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"keep must be a Keep\(...\), or a function"):
        SessionTracer(keep=0.1)  # type: ignore[arg-type]


# Whole conversations


def test_a_kept_conversation_is_sent_completely_when_it_ends(tracing: Collector) -> None:
    asked: list[dict[str, Any]] = []

    def keep(numbers: dict[str, Any]) -> bool:
        asked.append(numbers)
        return True

    tracer = SessionTracer(keep=keep, thread_id="a thread")
    with tracer:
        look_up()
        tracer.record_user_audio(tone(1000, 0.05))
        tracer.server_event(failed())
        look_up()
        assert flush(10)
        _flush_the_callers_client()
        assert tracing.runs() == []
        assert asked == []
    root = the_tree(tracing)
    assert root.shape() == ("realtime_session", ["look_up", ("error", ["look_up"])])
    assert {run.status for run in tracing.runs()} == {"success", "error"}
    assert root["look_up"].run.outputs == {"output": "found"}
    assert "conversation" in root.run.attachments
    (numbers,) = asked
    assert numbers["errors"] == 1
    assert numbers["trace_id"] == tracer.trace_id
    assert numbers["duration_s"] == root.metadata["duration_s"]
    assert "error" not in numbers
    look_up()
    assert len(trees(tracing)) == 2  # work after the conversation is a trace of its own


def test_a_conversation_that_is_not_kept_is_not_sent_and_leaves_no_files(tracing: Collector, tmp_path: Path) -> None:
    tracer = SessionTracer(keep=Keep(errors=True), recording=Recording(directory=tmp_path, keep=True))
    late = threading.Event()

    @traceable
    def slow() -> None:
        assert late.wait(10)

    with tracer:
        tracer.record_user_audio(tone(1000, 0.05))
        tracer.server_event(event(0))
        look_up()
        working = threading.Thread(target=_in_this_context(slow))
        working.start()
    assert flush(10)
    late.set()
    working.join()
    _flush_the_callers_client()
    assert flush(10)
    assert tracing.runs() == []
    assert list(tmp_path.iterdir()) == []
    assert list(state_directory().glob("*/*")) == []


def test_the_journal_of_a_kept_conversation_is_removed_after_delivery(tracing: Collector) -> None:
    tracer = SessionTracer(keep=lambda _: True)
    tracer.server_event(event(0))
    assert flush(10)
    assert [path.name for path in state_directory().iterdir()] == [tracer.run_id]
    tracer.close()
    assert len(trees(tracing)) == 1
    assert list(state_directory().iterdir()) == []


def test_a_conversation_whose_process_died_before_the_decision_is_kept(collector: Collector) -> None:
    died = subprocess.run(
        [sys.executable, "-c", DYING_PROGRAM, collector.url], capture_output=True, text=True, check=False, timeout=30
    )
    assert died.returncode == 9, died.stderr
    assert collector.runs() == []
    (found,) = recover(Client(api_url=collector.url, api_key="k"), Path(died.stdout.strip()))
    assert found.fate is Fate.COMPLETED
    (root,) = stored_trees(collector)
    assert root.names() == ["error"]


#: Ends without cleaning up before `keep=` has decided.
DYING_PROGRAM = """
import os, sys
from langsmith import Client
from langsmith_realtime import Keep, SessionTracer, flush
from langsmith_realtime.journal.state_directory import state_directory
tracer = SessionTracer(client=Client(api_url=sys.argv[1], api_key="k"), enabled=True, keep=Keep())
tracer.server_event({"type": "error", "event_id": "event_0", "error": {"message": "no"}})
flush(10)
print(state_directory(), flush=True)
os._exit(9)
"""


def test_a_conversation_that_ended_with_an_error_counts_as_having_an_error(tracing: Collector) -> None:
    for failure in (None, "the line went dead"):
        tracer = SessionTracer(keep=Keep(errors=True))
        tracer.server_event(event(0))
        tracer.close(failure)
    assert the_tree(tracing).run.error == "the line went dead"


def test_a_conversation_is_kept_when_the_rule_raises(tracing: Collector, caplog: pytest.LogCaptureFixture) -> None:
    converse(SessionTracer(keep=lambda numbers: numbers["no such number"]))
    root = the_tree(tracing)
    assert root.names() == ["conversation.item.done"]
    assert "KeyError" in caplog.text
    guard.failures.clear()


def test_a_slow_rule_delays_no_other_conversation(tracing: Collector) -> None:
    released, waited = threading.Event(), list[bool]()

    def rule(_: object) -> bool:
        waited.append(released.wait(60))
        return True

    converse(SessionTracer(keep=rule))
    converse(SessionTracer(thread_id="another"))
    assert waited == []  # close() did not wait for the rule
    tracing.wait_for(lambda runs: [run.name for run in runs if run.end_time].count("realtime_session") == 1, timeout=30)
    released.set()
    assert len(trees(tracing)) == 2


def test_runs_of_the_callers_with_another_client_are_sent_at_once(tracing: Collector) -> None:
    other = Client(api_url=tracing.url, api_key="k")
    tracer = SessionTracer(client=Client(api_url=tracing.url, api_key="k"), keep=lambda _: True)
    with tracer:
        tracer.server_event(event(0))
        parent = get_current_run_tree()
        assert parent is not None
        child = parent.create_child("theirs")
        child.ls_client = other
        child.post()
        other.flush()
        sent = [run.name for run in tracing.runs()]
    assert flush(10)
    assert sent == ["theirs"]


def test_a_failure_to_post_a_held_run_of_the_callers_is_reported(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = SessionTracer(keep=lambda _: True)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of order")

    with tracer:
        look_up()
        assert flush(10)
        with monkeypatch.context() as patched:
            patched.setattr(Client, "create_run", broken)
            tracer.close()
            assert flush(10)
    assert {type(failure) for failure in guard.failures} == {RuntimeError}
    guard.failures.clear()
    _flush_the_callers_client()


# Limits


def test_above_the_held_size_the_oldest_events_without_children_are_left_out(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process().limits, "held_bytes", 100_000)
    tracer = SessionTracer(keep=Keep(errors=True))
    with tracer:
        tracer.server_event(event(0))
        look_up()
        for number in range(1, 60):
            tracer.server_event(event(number, filler="some words " * 500))
            assert number % 10 or flush(10)
        tracer.server_event(failed())
    root = the_tree(tracing)
    first, *rest = root.children
    assert first.names() == ["look_up"]
    assert rest[-1].run.name == "error"
    item_ids = [child.run.inputs["event"]["item"]["id"] for child in rest[:-1]]
    assert item_ids == [f"item_{number}" for number in range(60 - len(item_ids), 60)]
    assert root.metadata["left_out_runs"] == 59 - len(item_ids) > 30
    assert list(state_directory().iterdir()) == []  # so that no recovery sends the left-out runs
    assert "keep_skipped" not in root.metadata


def test_a_conversation_that_stays_above_the_held_size_is_kept(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process().limits, "held_bytes", 20_000)
    tracer = SessionTracer(keep=Keep())
    with caplog.at_level(logging.WARNING), tracer:
        for number in range(10):
            tracer.server_event(failed(number) | {"filler": "some words " * 500})
        tracing.wait_for(lambda runs: len(runs) > 5, timeout=30)
    root = the_tree(tracing)
    assert len(root.children) == 10
    assert root.metadata["keep_skipped"] == "too large to be held"
    assert "it is kept" in caplog.text


def _in_this_context(work: Any) -> Any:
    context = contextvars.copy_context()
    return lambda: context.run(work)


def _flush_the_callers_client() -> None:
    if run_trees._CLIENT is not None:
        run_trees._CLIENT.flush()

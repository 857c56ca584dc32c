"""A trace has at most 25,000 runs: less important runs are left out, and the root has their number."""

from __future__ import annotations

import contextvars
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from langsmith import Client, traceable

from langsmith_realtime import SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.core.protocol.inputs import Closed, Input, Opened, Ref, ServerFrame
from langsmith_realtime.delivery.feedback import FeedbackSender
from langsmith_realtime.delivery.operations import MissingReason, Operation
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.live.process import process
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.root_run import start_conversation_runs
from langsmith_realtime.trace.run_trees.run_limits import Priority, RunBudget, priority_of
from langsmith_realtime.trace.session import build_session
from tests.support.conversations import the_tree, trees


@traceable
def look_up() -> str:
    return "found"


@traceable(name="weather", run_type="tool")
def weather() -> str:
    return "rain"


def item(number: int) -> dict[str, Any]:
    """An event of low priority."""
    return {"type": "conversation.item.done", "event_id": f"item_{number}", "item": {"id": f"item_{number}"}}


def response(number: int, *output: dict[str, Any]) -> list[dict[str, Any]]:
    body = {"id": f"resp_{number}", "conversation_id": "conv_1"}
    return [
        {"type": "response.created", "event_id": f"created_{number}", "response": {**body, "status": "in_progress"}},
        {
            "type": "response.done",
            "event_id": f"done_{number}",
            "response": {**body, "status": "completed", "output": list(output)},
        },
    ]


def call(number: int) -> dict[str, Any]:
    return {
        "id": f"call_item_{number}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{number}",
        "name": "weather",
        "arguments": "{}",
    }


def failed(number: int) -> dict[str, Any]:
    return {"type": "error", "event_id": f"error_{number}", "error": {"message": "no"}}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lowers the limits so that a test reaches them."""
    monkeypatch.setattr(process().limits, "trace_low_priority_runs", 10)
    monkeypatch.setattr(process().limits, "trace_medium_priority_runs", 14)
    monkeypatch.setattr(process().limits, "trace_runs", 40)


@contextmanager
def paused() -> Iterator[None]:
    """Within the block, the worker does not process events."""
    goes_on = threading.Event()

    def wait(_inputs: list[Input], _pause: Callable[[], None]) -> None:
        goes_on.wait(10)

    process().worker.open_queue(wait).put_always(Opened())
    yield
    goes_on.set()


# RunBudget


@pytest.mark.newest
@pytest.mark.parametrize(
    ("name", "priority"),
    [
        ("conversation.item.done", Priority.LOW),
        ("response.output_item.done", Priority.LOW),
        ("rate_limits.updated", Priority.LOW),
        ("an.event.of.tomorrow", Priority.LOW),
        ("session.created", Priority.MEDIUM),
        ("error", Priority.MEDIUM),
        ("malformed_frame", Priority.MEDIUM),
        ("response.created", Priority.HIGH),
        ("response.done", Priority.HIGH),
    ],
)
def test_the_priority_of_an_event(name: str, priority: Priority) -> None:
    assert priority_of(name) is priority


@pytest.mark.newest
def test_an_event_with_an_error_has_medium_priority() -> None:
    assert priority_of("conversation.item.input_audio_transcription.failed", failed=True) is Priority.MEDIUM


@pytest.mark.newest
def test_a_full_trace_admits_no_run_and_brings_back_no_parent(small: None) -> None:
    budget, parent, admitted = RunBudget(process().limits), uuid4(), 1  # the root
    while budget.admits(uuid4(), "response.done", Priority.HIGH):
        admitted += 1
    assert admitted == process().limits.trace_runs
    assert not budget.admits(parent, "rate_limits.updated", Priority.LOW)
    assert budget.bring_back(parent) is None
    assert budget.missing() == {"left_out_runs": 2}


@pytest.mark.newest
def test_a_run_that_was_left_out_is_brought_back_by_its_first_child_under_its_name(small: None) -> None:
    budget, run_id = RunBudget(process().limits), uuid4()
    assert budget.admits(run_id, "rate_limits.updated", Priority.LOW)
    assert budget.leave_out(run_id, "rate_limits.updated", MissingReason.OVERLOAD)
    assert budget.missing() == {"dropped_runs": 1}
    assert budget.bring_back(run_id) == "rate_limits.updated"
    assert budget.missing() == {}
    assert budget.bring_back(run_id) is None
    assert not budget.leave_out(run_id, "rate_limits.updated", MissingReason.OVERLOAD), "it has a child"


@pytest.mark.newest
def test_a_run_that_has_a_child_before_it_arrives_is_admitted_until_the_trace_is_full(small: None) -> None:
    budget, parent = RunBudget(process().limits), uuid4()
    assert budget.bring_back(parent) is None, "it was not left out"
    while budget.admits(uuid4(), "rate_limits.updated", Priority.LOW):
        pass
    assert budget.admits(parent, "rate_limits.updated", Priority.LOW)
    assert budget.missing() == {"left_out_runs": 1}


@pytest.mark.newest
def test_a_run_that_gets_children_in_two_threads_while_a_third_leaves_it_out_is_sent_once(small: None) -> None:
    name = "rate_limits.updated"
    with ThreadPoolExecutor(3) as threads:
        for _ in range(200):
            budget, run_id, barrier = RunBudget(process().limits), uuid4(), threading.Barrier(3)
            assert budget.admits(run_id, name, Priority.LOW)

            def leave_out(budget: RunBudget = budget, run_id: UUID = run_id, at: threading.Barrier = barrier) -> bool:
                at.wait(10)
                return budget.leave_out(run_id, name, MissingReason.OVERLOAD)

            def bring_back(
                budget: RunBudget = budget, run_id: UUID = run_id, at: threading.Barrier = barrier
            ) -> str | None:
                at.wait(10)
                return budget.bring_back(run_id)

            left_out, *children = threads.submit(leave_out), threads.submit(bring_back), threads.submit(bring_back)
            names = [child.result() for child in children]
            assert [each for each in names if each] == ([name] if left_out.result() else [])
            assert budget.missing() == {}


@pytest.mark.newest
def test_a_limited_number_of_parents_is_remembered(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process().limits, "trace_parents", 3)
    budget, parents = RunBudget(process().limits), [uuid4() for _ in range(5)]
    for parent in parents:
        assert budget.bring_back(parent) is None
    left_out = [budget.leave_out(parent, "rate_limits.updated", MissingReason.OVERLOAD) for parent in parents]
    assert left_out == [True, True, False, False, False]
    assert budget.missing() == {"dropped_runs": 2}


# Whole conversations


@pytest.mark.usefixtures("small")
def test_events_are_left_out_but_responses_tools_and_the_roots_update_are_not(tracing: Collector) -> None:
    tracer = SessionTracer()
    with tracer:
        tracer.server_event({"type": "session.created", "event_id": "created", "session": {"id": "sess_1"}})
        for number in range(20):
            tracer.server_event(item(number))
        for number in range(6):
            tracer.server_event(failed(number))
        assert flush(10)
        for number in range(4):
            for each in response(number, call(number)):
                tracer.server_event(each)
            weather()
            tracer.client_event(
                {
                    "type": "conversation.item.create",
                    "item": {"type": "function_call_output", "call_id": f"call_{number}", "output": "rain"},
                }
            )
    root = the_tree(tracing)
    assert Counter(root.names()) == {
        "session.created": 1,
        "conversation.item.done": 8,
        "error": 4,
        "response.created": 4,
        "response.done": 4,
    }
    assert [done.names() for done in root.find("response.done")] == [["weather"]] * 4
    assert [created.names() for created in root.find("response.created")] == [["model"]] * 4
    assert root.metadata["left_out_runs"] == 14
    assert root.metadata["event_count"] == 35
    assert root.run.end_time is not None


@pytest.mark.usefixtures("small")
def test_an_event_with_a_run_of_the_callers_below_it_is_sent(tracing: Collector) -> None:
    tracer = SessionTracer()
    contexts = []
    with tracer:
        for number in range(19):
            tracer.server_event(item(number))
            contexts.append(contextvars.copy_context())
        assert flush(10)
        with paused():
            tracer.server_event(item(19))
            look_up()
        assert flush(10)
        contexts[12].run(look_up)  # after its event was left out
        contexts[12].run(look_up)
    root = the_tree(tracing)
    events = {child.run.inputs["event"].get("item", {}).get("id", "?"): child for child in root.children}
    assert events["item_19"].names() == ["look_up"]
    assert events["?"].names() == ["look_up", "look_up"]
    assert events["?"].run.inputs == {"event": {"type": "conversation.item.done"}}
    assert events["?"].metadata["payload_left_out"] is True
    assert events["?"].metadata["thread_id"] == tracer.thread_id
    assert len(root.children) == 11
    assert root.metadata["left_out_runs"] == 9


@pytest.mark.usefixtures("small")
def test_a_tool_block_below_a_left_out_event_sends_that_event(tracing: Collector) -> None:
    tracer = SessionTracer()
    with tracer:
        for number in range(15):
            tracer.server_event(item(number))
        assert flush(10)
        with tracer.tool("call_1"):
            pass
    root = the_tree(tracing)
    assert root.children[-1].names() == ["tool"]
    assert root.metadata["left_out_runs"] == 5


@pytest.mark.usefixtures("small")
def test_runs_of_the_callers_count_towards_the_limit(tracing: Collector) -> None:
    tracer = SessionTracer()
    with tracer:
        for _ in range(8):
            look_up()
        for number in range(5):
            tracer.server_event(item(number))
    (root,) = trees(tracing)
    assert root.names().count("conversation.item.done") == 1
    assert root.metadata["left_out_runs"] == 4


@pytest.mark.newest
def test_a_trace_never_has_more_runs_than_langsmith_accepts(
    collector: Collector,
) -> None:
    # A tenth of the limits, to save time.
    limits = Limits(trace_low_priority_runs=2_000, trace_medium_priority_runs=2_400, trace_runs=2_500)

    class StoringSender(Sender):
        def __init__(self) -> None:
            super().__init__()
            self.operations: list[Operation] = []

        def put(self, operation: Operation) -> None:
            self.operations.append(operation)

        def run_apart(self, work: Callable[[], None]) -> None:
            work()

    options = Options.of(client=Client(api_url=collector.url, api_key="k"), recording=False, enabled=True)
    guard, sender = Guard(), StoringSender()
    runs = start_conversation_runs(options, guard, limits)
    session = build_session(options, runs, sender, FeedbackSender(), guard).session
    t = 0.0

    def receive(event: dict[str, Any]) -> None:
        nonlocal t
        t += 0.1
        session.take(ServerFrame(event, t, Ref(round(t * 1_000_000))))

    session.take(Opened())
    for number in range(2_450):
        receive(item(number))
        if number % 60 == 0:
            for each in response(number, call(number)):
                receive(each)
    for number in range(450):
        receive(failed(number))
    for each in response(99_999, call(99_999)):
        receive(each)
    session.take(Closed(t))
    creates = [operation.run for operation in sender.operations if not operation.update]
    names = Counter(run.name for run in creates)
    assert len({run.id for run in creates}) == len(creates) <= limits.trace_runs
    assert len(creates) > limits.trace_medium_priority_runs
    assert names["model"] == names["weather"] == names["response.created"] == names["response.done"] == 42
    assert names["error"] > 300
    assert {run.parent_run_id for run in creates} <= {run.id for run in creates} | {None}
    last = sender.operations[-1]
    assert last.update
    metadata = last.run.extra["metadata"]
    assert metadata["left_out_runs"] == 2_450 + 450 - names["conversation.item.done"] - names["error"]
    assert guard.count == 0

"""The run trees of events are built on first use."""

from __future__ import annotations

import copy
import gc
import os
import threading
import weakref
from collections.abc import Callable

import pytest
from langsmith import RunTree

from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees import nesting
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns, LazyEventRun, ParentRun
from langsmith_realtime.trace.run_trees.root_run import start_conversation_runs
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, start_of
from tests.support.processes import exit_code, fork

pytestmark = pytest.mark.usefixtures("tracing")


@pytest.fixture
def runs() -> ConversationRuns:
    return start_conversation_runs(Options.of(thread_id="t-1", tags=["shop"]), Guard())


def event_run(runs: ConversationRuns, name: str = "session.updated") -> ParentRun:
    return runs.event(name, microseconds_of(runs.root.start_time) + 20_000, {"type": name}, name)


def test_an_events_run_tree_is_built_when_it_is_first_used(runs: ConversationRuns) -> None:
    run = event_run(runs)
    assert (run.name, microseconds_of(run.start_time)) == (
        "session.updated",
        microseconds_of(runs.root.start_time) + 20_000,
    )
    run_id = run.id
    assert type(run) is LazyEventRun  # these three attributes do not build it
    assert isinstance(run, RunTree)
    assert run.tags == ["shop"]
    assert type(run) is ParentRun
    assert run.id == run_id
    assert run.parent_run_id == run.trace_id == runs.root.id
    assert run.dotted_order.startswith(f"{runs.root.dotted_order}.")
    assert run.dotted_order.endswith(str(run_id))
    assert start_of(run.dotted_order) == run.start_time
    assert (run.extra or {})["metadata"] == {"thread_id": "t-1"}


def test_an_attribute_set_on_a_lazy_run_tree_is_kept(runs: ConversationRuns) -> None:
    run = event_run(runs)
    run.error = "no"
    assert (run.error, run.name) == ("no", "session.updated")


@pytest.mark.parametrize("make_copy", [copy.copy, RunTree.model_copy])
def test_a_copy_of_a_lazy_run_tree_is_a_complete_run_tree(
    runs: ConversationRuns, make_copy: Callable[[ParentRun], ParentRun]
) -> None:
    run = event_run(runs)
    other = make_copy(run)
    assert (other.id, other.name, other.tags) == (run.id, run.name, run.tags)
    other.name = "other"
    assert run.name == "session.updated"


def test_threads_that_build_a_run_tree_at_once_get_one_id(runs: ConversationRuns) -> None:
    for _ in range(200):
        run = event_run(runs)
        seen: list[object] = []
        barrier = threading.Barrier(3)

        def build(run: ParentRun = run, barrier: threading.Barrier = barrier, seen: list[object] = seen) -> None:
            barrier.wait()
            seen.append((run.id, id(run.tags), run.dotted_order))

        threads = [threading.Thread(target=build) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(seen)) == 1


def test_a_forked_child_builds_a_run_tree_although_a_thread_of_the_parent_held_the_lock(runs: ConversationRuns) -> None:
    run = event_run(runs)
    with nesting._building:
        child = fork()
        if not child:
            os._exit(0 if run.tags == ["shop"] else 1)
    assert exit_code(child) == 0
    assert run.tags == ["shop"]


def test_an_unused_lazy_run_tree_is_freed_without_garbage_collection(runs: ConversationRuns) -> None:
    gc.disable()
    try:
        gone = weakref.ref(event_run(runs))
        assert gone() is None
    finally:
        gc.enable()


def test_the_run_tree_of_an_announcing_event_has_its_calls(runs: ConversationRuns) -> None:
    name = "response.function_call_arguments.done"
    frame = {"type": name, "call_id": "call_1", "name": "lookup", "arguments": "{}"}
    run = runs.event(name, microseconds_of(runs.root.start_time), frame, name)
    assert [(call.call_id, call.name) for call in run.calls()] == [("call_1", "lookup")]
    assert run.calls() is run.calls()

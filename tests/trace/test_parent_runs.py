"""The run trees of events, tool calls and responses: built from references, and equal on every side."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from langsmith import RunTree

from langsmith_realtime.core.protocol.inputs import ROOT, Ref
from langsmith_realtime.journal.header import header, runs_of
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns, EventParent, ParentRun
from langsmith_realtime.trace.run_trees.root_run import start_conversation_runs
from langsmith_realtime.trace.run_trees.run_ids import start_of

pytestmark = pytest.mark.usefixtures("tracing")

UPDATED = Ref(20_000)
ARGUMENTS_DONE = "response.function_call_arguments.done"


@pytest.fixture
def options() -> Options:
    return Options.of(thread_id="t-1", tags=["shop"])


@pytest.fixture
def runs(options: Options) -> ConversationRuns:
    return start_conversation_runs(options, Guard())


def event_parent(runs: ConversationRuns, name: str = "session.updated", frame: object = None) -> EventParent:
    return EventParent(runs, UPDATED, name, frame)


# Events as parents


def test_an_event_has_one_run_tree_with_the_place_and_the_metadata_of_its_run(runs: ConversationRuns) -> None:
    event = event_parent(runs)
    run = event.run
    assert event.run is run
    assert type(run) is ParentRun
    assert isinstance(run, RunTree)
    assert run.event is event
    assert (run.name, run.run_type, run.tags) == ("session.updated", "chain", ["shop"])
    assert run.start_time == runs.root.start_time + timedelta(microseconds=20_000)
    assert run.id == runs.id_of(UPDATED)
    assert run.parent_run_id == run.trace_id == runs.root.id
    assert run.dotted_order.startswith(f"{runs.root.dotted_order}.")
    assert run.dotted_order.endswith(str(run.id))
    assert start_of(run.dotted_order) == run.start_time
    assert (run.extra or {})["metadata"] == {"thread_id": "t-1"}


@pytest.mark.parametrize("make_copy", [copy.copy, RunTree.model_copy])
def test_a_copy_of_an_events_run_tree_is_a_complete_run_tree(
    runs: ConversationRuns, make_copy: Callable[[ParentRun], ParentRun]
) -> None:
    run = event_parent(runs).run
    other = make_copy(run)
    assert (other.id, other.name, other.tags) == (run.id, run.name, run.tags)
    other.name = "other"
    assert run.name == "session.updated"


def test_threads_that_ask_for_an_events_run_tree_at_once_get_the_same_one(runs: ConversationRuns) -> None:
    for _ in range(200):
        event = event_parent(runs)
        seen: list[ParentRun] = []
        barrier = threading.Barrier(3)

        def build(
            event: EventParent = event, barrier: threading.Barrier = barrier, seen: list[ParentRun] = seen
        ) -> None:
            barrier.wait()
            seen.append(event.run)

        threads = [threading.Thread(target=build) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 3
        assert all(run is event.run for run in seen)


def test_an_event_below_which_nobody_works_is_freed_without_garbage_collection(runs: ConversationRuns) -> None:
    class Frame(dict[str, object]):
        """A frame that shows when it is freed."""

    gc.disable()
    try:
        frame = Frame(type="session.updated")
        gone, event = weakref.ref(frame), event_parent(runs, frame=frame)
        assert event.calls() == []
        del frame, event
        assert gone() is None
    finally:
        gc.enable()


def test_an_event_that_announces_calls_has_them(runs: ConversationRuns) -> None:
    frame = {"type": ARGUMENTS_DONE, "call_id": "call_1", "name": "lookup", "arguments": "{}"}
    event = event_parent(runs, ARGUMENTS_DONE, frame)
    assert [(call.call_id, call.name) for call in event.calls()] == [("call_1", "lookup")]
    assert event.calls() is event.calls()


@pytest.mark.parametrize("frame", [None, "no JSON", {"type": "session.updated"}])
def test_an_event_that_announces_nothing_has_no_calls(runs: ConversationRuns, frame: object) -> None:
    assert event_parent(runs, frame=frame).calls() == []


# References


def place(run: RunTree) -> tuple[Any, ...]:
    return run.id, run.trace_id, run.parent_run_id, run.dotted_order, run.name, run.run_type, run.start_time


def test_a_replayed_journals_runs_have_the_ids_and_places_of_the_live_runs(
    options: Options, runs: ConversationRuns
) -> None:
    replayed = runs_of(header(runs, options, lambda metadata: metadata), options.client or runs.root.client, Guard())
    assert place(replayed.root) == place(runs.root)
    for ref in (ROOT, UPDATED, Ref(30_000, turn=10_000)):
        assert replayed.id_of(ref) == runs.id_of(ref) == runs.event_run(ref, "error").id
        assert place(replayed.event_run(ref, "error")) == place(runs.event_run(ref, "error"))
        assert place(replayed.tool_run(ref, "call_1", "buy")) == place(runs.tool_run(ref, "call_1", "buy"))
        assert place(replayed.model_run(ref, "resp_1")) == place(runs.model_run(ref, "resp_1"))


def test_every_reference_and_every_call_and_response_below_it_has_a_run_of_its_own(runs: ConversationRuns) -> None:
    refs = [UPDATED, Ref(20_001), Ref(30_000, turn=10_000)]
    made: list[ParentRun] = [runs.event_run(ref, "error") for ref in refs]
    made.append(runs.turn_run(10_000))
    for ref in (ROOT, *refs):
        made += [runs.tool_run(ref, key, "buy") for key in ("call_1", "call_2", "call_\ud800")]
        made += [runs.model_run(ref, key) for key in ("call_1", "resp_1")]
    assert len({runs.root.id, *(run.id for run in made)}) == len(made) + 1
    by_id = {run.id: run for run in [*made, runs.root]}
    for run in made:
        assert run.parent_run_id is not None
        above = by_id[run.parent_run_id]
        assert run.start_time >= above.start_time
        assert run.dotted_order.rpartition(".")[0] == above.dotted_order


def test_a_reference_with_a_turn_stands_below_the_turns_run(runs: ConversationRuns) -> None:
    turn, event = runs.turn_run(10_000), runs.event_run(Ref(30_000, turn=10_000), "error")
    assert (turn.name, turn.parent_run_id) == ("turn", runs.root.id)
    assert event.parent_run_id == turn.id


def test_the_root_reference_stands_for_the_roots_place(runs: ConversationRuns) -> None:
    assert place(runs.event_run(ROOT, "")) == place(runs.root)
    assert runs.tool_run(ROOT, "call_1", "buy").parent_run_id == runs.root.id

"""The runs that the caller's work hangs below, before and after somebody looks at them."""

from __future__ import annotations

import copy
import gc
import os
import signal
import threading
import warnings
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

pytestmark = pytest.mark.usefixtures("tracing")


@pytest.fixture
def family() -> ConversationRuns:
    return start_conversation_runs(Options.of(thread_id="t-1", tags=["shop"]), Guard())


def an_event(family: ConversationRuns, name: str = "session.updated") -> ParentRun:
    return family.event(name, microseconds_of(family.root.start_time) + 20_000, {"type": name}, name)


def test_an_events_run_is_made_when_somebody_looks_at_it(family: ConversationRuns) -> None:
    run = an_event(family)
    assert (run.name, microseconds_of(run.start_time)) == (
        "session.updated",
        microseconds_of(family.root.start_time) + 20_000,
    )
    known = run.id
    assert type(run) is LazyEventRun  # that is all that is asked of most of them
    assert isinstance(run, RunTree)
    assert run.tags == ["shop"]
    assert type(run) is ParentRun
    assert run.id == known
    assert run.parent_run_id == run.trace_id == family.root.id
    assert run.dotted_order.startswith(f"{family.root.dotted_order}.")
    assert run.dotted_order.endswith(str(known))
    assert start_of(run.dotted_order) == run.start_time
    assert (run.extra or {})["metadata"] == {"thread_id": "t-1"}


def test_what_is_set_of_one_stays_set(family: ConversationRuns) -> None:
    run = an_event(family)
    run.error = "no"
    assert (run.error, run.name) == ("no", "session.updated")


@pytest.mark.parametrize("copied", [copy.copy, RunTree.model_copy])
def test_a_copy_of_one_is_one(family: ConversationRuns, copied: Callable[[ParentRun], ParentRun]) -> None:
    run = an_event(family)
    other = copied(run)
    assert (other.id, other.name, other.tags) == (run.id, run.name, run.tags)
    other.name = "other"
    assert run.name == "session.updated"


def test_two_who_look_at_once_see_the_same(family: ConversationRuns) -> None:
    for _ in range(200):
        run = an_event(family)
        seen: list[object] = []
        barrier = threading.Barrier(3)

        def look(run: ParentRun = run, barrier: threading.Barrier = barrier, seen: list[object] = seen) -> None:
            barrier.wait()
            seen.append((run.id, id(run.tags), run.dotted_order))

        threads = [threading.Thread(target=look) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(seen)) == 1


def test_a_child_process_may_look_whoever_looked_when_it_was_forked(family: ConversationRuns) -> None:
    run = an_event(family)
    with nesting._building, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of forks while threads run
        child = os.fork()
        if not child:
            signal.alarm(10)  # ends it where it waits for ever
            os._exit(0 if run.tags == ["shop"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert run.tags == ["shop"]


def test_one_at_which_nobody_looked_is_gone_without_a_collection(family: ConversationRuns) -> None:
    gc.disable()
    try:
        gone = weakref.ref(an_event(family))
        assert gone() is None
    finally:
        gc.enable()


def test_one_that_announces_a_call_knows_it(family: ConversationRuns) -> None:
    name = "response.function_call_arguments.done"
    frame = {"type": name, "call_id": "call_1", "name": "lookup", "arguments": "{}"}
    run = family.event(name, microseconds_of(family.root.start_time), frame, name)
    assert [(call.call_id, call.name) for call in run.calls()] == [("call_1", "lookup")]
    assert run.calls() is run.calls()

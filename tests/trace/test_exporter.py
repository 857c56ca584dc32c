"""Exporters: several show one conversation, and they get the same live, replayed and recovered."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langsmith import Client

from langsmith_realtime.collector import Collector
from langsmith_realtime.core.conversation.run_data import ChildRun, ConversationEnd, EventRun, RunData, TurnRun
from langsmith_realtime.core.protocol.inputs import (
    Annotated,
    ChildBegun,
    ClientFrame,
    Closed,
    Input,
    Opened,
    Ref,
    ServerFrame,
    ToolClaimed,
)
from langsmith_realtime.delivery.operations import Operation, run_dict
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.delivery.tail_sampling import HeldConversation
from langsmith_realtime.journal import recovery
from langsmith_realtime.journal.file import Journal
from langsmith_realtime.journal.folder import LINES
from langsmith_realtime.journal.recovery import Fate, recover, replay_anew
from langsmith_realtime.journal.writer import journal_writer
from langsmith_realtime.live.pipeline import Pipeline
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.recording.finishing import FinishedRecording
from langsmith_realtime.runtime import guard as guards
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.exporter import Exporter
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns
from langsmith_realtime.trace.run_trees.root_run import start_conversation_runs
from langsmith_realtime.trace.session import SessionParts, build_session
from tests.support.conversations import recording_paths, recordings, server_events, spanned, stored_trees

pytestmark = pytest.mark.newest

every_recording = pytest.mark.parametrize("name", [path.stem for path in recording_paths()])
KEY = "lsv2_pt_0123456789abcdef"


class Collected:
    """An exporter that keeps what it is shown in lists. It knows nothing of LangSmith."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.runs: list[RunData] = []
        self.annotations: list[Annotated] = []
        self.ends: list[ConversationEnd] = []

    def opened(self) -> None:
        self.calls.append("opened")

    def emit(self, data: RunData) -> None:
        self.calls.append("emit")
        self.runs.append(data)

    def annotated(self, annotation: Annotated) -> None:
        self.calls.append("annotated")
        self.annotations.append(annotation)

    def closed(self, end: ConversationEnd, _recorded: FinishedRecording) -> None:
        self.calls.append("closed")
        self.ends.append(end)

    def discarded(self) -> None:
        self.calls.append("discarded")

    def shown(self) -> tuple[Any, ...]:
        return self.calls, self.runs, self.annotations, self.ends


class Failing(Collected):
    """An exporter whose every method raises."""

    def opened(self) -> None:
        super().opened()
        raise OSError("no connection")

    def emit(self, data: RunData) -> None:
        super().emit(data)
        raise OSError("no connection")

    def annotated(self, annotation: Annotated) -> None:
        super().annotated(annotation)
        raise OSError("no connection")

    def closed(self, end: ConversationEnd, recorded: FinishedRecording) -> None:
        super().closed(end, recorded)
        raise OSError("no connection")

    def discarded(self) -> None:
        super().discarded()
        raise OSError("no connection")


class StoringSender(Sender):
    """Stores operations instead of sending them. It has no thread."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def put(self, operation: Operation) -> None:
        self.operations.append(operation)

    def run_apart(self, work: Callable[[], None]) -> None:
        work()

    def sent(self) -> list[tuple[Any, ...]]:
        """All that an operation is, except who owns it."""
        return [
            (run_dict(each), each.name, each.update, each.size, each.is_dispensable, each.attachments)
            for each in self.operations
        ]


def inputs_of(name: str) -> list[Input]:
    """A recording as inputs, 20 ms apart, with work of the application's own between its events."""
    given: list[Input] = [Opened()]
    latest, t = Ref(0), 0.0
    for frame in recordings()[name]:
        t += 0.02
        event = frame["event"]
        if frame["dir"] == "client":
            given.append(ClientFrame(event, t))
        elif event["type"].endswith(".delta"):
            given.append(ServerFrame(event, t))
        else:
            latest = Ref(round(t * 1_000_000))
            given.append(ServerFrame(event, t, latest))
        if event["type"] == "response.function_call_arguments.done":
            given += [ChildBegun(t, latest), ToolClaimed(event["call_id"], t, "a run of the application's")]
    return [*given, Annotated(t, {"shop": 7}, ("sold",), {"order": "A1"}), Closed(t + 1.0)]


def client_of(url: str) -> Client:
    return Client(api_url=url, api_key=KEY, info={}, auto_batch_tracing=False)


def options_of(url: str, **given: Any) -> Options:
    return Options.of(client=client_of(url), enabled=True, **given)


@pytest.fixture
def runs() -> ConversationRuns:
    options = options_of("http://127.0.0.1:9", thread_id="t-1", metadata={"shop": 7}, tags=["demo"], recording=False)
    return start_conversation_runs(options, Guard())


def with_exporters(parts: SessionParts, before: tuple[Exporter, ...], after: tuple[Exporter, ...]) -> SessionParts:
    """The session with more exporters, before and after LangSmith's."""
    parts.session._exporters = [*before, *parts.session._exporters, *after]
    return parts


def traced(
    runs: ConversationRuns, inputs: list[Input], *after: Exporter, before: tuple[Exporter, ...] = ()
) -> tuple[StoringSender, Guard]:
    """What LangSmith's exporter sends of a conversation, and the guard of that conversation."""
    sender, guard = StoringSender(), Guard()
    options = options_of("http://127.0.0.1:9", recording=False)
    parts = with_exporters(build_session(options, runs, sender, sender, guard), before, after)
    Pipeline(parts.session, None, guard).take(inputs, lambda: None)
    return sender, guard


# Several exporters


@every_recording
def test_a_second_exporter_sees_the_whole_conversation_and_langsmith_gets_the_same_as_without(
    runs: ConversationRuns, name: str
) -> None:
    first, second, inputs = Collected(), Collected(), inputs_of(name)
    alone, _ = traced(runs, inputs)
    beside, guard = traced(runs, inputs, second, before=(first,))
    assert beside.sent() == alone.sent()
    assert guard.count == 0
    assert first.shown() == second.shown()

    assert second.calls[0] == "opened"
    assert second.calls[-1] == "closed"
    assert (second.calls.count("opened"), second.calls.count("closed")) == (1, 1)
    assert "discarded" not in second.calls
    events = sorted((run for run in second.runs if isinstance(run, EventRun)), key=lambda run: run.ref)
    assert [run.name for run in events] == spanned(server_events(recordings()[name]))
    assert len({run.ref for run in events}) == len(events)
    assert [(each.metadata, each.tags, each.outputs) for each in second.annotations] == [
        ({"shop": 7}, ("sold",), {"order": "A1"})
    ]
    (end,) = second.ends
    update = beside.operations[-1]
    assert update.update
    assert update.run.outputs is not None
    assert update.run.outputs["messages"] == end.messages
    assert {message["role"] for message in end.messages} >= {"user", "assistant"}


@every_recording
def test_run_data_is_plain_data(runs: ConversationRuns, name: str) -> None:
    collected = Collected()
    traced(runs, inputs_of(name), collected)
    for each in [*collected.runs, *collected.ends]:
        assert json.dumps(dataclasses.asdict(each), allow_nan=False)


@every_recording
def test_an_exporter_that_always_raises_costs_nobody_else_anything(runs: ConversationRuns, name: str) -> None:
    inputs, failing, apart, beside = inputs_of(name), Failing(), Collected(), Collected()
    alone, _ = traced(runs, inputs, apart)
    sender, guard = traced(runs, inputs, beside, before=(failing,))
    assert failing.calls == beside.calls
    assert guard.count == len(failing.calls)
    assert {str(failure) for failure in guards.failures} == {"no connection"}
    guards.failures.clear()

    # The root says how often tracing failed until its end, and is equal otherwise.
    (end,) = beside.ends
    assert end.metadata.pop("tracing_failures") == len(failing.calls) - 1
    assert beside.shown() == apart.shown()
    assert sender.operations[-1].run.extra["metadata"].pop("tracing_failures") == len(failing.calls) - 1
    expected = alone.sent()
    assert sender.sent()[:-1] == expected[:-1]
    assert sender.operations[-1].update
    assert sender.sent()[-1][0] == expected[-1][0]


def test_a_conversation_that_is_not_kept_is_discarded_by_every_exporter(runs: ConversationRuns) -> None:
    sender, guard, first, second = StoringSender(), Guard(), Collected(), Collected()
    failing = Failing()
    runs.held_conversation = HeldConversation(sender, lambda _metadata: False, guard, Limits())
    options = options_of("http://127.0.0.1:9", recording=False)
    parts = with_exporters(build_session(options, runs, sender, sender, guard), (first, failing), (second,))
    for given in (Opened(), ServerFrame({"type": "session.created"}, 0.1, Ref(100_000)), Closed(1.0)):
        parts.session.take(given)
    assert first.calls == second.calls == failing.calls == ["opened", "emit", "discarded"]
    assert sender.operations == []
    assert guard.count == 3
    guards.failures.clear()


def test_an_exporter_is_shown_runs_of_the_application_and_may_leave_out_kinds_that_it_does_not_know(
    runs: ConversationRuns,
) -> None:
    collected = Collected()
    inputs: list[Input] = [Opened(), ChildBegun(0.1, Ref(0)), ChildBegun(0.2), Closed(1.0)]
    _, guard = traced(runs, inputs, collected)
    assert collected.runs == [ChildRun(Ref(0)), ChildRun(None)]
    assert guard.count == 0


# Live, replayed, recovered


@every_recording
@pytest.mark.parametrize("layout", ["flat", "turns"])
def test_a_conversation_gives_equal_run_data_live_replayed_and_recovered(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, layout: str
) -> None:
    monkeypatch.setenv("LANGSMITH_REALTIME_DIR", str(tmp_path))
    live, replayed, recovered = Collected(), Collected(), Collected()
    options, guard, unsent = options_of(collector.url, layout=layout), Guard(), StoringSender()
    runs = start_conversation_runs(options, guard)
    parts = with_exporters(build_session(options, runs, unsent, unsent, guard), (live,), ())
    pipeline = Pipeline(parts.session, journal_writer(parts, options, runs, guard), guard)
    inputs = [placed(given, layout) for given in inputs_of(name)]
    for begin in range(0, len(inputs), 7):  # as the worker finds them in the queue
        pipeline.take(inputs[begin : begin + 7], lambda: None)
    assert guard.count == 0
    assert parts.runs is not None
    journal = parts.runs.ledger
    assert isinstance(journal, Journal)
    journal.release()  # the process dies, and has sent nothing

    def shown_to(exporter: Collected) -> Callable[..., SessionParts]:
        return lambda *arguments: with_exporters(build_session(*arguments), (exporter,), ())

    monkeypatch.setattr(recovery, "build_session", shown_to(replayed))
    assert replay_anew(journal.folder, client_of(collector.url)) is not None
    monkeypatch.setattr(recovery, "build_session", shown_to(recovered))
    assert (journal.folder / LINES).exists()
    assert [found.fate for found in recover(client_of(collector.url))] == [Fate.COMPLETED]

    assert any(isinstance(run, TurnRun) for run in live.runs) is (layout == "turns")
    for each in (replayed, recovered):
        assert each.runs == live.runs
        assert each.ends == live.ends
        assert each.shown() == live.shown()
    again, completed = sorted(stored_trees(collector), key=lambda tree: tree.run.id == str(runs.root.id))
    assert completed.run.id == str(runs.root.id)
    assert again.shape() == completed.shape()


def placed(given: Input, layout: str) -> Input:
    """The input with its event below a turn that began with the first event, if the layout has turns."""
    if layout == "flat" or not isinstance(given, ServerFrame) or given.run is None:
        return given
    return dataclasses.replace(given, run=Ref(given.run.start, turn=10_000))

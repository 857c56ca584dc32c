"""Every fault over every surface: the conversation is not disturbed, and its trace is complete in the end.

One row of `FAULTS` is one fault in tracing's environment: the endpoint, the disk, the clock, the process, or the
application's masking. Faults of the conversation's peer are rows of `tests/whole/test_behaviours.py`.
"""

from __future__ import annotations

import datetime
import errno
import itertools
import os
import socket
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from langsmith import Client, run_trees
from langsmith import client as langsmith_client
from urllib3.util.retry import Retry

from langsmith_realtime import SessionTracer, flush
from langsmith_realtime.collector import Collector, Request
from langsmith_realtime.delivery import operations
from langsmith_realtime.delivery.operations import Operation
from langsmith_realtime.journal import folder
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.live.process import process
from langsmith_realtime.runtime import guard
from langsmith_realtime.testing import Call, Say, Script, Turn, tone
from langsmith_realtime.trace.run_trees import parent_runs, root_run
from tests.support import processes
from tests.support.behaviours import (
    ASK,
    DONE,
    LIMITS,
    Behaviour,
    Conversed,
    asked,
    assert_complete,
    assert_expected,
    converse,
    result,
)
from tests.support.conversations import Node, spanned, stored_trees
from tests.support.surfaces import SURFACES, After, Surface

pytestmark = pytest.mark.nocover

TALK = Behaviour(
    "talk",
    Script([Turn(Call("lookup", {}, call_id="call_1")), Turn(Say("Sunny.", audio=tone(220, 1.0)))], speed=0, seed=1),
    asked(until=(LIMITS, 2), replies=[After(DONE, [result("call_1", "21 degrees"), ASK])]),
    transcript=["user: Hello?", "assistant: ", "tool: 21 degrees", "assistant: Sunny."],
    models=["completed", "completed"],
    tools=[(DONE, "lookup", "21 degrees")],
)
THREAD = "the conversation"
INVALID_RUN = "response.output_audio.done"


@dataclass
class Environment:
    """The environment of tracing in one test: its client, its endpoint, its log and its patches."""

    patch: pytest.MonkeyPatch
    contexts: ExitStack
    log: pytest.LogCaptureFixture
    #: The port that the client sends to, whether or not it is listened on.
    port: int = 0
    #: Parameters of the client.
    settings: dict[str, Any] = field(default_factory=dict)
    #: Called in the caller's thread in the middle of the conversation.
    mid_conversation: Callable[[], object] = lambda: None
    #: The collector's rules that the fault breaks; a run that is sent twice breaks one.
    broken_rules: tuple[str, ...] = ()
    collector: Collector = field(init=False)

    def start_collector(self) -> Collector:
        """Starts the collector on the port."""
        self.collector = self.contexts.enter_context(Collector(port=self.port))
        self.port = int(self.collector.url.rpartition(":")[2])
        return self.collector

    def client(self) -> Client:
        retries = Retry(0)  # the client's default would wait for seconds
        return Client(
            api_url=f"http://127.0.0.1:{self.port}", api_key="key", info={}, retry_config=retries, **self.settings
        )

    def trace(self, thread: str = THREAD) -> Node:
        """Returns the only trace of a thread."""
        (root,) = [
            tree for tree in stored_trees(self.collector, broken=self.broken_rules) if tree.run.thread_id == thread
        ]
        return root

    def writes(self, status: int | None = None) -> list[Request]:
        """Returns the requests with runs; with `status`, only those with that answer."""
        requests = [request for request in self.collector.requests if request.method == "POST"]
        return [request for request in requests if status in (None, request.status)]


# Faults. A fault begins before its `yield`, and ends after it.

FaultSteps = Callable[[Environment], Iterator[None]]


def answering(status: int) -> FaultSteps:
    """The endpoint answers four requests with `status` and stores nothing."""

    def steps(environment: Environment) -> Iterator[None]:
        environment.start_collector().respond_with(status, times=4)
        yield
        flush_all(environment)
        assert len(environment.writes(status)) == 4

    return steps


def refusing_a_batch(status: int, *, stored: bool = False) -> FaultSteps:
    """The endpoint answers a request of many runs with `status`, but accepts each of the runs alone.

    With `stored` it has stored the runs all the same.
    """

    def steps(environment: Environment) -> Iterator[None]:
        _send_on_flush(environment)
        environment.broken_rules = ("conflict",) if stored else ()
        environment.start_collector().respond_with(status, stored=stored)
        yield
        flush_all(environment)
        first, *then = environment.writes()
        assert first.status == status
        assert len(then) > 10  # one for each run

    return steps


def _send_on_flush(environment: Environment) -> None:
    """Delays sending for 10 s, so that a flush sends all runs in one batch."""
    environment.patch.setattr(process().limits, "request_wait_s", 10.0)


def _retry_on_flush(environment: Environment) -> None:
    """Delays retries for a minute, so that none is under way when the fault ends."""
    for wait in ("first_retry_s", "longest_retry_s"):
        environment.patch.setattr(process().limits, wait, 60.0)


def refusing_connections(environment: Environment) -> Iterator[None]:
    _retry_on_flush(environment)
    with _port_not_answering(environment):
        yield
        assert not flush(10)
    environment.start_collector()


def never_answering(environment: Environment) -> Iterator[None]:
    _retry_on_flush(environment)
    environment.patch.setattr(langsmith_client, "_TRACING_SEND_TIMEOUT", (1.0, 0.1))
    with _port_not_answering(environment) as taken:
        taken.listen()
        yield
        assert not flush(10)
    environment.patch.setattr(langsmith_client, "_TRACING_SEND_TIMEOUT", (3.0, 10.0))
    environment.start_collector()


@contextmanager
def _port_not_answering(environment: Environment) -> Iterator[socket.socket]:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        environment.port = taken.getsockname()[1]
        yield taken


def recording_refused(environment: Environment) -> Iterator[None]:
    """The endpoint answers 413 to the request with the recording, which is sent alone and last."""
    _send_on_flush(environment)
    environment.start_collector().respond_with(202)
    environment.collector.respond_with(413)
    yield
    flush_all(environment)
    assert len(environment.writes(413)) == 1


def one_bad_run(environment: Environment) -> Iterator[None]:
    """One run breaks a rule of the server, which refuses the whole request."""
    row = operations.run_dict

    def invalid_row(operation: Operation) -> dict[str, Any]:
        fields = row(operation)
        return {**fields, "run_type": "chair"} if fields["name"] == INVALID_RUN else fields

    environment.patch.setattr("langsmith_realtime.delivery.batches.run_dict", invalid_row)
    environment.broken_rules = ("run-type",)
    environment.start_collector()
    yield


def read_only_folder(environment: Environment) -> Iterator[None]:
    state = Path(os.environ["LANGSMITH_REALTIME_DIR"])
    state.mkdir(mode=0o500)
    if os.access(state, os.W_OK):  # root can write to any folder except in /proc
        environment.patch.setenv("LANGSMITH_REALTIME_DIR", "/proc/self/journals")
    environment.start_collector()
    yield


def full_disk(environment: Environment) -> Iterator[None]:
    """From the middle of the conversation on, writing the journal fails with ENOSPC."""
    refused: list[bytes] = []

    def write(_: int, data: bytes) -> None:
        refused.append(data)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    environment.mid_conversation = lambda: environment.patch.setattr(folder, "_write", write)
    environment.start_collector()
    yield
    flush_all(environment)
    assert len(refused) == 1  # the journal is given up after the first error


def clock_set(by: float) -> FaultSteps:
    """The wall clock jumps by `by` seconds in the middle of the conversation."""

    def steps(environment: Environment) -> Iterator[None]:
        true_time = time.time

        class Jumped(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> Jumped:
                return cls.fromtimestamp(true_time() + by, tz)

        def jump() -> None:
            clock.setattr(time, "time", lambda: true_time() + by)
            for module in (root_run, parent_runs):
                clock.setattr(module, "datetime", Jumped)

        environment.mid_conversation = jump
        environment.start_collector()
        with pytest.MonkeyPatch.context() as clock:
            yield
            flush_all(environment)

    return steps


def fork(environment: Environment) -> Iterator[None]:
    """The process is forked in the middle of the conversation, and the child traces a conversation of its own."""

    def talk() -> None:
        with SessionTracer(enabled=True, thread_id="the child's") as tracer:
            tracer.server_event({"type": "session.created", "event_id": "event_0"})

    children: list[int] = []
    environment.mid_conversation = lambda: children.append(start_child(talk))
    environment.start_collector()
    yield
    (process,) = children
    assert processes.exit_code(process) == 0


def start_child(work: Callable[[], None]) -> int:
    """Forks a child that works, flushes, and exits with 0 on success. Returns its process id."""
    process = processes.fork()
    if process == 0:
        done = False
        try:
            work()
            done = flush(10) and not guard.failures
        finally:
            os._exit(not done)
    return process


def slow_anonymizer(environment: Environment) -> Iterator[None]:
    threads: set[int] = set()

    def anonymizer(payload: dict[str, Any]) -> dict[str, Any]:
        threads.add(threading.get_ident())
        time.sleep(0.001)
        return payload

    environment.settings["anonymizer"] = anonymizer
    environment.start_collector()
    yield
    flush_all(environment)
    assert threads
    assert threading.get_ident() not in threads  # it slows the sender thread, not the caller


def failing_anonymizer(environment: Environment) -> Iterator[None]:
    def anonymizer(payload: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(f"{payload} cannot be read")

    environment.settings["anonymizer"] = anonymizer
    environment.start_collector()
    yield


# The expected traces.


def assert_whole(environment: Environment, traced: Conversed) -> None:
    root = environment.trace()
    assert_complete(root, traced.sent)
    assert_expected(root, TALK, environment.collector)
    assert state_files() == []


def assert_recording_reduced(environment: Environment, traced: Conversed) -> None:
    assert_whole(environment, traced)
    metadata = environment.trace().metadata
    assert metadata["recording_format"] == "flac"
    assert "HTTP 413" in metadata["recording_reduced"]


def assert_without_invalid_run(environment: Environment, traced: Conversed) -> None:
    root = environment.trace()
    assert root.names() == [name for name in spanned(traced.sent) if name != INVALID_RUN]
    assert root.metadata["refused_runs"] == 1
    assert state_files() == []


def assert_times_unchanged(environment: Environment, traced: Conversed) -> None:
    assert_whole(environment, traced)
    now, root = datetime.datetime.now(datetime.UTC), environment.trace()
    for node in (root, *root.children):
        assert abs(node.run.start_time - now) < datetime.timedelta(minutes=5)


def assert_child_traced(environment: Environment, traced: Conversed) -> None:
    assert_whole(environment, traced)
    child = environment.trace(thread="the child's")
    assert child.names() == ["session.created"]
    assert child.run.end_time is not None


def assert_nothing_unmasked(environment: Environment, traced: Conversed) -> None:
    """Asserts that every run was sent without its unmasked payload, and that the recording is silent."""
    (root,) = stored_trees(environment.collector)
    assert root.names() == spanned(traced.sent)
    assert {run.metadata.get("payload_left_out") for run in environment.collector.runs()} == {True}
    assert root.run.end_time is not None
    assert root.metadata["turns"] == 1
    assert [model.metadata["usage_metadata"]["output_tokens"] > 0 for model in root.find("model")] == [True, True]
    with wave.open(str(environment.collector.attachment(root.run.id, "conversation")[1])) as recording:
        assert not any(recording.readframes(recording.getnframes()))
    sent = str([(run.inputs, run.outputs, run.error, run.extra) for run in environment.collector.runs()])
    for words in ("Hello?", "Sunny.", "21 degrees"):
        assert words not in sent
        assert words not in environment.log.text
    assert state_files() == []


def state_files() -> list[Path]:
    return [path for path in state_directory().rglob("*") if path.is_file()]


@dataclass(frozen=True)
class Fault:
    """A fault and the assertion on its trace; `mid_conversation` if it begins in the middle of the conversation."""

    name: str
    steps: FaultSteps
    check: Callable[[Environment, Conversed], None] = assert_whole
    mid_conversation: bool = False

    def around(self, environment: Environment) -> AbstractContextManager[None]:
        return contextmanager(self.steps)(environment)


FAULTS = [
    *(Fault(f"answers_{status or 'nothing'}", answering(status)) for status in (429, 500, 503, 0)),
    Fault("refuses_connections", refusing_connections),
    Fault("never_answers", never_answering),
    *(Fault(f"refuses_a_batch_with_{status}", refusing_a_batch(status)) for status in (400, 422)),
    *(Fault(f"takes_a_batch_and_answers_{status}", refusing_a_batch(status, stored=True)) for status in (409, 500)),
    Fault("recording_too_large", recording_refused, assert_recording_reduced),
    Fault("one_bad_run", one_bad_run, assert_without_invalid_run),
    Fault("folder_read_only", read_only_folder),
    Fault("disk_full", full_disk, mid_conversation=True),
    Fault("clock_set_back", clock_set(-3600.0), assert_times_unchanged, mid_conversation=True),
    Fault("clock_set_forward", clock_set(3600.0), assert_times_unchanged, mid_conversation=True),
    Fault("fork", fork, assert_child_traced, mid_conversation=True),
    Fault("anonymizer_slow", slow_anonymizer),
    Fault("anonymizer_fails", failing_anonymizer, assert_nothing_unmasked),
]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Environment]:
    monkeypatch.setattr(process().limits, "first_retry_s", 0.01)
    monkeypatch.setattr(process().limits, "longest_retry_s", 0.05)
    monkeypatch.setattr(process().limits, "request_wait_s", 0.01)
    with ExitStack() as contexts, monkeypatch.context() as patch:
        yield Environment(patch, contexts, caplog)


#: Surfaces that run every fault, on the oldest versions, too. The others run every third one, and the rest in a soak,
#: because a fault strikes behind the surface.
WITH_EVERY_FAULT = ("iterate", "iterate_sync", "tracer_as_dict")


def marks_of(fault: Fault, surface: Surface) -> Iterator[pytest.MarkDecorator]:
    if surface.name not in WITH_EVERY_FAULT:
        yield pytest.mark.newest
        if (FAULTS.index(fault) + SURFACES.index(surface)) % 3:
            yield pytest.mark.soak


def cells() -> list[Any]:
    return [
        pytest.param(
            fault,
            surface,
            marks=list(marks_of(fault, surface)),
            id=f"{fault.name}-{surface.name}",
        )
        for fault, surface in itertools.product(FAULTS, SURFACES)
        if not (fault.mid_conversation and surface.name == "tracer_from_the_log")  # which traces after the conversation
    ]


@cache
def without_fault(surface: Surface) -> Conversed:
    return converse(TALK, surface, enabled=False)


@pytest.mark.parametrize(("fault", "surface"), cells())
def test_every_fault_over_every_surface(environment: Environment, fault: Fault, surface: Surface) -> None:
    plain = without_fault(surface)
    with fault.around(environment):
        part = replace(
            TALK.part,
            replies=[*TALK.part.replies, After("response.created", lambda _: begin_mid_conversation(environment))],
        )
        environment.patch.setattr(run_trees, "_CLIENT", environment.client())
        traced = converse(replace(TALK, part=part), surface, enabled=True, thread_id=THREAD)

    assert traced.client.types == plain.client.types
    assert traced.received == plain.received
    assert traced.ended == "clean"

    flush_all(environment)
    fault.check(environment, traced)


def begin_mid_conversation(environment: Environment) -> list[Any]:
    environment.mid_conversation()
    return []


def flush_all(environment: Environment) -> None:
    """Flushes until everything is sent. Fails after 10 s."""
    deadline = time.monotonic() + 10
    while not flush(10):
        assert time.monotonic() < deadline, "the traces were not sent within 10 s"


def test_processes_that_were_forked_while_sending_do_not_share_a_connection(environment: Environment) -> None:
    environment.start_collector()
    environment.patch.setattr(run_trees, "_CLIENT", environment.client())

    def talk(thread_id: str, events: int) -> None:
        with SessionTracer(enabled=True, thread_id=thread_id) as tracer:
            for number in range(events):
                event = {"type": "session.updated", "event_id": f"event_{number}", "session": {"text": "a" * 20_000}}
                tracer.server_event(event)
                time.sleep(0.001)

    talk("before", 1)
    flush_all(environment)  # its connection stays open
    children = [start_child(partial(talk, f"child {number}", 100)) for number in range(2)]
    talk("parent", 100)
    flush_all(environment)
    assert [processes.exit_code(process) for process in children] == [0, 0]
    traces = {tree.run.thread_id: len(tree.children) for tree in stored_trees(environment.collector)}
    assert traces == {"before": 1, "parent": 100, "child 0": 100, "child 1": 100}

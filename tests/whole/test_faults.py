"""Every fault over every surface: the conversation goes on as if nothing were, and its trace is complete in the end.

One row of `FAULTS` is one fault of what tracing stands on: the endpoint, the disk, the clock, the process, the
user's own masking. Faults of the conversation's peer are rows of `tests/whole/test_behaviours.py`.
"""

from __future__ import annotations

import datetime
import errno
import itertools
import os
import socket
import threading
import time
import warnings
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
from langsmith_realtime.delivery import operations, retry_queue, sender
from langsmith_realtime.delivery.operations import Operation
from langsmith_realtime.journal import file as journal
from langsmith_realtime.runtime import guard
from langsmith_realtime.testing import Call, Say, Script, Turn, tone
from langsmith_realtime.trace.run_trees import nesting, root_run
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

pytestmark = pytest.mark.unmeasured

TALK = Behaviour(
    "talk",
    Script([Turn(Call("lookup", {}, call_id="call_1")), Turn(Say("Sunny.", audio=tone(220, 1.0)))], speed=0, seed=1),
    asked(until=(LIMITS, 2), replies=[After(DONE, [result("call_1", "21 degrees"), ASK])]),
    says=["user: Hello?", "assistant: ", "tool: 21 degrees", "assistant: Sunny."],
    models=["completed", "completed"],
    tools=[(DONE, "lookup", "21 degrees")],
)
THREAD = "the conversation"
BAD = "response.output_audio.done"


@dataclass
class Stage:
    """What a conversation's tracing stands on, whole until a fault strikes."""

    patch: pytest.MonkeyPatch
    opened: ExitStack
    log: pytest.LogCaptureFixture
    #: Where the client sends, whether somebody listens there or not.
    port: int = 0
    #: What the client is made with.
    settings: dict[str, Any] = field(default_factory=dict)
    #: Done in the caller's own thread, in the middle of the conversation.
    amid: Callable[[], object] = lambda: None
    #: The rules of the endpoint that the fault breaks; a run that is sent twice breaks one.
    broken: tuple[str, ...] = ()
    collector: Collector = field(init=False)

    def comes_up(self) -> Collector:
        self.collector = self.opened.enter_context(Collector(port=self.port))
        self.port = int(self.collector.url.rpartition(":")[2])
        return self.collector

    def client(self) -> Client:
        retries = Retry(0)  # the client's own would wait for seconds
        return Client(
            api_url=f"http://127.0.0.1:{self.port}", api_key="key", info={}, retry_config=retries, **self.settings
        )

    def trace(self, thread: str = THREAD) -> Node:
        """The only trace of that thread."""
        (root,) = [tree for tree in stored_trees(self.collector, broken=self.broken) if tree.run.thread_id == thread]
        return root

    def writes(self, status: int | None = None) -> list[Request]:
        """The requests that brought runs, or those of them that were answered so."""
        requests = [request for request in self.collector.requests if request.method == "POST"]
        return [request for request in requests if status in (None, request.status)]


# Faults: what comes before `yield` is there when the conversation begins, what comes after mends it.

Strike = Callable[[Stage], Iterator[None]]


def answering(status: int) -> Strike:
    """The endpoint answers so for a while, and takes nothing."""

    def strike(stage: Stage) -> Iterator[None]:
        stage.comes_up().respond_with(status, times=4)
        yield
        deliver(stage)
        assert len(stage.writes(status)) == 4

    return strike


def together(status: int, *, stored: bool = False) -> Strike:
    """The endpoint answers a request so that has many runs in it, and would take each of them alone."""

    def strike(stage: Stage) -> Iterator[None]:
        _all_at_once(stage)
        stage.broken = ("conflict",) if stored else ()
        stage.comes_up().respond_with(status, stored=stored)
        yield
        deliver(stage)
        first, *then = stage.writes()
        assert first.status == status
        assert len(then) > 10  # each alone

    return strike


def _all_at_once(stage: Stage) -> None:
    """The runs wait until somebody waits for them, and go together."""
    stage.patch.setattr(sender, "BATCH_WAIT_S", 10.0)


def _only_when_asked(stage: Stage) -> None:
    """Nothing is tried again but for who waits for it: no try is under way when the fault is mended."""
    for wait in ("FIRST_WAIT_S", "LONGEST_WAIT_S"):
        stage.patch.setattr(retry_queue, wait, 60.0)


def refusing_connections(stage: Stage) -> Iterator[None]:
    _only_when_asked(stage)
    with _nobody_at(stage):
        yield
        assert not flush(10)
    stage.comes_up()


def never_answering(stage: Stage) -> Iterator[None]:
    _only_when_asked(stage)
    stage.patch.setattr(langsmith_client, "_TRACING_SEND_TIMEOUT", (1.0, 0.1))
    with _nobody_at(stage) as taken:
        taken.listen()
        yield
        assert not flush(10)
    stage.patch.setattr(langsmith_client, "_TRACING_SEND_TIMEOUT", (3.0, 10.0))
    stage.comes_up()


@contextmanager
def _nobody_at(stage: Stage) -> Iterator[socket.socket]:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        stage.port = taken.getsockname()[1]
        yield taken


def recording_refused(stage: Stage) -> Iterator[None]:
    """The request that brings the recording, which goes alone and last, is larger than the endpoint takes."""
    _all_at_once(stage)
    stage.comes_up().respond_with(202)
    stage.collector.respond_with(413)
    yield
    deliver(stage)
    assert len(stage.writes(413)) == 1


def one_bad_run(stage: Stage) -> Iterator[None]:
    """A run breaks a rule of the server, and with it the request it is in."""
    row = operations.run_dict

    def bad(operation: Operation) -> dict[str, Any]:
        fields = row(operation)
        return {**fields, "run_type": "chair"} if fields["name"] == BAD else fields

    stage.patch.setattr("langsmith_realtime.delivery.batches.run_dict", bad)
    stage.broken = ("run-type",)
    stage.comes_up()
    yield


def folder_that_cannot_be_written(stage: Stage) -> Iterator[None]:
    state = Path(os.environ["LANGSMITH_REALTIME_DIR"])
    state.mkdir(mode=0o500)
    if os.access(state, os.W_OK):  # the superuser may write anywhere but there
        stage.patch.setenv("LANGSMITH_REALTIME_DIR", "/proc/self/journals")
    stage.comes_up()
    yield


def full_disk(stage: Stage) -> Iterator[None]:
    """From the middle of the conversation on, the disk takes no more of the journal."""
    refused: list[bytes] = []

    def write(_: int, data: bytes) -> None:
        refused.append(data)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stage.amid = lambda: stage.patch.setattr(journal, "_write", write)
    stage.comes_up()
    yield
    deliver(stage)
    assert len(refused) == 1  # after that there is no journal


def clock_set(by: float) -> Strike:
    """In the middle of the conversation the wall clock jumps."""

    def strike(stage: Stage) -> Iterator[None]:
        true_time = time.time

        class Jumped(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> Jumped:
                return cls.fromtimestamp(true_time() + by, tz)

        def jump() -> None:
            clock.setattr(time, "time", lambda: true_time() + by)
            for module in (root_run, nesting):
                clock.setattr(module, "datetime", Jumped)

        stage.amid = jump
        stage.comes_up()
        with pytest.MonkeyPatch.context() as clock:
            yield
            deliver(stage)

    return strike


def fork(stage: Stage) -> Iterator[None]:
    """In the middle of the conversation the process is forked, and the child has a conversation of its own."""

    def talk() -> None:
        with SessionTracer(enabled=True, thread_id="the child's") as tracer:
            tracer.server_event({"type": "session.created", "event_id": "event_0"})

    children: list[int] = []
    stage.amid = lambda: children.append(forked(talk))
    stage.comes_up()
    yield
    (process,) = children
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def forked(work: Callable[[], None]) -> int:
    """A child that does it, has it delivered, and exits with 0 if all went well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of forks while threads run
        process = os.fork()
    if process == 0:
        done = False
        try:
            work()
            done = flush(10) and not guard.failures
        finally:
            os._exit(not done)
    return process


def slow_anonymizer(stage: Stage) -> Iterator[None]:
    threads: set[int] = set()

    def anonymizer(payload: dict[str, Any]) -> dict[str, Any]:
        threads.add(threading.get_ident())
        time.sleep(0.001)
        return payload

    stage.settings["anonymizer"] = anonymizer
    stage.comes_up()
    yield
    deliver(stage)
    assert threads
    assert threading.get_ident() not in threads  # it slows whoever sends, not who talks


def failing_anonymizer(stage: Stage) -> Iterator[None]:
    def anonymizer(payload: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(f"{payload} cannot be read")

    stage.settings["anonymizer"] = anonymizer
    stage.comes_up()
    yield


# What is to be seen of them in the trace, where it is not simply all there.


def whole(stage: Stage, traced: Conversed) -> None:
    root = stage.trace()
    assert_complete(root, traced.sent)
    assert_expected(root, TALK, stage.collector)
    assert kept_files() == []


def recorded_smaller(stage: Stage, traced: Conversed) -> None:
    whole(stage, traced)
    said = stage.trace().metadata
    assert said["recording_format"] == "flac"
    assert "HTTP 413" in said["recording_reduced"]


def without_the_bad_one(stage: Stage, traced: Conversed) -> None:
    root = stage.trace()
    assert root.names() == [name for name in spanned(traced.sent) if name != BAD]
    assert root.metadata["refused_runs"] == 1
    assert kept_files() == []


def in_its_own_time(stage: Stage, traced: Conversed) -> None:
    whole(stage, traced)
    now, root = datetime.datetime.now(datetime.timezone.utc), stage.trace()
    for node in (root, *root.children):
        assert abs(node.run.start_time - now) < datetime.timedelta(minutes=5)


def beside_the_childs(stage: Stage, traced: Conversed) -> None:
    whole(stage, traced)
    child = stage.trace(thread="the child's")
    assert child.names() == ["session.created"]
    assert child.run.end_time is not None


def nothing_unmasked(stage: Stage, traced: Conversed) -> None:
    """Every run is there, without what cannot be masked, and the recording is silent."""
    (root,) = stored_trees(stage.collector)
    assert root.names() == spanned(traced.sent)
    assert {run.metadata.get("payload_left_out") for run in stage.collector.runs()} == {True}
    assert root.run.end_time is not None
    assert root.metadata["turns"] == 1
    assert [model.metadata["usage_metadata"]["output_tokens"] > 0 for model in root.find("model")] == [True, True]
    with wave.open(str(stage.collector.attachment(root.run.id, "conversation")[1])) as recording:
        assert not any(recording.readframes(recording.getnframes()))
    sent = str([(run.inputs, run.outputs, run.error, run.extra) for run in stage.collector.runs()])
    for words in ("Hello?", "Sunny.", "21 degrees"):
        assert words not in sent
        assert words not in stage.log.text
    assert kept_files() == []


def kept_files() -> list[Path]:
    return [path for path in journal.state_directory().rglob("*") if path.is_file()]


@dataclass(frozen=True)
class Fault:
    """One row; `amid` if it strikes in the middle of the conversation."""

    name: str
    strike: Strike
    seen: Callable[[Stage, Conversed], None] = whole
    amid: bool = False

    def around(self, stage: Stage) -> AbstractContextManager[None]:
        return contextmanager(self.strike)(stage)


FAULTS = [
    *(Fault(f"answers_{status or 'nothing'}", answering(status)) for status in (429, 500, 503, 0)),
    Fault("refuses_connections", refusing_connections),
    Fault("never_answers", never_answering),
    *(Fault(f"refuses_a_batch_with_{status}", together(status)) for status in (400, 422)),
    *(Fault(f"takes_a_batch_and_answers_{status}", together(status, stored=True)) for status in (409, 500)),
    Fault("recording_too_large", recording_refused, recorded_smaller),
    Fault("one_bad_run", one_bad_run, without_the_bad_one),
    Fault("folder_read_only", folder_that_cannot_be_written),
    Fault("disk_full", full_disk, amid=True),
    Fault("clock_set_back", clock_set(-3600.0), in_its_own_time, amid=True),
    Fault("clock_set_forward", clock_set(3600.0), in_its_own_time, amid=True),
    Fault("fork", fork, beside_the_childs, amid=True),
    Fault("anonymizer_slow", slow_anonymizer),
    Fault("anonymizer_fails", failing_anonymizer, nothing_unmasked),
]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Stage]:
    monkeypatch.setattr(retry_queue, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(retry_queue, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(sender, "BATCH_WAIT_S", 0.01)
    with ExitStack() as opened, monkeypatch.context() as patch:
        yield Stage(patch, opened, caplog)


def cells() -> list[Any]:
    return [
        pytest.param(
            fault,
            surface,
            marks=[pytest.mark.newest] if surface.newest else [],
            id=f"{fault.name}-{surface.name}",
        )
        for fault, surface in itertools.product(FAULTS, SURFACES)
        if not (fault.amid and surface.name == "tracer_from_the_log")  # which traces what is over
    ]


@cache
def undisturbed(surface: Surface) -> Conversed:
    return converse(TALK, surface, enabled=False)


@pytest.mark.parametrize(("fault", "surface"), cells())
def test_every_fault_over_every_surface(stage: Stage, fault: Fault, surface: Surface) -> None:
    plain = undisturbed(surface)
    with fault.around(stage):
        part = replace(TALK.part, replies=[*TALK.part.replies, After("response.created", lambda _: strike(stage))])
        stage.patch.setattr(run_trees, "_CLIENT", stage.client())
        traced = converse(replace(TALK, part=part), surface, enabled=True, thread_id=THREAD)

    assert traced.client.types == plain.client.types
    assert traced.received == plain.received
    assert traced.ended == "clean"

    deliver(stage)
    fault.seen(stage, traced)


def strike(stage: Stage) -> list[Any]:
    stage.amid()
    return []


def deliver(stage: Stage) -> None:
    """Wait until everything is delivered."""
    deadline = time.monotonic() + 10
    while not flush(10):
        assert time.monotonic() < deadline, "not everything was delivered"


def test_processes_that_were_forked_while_sending_do_not_share_a_connection(stage: Stage) -> None:
    stage.comes_up()
    stage.patch.setattr(run_trees, "_CLIENT", stage.client())

    def talk(thread_id: str, events: int) -> None:
        with SessionTracer(enabled=True, thread_id=thread_id) as tracer:
            for number in range(events):
                said = {"type": "session.updated", "event_id": f"event_{number}", "session": {"said": "a" * 20_000}}
                tracer.server_event(said)
                time.sleep(0.001)

    talk("before", 1)
    deliver(stage)  # its connection is kept
    children = [forked(partial(talk, f"child {number}", 100)) for number in range(2)]
    talk("parent", 100)
    deliver(stage)
    assert [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in children] == [0, 0]
    traces = {tree.run.thread_id: len(tree.children) for tree in stored_trees(stage.collector)}
    assert traces == {"before": 1, "parent": 100, "child 0": 100, "child 1": 100}

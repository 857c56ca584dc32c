"""Conversations of hostile frames, and what holds whatever arrives."""

from __future__ import annotations

import functools
import json
from typing import Any

import openai
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langsmith import Client

from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.payloads.json_values import plain
from langsmith_realtime.core.protocol.events import FrameError, parse
from langsmith_realtime.delivery.operations import Operation, run_dict
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.langsmith_runs import LangSmithRuns
from langsmith_realtime.trace.run_trees.nesting import ParentRun
from langsmith_realtime.trace.run_trees.root_run import start_conversation_runs
from langsmith_realtime.trace.session import Session
from tests.support.hostile_frames import (
    client_frames,
    server_frames,
)

#: Frames drawn for an example. In the core's they come twice, in both orders; in all, 10,000 cases. What an old client
#: changes of that shows with fewer.
FRAMES = 20


OLD_CLIENT = int(openai.__version__.partition(".")[0]) < 2


CORE, COLLECTED, TAPPED = (150, 30, 30) if OLD_CLIENT else (150, 100, 100)


slowly = settings(deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))


class Caught(Sender):
    """Keeps what would be sent, and has no thread."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def put(self, operation: Operation) -> None:
        self.operations.append(operation)


@functools.cache
def nowhere() -> Client:
    """One client for all: what ends a client's connections would run within whatever frame is parsed then."""
    return Client(api_url="http://127.0.0.1:9", api_key="k", info={}, auto_batch_tracing=False)


class Frames:
    """A session without a socket and without threads, and what it would send."""

    def __init__(self) -> None:
        self.guard = Guard()
        self.family = start_conversation_runs(Options.of(client=nowhere(), enabled=True), self.guard)
        self.sender = Caught()
        self.session = Session(Conversation(), LangSmithRuns(self.family, self.sender, self.sender), None, self.guard)
        self.t = 0.0
        self.refs: list[ParentRun] = []
        self.session.opened()

    def server(self, frame: object) -> None:
        self.t += 0.01
        frame = plain(frame) if isinstance(frame, dict) else frame
        try:
            name = parse(frame).name
        except FrameError:
            name = "malformed_frame"
        ref = None if name.endswith(".delta") else self._ref(name)
        self.session.server_frame(frame, self.t, ref, None)

    def client(self, frame: object) -> None:
        self.t += 0.01
        self.session.client_frame(plain(frame) if isinstance(frame, dict) else frame, self.t)

    def close(self) -> None:
        self.session.closed(self.t, None, {})

    def _ref(self, name: str) -> ParentRun:
        ref = self.family.event(name, 1_700_000_000_000_000 + len(self.refs), None, "")
        self.refs.append(ref)
        return ref


def jsonable(value: Any) -> bool:
    """Whether any reader of JSON reads it."""
    return bool(json.dumps(value, allow_nan=False).encode("ascii"))


conversation = st.lists(
    st.one_of(
        st.tuples(st.just("server"), server_frames),
        st.tuples(st.just("server"), server_frames),
        st.tuples(st.just("client"), client_frames),
    ),
    min_size=FRAMES,
    max_size=FRAMES,
)


@settings(slowly, max_examples=CORE)
@given(conversation)
def check_core(frames: list[tuple[str, Any]]) -> None:
    """Every frame that is no delta becomes one run that can be sent, in whatever order they come."""
    fed = Frames()
    for side, frame in [*frames, *reversed(frames)]:
        getattr(fed, side)(frame)
    fed.close()
    assert fed.guard.count == 0
    operations = fed.sender.operations
    sent = [operation.run.id for operation in operations if not operation.update]
    assert len(sent) == len(set(sent))
    assert {ref.id for ref in fed.refs} <= set(sent)
    assert [operation.run.id for operation in operations if operation.update] == [fed.family.root.id]
    for operation in operations:
        fields = run_dict(operation)
        assert 0 < len(fields["name"].encode()) <= 4 * 128
        assert len(fields["name"]) <= 128
        assert jsonable([fields.get(key) for key in ("inputs", "outputs", "extra", "error", "tags", "name")])

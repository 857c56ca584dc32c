"""Conversations of hostile frames, and the check that each frame becomes a run."""

from __future__ import annotations

import functools
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langsmith import Client

from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.payloads.json_values import json_copy
from langsmith_realtime.core.protocol.events import FrameError, parse
from langsmith_realtime.core.protocol.inputs import ClientFrame, Closed, Input, Opened, Ref, ServerFrame
from langsmith_realtime.delivery.operations import Operation, run_dict
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.live.pipeline import Pipeline
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.langsmith_runs import LangSmithRuns
from langsmith_realtime.trace.run_trees.root_run import start_conversation_runs
from langsmith_realtime.trace.session import Session
from tests.support.hostile_frames import (
    client_frames,
    server_frames,
)

#: Frames of an example. The core gets them twice, in both orders: 10,000 cases in all.
FRAMES = 20
#: Examples for the core, for a tracer with its collector, and for a tapped connection.
CORE, COLLECTED, TAPPED = 150, 100, 100


SETTINGS = settings(deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))


class StoringSender(Sender):
    """Stores operations instead of sending them. It has no thread."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def put(self, operation: Operation) -> None:
        self.operations.append(operation)


@functools.cache
def unreachable_client() -> Client:
    """Returns one client for all conversations: the finalizer of a client could run while a frame is parsed."""
    return Client(api_url="http://127.0.0.1:9", api_key="k", info={}, auto_batch_tracing=False)


class SessionFedByHand:
    """A session without a socket and without threads, which stores its operations. Frames come 10 ms apart."""

    def __init__(self) -> None:
        self.guard = Guard()
        self.family = start_conversation_runs(Options.of(client=unreachable_client(), enabled=True), self.guard)
        self.sender = StoringSender()
        session = Session(Conversation(), [LangSmithRuns(self.family, self.sender, self.sender)], None, self.guard)
        self.pipeline = Pipeline(session, None, self.guard)
        self.t = 0.0
        self.refs: list[Ref] = []
        self._take(Opened())

    def server(self, frame: object) -> None:
        self.t += 0.01
        frame = json_copy(frame) if isinstance(frame, dict) else frame
        try:
            name = parse(frame).name
        except FrameError:
            name = "malformed_frame"
        self._take(ServerFrame(frame, self.t, None if name.endswith(".delta") else self._ref()))

    def client(self, frame: object) -> None:
        self.t += 0.01
        self._take(ClientFrame(json_copy(frame) if isinstance(frame, dict) else frame, self.t))

    def close(self) -> None:
        self._take(Closed(self.t))

    def _take(self, given: Input) -> None:
        self.pipeline.take([given], lambda: None)

    def _ref(self) -> Ref:
        ref = Ref(1 + len(self.refs))
        self.refs.append(ref)
        return ref


def jsonable(value: Any) -> bool:
    """Returns whether a value is strict JSON."""
    return bool(json.dumps(value, allow_nan=False).encode("ascii"))


conversations = st.lists(
    st.one_of(
        st.tuples(st.just("server"), server_frames),
        st.tuples(st.just("server"), server_frames),
        st.tuples(st.just("client"), client_frames),
    ),
    min_size=FRAMES,
    max_size=FRAMES,
)


def assert_every_frame_is_a_run(frames: list[tuple[str, Any]]) -> None:
    """Asserts that every frame but a delta becomes one run that can be sent, in any order of the frames."""
    driven = SessionFedByHand()
    for side, frame in [*frames, *reversed(frames)]:
        getattr(driven, side)(frame)
    driven.close()
    assert driven.guard.count == 0
    operations = driven.sender.operations
    sent = [operation.run.id for operation in operations if not operation.update]
    assert len(sent) == len(set(sent))
    assert {driven.family.id_of(ref) for ref in driven.refs} <= set(sent)
    assert [operation.run.id for operation in operations if operation.update] == [driven.family.root.id]
    for operation in operations:
        fields = run_dict(operation)
        assert 0 < len(fields["name"].encode()) <= 4 * 128
        assert len(fields["name"]) <= 128
        assert jsonable([fields.get(key) for key in ("inputs", "outputs", "extra", "error", "tags", "name")])


#: For the fuzzer, which makes the frames of bytes.
check_core = SETTINGS(given(conversations)(assert_every_frame_is_a_run))

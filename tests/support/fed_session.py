"""A session that takes events with times of the test, without a socket, without threads, and without a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.audio.writes import ChannelWrite
from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.conversation.run_data import ConversationEnd, EventRun, ModelRun, RunData, ToolRun
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.core.protocol.events import FrameError, parse
from langsmith_realtime.core.protocol.inputs import (
    Annotated,
    ClientFrame,
    Closed,
    Input,
    Opened,
    Ref,
    ServerFrame,
)
from langsmith_realtime.delivery.operations import run_dict
from langsmith_realtime.live.pipeline import Pipeline
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.recording.finishing import FinishedRecording
from langsmith_realtime.recording.recorder import Recorder
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.langsmith_runs import LangSmithRuns
from langsmith_realtime.trace.run_trees.root_run import start_conversation_runs
from langsmith_realtime.trace.session import Session
from tests.support.hostile_conversations import StoringSender, unreachable_client

Event = dict[str, Any]


class RecorderInMemory(Recorder):
    """Keeps the samples of both channels. ``rate`` is their rate in Hz; None until there is sound."""

    def __init__(self) -> None:  # the file of the base class is never made
        self.rate: int | None = None
        self._writes: list[ChannelWrite] = []

    def write(self, writes: Iterable[ChannelWrite], rate: int, t: float) -> None:
        self.rate = rate
        self._writes += writes

    def sync(self) -> None:
        pass

    def finish(self, t: float, end: Callable[[FinishedRecording], None]) -> None:
        end(FinishedRecording())

    def discard(self) -> None:
        self._writes = []

    def channel(self, channel: int) -> Samples:
        """Returns the samples of a channel from the beginning of the conversation; later writes win."""
        writes = [each.write for each in self._writes if each.channel == channel]
        samples = np.zeros(max((each.start + len(each.samples) for each in writes), default=0), np.int16)
        for each in writes:
            samples[each.start : each.start + len(each.samples)] = each.samples
        return samples


class _Happened:
    """An exporter that keeps all run data."""

    def __init__(self) -> None:
        self.data: list[RunData] = []
        self.end: ConversationEnd | None = None

    def opened(self) -> None:
        pass

    def emit(self, data: RunData) -> None:
        self.data.append(data)

    def annotated(self, annotation: Annotated) -> None:
        pass

    def closed(self, end: ConversationEnd, recorded: FinishedRecording) -> None:
        self.end = end

    def discarded(self) -> None:
        pass


class FedSession:
    """A session that takes events with times in seconds; they must not go back.

    ``models``, ``tools`` and ``events`` are the run data so far. With ``sends_runs``, :meth:`sent` returns the runs as
    LangSmith gets them. ``end`` is what is known of the whole conversation; only after :meth:`close`.
    """

    def __init__(self, *, sends_runs: bool = False) -> None:
        self.guard = Guard()
        self.recorder = RecorderInMemory()
        self.t = 0.0
        self._happened = _Happened()
        self._sender = StoringSender()
        self._last_start = 0
        exporters: list[Any] = [self._happened]
        if sends_runs:
            runs = start_conversation_runs(Options.of(client=unreachable_client(), enabled=True), self.guard)
            self.root_id = runs.root.id
            exporters.append(LangSmithRuns(runs, self._sender, self._sender))
        session = Session(Conversation(), exporters, self.recorder, self.guard)
        self._pipeline = Pipeline(session, None, self.guard)
        self._take(Opened())

    def server(self, event: Event, t: float) -> None:
        """The server's event arrives at ``t``."""
        self._take(ServerFrame(event, t, self._ref(event, t)))

    def client(self, event: Event, t: float) -> None:
        """The application sends an event at ``t``."""
        self._take(ClientFrame(event, t))

    def close(self, t: float) -> None:
        """The conversation ends at ``t``."""
        self._take(Closed(t))

    @property
    def end(self) -> ConversationEnd:
        assert self._happened.end is not None, "the conversation is not closed"
        return self._happened.end

    @property
    def models(self) -> list[ModelRun]:
        return [data for data in self._happened.data if isinstance(data, ModelRun)]

    @property
    def tools(self) -> list[ToolRun]:
        return [data for data in self._happened.data if isinstance(data, ToolRun)]

    @property
    def events(self) -> list[EventRun]:
        return [data for data in self._happened.data if isinstance(data, EventRun)]

    @property
    def user_sound(self) -> Samples:
        return self.recorder.channel(USER)

    @property
    def agent_sound(self) -> Samples:
        return self.recorder.channel(AGENT)

    @property
    def rate(self) -> int:
        assert self.recorder.rate is not None, "nothing was recorded"
        return self.recorder.rate

    def sent(self) -> Iterator[dict[str, Any]]:
        """Yields the runs as LangSmith gets them, each once and complete, in order of their creation."""
        runs: dict[Any, dict[str, Any]] = {}
        for operation in self._sender.operations:
            runs.setdefault(operation.run.id, {}).update(run_dict(operation))
        yield from runs.values()

    def _take(self, given: Input) -> None:
        self.t = max(self.t, given.t)
        self._pipeline.take([given], lambda: None)

    def _ref(self, event: Event, t: float) -> Ref | None:
        try:
            is_delta = parse(event).is_delta
        except FrameError:
            is_delta = False
        if is_delta:
            return None
        self._last_start = max(self._last_start + 1, round(t * 1e6))
        return Ref(self._last_start)

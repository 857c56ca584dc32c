"""One conversation on the worker's side: frames and audio in, runs and a recording out.

Joins the pure core to the disk and the sender. Every method runs on the worker's thread, in the order
things were recorded; times are seconds since the conversation opened.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

from langsmith import Client

from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.conversation.metrics import scores
from langsmith_realtime.core.conversation.run_data import EventRun, RunData
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER, AudioBytes, Format
from langsmith_realtime.core.protocol.events import FrameError, parse
from langsmith_realtime.delivery.langsmith_client import hidden_sides
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.delivery.tail_sampling import HeldConversation
from langsmith_realtime.journal.file import Journal
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.recording.recorder import Recorded, Recorder
from langsmith_realtime.recording.silencing import SilencedSpans, Span
from langsmith_realtime.runtime.guard import Guard, logger
from langsmith_realtime.trace.langsmith_runs import LangSmithRuns
from langsmith_realtime.trace.privacy import Privacy
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns, ParentRun

T = TypeVar("T")


class Session:
    """What becomes of one conversation."""

    def __init__(
        self,
        conversation: Conversation,
        runs: LangSmithRuns,
        recorder: Recorder | None,
        guard: Guard,
        feedback: Collection[str] = (),
        *,
        holding: HeldConversation | None = None,
    ) -> None:
        self._conversation = conversation
        self._tracks = conversation.tracks
        self._runs = runs
        self._recorder = recorder
        self._guard = guard
        self._feedback = feedback
        self._holding = holding
        self._malformed = 0
        self._silences = SilencedSpans()

    def format(self, channel: int, *, fed: bool) -> Format:
        """How sound of that channel is encoded now."""
        return self._tracks.format(channel, fed=fed)

    def opened(self) -> None:
        self._runs.open()

    def server_frame(self, frame: object, t: float, ref: ParentRun | None, agent_speaking: bool | None) -> None:
        try:
            event = parse(frame)
        except FrameError as error:
            self.malformed_frame(frame, str(error), t, ref)
            return
        try:
            happenings = self._conversation.server_event(event, t, ref, agent_speaking=agent_speaking)
        except Exception as error:
            # Whatever it was meant to say, it arrived.
            self._guard.report(event.kind, error)
            happenings = [] if ref is None else [EventRun(ref, event.name, event.body)]
        self._emit(happenings)
        self._record(t)

    def malformed_frame(self, frame: object, reason: str, t: float, ref: ParentRun | None) -> None:
        self._emit(self._conversation.advance(t))
        self._malformed += 1
        if ref is not None:
            self._runs.malformed(ref, reason, frame)

    def client_frame(self, frame: object, t: float) -> None:
        try:
            event = parse(frame)
        except FrameError as error:
            self._malformed += 1
            logger.debug("a frame the application sent is no event: %s", error)
            return
        self._emit(self._conversation.client_event(event, t))
        self._record(t)

    def microphone(self, sound: AudioBytes, t: float) -> None:
        """The user's sound was sent, until then."""
        self._emit(self._conversation.microphone(sound, t))
        self._record(t)

    def user_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        self._emit(self._conversation.advance(t))
        self._tracks.user_fed(t, pcm, at)
        self._record(t)

    def agent_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        self._emit(self._conversation.advance(t))
        self._tracks.agent_fed(t, pcm, at)
        self._record(t)

    def agent_played(self, item_id: str, ms: float, t: float, at: float) -> None:
        self._emit(self._conversation.played(item_id, ms, t, at))
        self._record(t)

    def silence(self, t: float, since: float | None, until: float | None, item_id: str | None) -> None:
        """Silence an item's sound, or a time; see :meth:`Silences.between`."""
        self._emit(self._conversation.advance(t))
        if item_id is not None:
            self._silences.item(item_id)
        else:
            self._silences.between(since, until)
        self._record(t)
        if self._recorder is not None:
            self._recorder.sync()

    def silent(self, channel: int) -> list[Span]:
        """What somebody asked to be silent of a channel."""
        return self._silences.spans(channel)

    def tool_entered(self, call_id: str, ref: ParentRun) -> None:
        self._conversation.tool_entered(call_id, ref)

    def tool_left(self, call_id: str, t: float, error: str | None) -> None:
        self._conversation.tool_left(call_id, t, error)

    def closed(self, t: float, error: str | None, dropped: dict[str, int]) -> None:
        """The end: the root's one update carries what there is, whatever of it could not be made."""
        conversation = self._conversation
        self._emit(self._made(lambda: conversation.close(t), []))
        self._silences.end()
        self._made(lambda: self._record(t), None)
        metadata: dict[str, Any] = {"duration_s": round(t, 3), **self._made(conversation.numbers, {})}
        metadata.update({key: count for key, count in dropped.items() if count})
        if conversation.config.model:
            metadata["model"] = conversation.config.model
        if conversation.config.voice:
            metadata["voice"] = conversation.config.voice
        if self._recorder is not None:
            metadata.update(self._tracks.sources())
        if self._malformed:
            metadata["malformed_frames"] = self._malformed
        inputs: dict[str, Any] = self._made(conversation.config.inputs, {})
        messages: list[dict[str, Any]] = self._made(conversation.messages, [])
        if self._guard.count:
            metadata["tracing_failures"] = self._guard.count
        wanted = scores(metadata, self._feedback)

        def end(recorded: Recorded) -> None:
            self._runs.close(
                t,
                inputs=inputs,
                messages=messages,
                metadata=metadata,
                error=error,
                recorded=recorded,
                scores=wanted,
            )

        def finish(kept: bool = True) -> None:
            if not kept:
                self._discard()
                return
            if self._holding is not None and self._holding.is_too_large:
                metadata["keep_skipped"] = "too large to be held"
            if self._recorder is None:
                end(Recorded())
            else:
                self._recorder.finish(t, end)

        if self._holding is None:
            finish()
        else:
            known = {**metadata, "trace_id": self._runs.trace_id, **({} if error is None else {"error": error})}
            self._holding.decide(known, finish)

    def _discard(self) -> None:
        if self._recorder is not None:
            self._recorder.discard()
        self._runs.discard()

    def _made(self, make: Callable[[], T], otherwise: T) -> T:
        try:
            return make()
        except Exception as error:
            self._guard.report("closed", error)
            return otherwise

    def _emit(self, happenings: list[RunData]) -> None:
        for happening in happenings:
            try:
                self._runs.emit(happening)
            except Exception as error:  # one run that cannot be made must not cost the others
                self._guard.report(type(happening).__name__, error)

    def _record(self, t: float) -> None:
        self._silences.locate(self._conversation.item_span)
        writes = self._tracks.take_writes()
        if self._recorder is not None and self._tracks.rate is not None:
            self._recorder.write(self._silences.applied(writes, self._tracks.rate, t), self._tracks.rate, t)


@dataclass(frozen=True, slots=True)
class Assembled:
    """A session and what it works with."""

    session: Session
    runs: LangSmithRuns
    recorder: Recorder | None
    privacy: Privacy
    #: The channels of the recording that are not hidden.
    sounds: frozenset[int]

    def journal(self, journal: Journal) -> None:
        """What is sent is settled there, and the recording is made beside it."""
        self.runs.journal = journal
        if self.recorder is not None:
            self.recorder.folder = journal.folder


def assemble(options: Options, family: ConversationRuns, sender: Sender, feedback: Sender, guard: Guard) -> Assembled:
    """What a conversation is traced with."""
    client: Client = family.root.client
    recorder, sounds = None, frozenset[int]()
    if options.recording is not None:
        hidden = set(hidden_sides(client))
        recorder = Recorder(
            options.recording,
            name=str(family.root.id),
            limit_s=options.max_audio_seconds,
            hidden=hidden,
            guard=guard,
            aside=sender.aside,
        )
        sounds = frozenset({USER, AGENT} - hidden)
    tracks = Tracks(
        options.sample_rate,
        user_format=options.user_format,
        agent_format=options.agent_format,
        rate=None if options.recording is None else options.recording.sample_rate,
    )
    conversation = Conversation(tracks=tracks, prices=options.prices)
    privacy = Privacy.of(client, guard, redact=options.redact, transcripts=options.transcripts)
    runs = LangSmithRuns(family, family.holding or sender, feedback, privacy)
    session = Session(conversation, runs, recorder, guard, options.feedback, holding=family.holding)
    return Assembled(session, runs, recorder, privacy, sounds)

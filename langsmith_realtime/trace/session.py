"""Turns the inputs of one conversation into runs and a recording.

A :class:`Session` feeds frames and audio to the pure core, sends the run data that results, and writes the recording.
:func:`build_session` makes one for a live, a recovered or a replayed conversation. One thread calls all methods, in the
order in which the inputs were recorded: the worker's thread if the conversation is live. Times are seconds since the
conversation opened.
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
from langsmith_realtime.delivery.langsmith_client.masking import hidden_channels
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.delivery.tail_sampling import HeldConversation
from langsmith_realtime.journal.file import Journal
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.recording.finishing import FinishedRecording
from langsmith_realtime.recording.recorder import Recorder
from langsmith_realtime.recording.silencing import SilencedSpans, Span
from langsmith_realtime.runtime.guard import Guard, logger
from langsmith_realtime.trace.langsmith_runs import LangSmithRuns
from langsmith_realtime.trace.privacy import Privacy
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns, ParentRun

T = TypeVar("T")


class Session:
    """Takes the inputs of one conversation, and makes its runs and its recording.

    Args:
        conversation: the core, which knows what the events mean.
        runs: makes and sends LangSmith's runs.
        recorder: writes the recording; None without one.
        guard: counts failures; other inputs and runs are still processed after one.
        feedback: the names of the metrics that are sent as feedback scores.
        held_conversation: asks the rule of ``keep=`` at the end whether the conversation is kept; None without
            ``keep=``.
    """

    def __init__(
        self,
        conversation: Conversation,
        runs: LangSmithRuns,
        recorder: Recorder | None,
        guard: Guard,
        feedback: Collection[str] = (),
        *,
        held_conversation: HeldConversation | None = None,
    ) -> None:
        self._conversation = conversation
        self._tracks = conversation.tracks
        self._runs = runs
        self._recorder = recorder
        self._guard = guard
        self._feedback = feedback
        self._held_conversation = held_conversation
        self._malformed_frames = 0
        self._silences = SilencedSpans()

    def format(self, channel: int, *, fed: bool) -> Format:
        """The channel's current audio format: of audio fed by the application, or of audio on the wire."""
        return self._tracks.format(channel, fed=fed)

    def opened(self) -> None:
        """The conversation opened: post the root run."""
        self._runs.open()

    def server_frame(self, frame: object, t: float, ref: ParentRun | None, agent_speaking: bool | None) -> None:
        """The server sent a frame: send the runs that result, and record the audio.

        A frame that is not an event is passed to :meth:`malformed_frame`.

        Args:
            frame: the frame as received.
            t: when it arrived.
            ref: the event's run; None for deltas, which have none.
            agent_speaking: what the option ``is_agent_speaking`` returned; None if it was not asked.
        """
        try:
            event = parse(frame)
        except FrameError as error:
            self.malformed_frame(frame, str(error), t, ref)
            return
        try:
            run_data = self._conversation.server_event(event, t, ref, agent_speaking=agent_speaking)
        except Exception as error:
            self._guard.report(event.kind, error)
            run_data = [] if ref is None else [EventRun(ref, event.name, event.body)]  # the event did arrive
        self._emit(run_data)
        self._record(t)

    def malformed_frame(self, frame: object, reason: str, t: float, ref: ParentRun | None) -> None:
        """The server sent a frame that is not an event: count it, and send its run ``ref`` with ``reason`` as error."""
        self._emit(self._conversation.advance(t))
        self._malformed_frames += 1
        if ref is not None:
            self._runs.malformed(ref, reason, frame)

    def client_frame(self, frame: object, t: float) -> None:
        """The application sent a frame at ``t``; a frame that is not an event is only counted."""
        try:
            event = parse(frame)
        except FrameError as error:
            self._malformed_frames += 1
            logger.debug("a frame sent by the application is not an event: %s", error)
            return
        self._emit(self._conversation.client_event(event, t))
        self._record(t)

    def microphone(self, sound: AudioBytes, t: float) -> None:
        """The application sent microphone audio, decoded by now; its last chunk was sent at ``t``."""
        self._emit(self._conversation.microphone(sound, t))
        self._record(t)

    def user_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        """The application fed audio of the user at ``t``; its first frame was captured at ``at``, None if unknown."""
        self._emit(self._conversation.advance(t))
        self._tracks.user_fed(t, pcm, at)
        self._record(t)

    def agent_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        """The application fed audio of the agent at ``t``; its first frame was played at ``at``, None if unknown."""
        self._emit(self._conversation.advance(t))
        self._tracks.agent_fed(t, pcm, at)
        self._record(t)

    def agent_played(self, item_id: str, ms: float, t: float, at: float) -> None:
        """The application reported at ``t`` that ``ms`` milliseconds of an item had been played at ``at``."""
        self._emit(self._conversation.played(item_id, ms, t, at))
        self._record(t)

    def silence(self, t: float, since: float | None, until: float | None, item_id: str | None) -> None:
        """Silence the audio of ``item_id`` or, if that is None, a span of both channels, in the file at once, too.

        ``since`` and ``until`` are those of :meth:`.SilencedSpans.add_span`; ``t`` is when the application asked.
        """
        self._emit(self._conversation.advance(t))
        if item_id is not None:
            self._silences.add_item(item_id)
        else:
            self._silences.add_span(since, until)
        self._record(t)
        if self._recorder is not None:
            self._recorder.sync()

    def silenced_spans(self, channel: int) -> list[Span]:
        """The spans of a channel that the application asked to silence, those of silenced items included."""
        return self._silences.spans(channel)

    def tool_entered(self, call_id: str, ref: ParentRun) -> None:
        """The application entered ``tool(call_id)``; ``ref`` is the run of the latest event then."""
        self._conversation.tool_entered(call_id, ref)

    def tool_left(self, call_id: str, t: float, error: str | None) -> None:
        """The application left the block ``tool(call_id)``; ``error`` is the text of an exception that left it."""
        self._conversation.tool_left(call_id, t, error)

    def closed(self, t: float, error: str | None, dropped: dict[str, int]) -> None:
        """The conversation ended: finish the recording, then send the root's update and the feedback scores.

        If a part of the update cannot be computed, the rest is sent. With ``keep=``, the rule is asked first, and all
        is discarded if the rule does not keep the conversation.

        Args:
            t: when it ended.
            error: why, if it failed.
            dropped: the number of inputs lost in an overload, by the root's metadata key.
        """
        conversation = self._conversation
        self._emit(self._result_or(lambda: conversation.close(t), []))
        self._silences.end()
        self._result_or(lambda: self._record(t), None)
        metadata: dict[str, Any] = {"duration_s": round(t, 3), **self._result_or(conversation.numbers, {})}
        metadata.update({key: count for key, count in dropped.items() if count})
        if conversation.config.model:
            metadata["model"] = conversation.config.model
        if conversation.config.voice:
            metadata["voice"] = conversation.config.voice
        if self._recorder is not None:
            metadata.update(self._tracks.sources())
        if self._malformed_frames:
            metadata["malformed_frames"] = self._malformed_frames
        inputs: dict[str, Any] = self._result_or(conversation.config.inputs, {})
        messages: list[dict[str, Any]] = self._result_or(conversation.messages, [])
        if self._guard.count:
            metadata["tracing_failures"] = self._guard.count
        feedback_scores = scores(metadata, self._feedback)

        def end(recorded: FinishedRecording) -> None:
            self._runs.close(
                t,
                inputs=inputs,
                messages=messages,
                metadata=metadata,
                error=error,
                recorded=recorded,
                scores=feedback_scores,
            )

        def finish(is_kept: bool = True) -> None:
            if not is_kept:
                self._discard()
                return
            if self._held_conversation is not None and self._held_conversation.is_too_large:
                metadata["keep_skipped"] = "too large to be held"
            if self._recorder is None:
                end(FinishedRecording())
            else:
                self._recorder.finish(t, end)

        if self._held_conversation is None:
            finish()
        else:
            facts = {**metadata, "trace_id": self._runs.trace_id, **({} if error is None else {"error": error})}
            self._held_conversation.decide(facts, finish)

    def _discard(self) -> None:
        if self._recorder is not None:
            self._recorder.discard()
        self._runs.discard()

    def _result_or(self, compute: Callable[[], T], default: T) -> T:
        try:
            return compute()
        except Exception as error:
            self._guard.report("closed", error)
            return default

    def _emit(self, run_data: list[RunData]) -> None:
        for data in run_data:
            try:
                self._runs.emit(data)
            except Exception as error:  # the other runs are still sent
                self._guard.report(type(data).__name__, error)

    def _record(self, t: float) -> None:
        self._silences.locate(self._conversation.item_span)
        writes = self._tracks.take_writes()
        if self._recorder is not None and self._tracks.rate is not None:
            self._recorder.write(self._silences.apply(writes, self._tracks.rate, t), self._tracks.rate, t)


@dataclass(frozen=True, slots=True)
class SessionParts:
    """A session with its parts, for the module that adds a journal."""

    session: Session
    runs: LangSmithRuns
    recorder: Recorder | None
    privacy: Privacy
    #: The channels whose audio may be recorded; empty without a recording.
    recorded_channels: frozenset[int]

    def use_journal(self, journal: Journal) -> None:
        """Report verdicts of operations to the journal, and send none that it has as settled.

        The recording is made in the journal's folder unless the options name another place.
        """
        self.runs.journal = journal
        if self.recorder is not None:
            self.recorder.folder = journal.folder


def build_session(
    options: Options, conversation_runs: ConversationRuns, sender: Sender, feedback: Sender, guard: Guard
) -> SessionParts:
    """Make the session of a conversation, and its parts.

    Args:
        options: the options of the conversation.
        conversation_runs: its root run, and what its runs share.
        sender: sends runs.
        feedback: sends feedback scores.
        guard: counts failures.
    """
    client: Client = conversation_runs.root.client
    recorder, recorded_channels = None, frozenset[int]()
    if options.recording is not None:
        hidden = set(hidden_channels(client))
        recorder = Recorder(
            options.recording,
            name=str(conversation_runs.root.id),
            limit_s=options.max_audio_seconds,
            hidden=hidden,
            guard=guard,
            run_in_thread=sender.run_apart,
        )
        recorded_channels = frozenset({USER, AGENT} - hidden)
    tracks = Tracks(
        options.sample_rate,
        user_format=options.user_format,
        agent_format=options.agent_format,
        rate=None if options.recording is None else options.recording.sample_rate,
    )
    conversation = Conversation(tracks=tracks, prices=options.prices)
    privacy = Privacy.from_options(client, guard, redact=options.redact, transcripts=options.transcripts)
    held_conversation = conversation_runs.held_conversation
    runs = LangSmithRuns(conversation_runs, held_conversation or sender, feedback, privacy)
    session = Session(conversation, runs, recorder, guard, options.feedback, held_conversation=held_conversation)
    return SessionParts(session, runs, recorder, privacy, recorded_channels)

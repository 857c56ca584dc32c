"""Turns the inputs of one conversation into runs and a recording.

A :class:`Session` feeds the pure core, hands the run data that results to the exporters, and writes the recording.
:func:`build_session` makes one for a live, a recovered and a replayed conversation. Only the worker's thread uses it,
in the order in which the inputs were recorded. Times are seconds since the conversation opened.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.conversation.numbers.metrics import scores
from langsmith_realtime.core.conversation.run_data import ConversationEnd, EventRun, RunData
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER, Format
from langsmith_realtime.core.protocol.events import parse
from langsmith_realtime.core.protocol.inputs import Annotated, Closed, Input, Opened, ServerFrame, Silence
from langsmith_realtime.delivery.langsmith_client.masking import hidden_by_environment, hidden_channels
from langsmith_realtime.delivery.operations import ROOT_CREATE, ROOT_UPDATE, SPANS, Ledger
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.delivery.tail_sampling import HeldConversation
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.recording.finishing import FinishedRecording
from langsmith_realtime.recording.recorder import Recorder
from langsmith_realtime.recording.silencing import SilencedSpans, Span
from langsmith_realtime.runtime.forks import holding_forks
from langsmith_realtime.runtime.guard import Guard, logger
from langsmith_realtime.trace.exporter import Exporter
from langsmith_realtime.trace.langsmith_runs import LangSmithRuns
from langsmith_realtime.trace.privacy import Privacy
from langsmith_realtime.trace.redacted_speech import RedactedSpeech, of_conversation, redacted_speech
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns
from langsmith_realtime.trace.run_trees.root_run import __version__

if TYPE_CHECKING:
    from langsmith_realtime.trace.otel.exporter import OtelExporter

T = TypeVar("T")


class Session:
    """Takes the inputs of one conversation; its runs go to the exporters, its audio to the recording.

    Args:
        conversation: the core, which knows what the inputs mean.
        exporters: show the conversation.
        recorder: writes the recording; None without one.
        guard: counts failures; other inputs and runs are still processed after one.
        feedback: the metrics that become feedback scores.
        held_conversation: decides, with ``keep=``, whether the conversation is kept.
        trace_id: id of the trace, for the ``keep=`` rule.
        redacted_speech: finds spoken words that must be silent; None if ``redact`` names none.
    """

    def __init__(
        self,
        conversation: Conversation,
        exporters: Sequence[Exporter],
        recorder: Recorder | None,
        guard: Guard,
        feedback: Collection[str] = (),
        *,
        held_conversation: HeldConversation | None = None,
        trace_id: str = "",
        redacted_speech: RedactedSpeech | None = None,
    ) -> None:
        self._redacted_speech = redacted_speech
        self._conversation = conversation
        self._tracks = conversation.tracks
        self._exporters = exporters
        self._recorder = recorder
        self._guard = guard
        self._feedback = feedback
        self._held_conversation = held_conversation
        self._trace_id = trace_id
        self._silences = SilencedSpans()
        self._has_warned = False

    def format(self, channel: int, *, fed: bool) -> Format:
        """The channel's current audio format: of audio fed by the application, or of audio on the wire."""
        return self._tracks.format(channel, fed=fed)

    def silenced_spans(self, channel: int) -> list[Span]:
        """The spans of a channel that the application asked to silence."""
        return self._silences.spans(channel)

    def found_silences(self, given: Input) -> list[Silence]:
        """What else must be silent, to be taken as inputs: after ``given`` was taken or, at the end, before."""
        return [] if self._redacted_speech is None else self._redacted_speech.silences(self._conversation, given)

    def take(self, given: Input) -> None:
        """Process the next input. A failure is counted, and an event's run is sent nevertheless."""
        if isinstance(given, Closed):
            self._close(given)
            return
        conversation = self._conversation
        try:
            run_data = conversation.take(given)
        except Exception as error:
            self._guard.report(type(given).__name__, error)
            run_data = _plain_run(given)
        self._warn_of_protocol()
        if isinstance(given, Opened):
            self._export(lambda exporter: exporter.opened())
        elif isinstance(given, Annotated):
            self._export(lambda exporter: exporter.annotated(given))
        elif isinstance(given, Silence):
            self._silences.add(given.since, given.until, given.item_id, given.part)
        self._emit(run_data)
        self._emit(self._result_or(conversation.take_speech, []))
        self._record(given.t)
        if isinstance(given, Silence) and self._recorder is not None:
            self._recorder.sync()

    def _warn_of_protocol(self) -> None:
        protocol = self._conversation.untraced_protocol
        if protocol is not None and not self._has_warned:
            self._has_warned = True
            logger.warning("protocol not traced: %s. The trace shows only its events; it traces Realtime.", protocol)

    def _close(self, closed: Closed) -> None:
        conversation = self._conversation
        self._emit(self._result_or(lambda: conversation.take(closed), []))
        self._emit(self._result_or(lambda: conversation.take_speech(is_closed=True), []))
        self._silences.end()
        self._result_or(lambda: self._record(closed.t), None)
        end = self._end(closed)

        def finish(is_kept: bool = True) -> None:
            if not is_kept:
                if self._recorder is not None:
                    self._recorder.discard()
                self._export(lambda exporter: exporter.discarded())
                return
            if self._held_conversation is not None and self._held_conversation.is_too_large:
                end.metadata["keep_skipped"] = "too large to be held"
            if self._recorder is None:
                show(FinishedRecording())
            else:
                self._recorder.finish(closed.t, show)

        def show(recorded: FinishedRecording) -> None:
            self._export(lambda exporter: exporter.closed(end, recorded))

        if self._held_conversation is None:
            finish()
        else:
            error = {} if end.error is None else {"error": end.error}
            self._held_conversation.decide({**end.metadata, "trace_id": self._trace_id, **error}, finish)

    def _end(self, closed: Closed) -> ConversationEnd:
        """What the exporters are told at the end, as complete as possible."""
        conversation, config = self._conversation, self._conversation.config
        metadata: dict[str, Any] = {"duration_s": round(closed.t, 3), **self._result_or(conversation.numbers, {})}
        if self._redacted_speech is not None:
            metadata.update(self._redacted_speech.numbers())
        metadata.update({key: count for key, count in closed.dropped.items() if count})
        facts = {
            "model": config.model,
            "voice": config.voice,
            "close_code": closed.close_code,
            "close_reason": closed.close_reason,
            "closed_by": closed.closed_by,
            "protocol_not_traced": conversation.untraced_protocol,
        }
        metadata.update({key: value for key, value in facts.items() if value})
        _log_assumptions(metadata)
        if self._recorder is not None:
            metadata.update(self._tracks.sources())
            silent_parts: list[dict[str, Any]] = self._result_or(lambda: self._silent_parts(closed.t), [])
            if silent_parts:
                metadata["recording_silenced"] = silent_parts
        inputs: dict[str, Any] = self._result_or(conversation.inputs, {})
        messages: list[dict[str, Any]] = self._result_or(conversation.messages, [])
        if self._guard.count:
            metadata["tracing_failures"] = self._guard.count
        error = self._result_or(lambda: conversation.error(closed), closed.error)
        return ConversationEnd(closed.t, inputs, messages, metadata, error, scores(metadata, self._feedback))

    def _silent_parts(self, end: float) -> list[dict[str, Any]]:
        rate = self._tracks.rate
        return [] if rate is None else self._silences.silent_parts(end, rate)

    def _result_or(self, compute: Callable[[], T], default: T) -> T:
        try:
            return compute()
        except Exception as error:
            self._guard.report("closed", error)
            return default

    def _emit(self, run_data: Sequence[RunData]) -> None:
        for data in run_data:
            self._export(lambda exporter, data=data: exporter.emit(data))  # type: ignore[misc]

    def _export(self, call: Callable[[Exporter], None]) -> None:
        for exporter in self._exporters:
            try:
                call(exporter)
            except Exception as error:  # the other runs and exporters go on
                self._guard.report(type(exporter).__name__, error)

    def _record(self, t: float) -> None:
        self._silences.locate(self._conversation.item_span)
        writes = self._tracks.take_writes()
        if self._recorder is not None and self._tracks.rate is not None:
            self._recorder.write(self._silences.apply(writes, self._tracks.rate, t), self._tracks.rate, t)


#: What was logged of assumptions about audio, so that each is logged once; bounded, for a server makes the words.
_logged_assumptions: set[str] = set()
MAX_LOGGED_ASSUMPTIONS = 100


def _log_assumptions(metadata: Mapping[str, Any]) -> None:
    """Log what was assumed of a conversation's audio, each of it once in the process."""
    for side in ("user", "agent"):
        assumed, clock = metadata.get(f"{side}_format_assumed"), metadata.get(f"{side}_clock")
        for words in (
            assumed and f"the {side}'s audio was read as {assumed}",
            clock and f"the {side}'s audio: {clock}",
        ):
            if words and words not in _logged_assumptions and len(_logged_assumptions) < MAX_LOGGED_ASSUMPTIONS:
                _logged_assumptions.add(words)
                logger.warning("%s; give %s_format= if that is wrong", words, side)


def _plain_run(given: Input) -> list[RunData]:
    """The run of an event whose processing failed: the event did arrive."""
    if not isinstance(given, ServerFrame) or given.run is None:
        return []
    event = parse(given.frame)
    return [EventRun(given.run, event.name, event.body)]


@dataclass(frozen=True, slots=True)
class SessionParts:
    """A session with its parts, for the module that adds a journal."""

    session: Session
    #: The exporter to LangSmith; None if the conversation does not go there.
    runs: LangSmithRuns | None
    recorder: Recorder | None
    privacy: Privacy
    #: The channels whose audio may be recorded; empty without a recording.
    recorded_channels: frozenset[int]
    #: The exporter to OpenTelemetry; None if the conversation does not go there.
    otel: OtelExporter | None = None

    def use_journal(self, ledger: Ledger, folder: Path) -> None:
        """Report verdicts of operations to the ledger, and make the recording in the folder, unless it has its own."""
        if self.runs is not None:
            self.runs.ledger = ledger
            # The journal of a conversation that is still open does not end with what LangSmith has already.
            for operation in (ROOT_CREATE, ROOT_UPDATE):
                ledger.expect(operation)
        if self.recorder is not None:
            self.recorder.folder = folder
        if self.otel is not None and self.otel.is_recoverable and ledger.expect(SPANS):
            self.otel.ledger = ledger


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
    client = conversation_runs.client
    redact = of_conversation(options.redact)
    privacy = Privacy.from_options(client, guard, redact=redact, transcripts=options.transcripts)
    recorder, recorded_channels = None, frozenset[int]()
    if options.recording is not None:
        hidden = hidden_by_environment() if client is None else hidden_channels(client)
        recorder = Recorder(
            options.recording,
            name=str(conversation_runs.root.id),
            limit_s=options.max_audio_seconds,
            hidden=set(hidden),
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
    conversation = Conversation(tracks=tracks, prices=options.prices, model=options.model)
    held_conversation = conversation_runs.held_conversation
    exporters: list[Exporter] = []
    runs, otel = None, None
    if client is not None:
        runs = LangSmithRuns(conversation_runs, held_conversation or sender, feedback, privacy)
        exporters.append(runs)
    if conversation_runs.spans is not None:
        with holding_forks():
            from langsmith_realtime.trace.otel.exporter import otel_exporter  # noqa: PLC0415 - an extra

        run_id = str(conversation_runs.root.id)
        otel = otel_exporter(conversation_runs.spans, options, privacy, client, version=__version__, run_id=run_id)
        exporters.append(otel)
    session = Session(
        conversation,
        exporters,
        recorder,
        guard,
        options.feedback,
        held_conversation=held_conversation,
        trace_id=str(conversation_runs.root.trace_id),
        redacted_speech=redacted_speech(redact, guard),
    )
    return SessionParts(session, runs, recorder, privacy, recorded_channels, otel)

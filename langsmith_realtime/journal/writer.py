"""Writes the inputs of a live conversation to its journal, masked, before the session takes them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from langsmith_realtime.core.conversation.agents import guardrail_payload
from langsmith_realtime.core.payloads.json_values import json_frame
from langsmith_realtime.core.payloads.scrubbing import scrub_message
from langsmith_realtime.core.protocol.audio_formats import USER, bytes_per_second
from langsmith_realtime.core.protocol.events import Event, parse, text
from langsmith_realtime.core.protocol.inputs import (
    AgentChanged,
    Annotated,
    Audio,
    ClientFrame,
    Closed,
    GuardrailTripped,
    Input,
    MalformedFrame,
    Opened,
    Played,
    ServerFrame,
    Silence,
    ToolEnded,
    ToolFailed,
)
from langsmith_realtime.delivery.langsmith_client.transport import needs_own_queue
from langsmith_realtime.journal.file import Journal, warn_once
from langsmith_realtime.journal.header import header
from langsmith_realtime.journal.lines import line_of
from langsmith_realtime.journal.masking import JournalMasking, references
from langsmith_realtime.journal.silenced_audio import SilencedAudio, overwrite_silenced
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.recording.silencing import Span
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, Guard
from langsmith_realtime.trace.privacy import Privacy
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns
from langsmith_realtime.trace.session import SessionParts


class JournalWriter:
    """Writes a line for each input of one conversation; only the worker's thread uses it.

    A failure is reported and costs only the line.

    Args:
        parts: the session and its parts.
        begin: makes the journal; returns None if the conversation has none.
        masking: removes from the lines what must not be written.
        guard: counts and logs failures.
    """

    def __init__(
        self, parts: SessionParts, begin: Callable[[], Journal | None], masking: JournalMasking, guard: Guard
    ) -> None:
        self._session = parts.session
        self._recorded_channels = parts.recorded_channels
        self._begin = begin
        self._masking = masking
        self._guard = guard
        self._journal: Journal | None = None
        self._silenced = SilencedAudio()
        #: The user's silent spans when the journal was last searched for silenced audio; None: search again.
        self._searched_spans: list[tuple[float, float]] | None = []

    def write(self, given: Input) -> None:
        """Buffer the line of an input that the session is about to take."""
        try:
            if isinstance(given, Opened):
                self._journal = self._begin()
            if self._journal is not None and self._journal.is_open:
                self._journal.write(self._line(self._journal, given))
        except CALLBACK_ERRORS as error:
            self._guard.report("journal", error)
        if isinstance(given, Played):
            self._silenced.played(given.item_id, given.ms, given.at)
        elif isinstance(given, Silence):
            self._silenced.silence(given.since, given.until, given.item_id)
            self._searched_spans = None

    def taken(self, given: Input) -> None:
        """The session took the input: search the journal for silenced audio if the user's silent spans changed.

        Only later events tell when an item of the user was spoken, and so which microphone audio a silence covers.
        """
        if not isinstance(given, (ServerFrame, Silence)) or self._journal is None or not self._journal.is_open:
            return
        spans = [(round(span.since, 1), round(span.until, 1)) for span in self._session.silenced_spans(USER)]
        if spans == self._searched_spans:
            return
        self._searched_spans = spans
        try:
            overwrite_silenced(self._journal, self._silent_spans, self._session.format)
        except Exception as error:
            self._guard.report("journal", error)

    def flush(self) -> None:
        """Write the buffered lines."""
        if self._journal is not None:
            self._journal.flush()

    def _line(self, journal: Journal, given: Input) -> dict[str, Any]:
        masking = self._masking
        if isinstance(given, (ServerFrame, ClientFrame)):
            return line_of(given, frame=masking.event(parse(given.frame)))
        if isinstance(given, Audio):
            event = None if given.event is None else references(given.event)
            return line_of(replace(given, event=event), data=self._place(journal, given))
        if isinstance(given, MalformedFrame):
            frame = masking.frame(json_frame(given.frame)).get("frame")
            return line_of(given, frame=frame, reason=scrub_message(given.reason))
        if isinstance(given, (ToolEnded, ToolFailed)):
            return line_of(given, error=masking.error(given.error))
        if isinstance(given, Closed):
            reason = masking.error(given.close_reason)
            return line_of(given, error=masking.error(given.error), close_reason=reason)
        if isinstance(given, AgentChanged):
            instructions = masking.event(_event({"type": "agent_changed", "instructions": given.instructions}))
            return line_of(given, instructions=instructions.get("instructions"))
        if isinstance(given, GuardrailTripped):
            found = masking.event(_event(guardrail_payload(given)))
            return line_of(given, guardrails=found.get("guardrails", ()), message=found.get("message", ""))
        if isinstance(given, Annotated):
            metadata, outputs = masking.metadata(dict(given.metadata)), masking.outputs(given.outputs)
            return line_of(given, metadata=metadata, outputs=outputs)
        return line_of(given)

    def _place(self, journal: Journal, audio: Audio) -> dict[str, float] | None:
        """Write audio unless it is hidden or silenced; return its place, bytes and ms, None if it is not base64."""
        if isinstance(audio.data, str):
            return None
        fed, channel = audio.event is None, audio.channel
        seconds = len(audio.data) / bytes_per_second(self._session.format(channel, fed=fed))
        item_id = None if audio.event is None else text(audio.event.get("item_id"))
        if item_id is not None:
            self._silenced.received(item_id, seconds)
        spans = self._silent_spans(channel, fed)
        is_silent = self._silenced.covers(channel, audio.t, seconds, at=audio.at, item_id=item_id, silent=spans)
        is_kept = channel in self._recorded_channels and not is_silent
        place = journal.add_audio(audio.data) if is_kept else {"bytes": len(audio.data)}
        return {**place, "ms": round(seconds * 1000, 3)}

    def _silent_spans(self, channel: int, fed: bool) -> list[Span]:
        """Silent spans for audio that does not name its item; the agent's deltas name theirs."""
        return self._session.silenced_spans(channel) if channel == USER or fed else []


def _event(payload: dict[str, Any]) -> Event:
    return Event(payload["type"], payload["type"], payload)


def journal_writer(parts: SessionParts, options: Options, runs: ConversationRuns, guard: Guard) -> JournalWriter:
    """The writer of a conversation that begins; its journal is made when the conversation opens.

    There is none if nothing tells what LangSmith acknowledged, or if the disk refuses it. The journal of a conversation
    that only OpenTelemetry shows has words if OpenTelemetry shows them.

    Args:
        parts: the session and its parts.
        options: the options of the conversation.
        runs: the conversation's runs.
        guard: counts and logs failures.
    """
    root, client = runs.root, runs.client
    if client is None and options.otel is not None and options.otel.shown_content == "none":
        # A guard of its own, because these settings are the journal's alone.
        without_words = Privacy.from_options(None, Guard(), redact=options.redact, transcripts=False)
        masking = JournalMasking(None, without_words, shows_words=False)
    else:
        masking = JournalMasking(client, parts.privacy)

    def begin() -> Journal | None:
        is_kept, client_delivers = options.journal == "keep", client is not None and needs_own_queue(client, root)
        if client_delivers and not is_kept:
            return None
        try:
            folder = state_directory() / str(root.id)
            first_line = header(runs, options, masking.metadata, is_recoverable=not client_delivers)
            journal = Journal.begin(folder, first_line, keep=is_kept)
        except OSError as error:
            warn_once("there is no journal of this conversation", error)
            return None
        parts.use_journal(journal, journal.folder)
        if runs.spans is not None and runs.spans.note is not None:
            # Spans that the worker makes are noted at once, because their inputs are in the journal already.
            put, worker = runs.spans.note, threading.get_ident()
            note = lambda begun: journal.write(line_of(begun)) if threading.get_ident() == worker else put(begun)  # noqa: E731
            runs.spans.note = note
        return journal

    return JournalWriter(parts, begin, masking, guard)

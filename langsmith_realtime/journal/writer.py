"""Writes what happens in a live conversation to its journal, and passes it to the session.

The lines have the inputs of the worker's thread, before the session processes them. So a replay repeats the session's
work with equal times and ids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langsmith_realtime.core.payloads.json_values import json_frame
from langsmith_realtime.core.payloads.scrubbing import scrub_message
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER, AudioBytes, Format
from langsmith_realtime.core.protocol.events import APPEND, Event, FrameError, parse, text
from langsmith_realtime.delivery.langsmith_client.transport import needs_own_queue
from langsmith_realtime.journal.file import Journal, warn_once
from langsmith_realtime.journal.lines import CHANNEL_NAMES, CLIENT, SERVER, header, run_fields
from langsmith_realtime.journal.masking import JournalMasking, take_audio
from langsmith_realtime.journal.silenced_audio import SilencedAudio, overwrite_silenced
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.recording.silencing import Span
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns, ParentRun
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, start_of
from langsmith_realtime.trace.session import Session, SessionParts


class JournaledSession:
    """Has the methods of a :class:`~langsmith_realtime.trace.session.Session`, and writes a line for each input.

    A failure of the journal is reported and costs only the line. All methods run on the worker's thread; ``t`` is
    seconds since the conversation opened.

    Args:
        session: The session that the calls are passed to.
        runs: The conversation's runs.
        masking: Removes from the lines what must not be written.
        recorded_channels: The channels whose audio may be written.
        begin: Makes the journal; returns None if the conversation has none.
        run_later: Runs a function once, on the worker's thread, after the functions of the next tick.
        guard: Counts and logs failures.
    """

    def __init__(
        self,
        session: Session,
        *,
        runs: ConversationRuns,
        masking: JournalMasking,
        recorded_channels: frozenset[int],
        begin: Callable[[], Journal | None],
        run_later: Callable[[Callable[[], None]], None],
        guard: Guard,
    ) -> None:
        self._session = session
        self._runs = runs
        self._masking = masking
        self._recorded_channels = recorded_channels
        self._begin = begin
        self._run_later = run_later
        self._guard = guard
        self._journal: Journal | None = None
        self._silenced = SilencedAudio()
        #: The user's silent spans when the journal was last searched for silenced audio; None: search again.
        self._searched_spans: list[tuple[float, float]] | None = []
        self._written_claims = 0
        self._written_tools = 0

    def format(self, channel: int, *, fed: bool) -> Format:
        """The format of the channel's audio now: on the wire or, if ``fed``, as the application records it."""
        return self._session.format(channel, fed=fed)

    def silenced_spans(self, channel: int) -> list[Span]:
        """The channel's spans that the application silenced."""
        return self._session.silenced_spans(channel)

    def opened(self) -> None:
        try:
            self._journal = self._begin()
        except Exception as error:
            self._guard.report("journal", error)
        self._session.opened()

    def server_frame(self, frame: object, t: float, ref: ParentRun | None, agent_speaking: bool | None) -> None:
        try:
            event = parse(frame)
        except FrameError as error:
            self.malformed_frame(frame, str(error), t, ref)
            return
        speaking = {} if agent_speaking is None else {"agent_speaking": agent_speaking}
        self._write(lambda journal: self._event(journal, event, t, SERVER) | run_fields(ref) | speaking)
        self._session.server_frame(event.body, t, ref, agent_speaking)
        self._silence_written_audio()

    def malformed_frame(self, frame: object, reason: str, t: float, ref: ParentRun | None) -> None:
        def line(_: Journal) -> dict[str, Any]:
            masked = self._masking.frame(json_frame(frame), t)
            return {"t": t, "malformed": scrub_message(reason), "frame": masked.get("frame"), **run_fields(ref)}

        self._write(line)
        self._session.malformed_frame(frame, reason, t, ref)

    def client_frame(self, frame: object, t: float) -> None:
        try:
            event = parse(frame)
        except FrameError:
            self._write(lambda _: {"t": t, "dir": CLIENT, "event": None})
            self._session.client_frame(frame, t)
            return
        self._write(lambda journal: self._event(journal, event, t, CLIENT))
        self._session.client_frame(event.body, t)

    def microphone(self, audio: AudioBytes, t: float) -> None:
        """Like :meth:`client_frame` for an append event, but faster: these are frequent and need no masking."""

        def line(journal: Journal) -> dict[str, Any]:
            event = {"type": APPEND, "audio": self._add_audio(journal, USER, audio.data, t)}
            return {"t": t, "dir": CLIENT, "event": event}

        self._write(line)
        self._session.microphone(audio, t)

    def user_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        self._write_fed(USER, pcm, t, at)
        self._session.user_audio(pcm, t, at)

    def agent_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        self._write_fed(AGENT, pcm, t, at)
        self._session.agent_audio(pcm, t, at)

    def agent_played(self, item_id: str, ms: float, t: float, at: float) -> None:
        self._write(lambda _: {"t": t, "played": item_id, "ms": ms, "at": at})
        self._silenced.played(item_id, ms, at)
        self._session.agent_played(item_id, ms, t, at)

    def silence(self, t: float, since: float | None, until: float | None, item_id: str | None) -> None:
        self._write(lambda _: {"t": t, "silence": {"since": since, "until": until, "item_id": item_id}})
        self._silenced.silence(since, until, item_id)
        self._session.silence(t, since, until, item_id)
        self._searched_spans = None
        self._silence_written_audio()

    def tool_entered(self, call_id: str, ref: ParentRun) -> None:
        self._write(lambda _: {"tool_entered": call_id, **run_fields(ref)})
        self._session.tool_entered(call_id, ref)

    def tool_left(self, call_id: str, t: float, error: str | None) -> None:
        self._write(lambda _: {"t": t, "tool_left": call_id, "error": self._masking.error(error, t)})
        self._session.tool_left(call_id, t, error)

    def closed(self, t: float, error: str | None, dropped: dict[str, int]) -> None:
        self._write(lambda _: {"t": t, "closed": True, "error": self._masking.error(error, t), "dropped": dropped})
        self._session.closed(t, error, dropped)

    # Lines

    def _write(self, line: Callable[[Journal], dict[str, Any]]) -> None:
        journal = self._journal
        if journal is None or not journal.is_open:
            return
        try:
            self._write_tool_runs(journal)
            journal.write(line(journal))
            self._run_later(journal.flush)
        except Exception as error:
            self._guard.report("journal", error)

    def _event(self, journal: Journal, event: Event, t: float, direction: str) -> dict[str, Any]:
        without_audio, field, audio = take_audio(event)
        body = self._masking.event(without_audio, t)
        if field is not None and audio is not None:
            channel = USER if direction == CLIENT else AGENT
            body = {**body, field: self._add_audio(journal, channel, audio, t, item_id=text(body.get("item_id")))}
        return {"t": t, "dir": direction, "event": body}

    def _write_fed(self, channel: int, pcm: bytes, t: float, at: float | None) -> None:
        time = {} if at is None else {"at": at}
        self._write(
            lambda journal: {
                "t": t,
                "fed": CHANNEL_NAMES[channel],
                "audio": self._add_audio(journal, channel, pcm, t, at=at, fed=True),
                **time,
            }
        )

    def _add_audio(
        self,
        journal: Journal,
        channel: int,
        audio: bytes,
        t: float,
        *,
        at: float | None = None,
        item_id: str | None = None,
        fed: bool = False,
    ) -> dict[str, float]:
        """Write a chunk of audio unless it is silenced or its channel not recorded.

        Returns its place (no ``offset`` if it was not written), bytes, and duration in ms.
        """
        audio_format = self._session.format(channel, fed=fed)
        seconds = len(audio) / (audio_format.rate * audio_format.bytes_per_frame)
        if item_id is not None:
            self._silenced.received(item_id, seconds)
        spans = self._silent_spans(channel, fed)
        is_silent = self._silenced.covers(channel, t, seconds, at=at, item_id=item_id, silent=spans)
        is_kept = channel in self._recorded_channels and not is_silent
        return {**(journal.add_audio(audio) if is_kept else {"bytes": len(audio)}), "ms": round(seconds * 1000, 3)}

    def _write_tool_runs(self, journal: Journal) -> None:
        """Write the tool calls that got their runs since the last call; the callers' threads make these."""
        claimed, tools = self._runs.application_tool_runs, self._runs.tool_runs
        if len(claimed) > self._written_claims:
            for call_id in list(claimed)[self._written_claims :]:
                self._written_claims += 1
                journal.write({"claimed": call_id})
        if len(tools) > self._written_tools:
            for call_id, run in list(tools.items())[self._written_tools :]:
                self._written_tools += 1
                start = start_of(run.dotted_order.rpartition(".")[0])
                parent = {"id": str(run.parent_run_id), "start": microseconds_of(start)}
                journal.write({"tool": call_id, "name": run.name, "parent": parent, **run_fields(run)})

    # Silences of written audio

    def _silence_written_audio(self) -> None:
        """Search the journal for silenced audio if the user's silent spans changed.

        Only later events tell when an item of the user was spoken, and so which microphone audio a silence covers.
        """
        spans = [(round(span.since, 1), round(span.until, 1)) for span in self._session.silenced_spans(USER)]
        if spans == self._searched_spans or self._journal is None or not self._journal.is_open:
            return
        self._searched_spans = spans
        try:
            overwrite_silenced(self._journal, self._silent_spans, self._session.format)
        except Exception as error:
            self._guard.report("journal", error)

    def _silent_spans(self, channel: int, fed: bool) -> list[Span]:
        """Silent spans for audio that does not name its item; the agent's deltas name theirs."""
        return self._session.silenced_spans(channel) if channel == USER or fed else []


def journaled(
    assembled: SessionParts,
    options: Options,
    runs: ConversationRuns,
    guard: Guard,
    run_later: Callable[[Callable[[], None]], None],
) -> JournaledSession:
    """The session of a conversation that begins, with a journal that is made when the conversation opens.

    None is made if the client delivers through its own queue, unless the journal is to be kept.

    Args:
        assembled: The session and its parts.
        options: The options of the conversation.
        runs: The conversation's runs.
        guard: Counts and logs failures.
        run_later: Runs a function once, on the worker's thread, after the functions of the next tick.
    """
    root = runs.root
    masking = JournalMasking(root.client, assembled.privacy)

    def begin() -> Journal | None:
        is_kept, client_delivers = options.journal == "keep", needs_own_queue(root.client, root)
        if client_delivers and not is_kept:
            return None  # nothing tells what LangSmith acknowledged
        try:
            folder = state_directory() / str(root.id)
            first_line = header(runs, options, masking.metadata, is_recoverable=not client_delivers)
            journal = Journal.begin(folder, first_line, keep=is_kept)
        except OSError as error:
            warn_once("there is no journal of this conversation", error)
            return None
        assembled.use_journal(journal)
        return journal

    return JournaledSession(
        assembled.session,
        runs=runs,
        masking=masking,
        recorded_channels=assembled.recorded_channels,
        begin=begin,
        run_later=run_later,
        guard=guard,
    )

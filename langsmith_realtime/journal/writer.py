"""A conversation's session beside its journal: what happens to it becomes lines, and lines happen again.

What is written is what the worker was told, before anything is made of it, so a replay goes the same way
through the same code, with the same times and the same ids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langsmith_realtime.core.payloads.json_values import plain_frame
from langsmith_realtime.core.payloads.scrubbing import scrub_message
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER, Format, Sound, silence_for
from langsmith_realtime.core.protocol.events import APPEND, Event, FrameError, mapping, parse, text
from langsmith_realtime.delivery.langsmith_client.transport import needs_own_queue
from langsmith_realtime.journal.file import Journal, state_directory, warn_once
from langsmith_realtime.journal.lines import CHANNEL_NAMES, CHANNELS, CLIENT, SERVER, header, place_in, place_of
from langsmith_realtime.journal.masking import JournalMasking, take_audio
from langsmith_realtime.journal.replay import JournalReader
from langsmith_realtime.journal.silenced_audio import SilencedAudio
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.recording.silencing import Span
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns, ParentRun
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, start_of
from langsmith_realtime.trace.session import Session, SessionParts


class JournaledSession:
    """Takes what a :class:`Session` takes, writes it down, and hands it on.

    Args:
        session: what it is done with.
        family: the conversation's runs.
        keeping: what of it may be written.
        sounds: the channels whose sound may be.
        begin: makes the journal, or tells that there is none.
        behind: does work soon, after the worker's other.
        guard: hears what went wrong.
    """

    def __init__(
        self,
        session: Session,
        *,
        family: ConversationRuns,
        keeping: JournalMasking,
        sounds: frozenset[int],
        begin: Callable[[], Journal | None],
        behind: Callable[[Callable[[], None]], None],
        guard: Guard,
    ) -> None:
        self._session = session
        self._family = family
        self._keeping = keeping
        self._sounds = sounds
        self._begin = begin
        self._behind = behind
        self._guard = guard
        self._journal: Journal | None = None
        self._blanks = SilencedAudio()
        self._blanked: list[tuple[float, float]] | None = []  # the user's silences, since when and until when
        self._claims = 0
        self._tools = 0

    def format(self, channel: int, *, fed: bool) -> Format:
        """As the session's."""
        return self._session.format(channel, fed=fed)

    def silenced_spans(self, channel: int) -> list[Span]:
        """As the session's."""
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
        said = {} if agent_speaking is None else {"agent_speaking": agent_speaking}
        self._write(lambda journal: self._event(journal, event, t, SERVER) | place_of(ref) | said)
        self._session.server_frame(event.body, t, ref, agent_speaking)
        self._blank_more()

    def malformed_frame(self, frame: object, reason: str, t: float, ref: ParentRun | None) -> None:
        def line(_: Journal) -> dict[str, Any]:
            kept = self._keeping.frame(plain_frame(frame), t)
            return {"t": t, "malformed": scrub_message(reason), "frame": kept.get("frame"), **place_of(ref)}

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

    def microphone(self, sound: Sound, t: float) -> None:
        """There is much of it, and nothing to remove."""

        def line(journal: Journal) -> dict[str, Any]:
            event = {"type": APPEND, "audio": self._sound(journal, USER, sound.data, t)}
            return {"t": t, "dir": CLIENT, "event": event}

        self._write(line)
        self._session.microphone(sound, t)

    def user_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        self._fed(USER, pcm, t, at)
        self._session.user_audio(pcm, t, at)

    def agent_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        self._fed(AGENT, pcm, t, at)
        self._session.agent_audio(pcm, t, at)

    def agent_played(self, item_id: str, ms: float, t: float, at: float) -> None:
        self._write(lambda _: {"t": t, "played": item_id, "ms": ms, "at": at})
        self._blanks.played(item_id, ms, at)
        self._session.agent_played(item_id, ms, t, at)

    def silence(self, t: float, since: float | None, until: float | None, item_id: str | None) -> None:
        self._write(lambda _: {"t": t, "silence": {"since": since, "until": until, "item_id": item_id}})
        self._blanks.silence(since, until, item_id)
        self._session.silence(t, since, until, item_id)
        self._blanked = None
        self._blank_more()

    def tool_entered(self, call_id: str, ref: ParentRun) -> None:
        self._write(lambda _: {"tool_entered": call_id, **place_of(ref)})
        self._session.tool_entered(call_id, ref)

    def tool_left(self, call_id: str, t: float, error: str | None) -> None:
        self._write(lambda _: {"t": t, "tool_left": call_id, "error": self._keeping.error(error, t)})
        self._session.tool_left(call_id, t, error)

    def closed(self, t: float, error: str | None, dropped: dict[str, int]) -> None:
        self._write(lambda _: {"t": t, "closed": True, "error": self._keeping.error(error, t), "dropped": dropped})
        self._session.closed(t, error, dropped)

    # Details

    def _write(self, line: Callable[[Journal], dict[str, Any]]) -> None:
        journal = self._journal
        if journal is None or not journal.is_open:
            return
        try:
            self._note_calls(journal)
            journal.write(line(journal))
            self._behind(journal.flush)
        except Exception as error:
            self._guard.report("journal", error)

    def _event(self, journal: Journal, event: Event, t: float, direction: str) -> dict[str, Any]:
        bare, field_, sound = take_audio(event)
        body = self._keeping.event(bare, t)
        if field_ is not None and sound is not None:
            channel = USER if direction == CLIENT else AGENT
            body = {**body, field_: self._sound(journal, channel, sound, t, item_id=text(body.get("item_id")))}
        return {"t": t, "dir": direction, "event": body}

    def _fed(self, channel: int, pcm: bytes, t: float, at: float | None) -> None:
        said = {} if at is None else {"at": at}
        self._write(
            lambda journal: {
                "t": t,
                "fed": CHANNEL_NAMES[channel],
                "audio": self._sound(journal, channel, pcm, t, at=at, fed=True),
                **said,
            }
        )

    def _sound(
        self,
        journal: Journal,
        channel: int,
        sound: bytes,
        t: float,
        *,
        at: float | None = None,
        item_id: str | None = None,
        fed: bool = False,
    ) -> dict[str, float]:
        """Where a piece of sound is kept, if it may be, and how long it is."""
        form = self._session.format(channel, fed=fed)
        seconds = len(sound) / (form.rate * form.bytes_per_frame)
        if item_id is not None:
            self._blanks.arrived(item_id, seconds)
        silent = self._blanks.covers(channel, t, seconds, at=at, item_id=item_id, silent=self._silent(channel, fed))
        kept = channel in self._sounds and not silent
        return {**(journal.place(sound) if kept else {"bytes": len(sound)}), "ms": round(seconds * 1000, 3)}

    def _blank_more(self) -> None:
        """Blank what is silent and was not known to be: only later events tell when a user's item was spoken."""
        silent = [(round(span.since, 1), round(span.until, 1)) for span in self._session.silenced_spans(USER)]
        if silent == self._blanked or self._journal is None or not self._journal.is_open:
            return
        self._blanked = silent
        try:
            self._blank(self._journal)
        except Exception as error:
            self._guard.report("journal", error)

    def _silent(self, channel: int, fed: bool) -> list[Span]:
        """Where items are silent whose sound does not say whose it is; what is received does."""
        return self._session.silenced_spans(channel) if channel == USER or fed else []

    def _blank(self, journal: Journal) -> None:
        """Take what is silenced now out of what was written before."""
        journal.flush()
        story, known = JournalReader(journal.folder), SilencedAudio()
        for line in story.entries():
            place, item_id = place_in(line.get("event", line)), text(mapping(line.get("event")).get("item_id"))
            if "silence" in line:
                known.silence(**line["silence"])
            elif "played" in line:
                known.played(line["played"], line["ms"], line["at"])
            elif place is not None and item_id is not None:
                known.arrived(item_id, place["ms"] / 1000)
        for line in story.entries():
            channel = CHANNELS[line["fed"]] if "fed" in line else AGENT if line.get("dir") == SERVER else USER
            body = line.get("event", line)
            place = place_in(body)
            if place is None:
                continue
            item_id = text(body.get("item_id"))
            fed = "fed" in line
            seconds, silent = place["ms"] / 1000, self._silent(channel, fed)
            if known.covers(channel, line["t"], seconds, at=line.get("at"), item_id=item_id, silent=silent):
                form = self._session.format(channel, fed=fed)
                journal.blank(place, silence_for(place, form))

    def _note_calls(self, journal: Journal) -> None:
        """Which calls have their runs by now, and where: the callers' threads decide that."""
        family = self._family
        if len(family.application_tool_runs) > self._claims:
            for call_id in list(family.application_tool_runs)[self._claims :]:
                self._claims += 1
                journal.write({"claimed": call_id})
        if len(family.tool_runs) > self._tools:
            for call_id, run in list(family.tool_runs.items())[self._tools :]:
                self._tools += 1
                start = start_of(run.dotted_order.rpartition(".")[0])
                parent = {"id": str(run.parent_run_id), "start": microseconds_of(start)}
                journal.write({"tool": call_id, "name": run.name, "parent": parent, **place_of(run)})


def journaled(
    made: SessionParts,
    options: Options,
    family: ConversationRuns,
    guard: Guard,
    behind: Callable[[Callable[[], None]], None],
) -> JournaledSession:
    """The session of a conversation that begins, with its journal; ``behind`` does work after the worker's."""
    root = family.root
    keeping = JournalMasking(root.client, made.privacy)

    def begin() -> Journal | None:
        kept, own = options.journal == "keep", needs_own_queue(root.client, root)
        if own and not kept:
            return None  # nobody tells what arrived
        try:
            folder = state_directory() / str(root.id)
            journal = Journal.begin(folder, header(family, options, keeping.metadata, elsewhere=own), keep=kept)
        except OSError as error:
            warn_once("there is no journal of this conversation", error)
            return None
        made.use_journal(journal)
        return journal

    return JournaledSession(
        made.session,
        family=family,
        keeping=keeping,
        sounds=made.recorded_channels,
        begin=begin,
        behind=behind,
        guard=guard,
    )

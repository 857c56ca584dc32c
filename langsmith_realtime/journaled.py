"""A conversation's session beside its journal: what happens to it becomes lines, and lines happen again.

What is written is what the worker was told, before anything is made of it, so a replay goes the same way
through the same code, with the same times and the same ids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langsmith_realtime.assembly import Assembled
from langsmith_realtime.audio.formats import Format, Sound
from langsmith_realtime.audio.silences import Span
from langsmith_realtime.audio.tracks import AGENT, USER
from langsmith_realtime.blanks import Blanks
from langsmith_realtime.events import APPEND, Event, FrameError, mapping, parse, text
from langsmith_realtime.family import Family
from langsmith_realtime.guard import Guard
from langsmith_realtime.happenings import Failure
from langsmith_realtime.header import header
from langsmith_realtime.ids import microseconds_of, start_of, time_of, uuid7
from langsmith_realtime.journal import Journal, Story, state_directory, warn_once
from langsmith_realtime.kept import Keeping, give_audio, take_audio
from langsmith_realtime.options import Options
from langsmith_realtime.parents import ParentRun, derive
from langsmith_realtime.plain import plain_frame
from langsmith_realtime.scrub import scrub_message
from langsmith_realtime.sender import sends_on_its_own
from langsmith_realtime.session import Session

#: What a line says of the direction of an event, and of the sound that was fed.
SERVER, CLIENT = "server", "client"
CHANNELS = {"user": USER, "agent": AGENT}
_CHANNEL_NAMES = {channel: name for name, channel in CHANNELS.items()}
#: The code for silence of each encoding.
_SILENCE = {"ulaw": b"\xff", "alaw": b"\xd5"}


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
        family: Family,
        keeping: Keeping,
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
        self._blanks = Blanks()
        self._blanked: list[tuple[float, float]] | None = []  # the user's silences, since when and until when
        self._claims = 0
        self._tools = 0

    def format(self, channel: int, *, fed: bool) -> Format:
        """As the session's."""
        return self._session.format(channel, fed=fed)

    def silent(self, channel: int) -> list[Span]:
        """As the session's."""
        return self._session.silent(channel)

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
        self._write(lambda journal: self._event(journal, event, t, SERVER) | _place(ref) | said)
        self._session.server_frame(event.body, t, ref, agent_speaking)
        self._blank_more()

    def malformed_frame(self, frame: object, reason: str, t: float, ref: ParentRun | None) -> None:
        def line(_: Journal) -> dict[str, Any]:
            kept = self._keeping.frame(plain_frame(frame), t)
            return {"t": t, "malformed": scrub_message(reason), "frame": kept.get("frame"), **_place(ref)}

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
        self._write(lambda _: {"tool_entered": call_id, **_place(ref)})
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
                "fed": _CHANNEL_NAMES[channel],
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
        silent = [(round(span.since, 1), round(span.until, 1)) for span in self._session.silent(USER)]
        if silent == self._blanked or self._journal is None or not self._journal.is_open:
            return
        self._blanked = silent
        try:
            self._blank(self._journal)
        except Exception as error:
            self._guard.report("journal", error)

    def _silent(self, channel: int, fed: bool) -> list[Span]:
        """Where items are silent whose sound does not say whose it is; what is received does."""
        return self._session.silent(channel) if channel == USER or fed else []

    def _blank(self, journal: Journal) -> None:
        """Take what is silenced now out of what was written before."""
        journal.flush()
        story, known = Story(journal.folder), Blanks()
        for line in story.entries():
            place, item_id = _place_in(line.get("event", line)), text(mapping(line.get("event")).get("item_id"))
            if "silence" in line:
                known.silence(**line["silence"])
            elif "played" in line:
                known.played(line["played"], line["ms"], line["at"])
            elif place is not None and item_id is not None:
                known.arrived(item_id, place["ms"] / 1000)
        for line in story.entries():
            channel = CHANNELS[line["fed"]] if "fed" in line else AGENT if line.get("dir") == SERVER else USER
            body = line.get("event", line)
            place = _place_in(body)
            if place is None:
                continue
            item_id = text(body.get("item_id"))
            fed = "fed" in line
            seconds, silent = place["ms"] / 1000, self._silent(channel, fed)
            if known.covers(channel, line["t"], seconds, at=line.get("at"), item_id=item_id, silent=silent):
                form = self._session.format(channel, fed=fed)
                journal.blank(place, _silence(place, form))

    def _note_calls(self, journal: Journal) -> None:
        """Which calls have their runs by now, and where: the callers' threads decide that."""
        family = self._family
        if len(family.claimed) > self._claims:
            for call_id in list(family.claimed)[self._claims :]:
                self._claims += 1
                journal.write({"claimed": call_id})
        if len(family.tools) > self._tools:
            for call_id, run in list(family.tools.items())[self._tools :]:
                self._tools += 1
                start = start_of(run.dotted_order.rpartition(".")[0])
                parent = {"id": str(run.parent_run_id), "start": microseconds_of(start)}
                journal.write({"tool": call_id, "name": run.name, "parent": parent, **_place(run)})


def journaled(
    made: Assembled, options: Options, family: Family, guard: Guard, behind: Callable[[Callable[[], None]], None]
) -> JournaledSession:
    """The session of a conversation that begins, with its journal; ``behind`` does work after the worker's."""
    root = family.root
    keeping = Keeping(root.client, made.privacy)

    def begin() -> Journal | None:
        kept, own = options.journal == "keep", sends_on_its_own(root.client, root)
        if own and not kept:
            return None  # nobody tells what arrived
        try:
            folder = state_directory() / str(root.id)
            journal = Journal.begin(folder, header(family, options, keeping.metadata, elsewhere=own), keep=kept)
        except OSError as error:
            warn_once("there is no journal of this conversation", error)
            return None
        made.journal(journal)
        return journal

    return JournaledSession(
        made.session, family=family, keeping=keeping, sounds=made.sounds, begin=begin, behind=behind, guard=guard
    )


@dataclass
class Ending:
    """How a replayed conversation ends: as its journal says or, where ``closed`` is False, with the last it tells."""

    t: float = 0.0
    closed: bool = False
    error: str | None = None
    dropped: dict[str, int] = field(default_factory=dict)


def replay(story: Story, session: Session, family: Family, *, anew: bool = False) -> Ending:
    """Do again what the journal tells, all but the end of it; with the same run ids, or ``anew``."""
    return _Replay(story, session, family, anew=anew).run()


class _Replay:
    def __init__(self, story: Story, session: Session, family: Family, *, anew: bool) -> None:
        self._story = story
        self._session = session
        self._family = family
        self._root_id = story.header["run"]["id"]
        self._anew = anew

    def run(self) -> Ending:
        ending = Ending()
        for line in self._story.entries():
            t = line.get("t", ending.t)
            if line.get("closed"):
                return Ending(t, closed=True, error=_failure(line.get("error")), dropped=line.get("dropped") or {})
            ending.t = max(ending.t, t)
            self._again(line, t)
        return ending

    def _again(self, line: dict[str, Any], t: float) -> None:
        session = self._session
        if line.get("dir") == SERVER:
            body = self._body(line["event"], AGENT)
            session.server_frame(body, t, self._ref(line), line.get("agent_speaking"))
        elif line.get("dir") == CLIENT:
            session.client_frame(self._body(line["event"], USER), t)
        elif "malformed" in line:
            session.malformed_frame(line.get("frame"), line["malformed"], t, self._ref(line))
        elif "fed" in line:
            channel = CHANNELS[line["fed"]]
            sound = self._sound(line["audio"], session.format(channel, fed=True))
            (session.user_audio if channel == USER else session.agent_audio)(sound, t, line.get("at"))
        elif "played" in line:
            session.agent_played(line["played"], line["ms"], t, line["at"])
        elif "silence" in line:
            session.silence(t, **line["silence"])
        elif "tool_entered" in line:
            ref = self._ref(line)
            if ref is not None:
                session.tool_entered(line["tool_entered"], ref)
        elif "tool_left" in line:
            session.tool_left(line["tool_left"], t, _failure(line.get("error")))
        elif "claimed" in line:
            self._family.claimed.setdefault(line["claimed"], self._family.root)
        elif "tool" in line:
            self._tool(line)

    def _body(self, body: Any, channel: int) -> Any:
        place = _place_in(body)
        return body if place is None else give_audio(body, self._sound(place, self._session.format(channel, fed=False)))

    def _sound(self, place: dict[str, Any], form: Format) -> bytes:
        sound = self._story.sound(place)
        return _silence(place, form) if sound is None else sound

    def _ref(self, line: dict[str, Any]) -> ParentRun | None:
        if "id" not in line:
            return None
        if line["id"] == self._root_id:
            return self._family.root
        return derive(self._family.root, "", "chain", time_of(line["start"]), self._run_id(line))

    def _run_id(self, line: dict[str, Any]) -> UUID:
        return uuid7(line["start"], f"{self._family.root.id} {line['id']}") if self._anew else UUID(line["id"])

    def _tool(self, line: dict[str, Any]) -> None:
        parent = self._ref(line["parent"])
        assert parent is not None
        run = derive(parent, line["name"], "tool", time_of(line["start"]), self._run_id(line))
        self._family.tools.setdefault(line["tool"], run)


def _place(ref: ParentRun | None) -> dict[str, Any]:
    """Which run an event became: all that cannot be made again from the line."""
    return {} if ref is None else {"id": str(ref.id), "start": microseconds_of(ref.start_time)}


def _failure(message: str | None) -> Failure | None:
    # What was written down quotes nobody whom it may not quote.
    return None if message is None else Failure(message)


def _place_in(body: Any) -> dict[str, Any] | None:
    """Where the sound of a line is, in the place of the sound."""
    members = body.values() if isinstance(body, dict) else ()
    return next((each for each in members if isinstance(each, dict) and each.keys() >= {"bytes", "ms"}), None)


def _silence(place: dict[str, Any], form: Format) -> bytes:
    """As much silence as there was sound."""
    return _SILENCE.get(form.encoding, b"\0") * int(place["bytes"])

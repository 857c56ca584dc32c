"""Reads a journal back, and holds its conversation once more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from langsmith_realtime.core.protocol.audio_formats import AGENT, USER, Format, silence_for
from langsmith_realtime.journal.file import KEPT, LINES, SOUND, VERSION
from langsmith_realtime.journal.lines import CHANNELS, CLIENT, SERVER, failure_of, place_in
from langsmith_realtime.journal.masking import give_audio
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns, ParentRun, derive
from langsmith_realtime.trace.run_trees.run_ids import time_of, uuid7
from langsmith_realtime.trace.session import Session


class JournalError(Exception):
    """A folder whose journal cannot be read; the message says why."""


class JournalReader:
    """What a journal tells, read from its beginning as often as it is asked.

    Raises:
        JournalError: it has no header that this version knows.
    """

    def __init__(self, folder: Path) -> None:
        self._lines = folder / (LINES if (folder / LINES).exists() else KEPT)
        self._sound = folder / SOUND
        header = next(self._read(), None)
        if header is None or "journal" not in header:  # the disk was full, or it is something else
            raise JournalError(f"{self._lines} has no header")
        if header["journal"] != VERSION:
            raise JournalError(f"{self._lines} is of version {header['journal']}; this package reads {VERSION}")
        self.header = header

    def entries(self) -> Iterator[dict[str, Any]]:
        """What happened, in order; ends where the file is damaged."""
        lines = self._read()
        next(lines)
        return (line for line in lines if "ack" not in line and "refused" not in line)

    def settled(self) -> set[str]:
        """The operations that the server has, or refused for good."""
        return {
            str(line.get("ack", line.get("refused"))) for line in self._read() if "ack" in line or "refused" in line
        }

    def sound(self, place: dict[str, Any]) -> bytes | None:
        """The sound a line speaks of; None when it was not kept. What is missing at the end is silent."""
        if "offset" not in place:
            return None
        with self._sound.open("rb") as file:
            file.seek(place["offset"])
            return file.read(place["bytes"]).ljust(place["bytes"], b"\0")

    def _read(self) -> Iterator[dict[str, Any]]:
        try:
            file = self._lines.open("rb")
        except OSError as error:
            raise JournalError(f"{self._lines} cannot be read: {error.strerror}") from None
        with file:
            for data in file:
                try:
                    line = json.loads(data) if data.endswith(b"\n") else None
                except (ValueError, RecursionError):
                    line = None
                if not isinstance(line, dict):
                    return
                yield line


@dataclass
class ReplayEnd:
    """How a replayed conversation ends: as its journal says or, where ``closed`` is False, with the last it tells."""

    t: float = 0.0
    closed: bool = False
    error: str | None = None
    dropped: dict[str, int] = field(default_factory=dict)


def replay(story: JournalReader, session: Session, family: ConversationRuns, *, anew: bool = False) -> ReplayEnd:
    """Do again what the journal tells, all but the end of it; with the same run ids, or ``anew``."""
    return _Replay(story, session, family, anew=anew).run()


class _Replay:
    def __init__(self, story: JournalReader, session: Session, family: ConversationRuns, *, anew: bool) -> None:
        self._story = story
        self._session = session
        self._family = family
        self._root_id = story.header["run"]["id"]
        self._anew = anew

    def run(self) -> ReplayEnd:
        ending = ReplayEnd()
        for line in self._story.entries():
            t = line.get("t", ending.t)
            if line.get("closed"):
                return ReplayEnd(t, closed=True, error=failure_of(line.get("error")), dropped=line.get("dropped") or {})
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
            session.tool_left(line["tool_left"], t, failure_of(line.get("error")))
        elif "claimed" in line:
            self._family.application_tool_runs.setdefault(line["claimed"], self._family.root)
        elif "tool" in line:
            self._tool(line)

    def _body(self, body: Any, channel: int) -> Any:
        place = place_in(body)
        return body if place is None else give_audio(body, self._sound(place, self._session.format(channel, fed=False)))

    def _sound(self, place: dict[str, Any], form: Format) -> bytes:
        sound = self._story.sound(place)
        return silence_for(place, form) if sound is None else sound

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
        self._family.tool_runs.setdefault(line["tool"], run)

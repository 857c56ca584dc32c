"""Reads a journal and passes its conversation to a session again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from langsmith_realtime.core.protocol.audio_formats import AGENT, USER, Format, silence_for
from langsmith_realtime.journal.file import VERSION
from langsmith_realtime.journal.folder import AUDIO, DELIVERED, LINES
from langsmith_realtime.journal.lines import CHANNELS, CLIENT, SERVER, audio_place, failure_of
from langsmith_realtime.journal.masking import insert_audio
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns, ParentRun, derive
from langsmith_realtime.trace.run_trees.run_ids import time_of, uuid7
from langsmith_realtime.trace.session import Session


class JournalError(Exception):
    """The journal cannot be read; the message says why."""


class JournalReader:
    """The lines and audio in a conversation's folder; :meth:`entries` and :meth:`settled` read all lines anew.

    Raises:
        JournalError: The folder has no journal, or one that this version cannot read.
    """

    def __init__(self, folder: Path) -> None:
        self._lines = folder / (LINES if (folder / LINES).exists() else DELIVERED)
        self._audio = folder / AUDIO
        header = next(self._read(), None)
        if header is None or "journal" not in header:
            raise JournalError(f"{self._lines} must begin with a header, got none: it is no journal, or damaged")
        if header["journal"] != VERSION:
            raise JournalError(
                f"{self._lines} must have version {VERSION}, got {header['journal']}; read it with the version of this "
                "package that wrote it"
            )
        self.header = header

    def entries(self) -> Iterator[dict[str, Any]]:
        """The lines in order, up to the first damaged one, without the header and the lines on settled operations."""
        lines = self._read()
        next(lines)
        return (line for line in lines if "ack" not in line and "refused" not in line)

    def settled(self) -> set[str]:
        """The operations that LangSmith has acknowledged or refused for good."""
        return {
            str(line.get("ack", line.get("refused"))) for line in self._read() if "ack" in line or "refused" in line
        }

    def audio(self, place: dict[str, Any]) -> bytes | None:
        """The audio at a line's place, filled up with zeros where the file is too short; None if it was not kept."""
        if "offset" not in place:
            return None
        with self._audio.open("rb") as file:
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
    """The end of a replayed conversation.

    Attributes:
        t: When it was closed, or when its last line was written, in seconds since it opened.
        closed: Whether it was closed; otherwise its process died.
        error: The error that it was closed with.
        dropped: How much audio and how many events the bounded queue dropped, as the root's metadata.
    """

    t: float = 0.0
    closed: bool = False
    error: str | None = None
    dropped: dict[str, int] = field(default_factory=dict)


def replay(reader: JournalReader, session: Session, runs: ConversationRuns, *, anew: bool = False) -> ReplayEnd:
    """Pass the journal's conversation to the session, all but its opening and its end; return the end.

    ``anew`` gives the runs new ids.
    """
    return _Replay(reader, session, runs, anew=anew).run()


class _Replay:
    def __init__(self, reader: JournalReader, session: Session, runs: ConversationRuns, *, anew: bool) -> None:
        self._reader = reader
        self._session = session
        self._runs = runs
        self._root_id = reader.header["run"]["id"]
        self._anew = anew

    def run(self) -> ReplayEnd:
        end = ReplayEnd()
        for line in self._reader.entries():
            t = line.get("t", end.t)
            if line.get("closed"):
                return ReplayEnd(t, closed=True, error=failure_of(line.get("error")), dropped=line.get("dropped") or {})
            end.t = max(end.t, t)
            self._pass_on(line, t)
        return end

    def _pass_on(self, line: dict[str, Any], t: float) -> None:
        session = self._session
        if line.get("dir") == SERVER:
            body = self._body(line["event"], AGENT)
            session.server_frame(body, t, self._run(line), line.get("agent_speaking"))
        elif line.get("dir") == CLIENT:
            session.client_frame(self._body(line["event"], USER), t)
        elif "malformed" in line:
            session.malformed_frame(line.get("frame"), line["malformed"], t, self._run(line))
        elif "fed" in line:
            channel = CHANNELS[line["fed"]]
            audio = self._audio(line["audio"], session.format(channel, fed=True))
            (session.user_audio if channel == USER else session.agent_audio)(audio, t, line.get("at"))
        elif "played" in line:
            session.agent_played(line["played"], line["ms"], t, line["at"])
        elif "silence" in line:
            session.silence(t, **line["silence"])
        elif "tool_entered" in line:
            run = self._run(line)
            if run is not None:
                session.tool_entered(line["tool_entered"], run)
        elif "tool_left" in line:
            session.tool_left(line["tool_left"], t, failure_of(line.get("error")))
        elif "claimed" in line:
            self._runs.application_tool_runs.setdefault(line["claimed"], self._runs.root)
        elif "tool" in line:
            self._add_tool_run(line)

    def _body(self, body: Any, channel: int) -> Any:
        place = audio_place(body)
        if place is None:
            return body
        return insert_audio(body, self._audio(place, self._session.format(channel, fed=False)))

    def _audio(self, place: dict[str, Any], audio_format: Format) -> bytes:
        audio = self._reader.audio(place)
        return silence_for(place, audio_format) if audio is None else audio

    def _run(self, line: dict[str, Any]) -> ParentRun | None:
        if "id" not in line:
            return None
        if line["id"] == self._root_id:
            return self._runs.root
        return derive(self._runs.root, "", "chain", time_of(line["start"]), self._run_id(line))

    def _run_id(self, line: dict[str, Any]) -> UUID:
        return uuid7(line["start"], f"{self._runs.root.id} {line['id']}") if self._anew else UUID(line["id"])

    def _add_tool_run(self, line: dict[str, Any]) -> None:
        parent = self._run(line["parent"])
        assert parent is not None
        run = derive(parent, line["name"], "tool", time_of(line["start"]), self._run_id(line))
        self._runs.tool_runs.setdefault(line["tool"], run)

"""Reads a journal: its lines, and the inputs of its conversation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langsmith_realtime.core.protocol.inputs import Input
from langsmith_realtime.journal.file import VERSION
from langsmith_realtime.journal.folder import AUDIO, DELIVERED, LINES
from langsmith_realtime.journal.lines import input_of


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
        return (line for line in lines if "is" in line)

    def inputs(self) -> Iterator[Input]:
        """The inputs of the conversation, in order; audio that the journal does not have is dropped audio."""
        for line in self.entries():
            given = input_of(line, self.audio)
            if given is not None:
                yield given

    def settled(self) -> set[str]:
        """The operations that LangSmith has acknowledged or refused for good, and that are not to be sent again."""
        settled: set[str] = set()
        for line in self._read():
            if "again" in line:
                settled.discard(str(line["again"]))
            elif "ack" in line or "refused" in line:
                settled.add(str(line.get("ack", line.get("refused"))))
        return settled

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

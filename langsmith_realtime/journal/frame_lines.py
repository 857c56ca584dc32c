"""Reads a conversation's frames from JSON lines, as an application or the local page wrote them.

A line is ``{"dir": "server" or "client", "event": {…}, "t": seconds}``. A file has either times on all of its lines, or
made-up ones: 10 ms from frame to frame.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langsmith_realtime.core.payloads.json_values import json_copy
from langsmith_realtime.core.protocol.audio_formats import audio_of
from langsmith_realtime.core.protocol.events import FrameError, parse
from langsmith_realtime.core.protocol.inputs import ClientFrame, Closed, Input, MalformedFrame, Ref, ServerFrame
from langsmith_realtime.journal.reader import JournalError
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.trace.run_trees.root_run import root_metadata

#: Seconds from frame to frame where a file has no times.
STEP_S = 0.01


class FrameLines:
    """The frames in a file.

    Attributes:
        header: Describes the conversation, as the header of a journal does.
        has_times: Whether the lines have times.

    Args:
        file: JSON lines in UTF-8.
        start: When the conversation began, in µs since the epoch.
        options: How the conversation is traced.

    Raises:
        JournalError: The file cannot be read, or a line is no frame.
    """

    def __init__(self, file: Path, start: int, options: Options) -> None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise JournalError(f"{file} cannot be read: {error}") from None
        self._lines = [
            _line(file, number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()
        ]
        if not self._lines:
            raise JournalError(f"{file} must have one frame on each line, got none")
        self.has_times = all(isinstance(line.get("t"), int | float) for line in self._lines)
        self.options = options
        metadata = {"thread_id": str(uuid.uuid4())}
        times = {} if self.has_times else {"times_are_made_up": True}
        self.header: dict[str, Any] = {
            "run": {
                "start": start,
                "name": "realtime_session",
                "tags": [],
                "metadata": metadata,
                "root_metadata": {**metadata, **times, **root_metadata(nested=False)},
                "address": None,
            }
        }

    def inputs(self) -> Iterator[Input]:
        """The inputs of the conversation, in order."""
        latest = 0
        t = 0.0
        for number, line in enumerate(self._lines, start=1):
            t = max(t, float(line["t"])) if self.has_times else number * STEP_S
            latest = max(latest + 1, round(t * 1_000_000))
            frame = line.get("event")
            is_server = line.get("dir") != "client"
            try:
                event = parse(frame)
            except FrameError as error:
                yield MalformedFrame(json_copy(frame), str(error), t, Ref(latest) if is_server else None)
                continue
            audio = audio_of(event, t)
            if audio is not None:
                yield audio
            elif is_server:
                yield ServerFrame(frame, t, None if event.is_delta else Ref(latest))
            else:
                yield ClientFrame(frame, t)
        yield Closed(t)


def _line(file: Path, number: int, text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        line = None
    if isinstance(line, dict) and "journal" in line:
        raise JournalError(f"{file} is a journal, not a file of frames; name its folder, {file.absolute().parent}")
    if not isinstance(line, dict) or "event" not in line:
        raise JournalError(f'line {number} of {file} must be {{"dir": …, "event": …}}, got {text[:80]!r}')
    return line

"""A recorded conversation for a server to repeat."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from langsmith_realtime.testing.script.script import Event


class Replay:
    """A recorded conversation that a `RealtimeServer` repeats.

    `source` holds ``{"dir": "server" | "client", "event": {…}}`` objects in wire order, or is the path of a file with
    one such object on each line. The server sends the frames of the direction ``server``. For each frame of the
    direction ``client`` it waits until the client sends a frame, with any content. After the last frame the server
    closes the connection with code 1000.

    Raises:
        ValueError: The file has no frame, a line of it is not JSON, or a frame of the recording has another shape.
        OSError: The file cannot be read.
    """

    def __init__(self, source: str | Path | Iterable[Mapping[str, Any]]) -> None:
        if isinstance(source, str | Path):
            lines = Path(source).read_text("utf-8").splitlines()
            source = [_parsed(line, number) for number, line in enumerate(lines, 1) if line.strip()]
            if not source:
                raise ValueError("the file must have one frame on each line, got none")
        self.frames: list[tuple[str, Event]] = []
        for number, frame in enumerate(source, 1):
            if (
                not isinstance(frame, Mapping)
                or frame.get("dir") not in ("server", "client")
                or not isinstance(frame.get("event"), dict)
            ):
                expected = '{"dir": "server" | "client", "event": {…}}'
                raise ValueError(f"frame {number} must be {expected}, got {str(frame)[:100]}")
            self.frames.append((frame["dir"], frame["event"]))


def _parsed(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number} must be JSON: {error}") from None

"""A server that repeats a recorded conversation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from langsmith_realtime.testing.script.script import Event


class Replay:
    """A recording: ``{"dir": "server" | "client", "event": {…}}`` objects in wire order, or a file with one a line.

    The server sends its frames; wherever the recording has a client frame it waits until the client has sent one,
    whatever it is. After the last frame it closes with 1000. Raises ValueError if a frame has another shape.
    """

    def __init__(self, source: str | Path | Iterable[Mapping[str, Any]]) -> None:
        if isinstance(source, str | Path):
            source = [json.loads(line) for line in Path(source).read_text("utf-8").splitlines() if line.strip()]
        self.frames: list[tuple[str, Event]] = []
        for number, frame in enumerate(source, 1):
            if frame.get("dir") not in ("server", "client") or not isinstance(frame.get("event"), dict):
                raise ValueError(f'frame {number} is not {{"dir": "server" | "client", "event": {{…}}}}')
            self.frames.append((frame["dir"], frame["event"]))

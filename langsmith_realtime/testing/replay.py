"""A server that repeats a recorded conversation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from langsmith_realtime.testing.agenda import Outgoing
from langsmith_realtime.testing.script import Close, Event


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


class ReplaySession:
    """The server's side of one connection that follows a `Replay`. Used like `Session`."""

    def __init__(self, replay: Replay) -> None:
        self._ahead = list(reversed(replay.frames))
        self._client_ahead = 0
        self.next_at: float | None = None

    def open(self, now: float) -> list[Outgoing]:
        """The client has connected."""
        return self._go_on(now)

    def receive(self, frame: str | bytes | Mapping[str, Any], now: float) -> list[Outgoing]:  # noqa: ARG002
        """The client has sent a frame; what it holds does not matter."""
        self._client_ahead += 1
        return self._go_on(now)

    def advance(self, now: float) -> list[Outgoing]:  # noqa: ARG002
        """Nothing: a recording has no times."""
        return []

    def _go_on(self, now: float) -> list[Outgoing]:
        out: list[Outgoing] = []
        if not self._ahead:
            return out
        while self._ahead:
            direction, event = self._ahead[-1]
            if direction == "server":
                out.append(Outgoing(now, event))
            elif self._client_ahead:
                self._client_ahead -= 1
            else:
                return out
            self._ahead.pop()
        out.append(Outgoing(now, Close(1000)))
        return out

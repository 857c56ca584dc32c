"""A session of the scripted server without a socket: it takes client events and returns server events with times."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

from langsmith_realtime.testing import Event, Outgoing, Script, Session, silence, speech_like

SPOKEN = silence(0.5) + speech_like("Hello?", 1.0) + silence(0.4)


class Talk:
    """A conversation with a session, on simulated time. ``sent`` has the server's events so far."""

    def __init__(self, script: Script, **options: Any) -> None:
        self.session = Session(script, **options)
        self.now = 0.0
        self.sent: list[Outgoing] = self.session.open(0.0)

    def send(self, type_: str, **fields: Any) -> list[Event]:
        """Sends an event and returns the server's immediate events."""
        return self.store(self.session.receive({"type": type_, **fields}, self.now))

    def raw(self, frame: str | bytes) -> list[Event]:
        return self.store(self.session.receive(frame, self.now))

    def speak(self, audio: bytes) -> list[Event]:
        return self.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())

    def wait(self, seconds: float = math.inf) -> list[Event]:
        """Lets time pass and returns the server's events; by default until no more follow."""
        out = self.store(self.session.advance(self.now + seconds))
        if math.isfinite(seconds):
            self.now += seconds
        elif self.sent:
            self.now = max(self.now, self.sent[-1].at)
        return out

    def store(self, out: list[Outgoing]) -> list[Event]:
        self.sent += out
        return [each.event for each in out]

    @property
    def events(self) -> list[Event]:
        return [each.event for each in self.sent]

    def of(self, type_: str) -> list[Event]:
        return [event for event in self.events if event.get("type") == type_]

    def one(self, type_: str) -> Event:
        (found,) = self.of(type_)
        return found

    def time_of(self, type_: str) -> float:
        return next(each.at for each in self.sent if each.event.get("type") == type_)


def types(events: Sequence[Event]) -> list[str]:
    """Returns the types of the events, with one entry for consecutive deltas of one type."""
    found: list[str] = []
    for event in events:
        if not (found and event["type"].endswith(".delta") and found[-1] == event["type"]):
            found.append(event["type"])
    return found


def error_of(events: Sequence[Event]) -> Event:
    (event,) = events
    assert event["type"] == "error"
    error: Event = event["error"]
    return error


def audio_of(events: Sequence[Event]) -> bytes:
    deltas = [event["delta"] for event in events if event["type"] == "response.output_audio.delta"]
    return b"".join(base64.b64decode(delta) for delta in deltas)


def message(text: str, **more: Any) -> Event:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **more}

"""The conversation every measurement runs on: made once, by the scripted server's own pure core, kept in a file."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from langsmith_realtime.testing import Say, Script, Session, Turn, speech_like

#: Seconds one turn takes, and of them the agent speaks; the microphone sends all along.
TURN_S, SPOKEN_S = 5.0, 4.0
#: When in its turn the agent begins to answer, and how long its events take: speech comes faster than it plays.
ANSWER_S, ARRIVAL_S = 1.0, 1.0

_SAMPLES_PER_MS, _BYTES = 24, 2


def make(path: Path, turns: int) -> None:
    """Write the frames of that many turns, one a line; an empty line ends a turn."""
    session = Session(Script(turns=[Turn(Say("It is sunny in Paris today. " * 2, seconds=SPOKEN_S))] * turns, speed=0))
    now = 0.0
    sent = session.open(now)
    with path.open("wb") as file:
        for turn in range(turns):
            user = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": f"Question {turn}?"}]}
            for event in ({"type": "conversation.item.create", "item": user}, {"type": "response.create"}):
                sent += session.receive(event, now)
            now += 1.0
            sent += session.advance(now)
            file.writelines(json.dumps(outgoing.event).encode() + b"\n" for outgoing in sent)
            file.write(b"\n")
            sent = []


def timed_frames(path: Path) -> Iterator[tuple[float, bytes]]:
    """The frames, and when each arrives, in seconds; read as they are needed: what they take is not measured."""
    with path.open("rb") as file:
        for turn in itertools.count():
            lines = list(itertools.takewhile(lambda line: line not in {b"\n", b""}, iter(file.readline, b"")))
            if not lines:
                return
            for index, line in enumerate(lines):
                yield turn * TURN_S + ANSWER_S + index * ARRIVAL_S / len(lines), line[:-1]


def microphone(milliseconds: int) -> bytes:
    """A chunk of the user's speech, PCM16 at 24 kHz."""
    return speech_like("hello", milliseconds / 1000)[: _SAMPLES_PER_MS * _BYTES * milliseconds]


def wire(chunk: bytes) -> str:
    return base64.b64encode(chunk).decode()

"""Writes and reads the file with the conversation that is measured: the frames of the scripted server, with times."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from langsmith_realtime.testing import Say, Script, Session, Turn, speech_like

#: Seconds of one turn, and for how many of them the agent speaks. The microphone sends during the whole turn.
TURN_S, SPOKEN_S = 5.0, 4.0
#: When the agent's reply begins, in seconds of its turn, and in how many seconds its events arrive: a model generates
#: speech faster than it is played.
REPLY_S, ARRIVAL_S = 1.0, 1.0

_FRAMES_PER_MS, _BYTES_PER_FRAME = 24, 2


def write_frames(path: Path, turns: int) -> None:
    """Writes the server's frames of `turns` turns, one a line; an empty line ends a turn."""
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
    """Yields each frame with its time of arrival, in seconds. Reads one turn at a time, to use little memory."""
    with path.open("rb") as file:
        for turn in itertools.count():
            lines = list(itertools.takewhile(lambda line: line not in {b"\n", b""}, iter(file.readline, b"")))
            if not lines:
                return
            for index, line in enumerate(lines):
                yield turn * TURN_S + REPLY_S + index * ARRIVAL_S / len(lines), line[:-1]


def microphone_chunk(milliseconds: int) -> bytes:
    """Returns a chunk of the user's speech, PCM16 mono at 24 kHz."""
    return speech_like("hello", milliseconds / 1000)[: _FRAMES_PER_MS * _BYTES_PER_FRAME * milliseconds]


def base64_text(pcm: bytes) -> str:
    """Returns audio in Base64, as Realtime events contain it."""
    return base64.b64encode(pcm).decode()

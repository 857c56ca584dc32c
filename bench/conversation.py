"""The frames every measurement runs on: made once, by the scripted server's own pure core."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from langsmith_realtime.testing import Say, Script, Session, Turn, speech_like

#: Seconds the agent speaks in one turn, and the user's microphone chunks around it.
SPOKEN_S = 4.0
CHUNK_MS = 20


@dataclass(frozen=True)
class Conversation:
    """What arrives and what is sent: ``frames`` from the server, ``chunks`` of base64 PCM16 to it, in turns."""

    frames: list[bytes]
    chunks_per_frame: float
    chunk: str

    @property
    def deltas(self) -> int:
        return sum(1 for frame in self.frames if b'.delta"' in frame[:400])


def conversation(turns: int) -> Conversation:
    """A conversation of that many spoken turns, about 5 s each."""
    session = Session(Script(turns=[Turn(Say("It is sunny in Paris today. " * 2, seconds=SPOKEN_S))] * turns, speed=0))
    now = 0.0
    sent = session.open(now)
    for turn in range(turns):
        user = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": f"Question {turn}?"}]}
        for event in ({"type": "conversation.item.create", "item": user}, {"type": "response.create"}):
            sent += session.receive(event, now)
        now += 1.0
        sent += session.advance(now)
    frames = [json.dumps(outgoing.event).encode() for outgoing in sent]
    chunks = turns * (SPOKEN_S + 1) * 1000 / CHUNK_MS
    chunk = base64.b64encode(speech_like("hello", CHUNK_MS / 1000)[: 48 * CHUNK_MS]).decode()
    return Conversation(frames, chunks / len(frames), chunk)

"""One conversation with the bundled server in each of its dialects, traced on simulated time.

The user asks a question; the agent says something and calls a tool; the client sends the result; the agent answers.
Then the client sends an event that the server refuses. A server that only transcribes has no agent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.testing import Call, Event, Say, Script, Session, Turn, UserTranscript
from langsmith_realtime.testing import tone as pcm_tone
from langsmith_realtime.testing.script.script import DialectName
from langsmith_realtime.testing.state.scheduler import Outgoing
from tests.support.audio.sounds import tone, wire
from tests.support.fed_session import FedSession

#: Pitches of the user and of the agent, in Hz.
USER_HZ, AGENT_HZ = 300, 600
#: When the user begins and ends to speak, and when the client commits the sound if the server does not, in seconds.
SPEAKS, STOPS, COMMITS = 0.6, 1.6, 2.4
#: When the client sends a wrong event, and when the conversation ends.
ERRS, ENDS = 5.0, 7.0
#: Length of a microphone chunk in seconds.
CHUNK_S = 0.02

QUESTION = "Which way is north?"
SAYS, ANSWERS = "One moment.", "Straight ahead."
TOOL, ARGUMENTS, RESULT = "read_compass", {"precise": True}, "bearing 12"

#: Rate of the microphone in Hz where it is not 24 kHz, and what the client asks for in its session.update.
RATES: dict[DialectName, int] = {"voice_live": 16_000, "qwen_omni": 16_000, "vllm": 16_000}
UPDATES: dict[DialectName, Event] = {
    "voice_live": {
        "session": {
            "input_audio_sampling_rate": 16_000,
            "output_audio_format": "pcm16_16000hz",
            "input_audio_transcription": {"model": "azure-speech"},
        }
    },
    "beta": {"session": {"output_audio_format": "pcm16", "input_audio_transcription": {"model": "whisper-1"}}},
    "qwen_omni": {"session": {"input_audio_transcription": {"model": "gummy-realtime-v1"}}},
    "xai": {"session": {"voice": "ara", "turn_detection": {"type": "server_vad", "silence_duration_ms": 400}}},
    "vllm": {"model": "voxtral"},
}
#: What the server's own configuration has, where a session.update cannot say it.
SESSIONS: dict[DialectName, Event] = {
    name: {"audio": {"input": {"transcription": {"model": "whisper-1"}}}} for name in ("ga", "xai", "speech_to_speech")
}
TRANSCRIBES_ONLY: frozenset[DialectName] = frozenset({"vllm"})


@dataclass
class Conversed:
    """A conversation that has ended: its trace, and the events that the server sent."""

    trace: FedSession
    sent: list[Event] = field(default_factory=list)

    def of(self, type_: str) -> list[Event]:
        return [event for event in self.sent if event["type"] == type_]

    @property
    def reported_tokens(self) -> int:
        """The sum of all ``total_tokens`` that the server sent."""
        usages = [event.get("usage") or (event.get("response") or {}).get("usage") or {} for event in self.sent]
        return sum(usage.get("total_tokens", 0) for usage in usages)


def script_of(dialect: DialectName) -> Script:
    """Returns the server's script: a turn with a call, and the answer to its result."""
    return Script(
        [
            Turn(Say(SAYS, pcm_tone(AGENT_HZ, 0.5)), Call(TOOL, ARGUMENTS, call_id="call_1"), think=0.3),
            Turn(Say(ANSWERS, pcm_tone(AGENT_HZ, 0.8)), think=0.1),
        ],
        user_transcripts=[UserTranscript(QUESTION, usage="tokens" if dialect == "vllm" else "duration")],
        dialect=dialect,
        session=SESSIONS.get(dialect, {}),
        rate_limits=False,
        overlap_items=False,
        seed=7,
    )


class _Client:
    """The application: it sends the microphone chunk by chunk, answers the call, and sends a wrong event."""

    def __init__(self, dialect: DialectName) -> None:
        self.dialect = dialect
        self.session = Session(script_of(dialect))
        self.conversed = Conversed(FedSession(sends_runs=False))
        self.waiting: list[Outgoing] = []

    def receive(self, outgoing: list[Outgoing], t: float) -> None:
        for each in outgoing:
            event = each.event
            self.conversed.sent.append(event)
            self.conversed.trace.server(json.loads(json.dumps(event)), t)
            if event["type"] == "response.done" and len(self.conversed.of("response.done")) == 1:
                self.send({"type": "conversation.item.create", "item": _result()}, t)
                self.send({"type": "response.create"}, t)

    def send(self, event: Event, t: float) -> None:
        self.conversed.trace.client(json.loads(json.dumps(event)), t)
        self.receive(self.session.receive(event, t), t)

    def talk(self) -> Conversed:
        rate = RATES.get(self.dialect, 24_000)
        voice = _voice(rate)
        self.receive(self.session.open(0.0), 0.0)
        if self.dialect in UPDATES:
            self.send({"type": "session.update", **UPDATES[self.dialect]}, 0.01)
        chunks, size = round(ENDS / CHUNK_S), round(CHUNK_S * rate)
        for index in range(chunks):
            t = (index + 1) * CHUNK_S
            self.receive(self.session.advance(t), t)
            self.send({"type": "input_audio_buffer.append", "audio": wire(voice[index * size : (index + 1) * size])}, t)
            if self.dialect in TRANSCRIBES_ONLY and index == round(COMMITS / CHUNK_S):
                self.send({"type": "input_audio_buffer.commit"}, t)
            if index == round(ERRS / CHUNK_S):
                self.send({"type": "session.rewind", "event_id": "mine"}, t)
        self.conversed.trace.close(ENDS + 0.5)
        return self.conversed


def converse(dialect: DialectName) -> Conversed:
    """Holds the conversation in a dialect, and returns it when it has ended."""
    return _Client(dialect).talk()


def _result() -> Event:
    return {"type": "function_call_output", "call_id": "call_1", "output": RESULT}


def _voice(rate: int) -> Samples:
    samples = np.zeros(round(ENDS * rate), np.int16)
    samples[round(SPEAKS * rate) : round(STOPS * rate)] = tone(STOPS - SPEAKS, rate=rate, hz=USER_HZ)
    return samples

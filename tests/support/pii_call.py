"""A traced conversation in which the user and the agent say a card number, with times that the test gives."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from langsmith_realtime.core.protocol.inputs import ClientFrame, Closed, Input, Opened, Ref, ServerFrame
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.live.coalescing import parsed
from langsmith_realtime.live.pipeline import build_pipeline
from langsmith_realtime.live.process import process
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.root_run import start_conversation_runs
from tests.support.audio.sounds import RATE, tone
from tests.support.conversations import Node, the_tree

if TYPE_CHECKING:
    from langsmith_realtime.collector import Collector
    from langsmith_realtime.core.audio.decoding import Samples

CARD = "4111 1111 1111 1111"
BEFORE = "Good morning to you, I would like to pay for both of the rooms with my card today, please. It is "
AFTER = ". That is all that I wanted to say, thank you very much, and have a very nice afternoon, goodbye and so on"
SAID = BEFORE + CARD + AFTER
PIECES = [BEFORE, "41", "11 1", "111 11", "11 1", "111", AFTER]
TRANSCRIPTION = "conversation.item.input_audio_transcription"
USER_BEGINS, AGENT_BEGINS, LASTS = 2.0, 30.0, 20.0


def audible(channel: Samples) -> list[tuple[float, float]]:
    """Begin and end of audible spans, in seconds rounded to 0.1, with at least 50 ms between them."""
    places = np.flatnonzero(np.abs(channel) > 100)
    spans = np.split(places, np.flatnonzero(np.diff(places) > RATE // 20) + 1)
    return [(round(span[0] / RATE, 1), round((span[-1] + 1) / RATE, 1)) for span in spans if len(span)]


class Call:
    """A traced conversation with times that the test gives: all that the worker's thread does, without the caller's."""

    def __init__(self, **options: Any) -> None:
        given = Options(journal="keep", **options)
        self._guard = Guard()
        self._pipeline = build_pipeline(given, start_conversation_runs(given, self._guard), process(), self._guard)
        self._chunks = 0  # of the microphone
        self.take(Opened())
        self.server("session.created", 0.0, session={"id": "sess_1", "model": "gpt-realtime"})

    def take(self, given: Input) -> None:
        self._pipeline.take([parsed(given)], lambda: None)

    def server(self, type_: str, t: float, **body: Any) -> None:
        run = None if type_.endswith(".delta") else Ref(1 + round(t * 1e6))
        self.take(ServerFrame({"type": type_, "event_id": f"event_{t}", **body}, t, run))

    def user_says(
        self, words: str | None = SAID, item_id: str = "user_1", begins: float = USER_BEGINS, lasts: float = LASTS
    ) -> None:
        """The user speaks from `begins` on for `lasts` s, and turn detection names begin and end."""
        chunk = base64.b64encode(tone(0.1).astype("<i2").tobytes()).decode()
        where, ends = {"item_id": item_id}, begins + lasts
        for number in range(self._chunks, round(ends * 10)):
            self.take(ClientFrame({"type": "input_audio_buffer.append", "audio": chunk}, (number + 1) / 10))
            if number == round(begins * 10) + 2:
                self.server("input_audio_buffer.speech_started", begins + 0.3, **where, audio_start_ms=begins * 1000)
        self._chunks = round(ends * 10)
        self.server("input_audio_buffer.speech_stopped", ends + 0.1, **where, audio_end_ms=ends * 1000)
        self.server("input_audio_buffer.committed", ends + 0.2, **where)
        item = {"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
        self.server("conversation.item.added", ends + 0.3, item=item)
        if words is None:
            return
        pieces = PIECES if words == SAID else [words]
        for number, piece in enumerate(pieces):
            self.server(f"{TRANSCRIPTION}.delta", ends + 0.4 + number / 100, **where, content_index=0, delta=piece)
            self.server(f"{TRANSCRIPTION}.segment", ends + 0.401 + number / 100, **where, content_index=0, text=piece)
        spelled = [{"token": piece, "logprob": -0.1, "bytes": list(piece.encode())} for piece in pieces]
        self.server(
            f"{TRANSCRIPTION}.completed", ends + 1, **where, content_index=0, transcript=words, logprobs=spelled
        )

    def agent_says(self, *, is_done: bool = True) -> None:
        """The agent speaks for 20 s, and repeats the card number to the user and to a tool."""
        where = {"response_id": "resp_1", "item_id": "agent_1", "output_index": 0, "content_index": 0}
        t = AGENT_BEGINS
        self.server("response.created", t - 1, response={"id": "resp_1", "status": "in_progress"})
        for number in range(20):
            delta = base64.b64encode(tone(1.0).astype("<i2").tobytes()).decode()
            self.server("response.output_audio.delta", t + number / 100, **where, delta=delta)
        for number, piece in enumerate(PIECES):
            name = "response.output_audio_transcript.delta"
            self.server(name, t + 0.3 + number / 100, **where, delta=piece)
        if not is_done:
            return
        part = {"type": "output_audio", "transcript": SAID}
        item = {"id": "agent_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        arguments = json.dumps({"card": int(CARD.replace(" ", ""))})
        called = {"id": "fc_1", "type": "function_call", "name": "pay", "call_id": "call_1", "arguments": arguments}
        self.server("response.output_audio_transcript.done", t + 0.5, **where, transcript=SAID)
        self.server("response.output_item.done", t + 0.6, response_id="resp_1", item=item)
        self.server("response.function_call_arguments.done", t + 0.7, call_id="call_1", name="pay", arguments=arguments)
        done = {"id": "resp_1", "status": "completed", "output": [item, called]}
        self.server("response.done", t + 0.8, response=done)
        result = {"type": "function_call_output", "call_id": "call_1", "output": f"paid with {CARD}"}
        self.take(ClientFrame({"type": "conversation.item.create", "item": result}, t + 1))
        self.server("error", t + 1.1, error={"type": "server_error", "message": f"no such card: {CARD}"})

    def end(self, tracing: Collector, t: float = AGENT_BEGINS + LASTS + 10) -> tuple[Node, Samples]:
        """Ends the conversation; returns its trace, and the samples of its recording."""
        self.take(Closed(t, f"lost while saying {CARD}"))
        root = the_tree(tracing)
        heard, rate = soundfile.read(tracing.attachment(root.run.id, "conversation")[1], dtype="int16")
        assert rate == RATE
        return root, heard


def journal_lines() -> list[dict[str, Any]]:
    (path,) = state_directory().glob("*/*.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

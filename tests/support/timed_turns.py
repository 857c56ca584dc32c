"""A conversation whose speech is placed to the millisecond, for tests of latencies."""

from __future__ import annotations

from typing import Any

import numpy as np

from langsmith_realtime.core.audio.decoding import Samples
from tests.support.audio.sounds import RATE, tone, wire
from tests.support.driven_conversation import DrivenConversation

VAD = {"type": "server_vad", "interrupt_response": True, "prefix_padding_ms": 300}


MESSAGE = {"type": "message", "role": "assistant"}


class TimedTurns(DrivenConversation):
    """A conversation whose microphone is sent in chunks of 20 ms, each when it is complete."""

    def __init__(self, vad: dict[str, Any] | None = VAD) -> None:
        super().__init__(vad=vad)
        self.written = 0.0

    def mic(self, begin: float, end: float, *speech: tuple[float, float]) -> None:
        """Sends the microphone from ``begin`` to ``end``, in seconds; the user speaks in the spans ``speech``."""
        audio = np.zeros(round((end - begin) * RATE), dtype=np.int16)
        for start, stop in speech:
            audio[round((start - begin) * RATE) : round((stop - begin) * RATE)] = tone(stop - start)
        for index in range(0, len(audio), 480):
            self.append(begin + (index + 480) / RATE, audio[index : index + 480])

    def append(self, at: float, sound: Samples) -> None:
        self.written += len(sound) / RATE
        self.client("input_audio_buffer.append", at=at, audio=wire(sound))

    def speech(self, begin: float, end: float) -> float:
        """The user speaks, and turn detection reports it. Returns when the microphone ends, half a second later."""
        before = self.written
        self.mic(begin - 0.5, begin + 0.3, (begin, begin + 0.3))
        self.server("input_audio_buffer.speech_started", at=self.t, audio_start_ms=before * 1000 + 200)
        self.mic(begin + 0.3, end + 0.5, (begin + 0.3, end))
        self.stopped()
        return self.t

    def stopped(self) -> None:
        self.server("input_audio_buffer.speech_stopped", at=self.t, audio_end_ms=self.written * 1000)

    def answers(
        self, response_id: str, at: float, *, seconds: float = 1.0, silence: float = 0.0, words: str = "One two."
    ) -> None:
        """The response's audio arrives at ``at``, all at once. Its first ``silence`` seconds are silent."""
        item_id = f"item_{response_id}"
        self.begins(response_id)
        self.output(response_id, {"id": item_id, **MESSAGE})
        where: dict[str, Any] = {"response_id": response_id, "item_id": item_id, "content_index": 0}
        audio = np.r_[np.zeros(round(silence * RATE), np.int16), tone(seconds)]
        self.server("response.output_audio.delta", at=at, **where, delta=wire(audio))
        self.server("response.output_audio_transcript.delta", **where, delta=words)

    def done(self, response_id: str, *items: dict[str, Any], **fields: Any) -> None:
        self.ends(response_id, *(items or [{"id": f"item_{response_id}", **MESSAGE}]), **fields)

    def numbers(self, response_id: str) -> dict[str, Any]:
        metadata = self.model(response_id).metadata
        return {key: value for key, value in metadata.items() if key.endswith("_ms") or key == "heard_share"}

    def moments(self, response_id: str) -> dict[str, float]:
        return {key: value for key, value in self.model(response_id).metadata.items() if key.endswith("_s")}

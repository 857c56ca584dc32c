"""A conversation of the core that receives events and times from the test."""

from __future__ import annotations

import base64
from typing import Any

from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.conversation.run_data import EventRun, ModelRun, RunData, ToolRun
from langsmith_realtime.core.protocol.inputs import ClientFrame, Closed, Input, Ref, ServerFrame
from langsmith_realtime.live.coalescing import parsed

RATE = 24_000


def sound(seconds: float) -> str:
    """Returns PCM16 audio at 24 kHz, in Base64."""
    return base64.b64encode(b"\x10\x20" * round(seconds * RATE)).decode()


class DrivenConversation:
    """A conversation and all runs it returned, in ``happened``. The ref of an event is its number, from 1.

    Most methods pass in one event and return the runs that it completed. Without `at`, in seconds, an event comes 10 ms
    after the previous one.
    """

    def __init__(self, *, vad: dict[str, Any] | None = None, transcribes: bool = False, set_up: bool = True) -> None:
        self.conversation = Conversation()
        self.t = 0.0
        self.received = 0
        self.happened: list[RunData] = []
        self.last_id = ""
        if set_up:
            audio_in = {"turn_detection": vad, "transcription": {"model": "whisper-1"} if transcribes else None}
            session = {"id": "sess_1", "model": "gpt-realtime", "audio": {"input": audio_in}}
            self.server("session.created", session=session)

    def server(
        self, name: str, /, *, at: float | None = None, agent_speaking: bool | None = None, **body: Any
    ) -> list[RunData]:
        self._tick(at)
        run = None
        if not name.endswith(".delta"):
            self.received += 1
            run = Ref(self.received)
        return self._take(ServerFrame({"type": name, **body}, self.t, run, agent_speaking))

    def client(self, name: str, /, *, at: float | None = None, **body: Any) -> list[RunData]:
        self._tick(at)
        return self._take(ClientFrame({"type": name, **body}, self.t))

    def close(self, *, at: float | None = None) -> list[RunData]:
        self._tick(at)
        return self._take(Closed(self.t))

    # Frequent events

    def item(self, item_id: str, **item: Any) -> list[RunData]:
        """Adds an item after the last one."""
        previous, self.last_id = self.last_id, item_id
        return self.server("conversation.item.added", previous_item_id=previous or None, item={"id": item_id, **item})

    def typed(self, words: str, item_id: str = "typed") -> None:
        self.item(item_id, type="message", role="user", content=[{"type": "input_text", "text": words}])

    def spoken(self, words: str | None, item_id: str = "spoken") -> None:
        """Adds an item of user speech. `words` is its transcript, if there is one."""
        self.server("input_audio_buffer.speech_started", item_id=item_id)
        self.server("input_audio_buffer.speech_stopped", item_id=item_id)
        self.server("input_audio_buffer.committed", item_id=item_id, previous_item_id=self.last_id or None)
        self.item(item_id, type="message", role="user", content=[{"type": "input_audio", "transcript": None}])
        if words is not None:
            self.transcribed(words, item_id)

    def transcribed(self, words: str, item_id: str = "spoken") -> list[RunData]:
        return self.server(
            "conversation.item.input_audio_transcription.completed", item_id=item_id, content_index=0, transcript=words
        )

    def begins(self, response_id: str, *, conversation_id: str | None = "conv_1", **fields: Any) -> list[RunData]:
        response = {"id": response_id, "status": "in_progress", "conversation_id": conversation_id, **fields}
        return self.server("response.created", response=response)

    def output(self, response_id: str, item: dict[str, Any], *, done: bool = False) -> list[RunData]:
        return self.server(f"response.output_item.{'done' if done else 'added'}", response_id=response_id, item=item)

    def says(self, response_id: str, words: str, item_id: str, *, seconds: float = 0.0, placed: bool = True) -> None:
        """Adds an item of agent speech with its transcript, and `seconds` of audio that arrive at once."""
        message = {"id": item_id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        self.output(response_id, message)
        if placed:
            self.item(item_id, **{key: value for key, value in message.items() if key != "id"})
        where: dict[str, Any] = {"response_id": response_id, "item_id": item_id, "content_index": 0}
        self.server("response.output_audio_transcript.delta", **where, delta=words)
        if seconds:
            self.server("response.output_audio.delta", **where, delta=sound(seconds))

    def ends(
        self, response_id: str, *output: dict[str, Any], status: str = "completed", **fields: Any
    ) -> list[RunData]:
        response = {"id": response_id, "status": status, "conversation_id": "conv_1", "output": list(output), **fields}
        return self.server("response.done", response=response)

    def cancelled(self, response_id: str, *output: dict[str, Any], reason: str = "turn_detected") -> list[RunData]:
        return self.ends(
            response_id, *output, status="cancelled", status_details={"type": "cancelled", "reason": reason}
        )

    # The runs and the transcript

    @property
    def events(self) -> list[EventRun]:
        return [run for run in self.happened if isinstance(run, EventRun)]

    @property
    def models(self) -> list[ModelRun]:
        return [run for run in self.happened if isinstance(run, ModelRun)]

    @property
    def tools(self) -> list[ToolRun]:
        return [run for run in self.happened if isinstance(run, ToolRun)]

    def model(self, response_id: str) -> ModelRun:
        (run,) = (run for run in self.models if run.metadata["response_id"] == response_id)
        return run

    @property
    def interruptions(self) -> int:
        return int(self.conversation.numbers()["interruptions"])

    def transcript(self) -> list[str]:
        """Returns the messages as ``role: words``, with ``(cut)`` after an interrupted one."""
        return [
            f"{message['role']}: {message['content']}{' (cut)' if message.get('interrupted') else ''}"
            for message in self.conversation.messages()
        ]

    def _tick(self, at: float | None) -> None:
        self.t = self.t + 0.01 if at is None else at

    def _take(self, given: Input) -> list[RunData]:
        runs = self.conversation.take(parsed(given))
        self.happened += runs
        return runs


def labels(runs: list[RunData]) -> list[str]:
    """Returns a label for each run: an event's name, ``model <response id>`` or ``tool <call id>``."""
    found = []
    for run in runs:
        if isinstance(run, EventRun):
            found.append(run.name)
        elif isinstance(run, ModelRun):
            found.append(f"model {run.metadata['response_id']}")
        elif isinstance(run, ToolRun):
            found.append(f"tool {run.call_id}")
    return found

"""Sends the events of the transcription of one user item: before, during or after the response."""

from __future__ import annotations

import re
from typing import Any

from langsmith_realtime.testing.script.script import UserTranscript
from langsmith_realtime.testing.state.conversation import Entry
from langsmith_realtime.testing.state.scheduler import Process, Scheduler
from langsmith_realtime.testing.state.usage import transcription_usage

_PREFIX = "conversation.item.input_audio_transcription"
WORDS_PER_SECOND = 3
"""Words of an ``early`` transcript that are sent for each second of speech."""


class Transcription:
    """The transcription of the user item with the id `item_id`. The item itself may be added later."""

    def __init__(self, scheduler: Scheduler, transcript: UserTranscript, item_id: str) -> None:
        self.transcript = transcript
        self._scheduler = scheduler
        self._item_id = item_id
        self._speech_ms = 0.0
        streamed = transcript.streamed and transcript.error is None
        deltas = [transcript.text] if transcript.streamed == "whole" else re.findall(r"\s*\S+", transcript.text)
        self._pending_deltas = deltas if streamed else []

    def speech_continued(self, milliseconds: float) -> None:
        """Add a length of speech, and send the deltas for it if the transcript is ``early``."""
        self._speech_ms += milliseconds
        while self.transcript.when == "early" and self._pending_deltas and self._speech_ms >= 1000 / WORDS_PER_SECOND:
            self._speech_ms -= 1000 / WORDS_PER_SECOND
            self._send_next_delta()

    def speech_stopped(self) -> None:
        """Send the remaining deltas if the transcript is ``early``."""
        while self.transcript.when == "early" and self._pending_deltas:
            self._send_next_delta()

    def run(self, entry: Entry, seconds: float) -> Process:
        """Send the remaining deltas within `seconds` s, then complete the transcription of the item in `entry`."""
        wait = seconds / (len(self._pending_deltas) + 1)
        if self.transcript.streamed == "whole":
            # In recorded sessions, the delta arrives after the response has begun, and completes during the response.
            wait = seconds / 4
            yield wait
        while self._pending_deltas:
            self._send_next_delta()
            yield wait
        yield wait
        self.complete(entry)

    def _send_next_delta(self) -> None:
        self._send("delta", delta=self._pending_deltas.pop(0))

    def complete(self, entry: Entry) -> None:
        """Send the remaining deltas, then ``completed`` or ``failed`` for the item in `entry`."""
        while self._pending_deltas:
            self._send_next_delta()
        if self.transcript.error is not None:
            error = {"type": "server_error", "code": None, "message": self.transcript.error, "param": None}
            self._send("failed", error=error)
            return
        text = self.transcript.text
        entry.item["content"][0]["transcript"] = text
        kind = self.transcript.usage
        usage = {} if kind is None else {"usage": transcription_usage(kind, entry.audio_ms / 1000, text)}
        self._send("completed", transcript=text, **usage)

    def _send(self, kind: str, **fields: Any) -> None:
        self._scheduler.send(f"{_PREFIX}.{kind}", item_id=self._item_id, content_index=0, **fields)

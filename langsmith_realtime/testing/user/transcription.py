"""What the server claims the user said: transcription events, early, during the response, or after it."""

from __future__ import annotations

import re
from typing import Any

from langsmith_realtime.testing.script.script import UserTranscript
from langsmith_realtime.testing.state.scheduler import Scheduler, Process
from langsmith_realtime.testing.state.conversation import Entry
from langsmith_realtime.testing.state.usage import transcription_usage

_PREFIX = "conversation.item.input_audio_transcription"
WORDS_PER_SECOND = 3
"""How many words of the transcript are told for each second of speech while it is going on."""


class Transcription:
    """The transcription of one piece of user audio, whose item will be `item_id`."""

    def __init__(self, scheduler: Scheduler, transcript: UserTranscript, item_id: str) -> None:
        self.transcript = transcript
        self._scheduler = scheduler
        self._item_id = item_id
        self._heard_ms = 0.0
        streamed = transcript.streamed and transcript.error is None
        pieces = [transcript.text] if transcript.streamed == "whole" else re.findall(r"\s*\S+", transcript.text)
        self._untold = pieces if streamed else []

    def hear(self, milliseconds: float) -> None:
        """Speech went on for so long: tell the words spoken in it, if they are told early."""
        self._heard_ms += milliseconds
        while self.transcript.when == "early" and self._untold and self._heard_ms >= 1000 / WORDS_PER_SECOND:
            self._heard_ms -= 1000 / WORDS_PER_SECOND
            self._tell_word()

    def end_of_speech(self) -> None:
        """Tell the rest, if it is told early."""
        while self.transcript.when == "early" and self._untold:
            self._tell_word()

    def run(self, entry: Entry, seconds: float) -> Process:
        """Tell what is still untold within so many seconds, then complete the transcription of this item."""
        wait = seconds / (len(self._untold) + 1)
        if self.transcript.streamed == "whole":
            # As recorded: it comes when the answer has begun, and is complete while the answer is still written.
            wait = seconds / 4
            yield wait
        while self._untold:
            self._tell_word()
            yield wait
        yield wait
        self.complete(entry)

    def _tell_word(self) -> None:
        self._send("delta", delta=self._untold.pop(0))

    def complete(self, entry: Entry) -> None:
        """Tell what is still untold, and complete the transcription of this item, or fail."""
        while self._untold:
            self._tell_word()
        if self.transcript.error is not None:
            error = {"type": "server_error", "code": None, "message": self.transcript.error, "param": None}
            self._send("failed", error=error)
            return
        text = self.transcript.text
        entry.item["content"][0]["transcript"] = text
        counted = self.transcript.usage
        usage = {} if counted is None else {"usage": transcription_usage(counted, entry.audio_ms / 1000, text)}
        self._send("completed", transcript=text, **usage)

    def _send(self, kind: str, **fields: Any) -> None:
        self._scheduler.send(f"{_PREFIX}.{kind}", item_id=self._item_id, content_index=0, **fields)

"""The user's side of a conversation: audio in, speech events, items and transcriptions out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from langsmith_realtime.testing.agent.response import Response
from langsmith_realtime.testing.script.script import Event, UserTranscript
from langsmith_realtime.testing.state.conversation import Entry
from langsmith_realtime.testing.state.formats import audio_format
from langsmith_realtime.testing.state.shared import SharedState
from langsmith_realtime.testing.state.wire import ClientError
from langsmith_realtime.testing.user.input_audio import Heard, InputAudio, SpeechStarted, SpeechStopped, TimedOut
from langsmith_realtime.testing.user.transcription import Transcription

TRANSCRIPTION_SECONDS = 0.3
"""How long a transcription takes at speed 1 if no response is generated meanwhile."""
DURING = 0.7
"""A transcription told *during* a response is complete when this part of it was generated."""
SMALLEST_COMMIT_MS = 100
IDLE_NOTE = "The user has not spoken for a while."
"""What the model is told after an idle timeout."""


class Listener:
    """Hears the user. `config` is the session's ``audio.input``.

    It calls `interrupt` when speech is to stop a response, and `respond` when speech is to be answered; that gives
    a response which has begun but generates nothing yet, or None.
    """

    def __init__(
        self,
        shared: SharedState,
        config: Event,
        *,
        interrupt: Callable[[], None],
        respond: Callable[[], Response | None],
    ) -> None:
        self._shared = shared
        self._config = config
        self._interrupt = interrupt
        self._respond = respond
        self._input = InputAudio(audio_format(config["format"]), config["turn_detection"])
        self._transcripts: Iterator[str | UserTranscript] = iter(shared.script.user_transcripts)
        self._speech_item: str | None = None
        self._transcription: Transcription | None = None
        self._late: list[tuple[Transcription, Entry]] = []

    def configure(self, config: Event) -> None:
        """Take over what a ``session.update`` changed."""
        self._config = config
        self._input.configure(audio_format(config["format"]), config["turn_detection"])

    def append(self, audio: bytes) -> None:
        """The client wrote audio to the buffer."""
        for heard in self._input.append(audio):
            self._hear(heard)

    def commit(self) -> None:
        """The client ended the user's turn. Raises ClientError if the buffer is as good as empty."""
        buffered = self._input.buffered_ms
        if buffered < SMALLEST_COMMIT_MS:
            raise ClientError(
                "input_audio_buffer_commit_empty",
                f"At least {SMALLEST_COMMIT_MS} ms of audio are needed, but the buffer has {buffered:.2f} ms.",
            )
        self._commit(self._input.commit(), respond=False)

    def clear(self) -> None:
        """The client threw the buffer away, and speech that was going on in it."""
        self._input.clear()
        self._speech_item = self._transcription = None
        self._shared.scheduler.send("input_audio_buffer.cleared")

    def response_begun(self) -> None:
        """A response of the conversation has begun: nobody waits for the user."""
        self._input.expect_nothing()

    def response_done(self, playing_seconds: float) -> None:
        """A response of the conversation has ended; it can be heard for `playing_seconds` more.

        Transcriptions that were held back until then are told, and the user is waited for.
        """
        self._input.expect_speech(playing_seconds * 1000)
        late, self._late = self._late, []
        for transcription, entry in late:
            self._shared.scheduler.start(transcription.run(entry, 0.0))

    def _hear(self, heard: Heard) -> None:
        if isinstance(heard, SpeechStarted):
            self._speech_started(heard)
        elif isinstance(heard, SpeechStopped):
            self._speech_stopped(heard)
        elif isinstance(heard, TimedOut):
            self._timed_out(heard)
        elif self._transcription is not None:
            self._transcription.hear(heard.milliseconds)

    def _speech_started(self, speech: SpeechStarted) -> None:
        self._speech_item = self._shared.ids.new("item")
        self._transcription = self._new_transcription(self._speech_item)
        interrupts = self._config["turn_detection"]["interrupt_response"]
        announces_first = self._shared.script.speech_started_first
        if interrupts and not announces_first:
            self._interrupt()
        self._shared.scheduler.send(
            "input_audio_buffer.speech_started", audio_start_ms=speech.start_ms, item_id=self._speech_item
        )
        if interrupts and announces_first:
            self._interrupt()

    def _speech_stopped(self, speech: SpeechStopped) -> None:
        if self._transcription is not None:
            self._transcription.end_of_speech()
        self._shared.scheduler.send(
            "input_audio_buffer.speech_stopped", audio_end_ms=speech.end_ms, item_id=self._speech_item
        )
        self._commit(speech.audio, respond=self._config["turn_detection"]["create_response"])

    def _timed_out(self, idle: TimedOut) -> None:
        """Nobody spoke: the model is told so, and is to say something. Silence has no transcription."""
        content = [{"type": "input_text", "text": IDLE_NOTE}]
        note_id = self._shared.ids.new("item")
        note = {"id": note_id, "type": "message", "status": "completed", "role": "system", "content": content}
        self._shared.announce(note, self._shared.conversation.add(Entry(note)))
        self._speech_item = self._shared.ids.new("item")
        self._shared.scheduler.send(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=idle.start_ms,
            audio_end_ms=idle.end_ms,
            item_id=self._speech_item,
        )
        self._commit(idle.audio, respond=True, transcribe=False)

    def _commit(self, audio: bytes, *, respond: bool, transcribe: bool = True) -> None:
        item_id = self._speech_item or self._shared.ids.new("item")
        transcription = (self._transcription or self._new_transcription(item_id)) if transcribe else None
        self._speech_item = self._transcription = None
        content = [{"type": "input_audio", "transcript": None}]
        item = {"id": item_id, "type": "message", "status": "completed", "role": "user", "content": content}
        entry = Entry(item, self._input.audio_format.milliseconds(len(audio)))
        before = self._shared.conversation.add(entry)
        self._shared.scheduler.send("input_audio_buffer.committed", previous_item_id=before, item_id=item_id)
        self._shared.announce(item, before)
        if transcription is not None and transcription.transcript.when == "early":
            transcription.complete(entry)
            transcription = None
        response = self._respond() if respond else None
        if transcription is not None:
            self._transcribe(transcription, entry, response)
        if response is not None:
            response.generate()

    def _transcribe(self, transcription: Transcription, entry: Entry, response: Response | None) -> None:
        if transcription.transcript.when == "after":
            self._late.append((transcription, entry))
        else:
            alone = self._shared.script.pace(TRANSCRIPTION_SECONDS)
            seconds = alone if response is None else response.generation_seconds * DURING
            self._shared.scheduler.start(transcription.run(entry, seconds))

    def _new_transcription(self, item_id: str) -> Transcription | None:
        if self._config["transcription"] is None:
            return None
        transcript = next(self._transcripts, "")
        if isinstance(transcript, str):
            transcript = UserTranscript(transcript)
        return Transcription(self._shared.scheduler, transcript, item_id)

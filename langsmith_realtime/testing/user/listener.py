"""Turns the user's audio into speech events, user items and transcriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from langsmith_realtime.testing.agent.response import Response
from langsmith_realtime.testing.script.script import Event, UserTranscript
from langsmith_realtime.testing.state.conversation import Entry
from langsmith_realtime.testing.state.formats import audio_format
from langsmith_realtime.testing.state.shared import SharedState
from langsmith_realtime.testing.state.wire import ClientError
from langsmith_realtime.testing.user.input_audio import InputAudio, InputEvent, SpeechStarted, SpeechStopped, TimedOut
from langsmith_realtime.testing.user.transcription import Transcription

TRANSCRIPTION_SECONDS = 0.3
"""Seconds of a transcription at speed 1 if no response is generated at the same time."""
RESPONSE_FRACTION = 0.7
"""Fraction of a response's generation after which a transcription ``during`` the response is complete."""
SMALLEST_COMMIT_MS = 100
"""Shortest audio that a client can commit, in milliseconds."""
IDLE_MESSAGE = "The user has not spoken for a while."
"""Text of the system message after an idle timeout."""


class Listener:
    """Processes the user's audio of one session.

    Args:
        shared: The state of the session.
        config: The session's ``audio.input``.
        interrupt: Called when speech starts and ``interrupt_response`` is true, even if there is no response.
        respond: Called when the agent is to answer speech or an idle timeout. Returns a response that has begun but
            does not generate yet, or None if no response is possible.
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
        self._transcriptions_after_response: list[tuple[Transcription, Entry]] = []

    def configure(self, config: Event) -> None:
        """Apply the ``audio.input`` of a ``session.update``."""
        self._config = config
        self._input.configure(audio_format(config["format"]), config["turn_detection"])

    def append(self, audio: bytes) -> None:
        """Process a client's ``input_audio_buffer.append``."""
        for event in self._input.append(audio):
            self._handle(event)

    def commit(self) -> None:
        """Process a client's ``input_audio_buffer.commit``.

        Raises:
            ClientError: The buffer has less than 100 ms (code ``input_audio_buffer_commit_empty``).
        """
        buffered = self._input.buffered_ms
        if buffered < SMALLEST_COMMIT_MS:
            raise ClientError(
                "input_audio_buffer_commit_empty",
                f"The buffer must have at least {SMALLEST_COMMIT_MS} ms of audio, got {buffered:.2f} ms.",
            )
        self._commit(self._input.commit(), respond=False)

    def clear(self) -> None:
        """Process a client's ``input_audio_buffer.clear``: discard the audio and the current speech."""
        self._input.clear()
        self._speech_item = self._transcription = None
        self._shared.scheduler.send("input_audio_buffer.cleared")

    def response_begun(self) -> None:
        """Stop the idle timeout, because a response of the conversation has begun."""
        self._input.stop_idle_timeout()

    def response_done(self, playback_seconds: float) -> None:
        """Start the idle timeout and the transcriptions ``after`` the response, because the response has ended.

        The idle timeout starts when the client has played the response, in `playback_seconds`.
        """
        self._input.start_idle_timeout(playback_seconds * 1000)
        due, self._transcriptions_after_response = self._transcriptions_after_response, []
        for transcription, entry in due:
            self._shared.scheduler.start(transcription.run(entry, 0.0))

    def _handle(self, event: InputEvent) -> None:
        if isinstance(event, SpeechStarted):
            self._speech_started(event)
        elif isinstance(event, SpeechStopped):
            self._speech_stopped(event)
        elif isinstance(event, TimedOut):
            self._timed_out(event)
        elif self._transcription is not None:
            self._transcription.speech_continued(event.milliseconds)

    def _speech_started(self, speech: SpeechStarted) -> None:
        self._speech_item = self._shared.ids.new("item")
        self._transcription = self._new_transcription(self._speech_item)
        interrupts = self._config["turn_detection"]["interrupt_response"]
        speech_started_first = self._shared.script.speech_started_first
        if interrupts and not speech_started_first:
            self._interrupt()
        self._shared.scheduler.send(
            "input_audio_buffer.speech_started", audio_start_ms=speech.start_ms, item_id=self._speech_item
        )
        if interrupts and speech_started_first:
            self._interrupt()

    def _speech_stopped(self, speech: SpeechStopped) -> None:
        if self._transcription is not None:
            self._transcription.speech_stopped()
        self._shared.scheduler.send(
            "input_audio_buffer.speech_stopped", audio_end_ms=speech.end_ms, item_id=self._speech_item
        )
        self._commit(speech.audio, respond=self._config["turn_detection"]["create_response"])

    def _timed_out(self, idle: TimedOut) -> None:
        """Add a system message and a user item of the silence, without transcription, and let the agent respond."""
        content = [{"type": "input_text", "text": IDLE_MESSAGE}]
        message_id = self._shared.ids.new("item")
        message = {"id": message_id, "type": "message", "status": "completed", "role": "system", "content": content}
        self._shared.announce_item(message, self._shared.conversation.add(Entry(message)))
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
        previous_item_id = self._shared.conversation.add(entry)
        self._shared.scheduler.send("input_audio_buffer.committed", previous_item_id=previous_item_id, item_id=item_id)
        self._shared.announce_item(item, previous_item_id)
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
            self._transcriptions_after_response.append((transcription, entry))
        else:
            if response is None:
                seconds = self._shared.script.pace(TRANSCRIPTION_SECONDS)
            else:
                seconds = response.generation_seconds * RESPONSE_FRACTION
            self._shared.scheduler.start(transcription.run(entry, seconds))

    def _new_transcription(self, item_id: str) -> Transcription | None:
        if self._config["transcription"] is None:
            return None
        transcript = next(self._transcripts, "")
        if isinstance(transcript, str):
            transcript = UserTranscript(transcript)
        return Transcription(self._shared.scheduler, transcript, item_id)

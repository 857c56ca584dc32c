"""One conversation on the worker's side: frames and audio in, runs and a recording out.

Joins the pure core to the disk and the sender. Every method runs on the worker's thread, in the order
things were recorded; times are seconds since the conversation opened.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from langsmith_realtime.audio.recording import Recording, Wav, private_directory
from langsmith_realtime.audio.tracks import AGENT, USER
from langsmith_realtime.conversation import Conversation
from langsmith_realtime.events import FrameError, parse
from langsmith_realtime.guard import Guard, logger
from langsmith_realtime.happenings import EventRun, Happening
from langsmith_realtime.parents import ParentRun
from langsmith_realtime.runs import Runs

T = TypeVar("T")


class Session:
    """What becomes of one conversation."""

    def __init__(self, conversation: Conversation, runs: Runs, recorder: Recorder | None, guard: Guard) -> None:
        self._conversation = conversation
        self._tracks = conversation.tracks
        self._runs = runs
        self._recorder = recorder
        self._guard = guard
        self._malformed = 0

    def opened(self) -> None:
        self._runs.open()

    def server_frame(self, frame: object, t: float, ref: ParentRun | None, agent_speaking: bool | None) -> None:
        try:
            event = parse(frame)
        except FrameError as error:
            self.malformed_frame(frame, str(error), t, ref)
            return
        try:
            happenings = self._conversation.server_event(event, t, ref, agent_speaking=agent_speaking)
        except Exception as error:
            # Whatever it was meant to say, it arrived.
            self._guard.report(event.kind, error)
            happenings = [] if ref is None else [EventRun(ref, event.name, event.body)]
        self._emit(happenings)
        self._record()

    def malformed_frame(self, frame: object, reason: str, t: float, ref: ParentRun | None) -> None:
        self._emit(self._conversation.advance(t))
        self._malformed += 1
        if ref is not None:
            self._runs.malformed(ref, reason, frame)

    def client_frame(self, frame: object, t: float) -> None:
        try:
            event = parse(frame)
        except FrameError as error:
            self._malformed += 1
            logger.debug("a frame the application sent is no event: %s", error)
            return
        self._emit(self._conversation.client_event(event, t))
        self._record()

    def user_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        self._emit(self._conversation.advance(t))
        self._tracks.user_fed(t, pcm, at)
        self._record()

    def agent_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        self._emit(self._conversation.advance(t))
        self._tracks.agent_fed(t, pcm, at)
        self._record()

    def tool_entered(self, call_id: str, ref: ParentRun) -> None:
        self._conversation.tool_entered(call_id, ref)

    def tool_left(self, call_id: str, t: float, error: str | None) -> None:
        self._conversation.tool_left(call_id, t, error)

    def closed(self, t: float, error: str | None, dropped: dict[str, int]) -> None:
        """The end: the root's one update carries what there is, whatever of it could not be made."""
        conversation = self._conversation
        self._emit(self._made(lambda: conversation.close(t), []))
        self._made(self._record, None)
        metadata: dict[str, Any] = {"duration_s": round(t, 3), **self._made(conversation.numbers, {})}
        metadata.update({key: count for key, count in dropped.items() if count})
        if conversation.setup.model:
            metadata["model"] = conversation.setup.model
        if conversation.setup.voice:
            metadata["voice"] = conversation.setup.voice
        if self._malformed:
            metadata["malformed_frames"] = self._malformed
        recorder, path = self._recorder, None
        if recorder is not None:
            path = self._made(lambda: recorder.finish(self._tracks.rate, t), None)
            metadata.update(recorder.metadata())
        inputs: dict[str, Any] = self._made(conversation.setup.inputs, {})
        messages: list[dict[str, Any]] = self._made(conversation.messages, [])
        if self._guard.count:
            metadata["tracing_failures"] = self._guard.count
        done = recorder.sent if recorder is not None else _nothing
        self._runs.close(t, inputs=inputs, messages=messages, metadata=metadata, error=error, recording=path, done=done)

    def _made(self, make: Callable[[], T], otherwise: T) -> T:
        try:
            return make()
        except Exception as error:
            self._guard.report("closed", error)
            return otherwise

    def _emit(self, happenings: list[Happening]) -> None:
        for happening in happenings:
            try:
                self._runs.emit(happening)
            except Exception as error:  # one run that cannot be made must not cost the others
                self._guard.report(type(happening).__name__, error)

    def _record(self) -> None:
        writes = self._tracks.take_writes()
        if self._recorder is not None and self._tracks.rate is not None:
            self._recorder.write(writes, self._tracks.rate)


def _nothing(_delivered: bool) -> None:
    """Nobody waits for the verdict."""


class Recorder:
    """The recording's file: made with the first sound, finished at the end, gone once it was delivered."""

    def __init__(self, recording: Recording, *, name: str, limit_s: float | None, hidden: set[int]) -> None:
        self._recording = recording
        self._name = name
        self._limit_s = limit_s
        self._hidden = hidden
        self._wav: Wav | None = None
        self._failed: str | None = None
        self.path: Path | None = None

    def write(self, writes: list[Any], rate: int) -> None:
        """Put the samples where they belong; a channel whose side is hidden stays silent."""
        if self._failed is not None or not writes:
            return
        try:
            if self._wav is None:
                limit = None if self._limit_s is None else round(self._limit_s * rate)
                path = private_directory(self._recording.directory) / f"{self._name}.wav"
                self._wav = Wav(path, rate, limit)
                self.path = path
            for item in writes:
                if item.channel not in self._hidden:
                    self._wav.write(item)
        except OSError as error:
            # A full disk or a read-only folder costs the recording, not the trace.
            self._failed = f"{type(error).__name__}: {error.strerror}"
            logger.warning("the recording stopped: %s", error)

    def finish(self, rate: int | None, t: float) -> Path | None:
        """End the file at ``t``; None when there is no recording."""
        if self._wav is None or rate is None:
            return None
        try:
            self._wav.close(round(t * rate))
        except OSError as error:
            self._failed = f"{type(error).__name__}: {error.strerror}"
            return None
        return self.path

    def metadata(self) -> dict[str, Any]:
        said: dict[str, Any] = {}
        if self._failed is not None:
            said["recording_error"] = self._failed
        if self._wav is not None and self._wav.frames_beyond_limit:
            said["audio_truncated"] = True
        hidden = [name for channel, name in ((USER, "user"), (AGENT, "agent")) if channel in self._hidden]
        if hidden:
            said["recording_hidden"] = hidden
        return said

    def sent(self, delivered: bool) -> None:
        """The root's update was sent, or could not be: what was not delivered stays on disk."""
        if self.path is None or self._recording.keep:
            return
        if not delivered:
            logger.warning("the recording could not be sent; it is kept at %s", self.path)
            return
        self.path.unlink(missing_ok=True)
        if self._recording.directory is None:
            self.path.parent.rmdir()

"""Records one conversation: writes its audio to a WAV file and has it encoded meanwhile, then has it finished.

All methods run on the tracing worker's thread. What takes long at the end, encoding and uploading, runs in another
thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from langsmith_realtime.core.audio.agent.playback import Playback
from langsmith_realtime.core.audio.writes import ChannelWrite, WriteJoiner
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.options.recording import Recording
from langsmith_realtime.recording.background_encoding import NEXT_FORMAT_AT, BackgroundEncoder
from langsmith_realtime.recording.encoder import PIECE_S, WAV
from langsmith_realtime.recording.finishing import FinishedRecording, Finisher, file_formats, max_bytes
from langsmith_realtime.recording.wav import FRAME_BYTES, Wav, private_directory
from langsmith_realtime.runtime.guard import Guard, logger

#: Audio that is this many seconds old hardly changes any more, so it is encoded: truncations correct younger audio.
FINAL_AFTER_S = Playback.MEMORY_S + 5
#: How often audio is written to the file, in seconds of the conversation: the cost is per write, not per byte.
WRITE_EVERY_S = 2.0


class Recorder:
    """Records one conversation to a WAV, which it makes with the first audio.

    A full disk or a read-only folder ends the recording, not the trace.

    Args:
        recording: The options of the recording.
        name: The file's name without its suffix.
        limit_s: The longest recording, in seconds; None for what a WAV can hold.
        hidden: The channels that stay silent.
        guard: Counts and logs failures.
        run_in_thread: Runs a function in another thread.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        name: str,
        limit_s: float | None,
        hidden: set[int],
        guard: Guard,
        run_in_thread: Callable[[Callable[[], None]], None],
    ) -> None:
        #: The folder of the file if the options name none; None for a private temporary folder.
        self.folder: Path | None = None
        self._recording = recording
        self._name = name
        self._limit_s = limit_s
        self._hidden = hidden
        self._guard = guard
        self._run_in_thread = run_in_thread
        self._wav: Wav | None = None
        self._encoder: BackgroundEncoder | None = None
        self._finisher: Finisher | None = None
        self._pending: list[ChannelWrite] = []
        self._final_frames = 0  # encoded so far, or about to be
        self._written_at = 0.0
        self._error: str | None = None

    def write(self, writes: Iterable[ChannelWrite], rate: int, t: float) -> None:
        """Take samples at ``rate`` Hz, equal in all calls; they may stay in memory until a later call or :meth:`sync`.

        A call writes all samples in memory to the file if the last call that wrote, or the conversation's start, was at
        least :data:`WRITE_EVERY_S` seconds before ``t``, the current time. After a failure, nothing is written.
        """
        if self._error is not None:
            return
        self._pending += writes
        try:
            if self._pending and self._wav is None:
                self._wav = self._begin(rate)
            if self._wav is not None and t >= self._written_at + WRITE_EVERY_S:
                self._written_at = t
                self._write(self._wav)
                self._encode(self._wav, t)
        except OSError as error:
            self._fail(error)

    def sync(self) -> None:
        """Write all pending samples to the file now, so that no silenced audio stays on disk."""
        try:
            if self._wav is not None and self._error is None:
                self._write(self._wav)
        except OSError as error:
            self._fail(error)

    def finish(self, t: float, end: Callable[[FinishedRecording], None]) -> None:
        """End the recording at ``t`` and call ``end`` with it: now, or later from another thread if it takes long."""
        wav, encoder, finisher = self._wav, self._encoder, self._finisher
        if wav is None or encoder is None or finisher is None:
            end(FinishedRecording(self._metadata()))
            return
        self.sync()
        encoder.stop()
        try:
            wav.close(round(t * wav.rate))
        except OSError as error:
            self._fail(error)
            encoder.discard()
            end(FinishedRecording(self._metadata()))
            return
        metadata = self._metadata()
        if finisher.takes_long:
            self._run_in_thread(lambda: end(finisher.finish(metadata)))
        else:
            end(finisher.finish(metadata))

    def discard(self) -> None:
        """End the recording and remove its files."""
        if self._wav is None or self._encoder is None or self._finisher is None:
            return
        self._encoder.stop()
        try:
            self._wav.close(0)
        except OSError as error:
            logger.debug("the recording could not be finished: %s", error)
        self._finisher.remove()

    def _begin(self, rate: int) -> Wav:
        limit = None if self._limit_s is None else round(self._limit_s * rate)
        directory = None if self._recording.url is not None else self._recording.directory
        folder = private_directory(directory or self.folder)
        wav = Wav(folder / f"{self._name}.wav", rate, limit)
        smaller = [file_format for file_format in file_formats(self._recording) if file_format is not WAV]
        self._encoder = BackgroundEncoder(wav.path, rate, smaller, max_bytes(self._recording))
        self._finisher = Finisher(self._recording, wav, self._encoder, self._guard)
        return wav

    def _write(self, wav: Wav) -> None:
        pending, self._pending = self._pending, []
        writes = [item for channel in {USER, AGENT} - self._hidden for item in _joined(channel, pending)]
        for item in writes:
            wav.write(item)
        wav.sync()
        if self._encoder is not None and any(item.write.start < self._final_frames for item in writes):
            self._encoder.restart()

    def _encode(self, wav: Wav, t: float) -> None:
        """Have the encoder go on where enough new audio is final."""
        frames = min(round((t - FINAL_AFTER_S) * wav.rate), wav.limit)
        # A part of a piece costs as much to encode as a whole piece.
        if frames < self._final_frames + PIECE_S * wav.rate or not self._needs_encoding(t * wav.rate * FRAME_BYTES):
            return
        assert self._encoder is not None
        self._final_frames = frames
        self._encoder.encode_until(frames)

    def _needs_encoding(self, size: float) -> bool:
        """Whether a WAV of so many bytes may be needed in another format."""
        formats = file_formats(self._recording)
        return formats[0] is not WAV or (len(formats) > 1 and size >= max_bytes(self._recording) * NEXT_FORMAT_AT)

    def _fail(self, error: OSError) -> None:
        self._error = f"{type(error).__name__}: {error.strerror}"
        logger.warning("the recording stopped: %s", error)

    def _metadata(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        if self._error is not None:
            metadata["recording_error"] = self._error
        if self._wav is not None and self._wav.frames_beyond_limit:
            metadata["audio_truncated"] = True
        hidden = [name for channel, name in ((USER, "user"), (AGENT, "agent")) if channel in self._hidden]
        if hidden:
            metadata["recording_hidden"] = hidden
        return metadata


def _joined(channel: int, writes: Iterable[ChannelWrite]) -> list[ChannelWrite]:
    """The channel's writes in order; adjacent ones are joined, except silence, because the cost is per write."""
    joined = WriteJoiner()
    for item in writes:
        if item.channel == channel:
            # Written silence has the memory of one sample, and joining it would allocate all of them.
            is_silence = not item.write.samples.strides[0]
            if is_silence:
                joined.flush()
            joined.add(item.write)
            if is_silence:
                joined.flush()
    joined.flush()
    return [ChannelWrite(channel, write) for write in joined.take_writes()]

"""Encodes recordings while they are made; one thread serves all recordings of the process.

The encoders read only audio that is old enough to be final. If it changes after all, encoding starts again; after the
third time only at the end of the conversation.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from langsmith_realtime.recording.encoder import Encoder, FileFormat
from langsmith_realtime.runtime import threads
from langsmith_realtime.runtime.forks import at_fork
from langsmith_realtime.runtime.guard import logger

#: After so many restarts, encoding waits for the end of the conversation.
MAX_RESTARTS = 3
#: The share of the size limit at which the next smaller format is begun. Opus takes over a second for a minute of
#: audio, so it is not begun while FLAC may be small enough; in the remaining time it can catch up many times.
NEXT_FORMAT_AT = 0.8
#: Seconds without work after which the thread ends.
IDLE_S = 30.0


class BackgroundEncoder:
    """Encodes a growing WAV in several formats.

    The first format begins with the first :meth:`encode_until`, each other one when the format before it reaches
    :data:`NEXT_FORMAT_AT` of the size limit; so little remains to be encoded at the end. A format that exceeds the
    limit is given up.

    The tracing worker's thread calls :meth:`encode_until`, :meth:`restart` and :meth:`stop`; the encoding thread calls
    :meth:`encode_piece`. Any one thread may call :meth:`finish` and :meth:`discard` at the end.

    Args:
        source: The WAV.
        rate: Its rate in Hz.
        formats: The formats, from the largest to the smallest.
        limit: The size limit in bytes.
    """

    def __init__(self, source: Path, rate: int, formats: Sequence[FileFormat], limit: float) -> None:
        self._source, self._rate, self._formats, self._limit = source, rate, formats, limit
        self._encoders: dict[FileFormat, Encoder | None] = {}  # None: given up
        self._state = threading.Lock()
        self._encoding = threading.Lock()
        self._final_frames = self._encoded_frames = self._restarts = 0
        self._is_stale = self._is_stopped = self._is_queued = False

    def encode_until(self, frames: int) -> None:
        """Have the thread encode the WAV's first ``frames`` frames, which are on disk and final. Does not wait."""
        with self._state:
            self._final_frames = frames
            self._queue()

    def restart(self) -> None:
        """Have the thread remove the encoded files and begin again: audio on disk changed that was thought final.

        From the :data:`MAX_RESTARTS`-th call on, only :meth:`finish` encodes.
        """
        with self._state:
            self._is_stale = True
            self._restarts += 1
            self._encoded_frames = 0
            self._queue()

    def stop(self) -> None:
        """End the encoding in the background after the current piece; :meth:`finish` does the rest. Does not wait."""
        self._is_stopped = True

    def finish(self, file_format: FileFormat, frames: int) -> Path | None:
        """Encode the rest of the finished WAV, which has ``frames`` frames, and return the file.

        None if the format was given up in the background. The finished file may exceed the limit.

        Raises:
            OSError: The disk is full or gone.
            soundfile.SoundFileError: libsndfile could not write, for one of these reasons.
        """
        self._end()
        encoder = self._encoder(file_format)
        return None if encoder is None else encoder.finish(frames)

    def discard(self, *, keep: Path | None = None) -> None:
        """Remove all encoded files but ``keep``."""
        self._end()
        self._remove_files(keep)

    def encode_piece(self) -> None:
        """In the encoding thread: encode a piece in each format that may be needed. A failure ends this, with a log."""
        with self._encoding:
            try:
                self._encode_piece()
            except Exception as error:
                # `finish` tries it again.
                logger.warning("the recording could not be encoded while it was made: %s", error)
                self._is_stale = self._is_stopped = True
        with self._state:
            self._is_queued = False
            self._queue()

    def _queue(self) -> None:
        if not self._is_queued and self._has_work():
            self._is_queued = True
            _thread.put(self)

    def _has_work(self) -> bool:
        # Files with outdated audio may have silenced audio, so they are removed even if no encoding follows.
        can_encode = self._encoded_frames < self._final_frames and self._restarts < MAX_RESTARTS
        return not self._is_stopped and (self._is_stale or can_encode)

    def _encode_piece(self) -> None:
        with self._state:
            if not self._has_work():
                return
            if self._is_stale:
                self._remove_files()
            if self._restarts >= MAX_RESTARTS:
                return
            frames, restarts = self._final_frames, self._restarts
        encoded = self._advance(frames)
        with self._state:
            if restarts == self._restarts:
                self._encoded_frames = encoded

    def _advance(self, frames: int) -> int:
        """Advance the encoders of all formats that may be needed; returns how many frames each of them has at least."""
        encoded = frames
        for file_format in self._formats:
            encoder = self._encoder(file_format)
            if encoder is None:
                continue
            encoder.advance(frames)
            encoded = min(encoded, encoder.frames)
            size = encoder.size
            if size > self._limit:
                encoder.discard()
                self._encoders[file_format] = None
            elif size < self._limit * NEXT_FORMAT_AT:
                break
        return encoded

    def _end(self) -> None:
        self.stop()
        with self._encoding:
            if self._is_stale:
                self._remove_files()

    def _remove_files(self, keep: Path | None = None) -> None:
        for encoder in self._encoders.values():
            if encoder is not None and encoder.path != keep:
                encoder.discard()
        self._encoders.clear()
        self._is_stale = False

    def _encoder(self, file_format: FileFormat) -> Encoder | None:
        if file_format not in self._encoders:
            self._encoders[file_format] = Encoder(self._source, file_format, self._rate)
        return self._encoders[file_format]


class _EncodingThread:
    """Encodes a piece of each queued recording in turn; the thread runs while there is work, and 30 s longer."""

    def __init__(self) -> None:
        self._queued: queue.SimpleQueue[BackgroundEncoder] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._is_running = False

    def put(self, encoder: BackgroundEncoder) -> None:
        self._queued.put(encoder)
        with self._starting:
            if not self._is_running:
                # While the process exits no thread starts; `BackgroundEncoder.finish` encodes the recording then.
                self._is_running = threads.start_thread(self._work, "langsmith-realtime-encoder") is not None

    def _work(self) -> None:
        if sys.platform == "linux":
            # On Linux each thread has its own niceness: the conversation's threads go first.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        while True:
            try:
                self._queued.get(timeout=IDLE_S).encode_piece()
            except queue.Empty:
                with self._starting:
                    if self._queued.empty():
                        self._is_running = False
                        return


_thread = _EncodingThread()


def _reset_in_child() -> None:
    """Begin with an empty queue in a forked child, which has neither its parent's recordings nor the thread."""
    global _thread  # noqa: PLW0603
    _thread = _EncodingThread()


at_fork(after_in_child=_reset_in_child)

"""The input audio buffer and its voice activity detection.

Positions are in milliseconds of audio written to the buffer since the session began, like the Realtime API's
``audio_start_ms`` and ``audio_end_ms``. They do not depend on the time at which the audio arrives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from langsmith_realtime.testing.state.formats import AudioFormat

WINDOW_MS = 20
"""Length in milliseconds of the windows whose loudness is measured."""
ONSET_WINDOWS = 2
"""Number of successive loud windows that are the start of speech; a single loud window may be a click."""
RMS_PER_THRESHOLD = 0.02
"""RMS of a loud window, as a fraction of full scale, at a turn detection threshold of 1.0 (−40 dBFS at 0.5)."""
MAX_SILENCE_MS = 60_000
"""Longest audio without speech that the buffer holds while turn detection is on, in milliseconds."""


@dataclass(frozen=True)
class SpeechStarted:
    """Speech starts at `start_ms`, which precedes the first loud window by at most the prefix padding."""

    start_ms: int


@dataclass(frozen=True)
class SpeechStopped:
    """Speech stops at `end_ms`, the end of the silence after it. `audio` is the padding, the speech and the silence."""

    end_ms: int
    audio: bytes


@dataclass(frozen=True)
class SpeechContinued:
    """Speech continues for another `milliseconds` of audio."""

    milliseconds: float


@dataclass(frozen=True)
class TimedOut:
    """The user did not speak for the idle timeout, from `start_ms` to `end_ms` of the session's input audio.

    `audio` is the part of that silence that the buffer still holds.
    """

    start_ms: int
    end_ms: int
    audio: bytes


InputEvent: TypeAlias = SpeechStarted | SpeechStopped | SpeechContinued | TimedOut


class InputAudio:
    """The input audio buffer of one session.

    Args:
        audio_format: The session's ``audio.input.format``.
        turn_detection: The session's ``audio.input.turn_detection``; None for push-to-talk.
    """

    def __init__(self, audio_format: AudioFormat, turn_detection: Mapping[str, Any] | None) -> None:
        self.audio_format = audio_format
        self.turn_detection = turn_detection
        self.speaking = False
        self._buffer = bytearray()
        # Offsets are in bytes of all audio since the session began.
        self._buffer_start = 0
        self._scanned = 0  # end of the last window that was measured
        self._loud_windows = 0  # number of successive loud windows
        self._speech_start = 0
        self._loud_end = 0  # end of the last loud window
        self._idle_start: int | None = None  # start of the idle timeout; None while no timeout runs

    def configure(self, audio_format: AudioFormat, turn_detection: Mapping[str, Any] | None) -> None:
        """Apply a ``session.update``. Another format or no turn detection ends the current speech without an event."""
        if audio_format is not self.audio_format or turn_detection is None:
            self._reset_speech()
        if turn_detection is not None and self.turn_detection is None:
            self._scanned = self._written
        self.audio_format = audio_format
        self.turn_detection = turn_detection

    def start_idle_timeout(self, delay_ms: float) -> None:
        """Start the idle timeout after another `delay_ms` of input audio."""
        self._idle_start = self._written + self.audio_format.offset(delay_ms)

    def stop_idle_timeout(self) -> None:
        """Stop the idle timeout, because the agent is to speak."""
        self._idle_start = None

    @property
    def buffered_ms(self) -> float:
        """Length of the audio in the buffer in milliseconds."""
        return self.audio_format.milliseconds(len(self._buffer))

    def append(self, data: bytes) -> Iterator[InputEvent]:
        """Write `data` to the buffer, and yield the detected events in order. The caller must exhaust the iterator."""
        self._buffer += data
        window = self.audio_format.offset(WINDOW_MS)
        while self.turn_detection is not None and self._scanned + window <= self._written:
            at = self._scanned - self._buffer_start
            self._scanned += window
            yield from self._detect(bytes(self._buffer[at : at + window]), self.turn_detection)

    def commit(self) -> bytes:
        """Remove all audio from the buffer, and return it. Ends the current speech without an event."""
        return self._take(self._buffer_start, self._written)

    def clear(self) -> None:
        """Discard all audio in the buffer. Ends the current speech without an event."""
        self._take(self._written, self._written)

    @property
    def _written(self) -> int:
        return self._buffer_start + len(self._buffer)

    def _detect(self, window: bytes, vad: Mapping[str, Any]) -> Iterator[InputEvent]:
        samples = self.audio_format.decode(window).astype(np.float64) / 32768
        loud = float(np.sqrt(np.mean(samples**2))) > RMS_PER_THRESHOLD * float(vad.get("threshold", 0.5))
        self._loud_windows = self._loud_windows + 1 if loud else 0
        if loud:
            self._loud_end = self._scanned
        if not self.speaking and self._loud_windows == ONSET_WINDOWS:
            padding = self.audio_format.offset(float(vad.get("prefix_padding_ms", 300)))
            self._speech_start = max(self._buffer_start, self._scanned - ONSET_WINDOWS * len(window) - padding)
            self.speaking = True
            yield SpeechStarted(self._ms(self._speech_start))
        elif self.speaking:
            yield SpeechContinued(WINDOW_MS)
            self._idle_start = None
            silent_ms = self.audio_format.milliseconds(self._scanned - self._loud_end)
            if silent_ms >= float(vad.get("silence_duration_ms", 500)):
                end = self._scanned
                yield SpeechStopped(self._ms(end), self._take(self._speech_start, end))
        else:
            self._trim(self.audio_format.offset(MAX_SILENCE_MS))
            yield from self._check_idle_timeout(vad.get("idle_timeout_ms"))

    def _check_idle_timeout(self, timeout_ms: float | None) -> Iterator[TimedOut]:
        start = self._idle_start
        if start is None or timeout_ms is None:
            return
        if self._scanned - start >= self.audio_format.offset(timeout_ms):
            self._idle_start = None
            end = self._scanned
            yield TimedOut(self._ms(start), self._ms(end), self._take(max(start, self._buffer_start), end))

    def _take(self, start: int, end: int) -> bytes:
        taken = bytes(self._buffer[start - self._buffer_start : end - self._buffer_start])
        del self._buffer[: end - self._buffer_start]
        self._buffer_start = end
        self._scanned = max(self._scanned, end)
        self._reset_speech()
        return taken

    def _trim(self, size: int) -> None:
        surplus = self._scanned - self._buffer_start - size
        if surplus > 0:
            del self._buffer[:surplus]
            self._buffer_start += surplus

    def _reset_speech(self) -> None:
        self.speaking = False
        self._loud_windows = 0

    def _ms(self, offset: int) -> int:
        return round(self.audio_format.milliseconds(offset))

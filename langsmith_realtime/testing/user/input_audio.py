"""The input audio buffer: what the user has said, and when speech begins and ends in it.

Milliseconds count the audio written to the buffer since the session began, as the Realtime API's
``audio_start_ms`` and ``audio_end_ms`` do; how fast it arrives means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from langsmith_realtime.testing.state.formats import AudioFormat

WINDOW_MS = 20
"""Speech is looked for in pieces of this length."""
ONSET_WINDOWS = 2
"""So many loud windows in a row are speech; a single one is a click."""
LOUDNESS_PER_THRESHOLD = 0.02
"""The RMS, as a part of full scale, that a turn detection threshold of 1.0 asks for (0.5: −40 dBFS)."""
UNSPOKEN_MS = 60_000
"""With turn detection on, this much audio without speech is kept."""


@dataclass(frozen=True)
class SpeechStarted:
    """Speech was found; `start_ms` includes the prefix padding."""

    start_ms: int


@dataclass(frozen=True)
class SpeechStopped:
    """The silence after speech lasted long enough; `end_ms` includes it. `audio` is what was spoken."""

    end_ms: int
    audio: bytes


@dataclass(frozen=True)
class Spoken:
    """Another `milliseconds` of audio since speech started."""

    milliseconds: float


@dataclass(frozen=True)
class TimedOut:
    """Nobody spoke for the idle timeout, between these milliseconds; `audio` is that silence."""

    start_ms: int
    end_ms: int
    audio: bytes


Heard: TypeAlias = SpeechStarted | SpeechStopped | Spoken | TimedOut


class InputAudio:
    """The buffer of one session. `turn_detection` is the session's, None for push-to-talk."""

    def __init__(self, audio_format: AudioFormat, turn_detection: Mapping[str, Any] | None) -> None:
        self.audio_format = audio_format
        self.turn_detection = turn_detection
        self.speaking = False
        self._buffer = bytearray()
        self._dropped = 0  # bytes of the session before the buffer's first
        self._scanned = 0  # bytes of the session in which speech was looked for
        self._loud_windows = 0
        self._start = 0  # bytes of the session before the speech that is going on
        self._loud_until = 0
        self._idle_from: int | None = None  # bytes of the session after which silence is waiting for the user

    def configure(self, audio_format: AudioFormat, turn_detection: Mapping[str, Any] | None) -> None:
        """Take over what a ``session.update`` changed. Turn detection switched off forgets speech that is going on."""
        if audio_format is not self.audio_format or turn_detection is None:
            self._forget_speech()
        if turn_detection is not None and self.turn_detection is None:
            self._scanned = self._written
        self.audio_format = audio_format
        self.turn_detection = turn_detection

    def expect_speech(self, in_ms: float) -> None:
        """From so many milliseconds of audio on, silence counts towards the idle timeout."""
        self._idle_from = self._written + self.audio_format.offset(in_ms)

    def expect_nothing(self) -> None:
        """Silence means nothing, for the agent is to speak."""
        self._idle_from = None

    @property
    def buffered_ms(self) -> float:
        """How much audio waits to be committed."""
        return self.audio_format.milliseconds(len(self._buffer))

    def append(self, data: bytes) -> Iterator[Heard]:
        """Write `data` to the buffer, and tell in order what is heard in it. Consume the whole iterator."""
        self._buffer += data
        window = self.audio_format.offset(WINDOW_MS)
        while self.turn_detection is not None and self._scanned + window <= self._written:
            at = self._scanned - self._dropped
            self._scanned += window
            yield from self._hear(bytes(self._buffer[at : at + window]), self.turn_detection)

    def commit(self) -> bytes:
        """Take everything out of the buffer."""
        return self._take(self._dropped, self._written)

    def clear(self) -> None:
        """Throw everything in the buffer away."""
        self._take(self._written, self._written)

    @property
    def _written(self) -> int:
        return self._dropped + len(self._buffer)

    def _hear(self, window: bytes, vad: Mapping[str, Any]) -> Iterator[Heard]:
        samples = self.audio_format.decode(window).astype(np.float64) / 32768
        loud = float(np.sqrt(np.mean(samples**2))) > LOUDNESS_PER_THRESHOLD * float(vad.get("threshold", 0.5))
        self._loud_windows = self._loud_windows + 1 if loud else 0
        if loud:
            self._loud_until = self._scanned
        if not self.speaking and self._loud_windows == ONSET_WINDOWS:
            padding = self.audio_format.offset(float(vad.get("prefix_padding_ms", 300)))
            self._start = max(self._dropped, self._scanned - ONSET_WINDOWS * len(window) - padding)
            self.speaking = True
            yield SpeechStarted(self._ms(self._start))
        elif self.speaking:
            yield Spoken(WINDOW_MS)
            self._idle_from = None
            silent_ms = self.audio_format.milliseconds(self._scanned - self._loud_until)
            if silent_ms >= float(vad.get("silence_duration_ms", 500)):
                end = self._scanned
                yield SpeechStopped(self._ms(end), self._take(self._start, end))
        else:
            self._keep(self.audio_format.offset(UNSPOKEN_MS))
            yield from self._wait(vad.get("idle_timeout_ms"))

    def _wait(self, timeout_ms: float | None) -> Iterator[TimedOut]:
        start = self._idle_from
        if start is None or timeout_ms is None:
            return
        if self._scanned - start >= self.audio_format.offset(timeout_ms):
            self._idle_from = None
            end = self._scanned
            yield TimedOut(self._ms(start), self._ms(end), self._take(max(start, self._dropped), end))

    def _take(self, start: int, end: int) -> bytes:
        taken = bytes(self._buffer[start - self._dropped : end - self._dropped])
        del self._buffer[: end - self._dropped]
        self._dropped = end
        self._scanned = max(self._scanned, end)
        self._forget_speech()
        return taken

    def _keep(self, size: int) -> None:
        surplus = self._scanned - self._dropped - size
        if surplus > 0:
            del self._buffer[:surplus]
            self._dropped += surplus

    def _forget_speech(self) -> None:
        self.speaking = False
        self._loud_windows = 0

    def _ms(self, offset: int) -> int:
        return round(self.audio_format.milliseconds(offset))

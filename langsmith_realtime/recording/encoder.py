"""Smaller forms of a recording: the WAV's sound as FLAC or Ogg Opus."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from langsmith_realtime.recording.wav import FRAME_BYTES, HEADER_BYTES
from langsmith_realtime.runtime.files import create_private, open_private, read_at

#: Seconds that are read and encoded at once.
PIECE_S = 5


@dataclass(frozen=True, slots=True, eq=False)
class FileFormat:
    """A way to store a recording."""

    #: As in ``Recording.format``, and as a sentence calls it.
    name: str
    label: str
    suffix: str
    mime: str
    #: What soundfile is told of it.
    encoding: dict[str, Any] = field(default_factory=dict)
    #: The rates it takes, in Hz, ascending; none for all.
    rates: tuple[int, ...] = ()

    def rate(self, wanted: int) -> int:
        """The lowest rate it takes that loses nothing, or else its highest."""
        return next((rate for rate in self.rates if rate >= wanted), self.rates[-1]) if self.rates else wanted


def _opus(label: str, suffix: str, level: float) -> FileFormat:
    encoding = {"format": "OGG", "subtype": "OPUS", "compression_level": level}
    return FileFormat("opus", label, suffix, "audio/ogg", encoding, (8_000, 12_000, 16_000, 24_000, 48_000))


WAV = FileFormat("wav", "WAV", ".wav", "audio/wav")
#: Its second level: a third less work than the usual one, and 3 % more bytes.
FLAC = FileFormat(
    "flac", "FLAC", ".flac", "audio/flac", {"format": "FLAC", "subtype": "PCM_16", "compression_level": 0.125}
)
#: 290 kB a minute at most: an hour, the longest session, in 17 MB, close to the original.
OPUS = _opus("Opus", ".ogg", 0.95)
#: 90 kB a minute: more than three hours in 17 MB, where the sides are heard in each other's channel a little.
SMALL_OPUS = _opus("smallest Opus", ".small.ogg", 1.0)
#: From the largest to the smallest.
FORMS = (WAV, FLAC, OPUS, SMALL_OPUS)


class Encoder:
    """A WAV at ``rate`` Hz → another form beside it, readable by its owner alone.

    Raises:
        OSError: the disk is full, or gone.
        soundfile.SoundFileError: the same, as libsndfile says it.
    """

    def __init__(self, source: Path, form: FileFormat, rate: int) -> None:
        self.form = form
        self.path = source.with_suffix(form.suffix)
        #: Frames of the WAV that are encoded.
        self.frames = 0
        self._piece = PIECE_S * rate
        self._resampler = None
        if form.rate(rate) != rate:
            self._resampler = soxr.ResampleStream(rate, form.rate(rate), 2, dtype="int16")
        self._target: Any = None
        create_private(self.path)
        self._source = -1
        try:
            self._source = open_private(source, os.O_RDONLY)
            self._target = soundfile.SoundFile(self.path, "w", form.rate(rate), 2, **form.encoding)
        except BaseException:
            self.discard()
            raise

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size

    def advance(self, frames: int) -> None:
        """Go on towards that frame, by one piece at most."""
        count = min(frames - self.frames, self._piece)
        if count > 0:
            self._write(self._read(count), last=False)
            self.frames += count

    def finish(self, frames: int) -> Path:
        """Encode what is left of so many frames, and end the file."""
        while self.frames < frames:
            self.advance(frames)
        if not self._target.closed:
            self._write(np.zeros((0, 2), dtype=np.int16), last=True)
            self._close()
        return self.path

    def discard(self) -> None:
        """The file is not needed, or not any more."""
        with contextlib.suppress(soundfile.SoundFileError):  # what cannot be finished can still be removed
            self._close()
        self.path.unlink(missing_ok=True)

    def _read(self, count: int) -> npt.NDArray[np.int16]:
        frames = np.zeros((count, 2), dtype="<i2")
        data = read_at(self._source, count * FRAME_BYTES, HEADER_BYTES + self.frames * FRAME_BYTES)
        frames.reshape(-1)[: len(data) // 2] = np.frombuffer(data, dtype="<i2", count=len(data) // 2)
        return frames  # what lies behind the end of the file was not written yet: silence

    def _write(self, frames: npt.NDArray[np.int16], *, last: bool) -> None:
        if self._resampler is not None:
            frames = self._resampler.resample_chunk(frames, last=last)
        if len(frames):
            self._target.write(frames)

    def _close(self) -> None:
        source, self._source = self._source, -1
        if source >= 0:
            os.close(source)
        if self._target is not None:
            self._target.close()

"""Encodes the WAV as FLAC or Ogg Opus, piece by piece."""

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

#: Seconds of audio that are read and encoded at once.
PIECE_S = 5


@dataclass(frozen=True, slots=True, eq=False)
class FileFormat:
    """A format of recordings."""

    #: The name in ``Recording.format``.
    name: str
    #: The name in messages.
    label: str
    suffix: str
    mime: str
    #: Arguments of ``soundfile.SoundFile``.
    encoding: dict[str, Any] = field(default_factory=dict)
    #: The allowed rates in Hz, ascending; empty if all are.
    rates: tuple[int, ...] = ()

    def rate(self, source: int) -> int:
        """The lowest allowed rate not below ``source``, else the highest one; ``source`` if all are allowed. In Hz."""
        return next((rate for rate in self.rates if rate >= source), self.rates[-1]) if self.rates else source


def _opus(label: str, suffix: str, level: float) -> FileFormat:
    encoding = {"format": "OGG", "subtype": "OPUS", "compression_level": level}
    return FileFormat("opus", label, suffix, "audio/ogg", encoding, (8_000, 12_000, 16_000, 24_000, 48_000))


WAV = FileFormat("wav", "WAV", ".wav", "audio/wav")
#: With libsndfile's second level of compression, which takes a third less time than its default for 3 % more bytes.
FLAC = FileFormat(
    "flac", "FLAC", ".flac", "audio/flac", {"format": "FLAC", "subtype": "PCM_16", "compression_level": 0.125}
)
#: At most 290 kB a minute, 17 MB for an hour, the longest session; sounds close to the original.
OPUS = _opus("Opus", ".ogg", 0.95)
#: 90 kB a minute, 17 MB for three hours; each channel has a little of the other side's audio.
SMALL_OPUS = _opus("smallest Opus", ".small.ogg", 1.0)
#: All formats, from the largest to the smallest.
FILE_FORMATS = (WAV, FLAC, OPUS, SMALL_OPUS)


class Encoder:
    """Encodes a stereo WAV into a new file beside it that only its owner can read.

    Args:
        source: The WAV.
        file_format: The format of the new file.
        rate: The WAV's rate in Hz.

    Raises:
        OSError: The file exists, or the disk is full or gone.
        soundfile.SoundFileError: libsndfile could not write to the disk.
    """

    def __init__(self, source: Path, file_format: FileFormat, rate: int) -> None:
        self.path = source.with_suffix(file_format.suffix)
        #: How many frames of the WAV are encoded.
        self.frames = 0
        self._piece = PIECE_S * rate
        self._resampler = None
        if file_format.rate(rate) != rate:
            self._resampler = soxr.ResampleStream(rate, file_format.rate(rate), 2, dtype="int16")
        self._target: Any = None
        create_private(self.path)
        self._source = -1
        try:
            self._source = open_private(source, os.O_RDONLY)
            self._target = soundfile.SoundFile(self.path, "w", file_format.rate(rate), 2, **file_format.encoding)
        except BaseException:
            self.discard()
            raise

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self.path.stat().st_size

    def advance(self, frames: int) -> None:
        """Encode at most :data:`PIECE_S` seconds more, and not beyond the WAV's first ``frames`` frames."""
        count = min(frames - self.frames, self._piece)
        if count > 0:
            self._write(self._read(count), last=False)
            self.frames += count

    def finish(self, frames: int) -> Path:
        """Encode the rest of the WAV's ``frames`` frames, close the file and return its path."""
        while self.frames < frames:
            self.advance(frames)
        if not self._target.closed:
            self._write(np.zeros((0, 2), dtype=np.int16), last=True)
            self._close()
        return self.path

    def discard(self) -> None:
        """Close and remove the file."""
        with contextlib.suppress(soundfile.SoundFileError):  # on a full disk it cannot be closed, but removed
            self._close()
        self.path.unlink(missing_ok=True)

    def _read(self, count: int) -> npt.NDArray[np.int16]:
        frames = np.zeros((count, 2), dtype="<i2")
        data = read_at(self._source, count * FRAME_BYTES, HEADER_BYTES + self.frames * FRAME_BYTES)
        frames.reshape(-1)[: len(data) // 2] = np.frombuffer(data, dtype="<i2", count=len(data) // 2)
        return frames  # zeros behind the end of the file

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

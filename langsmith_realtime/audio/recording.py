"""The WAV on disk: two channels of PCM16, written by position while the conversation goes on.

Frames nobody wrote are silence and cost no disk (the file stays sparse). The header carries open sizes
until :meth:`Wav.close`, so that an unfinished file can be told from a finished one.
"""

from __future__ import annotations

import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from langsmith_realtime.audio.tracks import USER, ChannelWrite

HEADER_BYTES = 44
FRAME_BYTES = 4
#: RIFF sizes are 32 bits; libsndfile stops there without a word, so do we.
MAX_FRAMES = (2**32 - 1 - HEADER_BYTES) // FRAME_BYTES


@dataclass(frozen=True)
class Recording:
    """How the conversation is recorded.

    Attributes:
        directory: where the WAV is written; by default a private temporary folder.
        keep: whether the file stays after it was attached to the trace.
    """

    directory: str | os.PathLike[str] | None = None
    keep: bool = False

    def __post_init__(self) -> None:
        if self.directory is not None and not isinstance(self.directory, (str, os.PathLike)):
            raise TypeError(f"Recording.directory is a path, not {type(self.directory).__name__}")
        if not isinstance(self.keep, bool):
            raise TypeError(f"Recording.keep is a bool, not {type(self.keep).__name__}")


class Wav:
    """A stereo WAV being written; left the user, right the agent. ``max_frames`` caps its length."""

    def __init__(self, path: Path, rate: int, max_frames: int | None = None) -> None:
        self.path = path
        self.rate = rate
        #: Frames that were not kept because the recording had reached its limit.
        self.frames_beyond_limit = 0
        self._limit = MAX_FRAMES if max_frames is None else min(max_frames, MAX_FRAMES)
        self._ends = [0, 0]  # frames written, by channel
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.pwrite(self._file, _header(rate, None), 0)

    def write(self, item: ChannelWrite) -> None:
        """Put the samples of one channel where they belong; what lies before frame 0 is left out."""
        start, samples = item.write.start, item.write.samples
        if start < 0:
            start, samples = 0, samples[-start:]
        room = max(0, self._limit - start)
        if len(samples) > room:
            self.frames_beyond_limit += len(samples) - room
            samples = samples[:room]
        if not len(samples):
            return
        position = HEADER_BYTES + start * FRAME_BYTES
        there = os.pread(self._file, len(samples) * FRAME_BYTES, position)
        frames = np.zeros((len(samples), 2), dtype="<i2")
        frames.reshape(-1)[: len(there) // 2] = np.frombuffer(there, dtype="<i2", count=len(there) // 2)
        frames[:, item.channel] = samples
        os.pwrite(self._file, frames.tobytes(), position)
        self._ends[item.channel] = max(self._ends[item.channel], start + len(samples))

    def close(self, frames: int) -> None:
        """Finish the file at that length, or where the user's sound ends if that is later.

        What the agent still had to say then was not heard.
        """
        length = min(max(frames, self._ends[USER]), self._limit)
        os.ftruncate(self._file, HEADER_BYTES + length * FRAME_BYTES)
        os.pwrite(self._file, _header(self.rate, length), 0)
        os.close(self._file)


def private_directory(wanted: str | os.PathLike[str] | None) -> Path:
    """The folder for a recording, made if need be, readable by its owner alone."""
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="langsmith-realtime-"))
    path = Path(wanted)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _header(rate: int, frames: int | None) -> bytes:
    data = 0xFFFFFFFF if frames is None else frames * FRAME_BYTES
    riff = 0xFFFFFFFF if frames is None else data + HEADER_BYTES - 8
    form = struct.pack("<HHIIHH", 1, 2, rate, rate * FRAME_BYTES, FRAME_BYTES, 16)
    return (
        b"RIFF"
        + struct.pack("<I", riff)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", data)
    )

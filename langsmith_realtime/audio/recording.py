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

from langsmith_realtime.audio.formats import Samples
from langsmith_realtime.audio.tracks import USER, ChannelWrite

HEADER_BYTES = 44
FRAME_BYTES = 4
#: RIFF sizes are 32 bits; libsndfile stops there without a word, so do we.
MAX_FRAMES = (2**32 - 1 - HEADER_BYTES) // FRAME_BYTES

#: A longer write is done in pieces, so that it takes no memory of its own.
BLOCK_FRAMES = 1 << 16


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
        #: Frames that were not kept because the recording had reached its limit; known once it is closed.
        self.frames_beyond_limit = 0
        self._limit = MAX_FRAMES if max_frames is None else min(max_frames, MAX_FRAMES)
        self._user_end = 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._put(0, _header(rate, None))

    def write(self, item: ChannelWrite) -> None:
        """Put the samples of one channel where they belong; what lies before frame 0 is left out.

        Raises:
            OSError: the disk is full, or gone.
        """
        start, samples = item.write.start, item.write.samples
        if start < 0:
            start, samples = 0, samples[-start:]
        kept = samples[: max(0, self._limit - start)]
        for first in range(0, len(kept), BLOCK_FRAMES):
            self._merge(item.channel, start + first, kept[first : first + BLOCK_FRAMES])
        if item.channel == USER and len(samples):
            self._user_end = max(self._user_end, start + len(samples))

    def close(self, frames: int) -> None:
        """Finish the file at that length, or where the user's sound ends if that is later.

        What the agent still had to say then was not heard.

        Raises:
            OSError: the disk is full, or gone; the file is closed all the same.
        """
        wanted = max(frames, self._user_end)
        length = min(wanted, self._limit)
        self.frames_beyond_limit = wanted - length
        try:
            os.ftruncate(self._file, HEADER_BYTES + length * FRAME_BYTES)
            self._put(0, _header(self.rate, length))
        finally:
            os.close(self._file)

    def _merge(self, channel: int, start: int, samples: Samples) -> None:
        """Put one channel's samples beside what the other channel has there."""
        position = HEADER_BYTES + start * FRAME_BYTES
        there = np.frombuffer(os.pread(self._file, len(samples) * FRAME_BYTES, position), dtype="<i2")
        frames = np.zeros((len(samples), 2), dtype="<i2")
        frames.reshape(-1)[: len(there)] = there
        frames[:, channel] = samples
        self._put(position, frames.tobytes())

    def _put(self, position: int, data: bytes) -> None:
        while data:  # a disk that fills up takes a part, and refuses the rest
            written = os.pwrite(self._file, data, position)
            position, data = position + written, data[written:]


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

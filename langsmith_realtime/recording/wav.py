"""The WAV on disk: two channels of PCM16, written by position while the conversation goes on.

Frames nobody wrote are silence and cost no disk (the file stays sparse), and neither does written silence.
The header carries open sizes until :meth:`Wav.close`, so that an unfinished file can be told from a
finished one.
"""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.audio.writes import ChannelWrite
from langsmith_realtime.core.protocol.audio_formats import USER
from langsmith_realtime.runtime.files import open_private, read_at, write_at

HEADER_BYTES = 44
FRAME_BYTES = 4
#: RIFF sizes are 32 bits (12.4 h at 24 kHz); libsndfile stops there without a word, so do we.
MAX_FRAMES = (2**32 - 1 - HEADER_BYTES) // FRAME_BYTES

#: Seconds of the file that are held in memory around where each channel is being written.
PAGE_S = 2.0
PAGES = 2


class Wav:
    """A stereo WAV being written; left the user, right the agent. ``max_frames`` caps its length."""

    def __init__(self, path: Path, rate: int, max_frames: int | None = None) -> None:
        self.path = path
        self.rate = rate
        #: The most frames it may have.
        self.limit = MAX_FRAMES if max_frames is None else min(max_frames, MAX_FRAMES)
        #: Its length; known once it is closed.
        self.frames = 0
        #: Frames that were not kept because the recording had reached its limit; known once it is closed.
        self.frames_beyond_limit = 0
        self._user_end = 0
        self._page_frames = round(rate * PAGE_S)
        self._pages: dict[int, _Page] = {}  # by number; the one used last is the last
        self._first_new = 0  # number of the first page of which nothing is on disk
        self._file = open_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self._put(0, _header(rate, None))

    def write(self, item: ChannelWrite) -> None:
        """Put the samples of one channel where they belong; what lies before frame 0 is left out.

        Raises:
            OSError: the disk is full, or gone; what was written of late is lost.
        """
        start, samples = item.write.start, item.write.samples
        if start < 0:
            start, samples = 0, samples[-start:]
        if item.channel == USER and len(samples):
            self._user_end = max(self._user_end, start + len(samples))
        end = min(start + len(samples), self.limit)
        place = start
        while place < end:
            number, offset = divmod(place, self._page_frames)
            size = min(self._page_frames - offset, end - place)
            page = self._page(number)
            page.put(offset, item.channel, samples[place - start : place - start + size])
            place += size

    def sync(self) -> None:
        """Have all that was written on disk.

        Raises:
            OSError: the disk is full, or gone; what was written of late is lost.
        """
        for number, page in self._pages.items():
            self._write_out(number, page)

    def close(self, frames: int) -> None:
        """Finish the file at that length, or where the user's sound ends if that is later.

        What the agent still had to say then was not heard.

        Raises:
            OSError: the disk is full, or gone; the file is closed all the same.
        """
        wanted = max(frames, self._user_end)
        self.frames = min(wanted, self.limit)
        self.frames_beyond_limit = wanted - self.frames
        try:
            self.sync()
            os.ftruncate(self._file, HEADER_BYTES + self.frames * FRAME_BYTES)
            self._put(0, _header(self.rate, self.frames))
        finally:
            file, self._file = self._file, -1  # whatever is written from here on must not be another file's
            os.close(file)

    def _page(self, number: int) -> _Page:
        page = self._pages.pop(number, None)
        if page is None:
            if len(self._pages) >= PAGES:
                oldest = next(iter(self._pages))
                self._write_out(oldest, self._pages.pop(oldest))
            page = _Page(self._page_frames, self._read(number) if number < self._first_new else b"")
        self._pages[number] = page
        return page

    def _read(self, number: int) -> bytes:
        return read_at(self._file, self._page_frames * FRAME_BYTES, self._position(number))

    def _write_out(self, number: int, page: _Page) -> None:
        first, data = page.take()
        if data:
            self._first_new = max(self._first_new, number + 1)
            self._put(self._position(number) + first * FRAME_BYTES, data)

    def _position(self, number: int) -> int:
        return HEADER_BYTES + number * self._page_frames * FRAME_BYTES

    def _put(self, position: int, data: bytes | memoryview) -> None:
        while data:  # a disk that fills up takes a part, and refuses the rest
            written = write_at(self._file, data, position)
            position, data = position + written, data[written:]


class _Page:
    """A piece of the file in memory, and which of its frames are not on disk yet."""

    __slots__ = ("_first", "_frames", "_last")

    def __init__(self, frames: int, there: bytes) -> None:
        self._frames: npt.NDArray[Any] = np.zeros((frames, 2), dtype="<i2")
        self._frames.reshape(-1)[: len(there) // 2] = np.frombuffer(there, dtype="<i2")
        self._first, self._last = frames, 0

    def put(self, offset: int, channel: int, samples: Samples) -> None:
        end = offset + len(samples)
        there = self._frames[offset:end, channel]
        # One sample tells sound from silence most of the time, and faster.
        if samples[-1] or samples.any() or there.any():
            there[:] = samples
            self._first, self._last = min(self._first, offset), max(self._last, end)

    def take(self) -> tuple[int, memoryview]:
        """What is not on disk yet, and the frame at which it begins; it counts as written from now on."""
        first, data = self._first, self._frames[self._first : self._last].reshape(-1).view(np.uint8).data
        self._first, self._last = len(self._frames), 0
        return first, data


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

"""Writes a stereo WAV by position: PCM16, 4 bytes a frame, while the conversation goes on.

Long silence, written or not, takes no disk where files can be sparse. Until :meth:`Wav.close` the header has the
largest sizes instead of the true ones, which marks an unfinished file.
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
#: Sizes in a RIFF header have 32 bits: 12.4 h at 24 kHz. libsndfile, too, writes no frames beyond that.
MAX_FRAMES = (2**32 - 1 - HEADER_BYTES) // FRAME_BYTES

#: Seconds of a page, a part of the file in memory; each channel is usually written within one page.
PAGE_S = 2.0
#: The most pages in memory.
PAGES = 2


class Wav:
    """A WAV that is being written: the user on the left channel, the agent on the right one.

    Args:
        path: The new file.
        rate: Frames per second.
        max_frames: The longest recording, in frames; by default what a WAV can hold.

    Raises:
        OSError: The file exists, or cannot be written.
    """

    def __init__(self, path: Path, rate: int, max_frames: int | None = None) -> None:
        self.path = path
        self.rate = rate
        #: The most frames that are written.
        self.limit = MAX_FRAMES if max_frames is None else min(max_frames, MAX_FRAMES)
        #: The length after :meth:`close`.
        self.frames = 0
        #: After :meth:`close`: how many frames were left out because of the limit.
        self.frames_beyond_limit = 0
        self._user_end = 0
        self._page_frames = round(rate * PAGE_S)
        self._pages: dict[int, _Page] = {}  # by number, in the order of their latest use
        self._first_new = 0  # number of the first page that has no frames on disk
        self._file = open_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self._put(0, _header(rate, None))

    def write(self, item: ChannelWrite) -> None:
        """Put one channel's samples at their position, without those before frame 0 or beyond the limit.

        They may stay in memory until :meth:`sync`.

        Raises:
            OSError: The disk is full or gone; the samples since the last :meth:`sync` may be lost.
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
        """Write the pages in memory to the file.

        Raises:
            OSError: The disk is full or gone; the samples since the last call may be lost.
        """
        for number, page in self._pages.items():
            self._write_out(number, page)

    def close(self, frames: int) -> None:
        """Cut the file at ``frames``, or at the end of the user's audio if that is later, and close it.

        A shorter file is extended with silence; the limit still holds. The agent's audio beyond the cut was never
        played.

        Raises:
            OSError: The disk is full or gone. The file is closed anyway.
        """
        wanted = max(frames, self._user_end)
        self.frames = min(wanted, self.limit)
        self.frames_beyond_limit = wanted - self.frames
        try:
            self.sync()
            os.ftruncate(self._file, HEADER_BYTES + self.frames * FRAME_BYTES)
            self._put(0, _header(self.rate, self.frames))
        finally:
            file, self._file = self._file, -1  # a later write must not reach another file with that number
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
        while data:  # a disk that fills up accepts a part first
            written = write_at(self._file, data, position)
            position, data = position + written, data[written:]


class _Page:
    """A part of the file in memory, and the range of its frames that are not on disk yet."""

    __slots__ = ("_first", "_frames", "_last")

    def __init__(self, frames: int, on_disk: bytes) -> None:
        self._frames: npt.NDArray[Any] = np.zeros((frames, 2), dtype="<i2")
        self._frames.reshape(-1)[: len(on_disk) // 2] = np.frombuffer(on_disk, dtype="<i2")
        self._first, self._last = frames, 0

    def put(self, offset: int, channel: int, samples: Samples) -> None:
        end = offset + len(samples)
        present = self._frames[offset:end, channel]
        # The last sample usually tells audio from silence, and faster than all of them.
        if samples[-1] or samples.any() or present.any():
            present[:] = samples
            self._first, self._last = min(self._first, offset), max(self._last, end)

    def take(self) -> tuple[int, memoryview]:
        """Return the first frame not on disk yet and the bytes from there to the last one, and mark them as written."""
        first, data = self._first, self._frames[self._first : self._last].reshape(-1).view(np.uint8).data
        self._first, self._last = len(self._frames), 0
        return first, data


def private_directory(directory: str | os.PathLike[str] | None) -> Path:
    """Return a recording's folder, a new temporary one by default. If it is new, only its owner can read it."""
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="langsmith-realtime-"))
    path = Path(directory)
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

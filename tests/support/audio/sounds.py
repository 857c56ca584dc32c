"""Test signals, and functions that read them back from writes and recordings."""

from __future__ import annotations

import base64
import wave
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings

from langsmith_realtime.core.audio.decoding import NO_SAMPLES, Samples
from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.recording.wav import Wav

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from langsmith_realtime.core.audio.writes import Write

RATE = 24_000

#: Settings of property tests: equal examples in each run, so that only a change of the code can make one fail.
properties = settings(max_examples=50, deadline=None, derandomize=True)


def tone(seconds: float, *, rate: int = RATE, hz: int = 1000) -> Samples:
    """Returns a loud sine that begins at its maximum."""
    return np.asarray(12_000 * np.cos(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate), dtype=np.int16)


def numbered(frames: int, first: int = 1) -> Samples:
    """Returns samples that count up, so that each identifies its frame; none is zero."""
    return np.asarray((np.arange(frames) + first - 1) % 32_000 + 1, dtype=np.int16)


def wire(audio: Samples | bytes) -> str:
    """Returns the base64 text of PCM16 samples, or of bytes in another format."""
    return base64.b64encode(audio if isinstance(audio, bytes) else audio.astype("<i2").tobytes()).decode()


def pieces(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """Yields the data in pieces of the given sizes, which are repeated as needed."""
    lengths = list(sizes)
    offset = index = 0
    while offset < len(data):
        yield data[offset : offset + lengths[index % len(lengths)]]
        offset += lengths[index % len(lengths)]
        index += 1


def near(seconds: float, within: float = 0.001) -> Any:
    """Returns a value that equals every number within a tolerance."""
    return pytest.approx(seconds, abs=within)


def laid_out(writes: Iterable[Write]) -> Samples:
    """Returns the samples of one channel after its writes."""
    writes = list(writes)
    channel = np.zeros(max((w.start + len(w.samples) for w in writes), default=0), dtype=np.int16)
    for write in writes:
        channel[write.start : write.start + len(write.samples)] = write.samples
    return channel


def stretches(channel: Samples, rate: int = RATE, *, gap: float = 0.01) -> list[tuple[float, float]]:
    """Returns begin and end in seconds of all loud stretches; those less than ``gap`` seconds apart are one."""
    loud = np.flatnonzero(np.abs(channel.astype(np.int32)) > 500)
    if not len(loud):
        return []
    breaks = np.flatnonzero(np.diff(loud) > gap * rate)
    starts, ends = loud[np.r_[0, breaks + 1]], loud[np.r_[breaks, -1]] + 1
    return [(round(a / rate, 4), round(b / rate, 4)) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]


class Take:
    """Tracks whose writes go to a WAV file, as in a session."""

    def __init__(self, path: Path, tracks: Tracks | None = None, *, max_frames: int | None = None) -> None:
        self.tracks = tracks or Tracks()
        self._path = path
        self._max_frames = max_frames
        self._wav: Wav | None = None

    def record(self) -> None:
        """Writes the available writes of the tracks to the file."""
        writes = self.tracks.take_writes()
        if writes and self._wav is None:
            assert self.tracks.rate is not None
            self._wav = Wav(self._path, self.tracks.rate, self._max_frames)
        for write in writes:
            assert self._wav is not None
            self._wav.write(write)

    def end(self, t: float) -> tuple[Samples, Samples]:
        """Ends the conversation at ``t`` seconds. Returns the samples of the user's and of the agent's channel."""
        self.tracks.close(t)
        self.record()
        if self._wav is None:
            return NO_SAMPLES, NO_SAMPLES
        assert self.tracks.rate is not None
        self._wav.close(round(t * self.tracks.rate))
        rate, channels = read_wav(self._path)
        assert rate == self.tracks.rate
        return channels[USER], channels[AGENT]


def read_wav(path: Path) -> tuple[int, tuple[Samples, Samples]]:
    """Returns the rate in Hz and the samples of the left and of the right channel."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        frames = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
        return file.getframerate(), (frames[:, 0].copy(), frames[:, 1].copy())

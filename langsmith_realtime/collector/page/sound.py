"""Decodes a recording once: its peaks in three levels, and when each side is audible.

The levels are stored beside the recording, readable by their owner only. A point has four bytes: peak and RMS of the
user, peak and RMS of the agent; 255 is full scale. A mono recording is the user's side.
"""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soundfile

from langsmith_realtime.core.audio.activity import PAUSE_S, Activity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

#: Points a second of each level: for the overview, for a minute, for a second.
LEVELS: Final = (10, 100, 800)
#: Frames that are decoded at once, about.
_BLOCK: Final = 1 << 18
#: Seconds between two sounds that are one utterance in the overview.
_JOIN_S: Final = 0.2


@dataclass(frozen=True)
class Sound:
    """What is known of a recording.

    Attributes:
        seconds: Its length.
        user: When the user is audible, ``[from, to]`` in seconds.
        agent: When the agent is audible.
        channels: How many channels it has; with one, nobody knows who is audible, and it is drawn as the user's side.
    """

    seconds: float
    user: list[list[float]]
    agent: list[list[float]]
    channels: int = 2


class SoundError(Exception):
    """The file is no recording that can be decoded; the message says why."""


class Sounds:
    """Decodes recordings on one thread, each once, and finds what was decoded before.

    Any thread may call the methods.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="langsmith-realtime-peaks")
        self._lock = threading.Lock()
        self._running: dict[Path, Future[Sound]] = {}
        #: Called in any thread when a recording has been decoded, or cannot be.
        self.on_decoded: Callable[[Future[Sound]], object] = lambda _: None

    def close(self) -> None:
        """End after the recording that is being decoded."""
        self._pool.shutdown(cancel_futures=True)

    def start(self, recording: Path) -> Future[Sound]:
        """Decode a recording unless that was done; the result is there when the future is done."""
        with self._lock:
            future = self._running.get(recording)
            if future is None:
                future = self._running[recording] = self._pool.submit(load, recording)
                future.add_done_callback(self.on_decoded)
            return future

    def ready(self, recording: Path) -> Sound | None:
        """Return what is known of a recording, or None while it is being decoded.

        Raises:
            SoundError: The file cannot be decoded.
        """
        future = self.start(recording)
        return future.result() if future.done() else None


def load(recording: Path) -> Sound:
    """Return what was decoded of a recording before, or decode it now.

    Raises:
        SoundError: The file cannot be decoded.
    """
    described = _beside(recording, "sound")
    if not described.exists():
        try:
            _decode(recording)
        except (soundfile.LibsndfileError, OSError, RuntimeError, ValueError) as error:
            reason = str(error).rpartition(f"'{recording}': ")[2] or type(error).__name__  # without the file's place
            raise SoundError(f"The recording cannot be decoded: {reason.rstrip('.')}") from None
    known: dict[str, Any] = json.loads(described.read_text())
    return Sound(known["seconds"], known["user"], known["agent"], known.get("channels", 2))


def peaks_file(recording: Path, level: int) -> Path:
    """Return the file of one level of a recording's peaks."""
    return _beside(recording, f"peaks{level}")


def peaks(recording: Path, level: int) -> npt.NDArray[np.uint8]:
    """Return one level of a decoded recording's peaks, one row of four values for each point."""
    return np.fromfile(peaks_file(recording, level), dtype=np.uint8).reshape(-1, 4)


def _beside(recording: Path, what: str) -> Path:
    return recording.with_name(f"{recording.name}.{what}")  # the name of an attachment has no period


def _decode(recording: Path) -> None:
    with soundfile.SoundFile(recording) as file:
        rate, channels = file.samplerate, file.channels
        activities = [Activity(rate), Activity(rate)]
        levels: dict[int, list[npt.NDArray[np.uint8]]] = {level: [] for level in LEVELS}
        # A block ends at a boundary of points in each level, so that points are true to the sample over hours.
        block_s = max(1, _BLOCK // rate)
        position = 0
        while len(samples := file.read(block_s * rate, dtype="int16", always_2d=True)):
            sides = [np.ascontiguousarray(samples[:, side]) if side < channels else None for side in range(2)]
            for activity, side in zip(activities, sides, strict=True):
                if side is not None:
                    activity.write(position, side)
            for level, points_of_level in levels.items():
                points_of_level.append(points(sides, len(samples), rate, level))
            position += len(samples)
    for level, points_of_level in levels.items():
        _write_private(peaks_file(recording, level), b"".join(each.tobytes() for each in points_of_level))
    user, agent = ([[round(a, 3), round(b, 3)] for a, b in each.intervals(pause=_JOIN_S)] for each in activities)
    described = {"seconds": round(position / rate, 3), "user": user, "agent": agent, "channels": channels}
    _write_private(_beside(recording, "sound"), json.dumps(described).encode())  # last: it says that all is there


def points(sides: Sequence[npt.NDArray[np.int16] | None], frames: int, rate: int, level: int) -> npt.NDArray[np.uint8]:
    """Return the points of one level, a row of four values each.

    Args:
        sides: The samples of user and agent; None for a side that is not recorded.
        frames: How many samples a side has, at least 1.
        rate: Samples per second.
        level: Points per second.
    """
    count = -(-frames * level // rate)
    starts = np.minimum((np.arange(count, dtype=np.int64) * rate) // level, frames - 1)
    lengths = np.diff(np.append(starts, frames))
    found = np.zeros((count, 4), dtype=np.uint8)
    for number, side in enumerate(sides):
        if side is None:
            continue
        values = np.abs(side.astype(np.float32)) / 32768
        found[:, 2 * number] = np.rint(np.maximum.reduceat(values, starts) * 255)
        rms = np.sqrt(np.add.reduceat(values * values, starts) / np.maximum(lengths, 1))
        found[:, 2 * number + 1] = np.rint(np.minimum(rms, 1) * 255)
    return found


def _write_private(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    unfinished.replace(path)


def talk_from_until(intervals: list[list[float]], since: float, until: float) -> tuple[float, float] | None:
    """Return the first and the last audible moment within a time span; None if nothing is audible in it."""
    inside = [(max(begin, since), min(end, until)) for begin, end in intervals if begin < until and end > since]
    return (inside[0][0], inside[-1][1]) if inside else None


__all__ = [
    "LEVELS",
    "PAUSE_S",
    "Sound",
    "SoundError",
    "Sounds",
    "load",
    "peaks",
    "peaks_file",
    "points",
    "talk_from_until",
]

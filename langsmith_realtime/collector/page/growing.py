"""The waveform of a running conversation, from the WAV that the traced process on this machine is still writing.

The WAV holds what will be in the recording: a hidden side is silent in it, and a silenced span is overwritten. So every
answer is read from the file anew, nothing is kept, and only a part of it is read at a time.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from langsmith_realtime.collector.page.sound import points

if TYPE_CHECKING:
    from pathlib import Path

#: Points a second.
LEVEL: Final = 100
#: The longest part that is read at once, in seconds.
LONGEST_S: Final = 120.0
_HEADER: Final = struct.Struct("<4s4x8s4xHHI6xH4s4x")
_FRAME_BYTES: Final = 4


def growing_recording(state: Path | None, conversation_id: str) -> Path | None:
    """Return the WAV of a conversation that a process of this user writes, or None.

    Args:
        state: The state folder of this user's traced processes; None without one.
        conversation_id: The id of the conversation's run.
    """
    if state is None:
        return None
    path = state / conversation_id / f"{conversation_id}.wav"
    try:
        return path if path.is_file() and not path.is_symlink() and _rate(path) is not None else None
    except OSError:
        return None


def growing_points(recording: Path, since: float, until: float) -> bytes:
    """Return the peaks of a part of a WAV that is being written, four bytes for each of 100 points a second.

    Args:
        recording: The file. It may grow, change or vanish meanwhile.
        since: Begin of the part, in seconds; rounded down to a second.
        until: Its end, in seconds: at most :data:`LONGEST_S` after its begin are read.

    Returns:
        Fewer points than asked for where the file ends before, and none if it cannot be read.
    """
    since = float(int(since))
    until = min(until, since + LONGEST_S)
    try:
        rate = _rate(recording)
        if rate is None or until <= since:
            return b""
        with recording.open("rb") as file:
            file.seek(_HEADER.size + int(since) * rate * _FRAME_BYTES)
            data = file.read(int((until - since) * rate) * _FRAME_BYTES)
    except OSError:
        return b""
    samples = np.frombuffer(data, dtype="<i2", count=len(data) // _FRAME_BYTES * 2).reshape(-1, 2)
    if not len(samples):
        return b""
    sides = [np.ascontiguousarray(samples[:, side]) for side in range(2)]
    return points(sides, len(samples), rate, LEVEL).tobytes()


def _rate(recording: Path) -> int | None:
    """Return the frames per second of a stereo WAV with PCM16; None for any other file."""
    with recording.open("rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        return None
    riff, wave, form, channels, rate, bits, data = _HEADER.unpack(head)
    is_ours = (riff, wave, form, channels, bits, data) == (b"RIFF", b"WAVEfmt ", 1, 2, 16, b"data")
    return rate if is_ours and rate else None

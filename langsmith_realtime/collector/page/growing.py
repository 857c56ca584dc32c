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
    """Return where a process of this user writes the WAV of a conversation, from its first sound on, or None.

    Args:
        state: The state folder of this user's traced processes; None without one.
        conversation_id: The id of the conversation's run.
    """
    if state is None:
        return None
    folder = state / conversation_id
    return folder / f"{conversation_id}.wav" if folder.is_dir() and not folder.is_symlink() else None


def growing_points(recording: Path, since: float, until: float) -> bytes:
    """Return the peaks of a part of a WAV that is being written, four bytes for each of 100 points a second.

    Args:
        recording: The file. It may grow, change or vanish meanwhile.
        since: Begin of the part, in seconds; rounded down to a second.
        until: Its end, in seconds: at most :data:`LONGEST_S` after its begin are read.

    Returns:
        Fewer points than asked for where the file ends before, and none if there is no such file.
    """
    since = float(int(since))
    until = min(until, since + LONGEST_S)
    try:
        with recording.open("rb") as file:
            rate = _rate(file.read(_HEADER.size))
            if rate is None or until <= since:
                return b""
            file.seek(_HEADER.size + int(since) * rate * _FRAME_BYTES)
            data = file.read(int((until - since) * rate) * _FRAME_BYTES)
    except OSError:
        return b""
    samples = np.frombuffer(data, dtype="<i2", count=len(data) // _FRAME_BYTES * 2).reshape(-1, 2)
    if not len(samples):
        return b""
    sides = [np.ascontiguousarray(samples[:, side]) for side in range(2)]
    return points(sides, len(samples), rate, LEVEL).tobytes()


def _rate(head: bytes) -> int | None:
    """Return the frames per second that the header of a stereo WAV with PCM16 names; None for any other file."""
    if len(head) < _HEADER.size:
        return None
    riff, wave, form, channels, rate, bits, data = _HEADER.unpack(head)
    is_ours = (riff, wave, form, channels, bits, data) == (b"RIFF", b"WAVEfmt ", 1, 2, 16, b"data")
    return rate if is_ours and rate else None

"""Writes: samples and their position in the recording, as the channels return them to the recorder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from langsmith_realtime.core.audio.decoding import Samples


@dataclass(slots=True)  # not frozen: creating a frozen instance takes four times as long, and there are many writes
class Write:
    """Samples for one channel. A later write replaces earlier ones where they overlap.

    Attributes:
        start: frame of the recording at which the first sample belongs.
        samples: PCM16 mono at the rate of the recording.
    """

    start: int
    samples: Samples


def silence(frames: int) -> Samples:
    """Return ``frames`` zeros, as a read-only view of a single sample: an hour of silence takes two bytes."""
    return np.broadcast_to(np.zeros(1, dtype=np.int16), (frames,))


def _concatenate(parts: list[Samples]) -> Samples:
    # np.concatenate would release the GIL for each part, and wait to acquire it again.
    return np.frombuffer(b"".join([np.ascontiguousarray(part).data for part in parts]), dtype=np.int16)


class WriteJoiner:
    """Joins consecutive writes of one channel, because each write has a fixed cost."""

    def __init__(self) -> None:
        self._parts: list[Samples] = []
        self._start = 0
        #: Frame of the recording after the last one of the pending write.
        self.end = 0
        self._complete: list[Write] = []

    def add(self, write: Write) -> None:
        """Append a write to the pending one if it starts where that ends; else complete that one and begin anew."""
        if self._parts and write.start != self.end:
            self.flush()
        if not self._parts:
            self._start = write.start
        self._parts.append(write.samples)
        self.end = write.start + len(write.samples)

    @property
    def pending_frames(self) -> int:
        """Length of the pending write in frames."""
        return self.end - self._start if self._parts else 0

    def flush(self) -> None:
        """Complete the pending write: no later write is joined to it."""
        if self._parts:
            samples = self._parts[0] if len(self._parts) == 1 else _concatenate(self._parts)
            self._complete.append(Write(self._start, samples))
            self._parts = []

    def take_writes(self) -> list[Write]:
        """Return the writes completed since the last call, in order."""
        writes, self._complete = self._complete, []
        return writes


@dataclass(slots=True)  # not frozen, for the speed of creation
class ChannelWrite:
    """A write for channel 0 (left, the user) or channel 1 (right, the agent)."""

    channel: int
    write: Write

"""Samples at a position of the recording, as channels hand them to whoever records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from langsmith_realtime.core.audio.decoding import Samples


@dataclass(slots=True)  # not frozen: that takes four times as long to make, and there are many
class Write:
    """Put ``samples`` (PCM16 mono) at frame ``start`` of one channel."""

    start: int
    samples: Samples


def silence(frames: int) -> Samples:
    """That many zeros, however many, in the memory of one."""
    return np.broadcast_to(np.zeros(1, dtype=np.int16), (frames,))


def _one_after_another(parts: list[Samples]) -> Samples:
    # numpy's own would let go of Python's lock for each part, and have to wait for it again.
    return np.frombuffer(b"".join([np.ascontiguousarray(part).data for part in parts]), dtype=np.int16)


class Joined:
    """Writes that follow one another become one, because each costs whoever takes it."""

    def __init__(self) -> None:
        self._parts: list[Samples] = []
        self._start = 0
        #: Where the last of them ends.
        self.end = 0
        self._writes: list[Write] = []

    def put(self, write: Write) -> None:
        if self._parts and write.start != self.end:
            self.flush()
        if not self._parts:
            self._start = write.start
        self._parts.append(write.samples)
        self.end = write.start + len(write.samples)

    @property
    def frames(self) -> int:
        """How many wait for what follows them."""
        return self.end - self._start if self._parts else 0

    def flush(self) -> None:
        """Nothing follows that is waited for."""
        if self._parts:
            samples = self._parts[0] if len(self._parts) == 1 else _one_after_another(self._parts)
            self._writes.append(Write(self._start, samples))
            self._parts = []

    def take_writes(self) -> list[Write]:
        """What is done of them since the last call."""
        writes, self._writes = self._writes, []
        return writes


@dataclass(slots=True)  # as Write
class ChannelWrite:
    """A :class:`Write` on channel 0 (left, the user) or 1 (right, the agent)."""

    channel: int
    write: Write

"""The audio formats of the Realtime API, as the server needs them: to hear, to speak, and to count milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from langsmith_realtime.core.audio.decoding import Decoder, Samples
from langsmith_realtime.core.protocol.audio_formats import parse_format
from langsmith_realtime.testing.signals import RATE
from langsmith_realtime.testing.state.wire import ClientError


@dataclass(frozen=True)
class AudioFormat:
    """One format: `rate` in Hz, `width` in bytes a frame, and how it becomes PCM16 and back."""

    rate: int
    width: int
    decode: Callable[[bytes], Samples]
    encode: Callable[[Samples], bytes]

    @property
    def bytes_per_second(self) -> int:
        return self.rate * self.width

    def milliseconds(self, size: int) -> float:
        """How long `size` bytes last."""
        return size * 1000 / self.bytes_per_second

    def offset(self, milliseconds: float) -> int:
        """The byte at which the frame at `milliseconds` begins."""
        return int(milliseconds * self.rate // 1000) * self.width

    def from_pcm16(self, audio: bytes) -> bytes:
        """PCM16 bytes at 24 kHz in this format. 8 kHz is reached by averaging three frames into one."""
        samples = np.frombuffer(audio[: len(audio) // 2 * 2], "<i2")
        step = RATE // self.rate
        if step > 1:
            samples = samples[: len(samples) // step * step].reshape(-1, step).mean(axis=1).astype(np.int16)
        return self.encode(samples)


def audio_format(described: Mapping[str, Any]) -> AudioFormat:
    """The format that a session's ``audio.input.format`` or ``audio.output.format`` names.

    Raises ClientError when the Realtime API has no such format.
    """
    name = described.get("type")
    found = _FORMATS.get(name) if isinstance(name, str) else None
    if found is None:
        supported = ", ".join(repr(each) for each in _FORMATS)
        raise ClientError("invalid_value", f"Invalid value: {name!r}. Supported values are: {supported}.", "format")
    return found


def _g711(name: str) -> AudioFormat:
    described = parse_format(name)
    assert described is not None
    table = Decoder(described).decode(bytes(range(256)))
    codes = np.argsort(table, kind="stable")
    levels = table[codes].astype(np.int32)
    midpoints = (levels[1:] + levels[:-1]) // 2
    return AudioFormat(
        rate=described.rate,
        width=described.bytes_per_frame,
        decode=lambda data: table[np.frombuffer(data, np.uint8)],
        encode=lambda samples: codes[np.searchsorted(midpoints, samples)].astype(np.uint8).tobytes(),
    )


_FORMATS = {
    "audio/pcm": AudioFormat(
        rate=RATE,
        width=2,
        decode=lambda data: np.frombuffer(data[: len(data) // 2 * 2], "<i2"),
        encode=lambda samples: samples.astype("<i2").tobytes(),
    ),
    "audio/pcmu": _g711("audio/pcmu"),
    "audio/pcma": _g711("audio/pcma"),
}

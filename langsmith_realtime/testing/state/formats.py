"""Decodes, encodes and measures audio in the formats of the Realtime API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from langsmith_realtime.core.audio.decoding import Decoder, Samples
from langsmith_realtime.core.protocol.audio_formats import parse_format
from langsmith_realtime.testing.signals import RATE
from langsmith_realtime.testing.state.wire import ClientError

PCM_RATES = (8_000, 16_000, 24_000)
"""The rates of PCM in Hz. OpenAI has 24 kHz alone, other servers have all three."""


@dataclass(frozen=True)
class AudioFormat:
    """One audio format, mono: `rate` in Hz, `width` in bytes of a frame, and conversions to and from PCM16 samples."""

    rate: int
    width: int
    decode: Callable[[bytes], Samples]
    encode: Callable[[Samples], bytes]

    @property
    def bytes_per_second(self) -> int:
        """The size of one second of audio in bytes."""
        return self.rate * self.width

    def milliseconds(self, size: int) -> float:
        """Return the length of `size` bytes in milliseconds."""
        return size * 1000 / self.bytes_per_second

    def offset(self, milliseconds: float) -> int:
        """Return the offset in bytes of the frame at `milliseconds`."""
        return int(milliseconds * self.rate // 1000) * self.width

    def from_pcm16(self, audio: bytes) -> bytes:
        """Convert PCM16 bytes at 24 kHz to this format. For 8 kHz, each frame is the average of three frames.

        For 16 kHz, frames are interpolated.
        """
        samples = np.frombuffer(audio[: len(audio) // 2 * 2], "<i2")
        step, rest = divmod(RATE, self.rate)
        if rest and len(samples):
            positions = np.arange(len(samples) * self.rate // RATE) * (RATE / self.rate)
            samples = np.interp(positions, np.arange(len(samples)), samples).astype(np.int16)
        elif step > 1:
            samples = samples[: len(samples) // step * step].reshape(-1, step).mean(axis=1).astype(np.int16)
        return self.encode(samples)


def audio_format(config: Mapping[str, Any]) -> AudioFormat:
    """Return the format of a session's ``audio.input.format`` or ``audio.output.format``.

    PCM has 24 kHz unless its ``rate`` is another one of :data:`PCM_RATES`.

    Raises:
        ClientError: The Realtime API has no format of this ``type`` (code ``invalid_value``).
    """
    name = config.get("type")
    format_ = _FORMATS.get(name) if isinstance(name, str) else None
    if format_ is None:
        supported = ", ".join(repr(each) for each in _FORMATS)
        raise ClientError("invalid_value", f"Invalid value: {name!r}. Supported values are: {supported}.", "format")
    rate = config.get("rate")
    return _PCM.get(rate, format_) if name == "audio/pcm" and isinstance(rate, int) else format_


def _pcm(rate: int) -> AudioFormat:
    return AudioFormat(
        rate=rate,
        width=2,
        decode=lambda data: np.frombuffer(data[: len(data) // 2 * 2], "<i2"),
        encode=lambda samples: samples.astype("<i2").tobytes(),
    )


def _g711(name: str) -> AudioFormat:
    wire_format = parse_format(name)
    assert wire_format is not None
    table = Decoder(wire_format).decode(bytes(range(256)))
    codes = np.argsort(table, kind="stable")
    levels = table[codes].astype(np.int32)
    midpoints = (levels[1:] + levels[:-1]) // 2
    return AudioFormat(
        rate=wire_format.rate,
        width=wire_format.bytes_per_frame,
        decode=lambda data: table[np.frombuffer(data, np.uint8)],
        encode=lambda samples: codes[np.searchsorted(midpoints, samples)].astype(np.uint8).tobytes(),
    )


_PCM = {rate: _pcm(rate) for rate in PCM_RATES}
_FORMATS = {"audio/pcm": _PCM[RATE], "audio/pcmu": _g711("audio/pcmu"), "audio/pcma": _g711("audio/pcma")}

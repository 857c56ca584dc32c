"""Test signals: tones, silence, and a stand-in for speech. All PCM16, little-endian, mono."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

RATE = 24_000
"""Frames a second of ``audio/pcm``, the Realtime API's default format."""


def tone(hz: float, seconds: float, rate: int = RATE, amplitude: float = 0.3) -> bytes:
    """A sine of `hz` Hz lasting `seconds`, `amplitude` between 0 and 1 (full scale), as PCM16 bytes."""
    if not 0 <= amplitude <= 1:
        raise ValueError(f"amplitude must lie between 0 and 1, got {amplitude}")
    return pcm16(amplitude * np.sin(2 * np.pi * hz * _times(seconds, rate)))


def silence(seconds: float, rate: int = RATE) -> bytes:
    """`seconds` of digital silence as PCM16 bytes."""
    return bytes(2 * round(seconds * rate))


def speech_like(text: str, seconds: float, rate: int = RATE) -> bytes:
    """A voiced sound with four syllables a second, `seconds` long, as PCM16 bytes.

    The pitch (110 to 240 Hz) follows from `text`: the same text always gives the same bytes, and two
    different sentences can be told apart by their spectrum.
    """
    t = _times(seconds, rate)
    pitch = 110 + zlib.crc32(text.encode()) % 131
    voice = sum((np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 7)), np.zeros_like(t))
    syllables = 0.6 - 0.4 * np.cos(2 * np.pi * 4 * t)
    return pcm16(0.2 * voice * syllables)


def pcm16(samples: npt.NDArray[np.float64]) -> bytes:
    """Samples between -1 and 1 as PCM16 bytes; louder ones are clipped."""
    return (np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes()


def _times(seconds: float, rate: int) -> npt.NDArray[np.float64]:
    return np.arange(round(seconds * rate)) / rate

"""Synthesizes test audio as PCM16, little-endian, mono: tones, silence and speech-like audio."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

RATE = 24_000
"""Sample rate in Hz of ``audio/pcm``, the Realtime API's default format."""


def tone(hz: float, seconds: float, rate: int = RATE, amplitude: float = 0.3) -> bytes:
    """Return a sine tone of `hz` Hz and `seconds` s as PCM16 bytes.

    Args:
        hz: Frequency in Hz.
        seconds: Length in seconds.
        rate: Sample rate in Hz.
        amplitude: Peak between 0 and 1 (full scale).

    Raises:
        ValueError: `amplitude` is not between 0 and 1.
    """
    if not 0 <= amplitude <= 1:
        raise ValueError(f"amplitude must be between 0 and 1, got {amplitude}")
    return pcm16(amplitude * np.sin(2 * np.pi * hz * _times(seconds, rate)))


def silence(seconds: float, rate: int = RATE) -> bytes:
    """Return `seconds` s of digital silence at `rate` Hz as PCM16 bytes."""
    return bytes(2 * round(seconds * rate))


def speech_like(text: str, seconds: float, rate: int = RATE) -> bytes:
    """Return speech-like audio with four syllables a second, `seconds` s long at `rate` Hz, as PCM16 bytes.

    The pitch (110 to 240 Hz) is computed from `text`, so that equal texts have equal pitches, and most different texts
    have different pitches.
    """
    t = _times(seconds, rate)
    pitch = 110 + zlib.crc32(text.encode()) % 131
    voice = sum((np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 7)), np.zeros_like(t))
    syllables = 0.6 - 0.4 * np.cos(2 * np.pi * 4 * t)
    return pcm16(0.2 * voice * syllables)


def pcm16(samples: npt.NDArray[np.float64]) -> bytes:
    """Return samples as PCM16 bytes; samples outside of -1 to 1 are clipped."""
    return (np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes()


def _times(seconds: float, rate: int) -> npt.NDArray[np.float64]:
    return np.arange(round(seconds * rate)) / rate

"""Compares audio: finds a signal in a recording, and measures how well two recordings agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.floating[Any]]

RATE = 24_000
#: RMS relative to full scale above which audio counts as audible: -40 dBFS.
AUDIBLE = 0.01


def find(wanted: Sound, within: Sound) -> int:
    """Returns the frame of `within` at which `wanted` correlates best; negative if it begins before `within`."""
    size = 1 << (len(wanted) + len(within)).bit_length()
    fit = np.fft.irfft(np.fft.rfft(within, size) * np.conj(np.fft.rfft(wanted, size)), size)
    best = int(np.argmax(fit))
    return best if best < len(within) else best - size


def correlation(one: Sound, other: Sound) -> float:
    """Returns the correlation of two signals of equal length, between -1 and 1; 0 if one is silent."""
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.dot(one, other)) / size if size else 0.0


def window_correlations(one: Sound, other: Sound, *, window_s: float = 0.05, search_s: float = 0.05) -> list[float]:
    """Returns the correlation of each window of `window_s` in which one of the signals is audible.

    Each window is aligned by itself, within `search_s`, because the clocks of two devices differ. The correlation is 0
    if only one signal is audible. The highest frequencies are ignored: they do not correlate when the devices are half
    a sample apart.
    """
    one, other = _without_hiss(one), _without_hiss(other)
    window, search = round(window_s * RATE), round(search_s * RATE)
    padded = np.concatenate([np.zeros(search), other, np.zeros(search + len(one))])
    found = []
    for start in range(0, len(one) - window + 1, window):
        piece = one[start : start + window]
        around = padded[start : start + window + 2 * search]
        if rms(piece) >= AUDIBLE:
            sums = np.concatenate([[0.0], np.cumsum(np.square(around))])
            energy = sums[window:] - sums[:-window]
            fits = np.correlate(around, piece, "valid") / np.sqrt(np.maximum(energy, 1e-9) * np.sum(np.square(piece)))
            found.append(float(np.max(fits)))
        elif rms(other[start : start + window]) >= AUDIBLE:
            found.append(0.0)
    return found


def _without_hiss(sound: Sound) -> Sound:
    """Returns the signal through a low-pass filter: half the amplitude at 4.4 kHz, nearly none at 10 kHz."""
    smooth: Sound = np.convolve(sound, [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16], "same")
    return smooth


def disagreement(windows: list[float]) -> float:
    """Returns how far two recordings disagree, by their `window_correlations`; above 1 they are different.

    A device's buffer underruns now and then. The gap is in both recordings, but not to the millisecond, so a tenth of
    the windows may correlate less well. Three uncorrelated windows in a row are other or missing audio.
    """
    worse = sum(fit < 0.9 for fit in windows)
    lost = any(max(three) < 0.3 for three in zip(windows, windows[1:], windows[2:], strict=False))
    return max(worse / max(len(windows), 1) / 0.1, 10.0 if lost else 0.0)


def shifted(sound: Sound, frames: int) -> Sound:
    """Returns the signal from frame `frames` on; if that is negative, with as much silence before it."""
    return sound[frames:] if frames >= 0 else np.concatenate([np.zeros(-frames), sound])


def rms(sound: Sound) -> float:
    """Returns the RMS relative to full scale; 0 for an empty signal."""
    return float(np.sqrt(np.mean(np.square(sound)))) if len(sound) else 0.0


def audible_s(sound: Sound) -> float:
    """Returns for how many seconds the signal is audible, in blocks of 20 ms."""
    block = RATE // 50
    blocks = sound[: len(sound) // block * block].reshape(-1, block)
    return float(np.count_nonzero(np.sqrt(np.mean(np.square(blocks), axis=1)) > AUDIBLE)) / 50

"""Compares sounds: where one is found in another, and whether they agree all along."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.floating[Any]]

RATE = 24_000
AUDIBLE = 0.01  # RMS, a part of full scale: -40 dBFS


def find(wanted: Sound, within: Sound) -> int:
    """The frame of `within` at which `wanted` fits best; negative when it begins earlier than `within`."""
    size = 1 << (len(wanted) + len(within)).bit_length()
    fit = np.fft.irfft(np.fft.rfft(within, size) * np.conj(np.fft.rfft(wanted, size)), size)
    best = int(np.argmax(fit))
    return best if best < len(within) else best - size


def correlation(one: Sound, other: Sound) -> float:
    """Between -1 and 1, for sounds of the same length; 0 when one of them is silent."""
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.dot(one, other)) / size if size else 0.0


def window_correlations(one: Sound, other: Sound, *, window_s: float = 0.05, search_s: float = 0.05) -> list[float]:
    """How well the two agree in each window in which one of them is audible, aligned within `search_s`.

    Each window is aligned by itself: two devices' clocks differ. 0 where one is audible and the other silent. Without
    the highest tones, which do not fit when the devices are half a sample apart.
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
    """Half as strong at 4.4 kHz, and all but gone at 10 kHz."""
    smooth: Sound = np.convolve(sound, [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16], "same")
    return smooth


def disagreement(windows: list[float]) -> float:
    """How far two sounds are from being the same, by their `window_correlations`; above 1 they are not.

    A device runs dry now and then. The gap is in both, but not to the millisecond, so a tenth of the windows may fit
    less well. Three in a row that do not fit at all are something else, or missing.
    """
    worse = sum(fit < 0.9 for fit in windows)
    lost = any(max(three) < 0.3 for three in zip(windows, windows[1:], windows[2:], strict=False))
    return max(worse / max(len(windows), 1) / 0.1, 10.0 if lost else 0.0)


def shifted(sound: Sound, frames: int) -> Sound:
    """The sound from its frame `frames` on; silence is put before it when that is negative."""
    return sound[frames:] if frames >= 0 else np.concatenate([np.zeros(-frames), sound])


def rms(sound: Sound) -> float:
    """A part of full scale; 0 for no sound at all."""
    return float(np.sqrt(np.mean(np.square(sound)))) if len(sound) else 0.0


def audible_s(sound: Sound) -> float:
    """For how many seconds it is audible, counted in blocks of 20 ms."""
    block = RATE // 50
    blocks = sound[: len(sound) // block * block].reshape(-1, block)
    return float(np.count_nonzero(np.sqrt(np.mean(np.square(blocks), axis=1)) > AUDIBLE)) / 50

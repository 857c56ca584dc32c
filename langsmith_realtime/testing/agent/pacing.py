"""Splits a spoken message into transcript and audio deltas, and computes the time of each delta."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from langsmith_realtime.testing.state.formats import AudioFormat

TRANSCRIPT_FRACTION = 0.6
"""Fraction of the audio after which all transcript deltas are sent."""
WORDS_BEFORE_AUDIO = 3
"""Index, from 0, of the last word that is sent before the first audio delta."""


def split_words(text: str) -> list[str]:
    """Split a text before the whitespace between words, so that the joined words are the text."""
    return re.findall(r"\s*\S+\s*$|\s*\S+", text)


def split_arguments(text: str) -> list[str]:
    """Split JSON text between words and punctuation, similar to the tokens of a model."""
    return re.findall(r"\w+|\W+", text)


def timed_deltas(
    words: list[str], audio: bytes, audio_format: AudioFormat, sizes: Iterator[int]
) -> list[tuple[float, str | bytes]]:
    """Return the transcript deltas and audio deltas of a message in order, each with its time.

    Times are positions in the message's audio, in seconds. `sizes` yields the size of each audio delta in bytes.
    """
    seconds = audio_format.milliseconds(len(audio)) / 1000
    spread = max(1, len(words) - WORDS_BEFORE_AUDIO)
    deltas: list[tuple[float, str | bytes]] = [
        (max(0, number - WORDS_BEFORE_AUDIO) / spread * TRANSCRIPT_FRACTION * seconds, word)
        for number, word in enumerate(words)
    ]
    start = 0
    while start < len(audio):
        size = next(sizes)
        deltas.append((audio_format.milliseconds(start) / 1000, audio[start : start + size]))
        start += size
    return sorted(deltas, key=lambda delta: delta[0])


def delta_sizes(
    audio_format: AudioFormat, chunk_ms: tuple[int, int], rng: random.Random, *, odd: bool
) -> Iterator[int]:
    """Yield random sizes of audio deltas in bytes, without end.

    `chunk_ms` is the length of the shortest and the longest delta in milliseconds. With `odd`, every size is odd, so
    that a sample is split between two deltas.
    """
    while True:
        size = max(audio_format.width, audio_format.offset(rng.uniform(*chunk_ms)))
        yield size | 1 if odd else size

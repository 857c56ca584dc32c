"""How a spoken message goes over the wire: which words and which pieces of audio, and when."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from langsmith_realtime.testing.state.formats import AudioFormat

TEXT_LEAD = 0.6
"""The words of a spoken message are all sent when this part of its audio was."""
HEAD_START_WORDS = 3
"""So many words are sent before the first audio."""


def words_of(text: str) -> list[str]:
    """The text cut before each space; joined they are the text again."""
    return re.findall(r"\s*\S+\s*$|\s*\S+", text)


def arguments_of(text: str) -> list[str]:
    """JSON text cut between words and punctuation, as a model's tokens are."""
    return re.findall(r"\w+|\W+", text)


def spoken_pieces(
    words: list[str], audio: bytes, audio_format: AudioFormat, pieces: Iterator[int]
) -> list[tuple[float, str | bytes]]:
    """Words and audio in the order they are sent, each with the second of the audio at which it is due.

    `pieces` gives the size of each piece of audio in bytes.
    """
    seconds = audio_format.milliseconds(len(audio)) / 1000
    spread = max(1, len(words) - HEAD_START_WORDS)
    timed: list[tuple[float, str | bytes]] = [
        (max(0, number - HEAD_START_WORDS) / spread * TEXT_LEAD * seconds, word) for number, word in enumerate(words)
    ]
    start = 0
    while start < len(audio):
        size = next(pieces)
        timed.append((audio_format.milliseconds(start) / 1000, audio[start : start + size]))
        start += size
    return sorted(timed, key=lambda piece: piece[0])


def piece_sizes(
    audio_format: AudioFormat, chunk_ms: tuple[int, int], chance: random.Random, *, odd: bool
) -> Iterator[int]:
    """Sizes in bytes, without end, of pieces between the shortest and the longest; `odd` tears samples apart."""
    while True:
        size = max(audio_format.width, audio_format.offset(chance.uniform(*chunk_ms)))
        yield size | 1 if odd else size

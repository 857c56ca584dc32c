"""When a part of a text was spoken, by its share of the time of the whole text.

Pure. No event says when which word is spoken. Digits and signs take longer to speak than a letter, so they count more.
The estimate is not exact, so a margin is added on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

#: How long a character takes to speak, where a letter takes 1.
_WEIGHTS = {"@": 4.0, "+": 4.0, ".": 3.0, ",": 3.0, ";": 3.0, "?": 3.0, "!": 3.0, ":": 3.0}
_DIGIT_WEIGHT = 5.0
#: The margin on each side: seconds, and a share of the item's time.
MARGIN_S = 1.0
MARGIN_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class SpokenItem:
    """A spoken message. ``is_whole`` is False while pieces of its words are to come, or if they never came."""

    item_id: str
    words: str
    is_whole: bool


def share_of(text: str, begin: int, end: int) -> tuple[float, float]:
    """Begin and end of the characters from ``begin`` to ``end`` as shares of the text's time, from 0 to 1."""
    weights = [_DIGIT_WEIGHT if character.isdigit() else _WEIGHTS.get(character, 1.0) for character in text]
    total = sum(weights)
    if not total:
        return 0.0, 1.0
    return round(sum(weights[:begin]) / total, 4), round(sum(weights[:end]) / total, 4)


def part_of(span: tuple[float, float], part: tuple[float, float]) -> tuple[float, float]:
    """Begin and end of a part, given as shares, of a span of seconds; with the margin, and within the span."""
    since, until = span
    duration = until - since
    margin = MARGIN_S + MARGIN_SHARE * duration
    begin, end = since + part[0] * duration - margin, since + part[1] * duration + margin
    # A part that reaches the item's beginning or end includes the sound before or after it.
    return (-float("inf") if begin <= since else begin), (float("inf") if end >= until else end)

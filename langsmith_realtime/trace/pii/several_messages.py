"""Finds a number that a speaker says over several messages of one conversation: "4111 1111" … "and then 1111 1111".

The words of the first message are posted before the second one is spoken, so they stay. The later messages are masked,
and from then on every text with one of the pieces; the sound of all of them becomes silent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from langsmith_realtime.core.protocol.events import ga_type, if_type, mapping, sequence, text
from langsmith_realtime.trace.pii.finders import CARD, IBAN, PHONE, Found
from langsmith_realtime.trace.pii.numbers_in_words import Reading, read_numbers

#: How many messages of one speaker are read together, and how many pieces are remembered.
TOGETHER, MAX_PIECES = 4, 100
#: The shortest piece, in letters and digits, that is looked for in other texts.
SHORTEST_PIECE = 3
#: What stands between the messages: with the sign, the digits of two messages are no number, but may be two pieces of a
#: card number with a right checksum. Without it they are one number, as if they were said at once.
APART, _AT_ONCE = " | ", " \n "
_CALLING_PREFIX = re.compile(r"[\s(]*(?:\+|00?|(?:plus|más|mas|più)(?!\w))", re.IGNORECASE)


class Pieces:
    """The last messages of each speaker of one conversation, and the pieces of numbers that were found in them.

    Args:
        find: finds numbers in a single text.
    """

    def __init__(self, find: Callable[[str], list[Found]]) -> None:
        self._find = find
        self._said: dict[str, dict[str, str]] = {"user": {}, "assistant": {}}  # words by place, the latest last
        self._kinds: dict[str, str] = {}  # by piece
        self._known = re.compile(r"(?!)")  # any of the pieces

    def hear(self, payload: dict[str, Any]) -> None:
        """Look at the messages of an event; it may be an event that was seen already."""
        for speaker, place, words in _messages(payload):
            said = self._said[speaker]
            if said.get(place) == words:
                continue
            said[place] = words
            if len(said) > TOGETHER:
                del said[next(iter(said))]
            if len(_digits(words)) >= SHORTEST_PIECE:
                self._read_together(_unrepeated(said.values()))

    def found_in(self, words: str) -> list[Found]:
        """The places of known pieces in a text."""
        if not self._kinds:
            return []
        reading = read_numbers(words)
        places, bare = _bare(reading)
        found = []
        for match in self._known.finditer(bare):
            begin, end = places[match.start()], places[match.end() - 1] + 1
            beside = reading.digits[max(0, begin - 1) : begin] + reading.digits[end : end + 1]
            if not re.search(r"\w", beside):
                found.append((*reading.span(begin, end), self._kinds[match.group()]))
        return found

    def _read_together(self, messages: list[str]) -> None:
        if len(messages) < 2:
            return
        alone = [self._find(words) for words in messages]
        for separator in (APART, _AT_ONCE):
            together = separator.join(messages)
            for begin, end, kind in self._find(together):
                # The calling code, because two answers of five digits are often a number of the US.
                is_phone = kind == PHONE and _CALLING_PREFIX.match(together, begin)
                if kind == CARD if separator == APART else is_phone or kind == IBAN:
                    self._remember(messages, len(separator), alone, (begin, end, kind))

    def _remember(self, messages: list[str], gap: int, alone: list[list[Found]], place: Found) -> None:
        """Remember the parts of a place in the messages that no message alone would show."""
        offset = 0
        for words, known in zip(messages, alone, strict=True):
            begin, end = max(0, place[0] - offset), min(len(words), place[1] - offset)
            if begin < end and not any(first <= begin and end <= last for first, last, _ in known):
                piece = _bare(read_numbers(words[begin:end]))[1]
                if len(piece) >= SHORTEST_PIECE and len(self._kinds) < MAX_PIECES:
                    self._kinds[piece] = place[2]
                    longest_first = sorted(self._kinds, key=len, reverse=True)
                    self._known = re.compile("|".join(map(re.escape, longest_first)))
            offset += len(words) + gap


def _messages(payload: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Speaker, place and words of each part of a complete message in an event; the place is an id and an index."""
    item_id, words = text(payload.get("item_id")), text(payload.get("transcript"))
    kind = ga_type(str(payload.get("type")))
    if kind == "conversation.item.input_audio_transcription.completed" and item_id and words:
        yield "user", f"{item_id} {payload.get('content_index') or 0}", words
    items = [payload.get("item"), *sequence(mapping(payload.get("response")).get("output"))]
    for item in (if_type(mapping(each), "message") for each in items):
        speaker, item_id = item.get("role"), text(item.get("id"))
        if speaker in ("user", "assistant") and item_id:
            for index, part in enumerate(map(mapping, sequence(item.get("content")))):
                if words := text(part.get("transcript")) or text(part.get("text")):
                    yield speaker, f"{item_id} {index}", words


def _unrepeated(messages: Iterable[str]) -> list[str]:
    """The messages with digits, without punctuation at their ends; one of those that repeat six digits or more."""
    unrepeated: dict[str | int, str] = {}
    for words in messages:
        if digits := _digits(words):
            unrepeated[digits if len(digits) >= 6 else len(unrepeated)] = words.strip(" .,;:!?…-")
    return list(unrepeated.values())


@lru_cache(256)
def _digits(words: str) -> str:
    return "".join(filter(str.isdigit, read_numbers(words).digits))


def _bare(reading: Reading) -> tuple[list[int], str]:
    """The letters and digits of a text with their places: letters in lower case, digits of any script as 0 to 9."""
    places = [place for place, character in enumerate(reading.digits) if character.isalnum()]
    characters = (reading.digits[place] for place in places)
    return places, "".join(str(int(each)) if each.isdecimal() else each.lower()[0] for each in characters)

"""The ready redactor: ``redact=pii()`` masks personal numbers and addresses in payloads, and silences their sound."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import Any, Final

from langsmith_realtime.trace.pii.finders import (
    CARD,
    Found,
    apart,
    card_finder,
    email_finder,
    iban_finder,
    phone_finder,
)
from langsmith_realtime.trace.pii.numbers_in_words import read_numbers
from langsmith_realtime.trace.pii.several_messages import APART, Pieces

#: The regions whose phone numbers are found without a country's code, unless the application names others.
REGIONS: Final = ("US", "GB", "DE", "AT", "ES", "MX", "FR")
#: In place of words of which only a part is in the event.
WITHHELD: Final = "[withheld: a part of what was said]"
#: Events with a part of a text: the whole text follows in another event.
_PART_EVENTS = ("transcription.segment",)
_KEY_PRESSED = "input_audio_buffer.dtmf_event_received"
#: How many texts are remembered with what was found in them, because several payloads have the same text.
_REMEMBERED = 256
#: From how many digits on a number is no count.
_NO_COUNT = 6


class PiiRedactor:
    """A function for ``redact=`` that also tells which words of a spoken text must not be heard.

    Args:
        find: returns begin, end and kind of each place in a text that must not be seen.
        pieces: what is known of the messages of one conversation; None if the redactor serves any.
    """

    def __init__(self, find: Callable[[str], list[Found]], pieces: Pieces | None = None) -> None:
        self._find_alone = lru_cache(_REMEMBERED)(find)
        self._pieces = pieces

    def for_conversation(self) -> PiiRedactor:
        """A redactor for the payloads of one conversation, in which a number may be spread over several messages."""
        return PiiRedactor(self._find_alone, Pieces(self._find_alone))

    def hear(self, payload: dict[str, Any]) -> None:
        """Look for pieces of a number in the messages of an event; only a redactor of one conversation does."""
        if self._pieces is not None:
            self._pieces.hear(payload)

    def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        """A copy of the payload in which ``[card number]``, for example, stands for what was found."""
        self.hear(payload)
        masked: dict[str, Any] = self._masked(payload)
        event = str(payload.get("type"))
        if event.endswith(_PART_EVENTS):
            masked["text"] = WITHHELD
        elif event == _KEY_PRESSED:
            masked["event"] = WITHHELD
        return masked

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Begin and end of each place in a spoken text whose sound must be silent, in characters."""
        return [(begin, end) for begin, end, _ in self._find(text)]

    def _find(self, text: str) -> list[Found]:
        found = self._find_alone(text)
        pieces = [] if self._pieces is None else self._pieces.found_in(text)
        return apart([*found, *pieces]) if pieces else found

    def _masked(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._text(key): self._masked(each) for key, each in value.items() if not _spells(key, each)}
        if isinstance(value, list):
            return self._list(value)
        if isinstance(value, str):
            return self._text(value)
        is_number = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if is_number and not isinstance(value, bool):
            digits = str(int(value))
            # A piece of a card number may equal a count of tokens.
            found = self._find(digits) if len(digits) >= _NO_COUNT else self._find_alone(digits)
            return f"[{found[0][2]}]" if found else value
        return value

    def _list(self, members: list[Any]) -> list[Any]:
        """The members, masked; single digits are read together, and so are the pieces of a card number."""
        masked = [self._masked(each) for each in members]
        texts = [str(each) for each in members if isinstance(each, str) or (type(each) is int and 0 <= each <= 9)]
        if len(members) > 1 and len(texts) == len(members):
            is_spelled = all(len(text) == 1 for text in texts)
            separator = " " if is_spelled else APART
            found = [each for each in self._find(separator.join(texts)) if is_spelled or each[2] == CARD]
            begin = 0
            for place, text in enumerate(texts):
                kinds = [kind for first, last, kind in found if first < begin + len(text) and begin < last]
                if kinds and masked[place] == members[place]:
                    masked[place] = f"[{kinds[0]}]"
                begin += len(text) + len(separator)
        return masked

    def _text(self, text: str) -> str:
        if text[:1] in ("{", "["):
            try:
                members = json.loads(text)
            except ValueError:
                pass
            else:
                masked = self._masked(members)
                return text if masked == members else json.dumps(masked, ensure_ascii=False)
        pieces, done = [], 0
        for begin, end, kind in self._find(text):
            pieces += [text[done:begin], f"[{kind}]"]
            done = end
        return "".join([*pieces, text[done:]])


def _spells(key: str, value: Any) -> bool:
    """Whether a member has spoken words in pieces, so that no piece looks like a number: ``logprobs``, timed words."""
    if key in ("words", "phrases") and isinstance(value, list):
        return any(isinstance(each, dict) and ("text" in each or "word" in each) for each in value)
    return key == "logprobs"


def pii(
    *,
    cards: bool = True,
    phones: bool | Collection[str] = True,
    emails: bool = True,
    ibans: bool = True,
    find: Callable[[str], Iterable[Found]] | None = None,
) -> PiiRedactor:
    """A redactor for ``redact=``: masks what it finds in every payload, and silences the sound where it was spoken.

    It reads numbers and addresses in digits and in English, German, Spanish and French words. docs/privacy.md says
    what it finds and what it misses. Needs ``pip install "langsmith-realtime[pii]"``.

    Args:
        cards: find card numbers.
        phones: find phone numbers, with a country's code from anywhere, without it those of the regions given
            (``["US", "DE"]``); True: those of :data:`REGIONS`.
        emails: find e-mail addresses.
        ibans: find IBANs.
        find: finds more, such as names: returns begin, end and kind of each place in a text.

    Raises:
        ImportError: phonenumbers or python-stdnum is not installed, and needed.
        TypeError: an argument has the wrong type.
        ValueError: a region is not known.
    """
    for name, value in (("cards", cards), ("emails", emails), ("ibans", ibans)):
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, got {value!r}")
    if find is not None and not callable(find):
        raise TypeError(f"find must be a function of a text, got {type(find).__name__}")
    try:
        finders = [
            *([iban_finder()] if ibans else []),
            *([card_finder()] if cards else []),
            *([phone_finder(_regions(phones))] if phones is not False else []),
            *([email_finder()] if emails else []),
        ]
    except ImportError as error:
        raise ImportError(
            'pii() needs phonenumbers and python-stdnum: pip install "langsmith-realtime[pii]"'
        ) from error

    def found(text: str) -> list[Found]:
        reading = read_numbers(text)
        places = [each for finder in finders for each in finder(reading)]
        if find is not None:
            places += [(int(begin), int(end), str(kind)) for begin, end, kind in find(text)]
        return apart(places)

    return PiiRedactor(found)


def _regions(phones: object) -> Collection[str]:
    import phonenumbers  # noqa: PLC0415 - of the extra `pii`

    if phones is True:
        return REGIONS
    if isinstance(phones, str) or not isinstance(phones, Collection) or not phones:
        raise TypeError(f"phones must be True, False or a list of regions such as 'US', got {phones!r}")
    for region in phones:
        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError(f"phones must name regions such as 'US' or 'DE', got {region!r}")
    return phones

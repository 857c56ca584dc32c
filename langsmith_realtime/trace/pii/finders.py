"""Finds card numbers, phone numbers, e-mail addresses and IBANs in a text, written or spelled in words.

Pure. In doubt too much is found rather than too little: a card number that speech recognition misheard has a wrong
checksum, and its sound has the right number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from typing import Any, TypeAlias

from langsmith_realtime.trace.pii.numbers_in_words import Reading

#: Begin and end of a place in a text, and what it is.
Found: TypeAlias = tuple[int, int, str]
#: Finds one kind of information in a text whose numbers were read.
Finder: TypeAlias = Callable[[Reading], Iterator[Found]]

CARD, PHONE, EMAIL, IBAN = "card number", "phone number", "email address", "IBAN"

# Digits that belong to no number: dates, times, UUIDs, numbers with one decimal, ISBNs, a ZIP+4 (a German telephone
# number of that form begins with 0), an order number of Amazon's, a tracking number of UPS's.
_OTHER_DIGITS = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?"
    r"|(?<![\d./])\d{1,2}[./]\d{1,2}[./](?:\d{4}|\d\d)(?![./]?\d)"
    r"|\d{1,2}:\d\d(?::\d\d)?"
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|(?<![\d.,])\d{1,3}[.,]\d(?![.,]?\d)"
    r"|ISBN(?:-1[03])?[\s:]{0,3}(?:97[89](?:[\s-]?\d){10}|\d(?:[\s-]?\d){8}[\s-]?[\dXx])(?![\s-]?\d)"
    r"|(?<![\d-])[1-9]\d{4}-\d{4}(?![\d-])"
    r"|(?<![\d-])\d{3}-\d{7}-\d{7}(?![\d-])"
    r"|(?<!\w)1Z(?:\s?[0-9A-Z]){16}(?!\w)"
)
# Years in a row.
_YEAR = re.compile(r"(?:19|20)\d\d")
# What people say between the digits of one number.
_FILLER = r"and|und|y|then|dann|luego|uh|um|er|ähm|äh|eh|em|este|dash|hyphen|minus|strich|guion|guión|space|is"
_FILLER += "|et|puis|ensuite|euh|tiret|espace|e|poi|trattino|spazio"
_SPACE = r"[\s\-–—.,;/()·•*…]"
_BETWEEN = rf"{_SPACE}*(?:(?<!\w)(?:{_FILLER})(?!\w){_SPACE}*){{0,3}}"
_RUN = re.compile(rf"(?<![^\W\d])(?<!\d)\d+(?:{_BETWEEN}\d+)*(?![^\W\d])", re.IGNORECASE)
_GROUP = re.compile(r"\d+")
_PLUS = re.compile(r"(?:\+|(?<!\w)(?:plus|más|mas|più))[\s(]*$", re.IGNORECASE)
# What follows a telephone number, with the digits of the extension.
_EXTENSION = re.compile(
    r"\W{0,3}(?:ext(?:ension|\.)?|extensión|x|durchwahl|anexo|poste|interno)\W{0,3}\d(?:[\s-]?\d){0,5}(?!\w)",
    re.IGNORECASE,
)

_IBAN = re.compile(r"(?<![^\W_])[A-Za-z][\s.,-]{0,3}[A-Za-z](?:[\s.,-]{0,3}\d){2}(?:[\s.,-]{0,3}[A-Za-z0-9]){11,30}")
_IBAN_CHARACTER = re.compile(r"[A-Za-z0-9]")

_DASH = r"dash|hyphen|minus|underscore|bindestrich|unterstrich|gui[oó]n(?: bajo)?|tiret(?: bas)?|trattino(?: basso)?"
_DASH = rf"\s+(?:{_DASH})\s+|-"
_DOT = r"\s+(?:dot|punkt|punto|point)\s+|\."
# "Look at this point" is no address: the French word for a dot is followed by a domain that is often said.
_LAST_DOT = r"\s+(?:dot|punkt|punto|point(?=\s+(?:fr|com|net|org|eu|ca|ch|lu)(?!\w)))\s+|\."
_AT = r"\s+(?:at(?: sign)?|ät|arroba|klammeraffe|aroba[sz]e?|arrobase?|chiocciola)\s+(?!the\s)"
_AT += r"|\s*(?:@|[(\[](?:at|ät)[)\]])\s*"
_NAME = r"[\w+]+"
_SPELLED = r"(?:\w\s+)"
# "dot com", and "dot d e", which is spelled.
_TOP = r"(?:[^\W\d_](?:\s[^\W\d_]){1,2}(?!\w)|[^\W\d_]{2,})"
# A domain of several words, which is an address only before a well-known end: "at blue river dot com".
_DOMAIN_OF_WORDS = (
    rf"{_NAME}(?:\s+{_NAME}){{1,2}}\s+(?:dot|punkt|punto|point)\s+(?:com|net|org|eu|io|uk|de|es|fr|mx|ch)(?!\w)"
)
_EMAIL = re.compile(
    rf"(?<![\w.+-])(?:(?<!['’]){_SPELLED}{{1,40}})?{_NAME}(?:(?:{_DOT}|{_DASH}){_NAME}){{0,12}}(?:\s+\d+){{0,4}}(?:{_AT})"
    rf"(?:{_SPELLED}{{0,20}}{_NAME}(?:(?:{_DASH}){_NAME}){{0,6}}(?:(?:{_DOT})[^\W_]+(?:-[^\W_]+)*){{0,6}}(?:{_LAST_DOT}){_TOP}"
    rf"|{_DOMAIN_OF_WORDS})",
    re.IGNORECASE,
)


# The shortest piece of a card number, in digits, that has words before or after it.
_SHORTEST_PIECE = 3


class _Run:
    """Digits in a row, with no more between them than spaces, punctuation and fillers. ``groups`` are its digits."""

    def __init__(self, text: str, begin: int, end: int) -> None:
        found = list(_GROUP.finditer(text, begin, end))
        self.groups = ["".join(str(int(digit)) for digit in group.group()) for group in found]
        self.places = [group.span() for group in found]
        self.digits = "".join(self.groups)
        self.has_plus = _PLUS.search(text, max(0, begin - 8), begin)

    def parts(self, shortest: int, longest: int) -> Iterator[tuple[int, int, str]]:
        """Groups in a row with so many digits, the longest part first: first and last group, and the digits."""
        parts = []
        for first in range(len(self.groups)):
            digits = ""
            for last in range(first, len(self.groups)):
                digits += self.groups[last]
                if len(digits) > longest:
                    break
                if len(digits) >= shortest:
                    parts.append((first, last, digits))
        yield from sorted(parts, key=lambda part: -len(part[2]))

    @property
    def is_counting(self) -> bool:
        """Whether the numbers are years, or seven or more that go up or down by one: "ten, nine, eight …"."""
        if all(map(_YEAR.fullmatch, self.groups)):
            return True
        steps = {int(following) - int(group) for group, following in pairwise(self.groups)}
        return len(self.groups) >= 7 and steps in ({1}, {-1})


def _runs(text: str) -> Iterator[_Run]:
    begin = 0
    for other in [*_OTHER_DIGITS.finditer(text), None]:
        end = len(text) if other is None else other.start()
        for found in _RUN.finditer(text, begin, end):
            run = _Run(text, *found.span())
            if not run.is_counting:
                yield run
        begin = len(text) if other is None else other.end()


def card_finder() -> Finder:
    """Finds 13 digits or more: that begin as a card number, have a part with its checksum, or are more than 19.

    A number in two to four pieces, with words between them, is found by its checksum.
    """
    from stdnum import luhn  # noqa: PLC0415 - of the extra `pii`

    def is_valid(digits: str) -> bool:
        return digits[0] in "23456" and bool(luhn.is_valid(digits))

    def is_card(run: _Run) -> bool:
        if len(run.digits) < 13:
            return False
        if len(run.digits) > 19 or run.digits[0] in "3456":
            return True
        return any(is_valid(digits) for _, _, digits in run.parts(13, 19))

    def cards(reading: Reading) -> Iterator[Found]:
        runs = list(_runs(reading.digits))
        found = {number for number, run in enumerate(runs) if is_card(run)}
        for first in range(len(runs)):
            for count in (2, 3, 4):
                pieces = [run.digits for run in runs[first : first + count]]
                digits = "".join(pieces)
                if 13 <= len(digits) <= 19 and min(map(len, pieces)) >= _SHORTEST_PIECE and is_valid(digits):
                    found.update(range(first, first + len(pieces)))
        for number in sorted(found):
            places = runs[number].places
            yield *reading.span(places[0][0], places[-1][1]), CARD

    return cards


def phone_finder(regions: Collection[str]) -> Finder:
    """Finds valid numbers with a country's code, and those of the regions without it."""
    import phonenumbers  # noqa: PLC0415 - of the extra `pii`
    from phonenumbers import PhoneMetadata  # noqa: PLC0415

    needs_zero_of = {
        region: getattr(PhoneMetadata.metadata_for_region(region), "national_prefix", None) == "0" for region in regions
    }

    def is_valid(digits: str, region: str | None, check: Callable[[Any], bool] = phonenumbers.is_valid_number) -> bool:
        try:
            return check(phonenumbers.parse(digits, region))
        except phonenumbers.NumberParseException:
            return False

    def is_phone(digits: str, *, has_plus: bool) -> bool:
        if has_plus:
            return is_valid(f"+{digits}", None, phonenumbers.is_possible_number)  # the plus says what it is
        if digits.startswith("00"):
            return is_valid(f"+{digits[2:]}", None, phonenumbers.is_possible_number)
        candidates = (region for region, needs_zero in needs_zero_of.items() if digits[0] == "0" or not needs_zero)
        return any(is_valid(digits, region) for region in candidates)

    def phones(reading: Reading) -> Iterator[Found]:
        for run in _runs(reading.digits):
            if not 7 <= len(run.digits) <= 40:
                continue
            for first, last, digits in run.parts(7, 17):
                has_plus = first == 0 and run.has_plus is not None
                if is_phone(digits, has_plus=has_plus):
                    begin = run.has_plus.start() if has_plus and run.has_plus is not None else run.places[first][0]
                    extension = _EXTENSION.match(reading.digits, run.places[last][1])
                    end = run.places[last][1] if extension is None else extension.end()
                    yield *reading.span(begin, end), PHONE
                    break

    return phones


def iban_finder() -> Finder:
    """Finds IBANs with a right checksum, and two letters with 13 digits or more behind them."""
    from stdnum import iban  # noqa: PLC0415 - of the extra `pii`
    from stdnum.iso7064 import mod_97_10  # noqa: PLC0415

    def length(letters: str) -> int:
        for count in range(len(letters), 14, -1):
            # The checksum first, because the check of the country's format is slow.
            if mod_97_10.is_valid(letters[4:count] + letters[:4]) and iban.is_valid(letters[:count]):
                return count
        digits = re.match(r"[A-Z]{2}\d{13,32}", letters)  # capitals, because "is" and "at" are words, too
        return 0 if digits is None else digits.end()

    def ibans(reading: Reading) -> Iterator[Found]:
        begin = 0
        while found := _IBAN.search(reading.digits, begin):
            places = [each.start() for each in _IBAN_CHARACTER.finditer(found.group())]
            count = length("".join(found.group()[place] for place in places))
            begin = found.start() + 1 if not count else found.start() + places[count - 1] + 1
            if count:
                yield *reading.span(found.start(), begin), IBAN

    return ibans


def email_finder() -> Finder:
    """Finds addresses with an @ or with the words for it and for the dots."""

    def emails(reading: Reading) -> Iterator[Found]:
        for found in _EMAIL.finditer(reading.digits):
            yield *reading.span(*found.span()), EMAIL

    return emails


def apart(places: list[Found]) -> list[Found]:
    """The places in order; overlapping ones become one, of the kind of the longest."""
    apart: list[Found] = []
    longest = 0
    for begin, end, kind in sorted(place for place in places if place[0] < place[1]):
        if apart and begin < apart[-1][1]:
            last = apart[-1]
            is_longest, longest = end - begin > longest, max(longest, end - begin)
            apart[-1] = last[0], max(end, last[1]), kind if is_longest else last[2]
        else:
            longest = end - begin
            apart.append((begin, end, kind))
    return apart

"""Reads numbers that are spelled in words as digits, and knows for each digit where it stands in the text.

Pure. A transcript may have a number as digits, as words, or as both. The words for 0 to 999 are known in English,
German and Spanish, with "double" and "triple" before a digit; thousands are not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ENGLISH = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety
"""
_GERMAN = """
null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn
achtzehn neunzehn zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig
"""
_SPANISH = """
cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis diecisiete dieciocho
diecinueve veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa
"""
_SPANISH_TWENTIES = """
veintiuno veintidós veintitrés veinticuatro veinticinco veintiséis veintisiete veintiocho veintinueve
"""
#: Spanish hundreds; 100 has two words.
_HUNDREDS = """
cien ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos novecientos
"""
#: Other words for digits. English "o" and "oh" count as 0, which does no harm: one digit alone is never masked.
_VARIANTS = {"oh": 0, "o": 0, "nought": 0, "fourty": 40, "zwo": 2, "un": 1, "una": 1, "veintiún": 21}
_UNACCENTED = str.maketrans("áéíóú", "aeiou")
_WITHOUT_UMLAUTS = (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"))
#: How often the digit after the word is repeated.
_REPEATS = {"double": 2, "triple": 3, "doppel": 2, "doble": 2}


def _values() -> dict[str, int]:
    """The known words with their numbers, in lower case; compound words have single spaces."""
    values = _VARIANTS | {word: number for number, word in enumerate(_SPANISH_TWENTIES.split(), 21)}
    compounds = {_ENGLISH: "{ten} {unit}", _GERMAN: "{unit}und{ten}", _SPANISH: "{ten} y {unit}"}
    for words, compound in compounds.items():
        names = words.split()
        values |= {word: number for number, word in enumerate(names[:20])}
        for number, ten in enumerate(names[20:], 2):
            values[ten] = 10 * number
            for unit, word in enumerate(names[1:10], 1):
                values[compound.format(ten=ten, unit="ein" if word == "eins" else word)] = 10 * number + unit
    for word, number in list(values.items()):
        values[word.translate(_UNACCENTED)] = number
        for umlaut, letters in _WITHOUT_UMLAUTS:
            word = word.replace(umlaut, letters)  # noqa: PLW2901 - one after the other
        values[word] = number
    return values


_VALUES = _values()
_WORD = "|".join(word.replace(" ", "[ -]+") for word in sorted(_VALUES, key=len, reverse=True))
_SPANISH_HUNDREDS = {word: max(1, number) for number, word in enumerate(_HUNDREDS.split())}
# "nine hundred", "neunhundert" or "novecientos", and the number that follows.
_HUNDRED = rf"(?:({_WORD})[ -]+hundred|(ein|{'|'.join(_GERMAN.split()[2:10])})?hundert|({'|'.join(_SPANISH_HUNDREDS)}))"
_SPELLED = re.compile(
    rf"(?<!\w)(?:{_HUNDRED}(?:([ -]+and[ -]+|[ -]+|und|)({_WORD}))?"
    rf"|(?:({'|'.join(_REPEATS)})[ -]*)?(?:({_WORD})|(\d)(?!\d)))(?!\w)",
    re.IGNORECASE,
)


def _number(word: str) -> int:
    return _VALUES[re.sub("[ -]+", " ", word.lower())]


def _digits(found: re.Match[str]) -> str | None:
    """The digits of a number in words; None for a single digit that is no word."""
    english, german, spanish, joint, rest, repeat, word, digit = found.groups()
    if repeat is None and digit is not None:
        return None
    if word is not None or digit is not None:
        number = digit or str(_number(word))
        return number * _REPEATS[repeat.lower()] if repeat is not None and len(number) == 1 else number
    if english is not None:
        hundreds = _number(english)
    elif spanish is not None:
        hundreds = _SPANISH_HUNDREDS[spanish.lower()]
    else:
        hundreds = 1 if german is None or german.lower() == "ein" else _number(german)
    if rest is None:
        return str(100 * hundreds)
    # "nine hundred one two" is 900, 1 and 2; "nine hundred and one" is 901.
    is_next = english is not None and "and" not in joint.lower() and _number(rest) < 10
    return f"{100 * hundreds}{_number(rest)}" if is_next else str(100 * hundreds + _number(rest))


@dataclass(frozen=True, slots=True)
class Reading:
    """A text with its number words as digits.

    ``starts`` and ``ends`` have, for each character of ``digits``, the begin and the end of what it stands for.
    """

    digits: str
    starts: list[int]
    ends: list[int]

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """The place in the original text of a part of ``digits`` that is not empty."""
        return self.starts[begin], self.ends[end - 1]


def read_numbers(text: str) -> Reading:
    """Replace the number words of a text by digits."""
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []

    def copy(begin: int, end: int) -> None:
        pieces.append(text[begin:end])
        starts.extend(range(begin, end))
        ends.extend(range(begin + 1, end + 1))

    done = 0
    for found in _SPELLED.finditer(text):
        number = _digits(found)
        if number is None:
            continue
        copy(done, found.start())
        done = found.end()
        pieces.append(number)
        starts.extend([found.start()] * len(number))
        ends.extend([found.end()] * len(number))
    copy(done, len(text))
    return Reading("".join(pieces), starts, ends)

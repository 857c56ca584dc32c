"""Reads numbers that are spelled in words as digits, and knows for each digit where it stands in the text.

Pure. A transcript may have a number as digits, as words, or as both. The words for 0 to 999,999 are known in English,
German, Spanish and French, those for 0 to 99 in Italian, with "double", "triple" or "three times the" before a digit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from langsmith_realtime.trace.pii.letters_in_words import SPELLED_LETTER, letter

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
_FRENCH = """
zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit dix-neuf
vingt trente quarante cinquante soixante soixante-dix quatre-vingt quatre-vingt-dix
"""
_ITALIAN = """
zero uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici sedici diciassette
diciotto diciannove venti trenta quaranta cinquanta sessanta settanta ottanta novanta
"""
#: Tens of Switzerland and Belgium.
_SWISS_TENS = {"septante": 70, "huitante": 80, "octante": 80, "nonante": 90}
#: Spanish hundreds; 100 has two words.
_HUNDREDS = """
cien ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos novecientos
"""
#: Other words for digits. English "o" and "oh" count as 0, which does no harm: one digit alone is never masked.
_VARIANTS = {
    "oh": 0,
    "o": 0,
    "nought": 0,
    "fourty": 40,
    "zwo": 2,
    "un": 1,
    "una": 1,
    "une": 1,
    "veintiún": 21,
    "quatre vingts": 80,
}
_UNACCENTED = str.maketrans("áéíóú", "aeiou")
_WITHOUT_UMLAUTS = (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"))
#: How often the digit after the word is repeated.
_REPEATS = {"double": 2, "triple": 3, "treble": 3, "quadruple": 4, "doppel": 2, "doble": 2, "doppio": 2, "triplo": 3}
#: "Due" is a number only beside words that show that the text is Italian.
_SHOWS_ITALIAN = re.compile(r"(?<!\w)(?:tre|quattro|cinque|sette|otto|nove)(?!\w)", re.IGNORECASE)


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
    values |= _french() | _italian()
    for word, number in list(values.items()):
        values[word.translate(_UNACCENTED)] = number
        for umlaut, letters in _WITHOUT_UMLAUTS:
            word = word.replace(umlaut, letters)  # noqa: PLW2901 - one after the other
        values[word] = number
    return values


def _french() -> dict[str, int]:
    """The French words with their numbers: 71 is "sixty and eleven", 95 is "four twenties and fifteen"."""
    words = _FRENCH.replace("-", "_").split()
    names = [word.replace("_", " ") for word in words]
    values = {word: number for number, word in enumerate(names[:20])}
    tens = dict(zip(range(20, 100, 10), names[20:], strict=True))
    names_of_tens = [(word, ten) for ten, word in tens.items()] + list(_SWISS_TENS.items())
    for word, ten in names_of_tens:
        values[word] = ten
        for unit in range(1, 20 if word in (tens[60], tens[80]) else 10):
            values[f"{word} {names[unit]}"] = values[f"{word} et {names[unit]}"] = ten + unit
    return values


def _italian() -> dict[str, int]:
    """The Italian words with their numbers: the ten loses its last letter before "uno" and "otto"."""
    names = _ITALIAN.split()
    values = {word: number for number, word in enumerate(names[:20])}
    for number, ten in enumerate(names[20:], 2):
        values[ten] = 10 * number
        for unit, word in enumerate(names[1:10], 1):
            values[(ten[:-1] if word[0] in "uo" else ten) + word] = 10 * number + unit
        values[f"{ten}tré"] = 10 * number + 3
    return values


_VALUES = _values()
_WORD = "|".join(word.replace(" ", "[ -]+") for word in sorted(_VALUES, key=len, reverse=True))
_SPANISH_HUNDREDS = {word: max(1, number) for number, word in enumerate(_HUNDREDS.split())} | {"cent": 1}
# "nine hundred", "neuf cents", "neunhundert" or "novecientos", and the number that follows.
_GERMAN_UNITS = "|".join(_GERMAN.split()[2:10])
_HUNDRED = rf"(?:({_WORD})[ -]+(?:hundred|cents?)|(ein|{_GERMAN_UNITS})?hundert|({'|'.join(_SPANISH_HUNDREDS)}))"
_SPELLED = re.compile(
    rf"(?:(?<!\w)|(?<=tausend))(?:{_HUNDRED}(?:([ -]+and[ -]+|[ -]+|und|)({_WORD}))?"
    rf"|(?:({'|'.join(_REPEATS)})[ -]*)?(?:({_WORD})|(\d)(?!\d)))(?=\W|tausend|mal\b|$)",
    re.IGNORECASE,
)
# "three times the 0", "dreimal die 0" and "3 zeros", after the other words were read.
_TIMES = re.compile(
    r"(?<![\d.,])([2-9])[ -]*(?:(?:mal|times|fois|veces|volte)(?: +(?:the|die|le|el|lo|il))?[ ,]+(\d)(?![\d.,]*\d)"
    r"|(zeroe?s|ones|twos|threes|fours|fives|sixes|sevens|eights|nines)(?!\w))",
    re.IGNORECASE,
)
_PLURALS = ("zeros", "ones", "twos", "threes", "fours", "fives", "sixes", "sevens", "eights", "nines")
# "4 thousand 111", "4tausend111" or "4 mil 111", after the other words were read; 1,000 needs no number before it.
_THOUSANDS = re.compile(
    r"(?<![\d.,])(?:(\d{1,3})[ -]*|(?<!\w))(?:thousand|tausend|mille|mil)"
    r"(?:(?:[ -]+and)?[ -]*(?:und)?(\d{1,3})(?![\d.,]*\d))?(?!\w)",
    re.IGNORECASE,
)


def _number(word: str) -> int:
    return _VALUES[re.sub("[ -]+", " ", word.lower())]


def _digits(found: re.Match[str]) -> str | None:
    """The digits of a number in words; None for a single digit that is no word, and for words that are no number."""
    english, german, spanish, joint, rest, repeat, word, digit = found.groups()
    if word is not None and word.lower() == "due" and not _SHOWS_ITALIAN.search(found.string):
        return None
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


@lru_cache(8)  # several finders read one text in succession
def read_numbers(text: str) -> Reading:
    """Replace the number words of a text by digits, and words that spell a letter by the letter."""
    places = range(len(text) + 1)
    reading = Reading(text, list(places[:-1]), list(places[1:]))
    for words, digits_of in (
        (SPELLED_LETTER, letter),
        (_SPELLED, _digits),
        (_TIMES, _repeated),
        (_THOUSANDS, _thousands),
    ):
        reading = _replaced(reading, words, digits_of)
    return reading


def _repeated(found: re.Match[str]) -> str:
    count, digit, plural = found.groups()
    if plural is not None:
        digit = str(_PLURALS.index(plural.lower().replace("oes", "os")))
    return str(digit) * int(count)


def _thousands(found: re.Match[str]) -> str:
    thousands, rest = found.groups()
    return str(1000 * int(thousands or 1) + int(rest or 0))


def _replaced(reading: Reading, words: re.Pattern[str], digits_of: Callable[[re.Match[str]], str | None]) -> Reading:
    """The reading with digits in place of all words for which there are digits."""
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []

    def copy(begin: int, end: int) -> None:
        pieces.append(reading.digits[begin:end])
        starts.extend(reading.starts[begin:end])
        ends.extend(reading.ends[begin:end])

    done = 0
    for found in words.finditer(reading.digits):
        number = digits_of(found)
        if number is None:
            continue
        copy(done, found.start())
        done = found.end()
        begin, end = reading.span(*found.span())
        pieces.append(number)
        starts.extend([begin] * len(number))
        ends.extend([end] * len(number))
    copy(done, len(reading.digits))
    return Reading("".join(pieces), starts, ends)

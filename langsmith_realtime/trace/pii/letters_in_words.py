"""Reads letters that are spelled by a word as letters: "D wie Dora", "G for George", "Golf Bravo".

Pure. The words are those of the international and of the German spelling alphabet (but "Otto", which is also the
Italian eight); after "for" or "wie", any word that
begins with the letter.
"""

from __future__ import annotations

import re

_WORDS = """
alfa alpha bravo charlie delta echo foxtrot golf hotel india juliet juliett kilo lima mike november oscar papa quebec
romeo sierra tango uniform victor whiskey whisky xray x-ray yankee zulu
anton berta cäsar caesar dora emil friedrich gustav heinrich ida julius kaufmann konrad ludwig martha nordpol
paula quelle richard samuel siegfried theodor ulrich viktor wilhelm xanthippe ypsilon zacharias zeppelin
"""
#: A spelled letter: its first character is the letter.
SPELLED_LETTER = re.compile(
    r"(?<!\w)(?:([a-z])[ ,]+(?:for|as in|like|wie|como|comme|come|di|de)[ ]+\1\w+"
    rf"|(?:{'|'.join(_WORDS.split())}))(?!\w)",
    re.IGNORECASE,
)


def letter(found: re.Match[str]) -> str:
    """The letter for which a match of :data:`SPELLED_LETTER` stands, as a capital."""
    return found.group()[0].upper()

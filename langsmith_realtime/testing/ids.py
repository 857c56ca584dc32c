"""Ids as the Realtime API gives them: a prefix that names the kind, then random letters and digits."""

from __future__ import annotations

import random
import string

_ALPHABET = string.ascii_letters + string.digits


class Ids:
    """Makes ids, too long for two to be the same. A `seed` makes them the same in every run of a test."""

    def __init__(self, seed: int | str | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - ids of a test server guard nothing

    def new(self, prefix: str, length: int = 21) -> str:
        """An id such as ``event_E6U0u6ZFxXUxYesuS1vaT`` for the prefix ``event``."""
        return prefix + "_" + "".join(self._random.choices(_ALPHABET, k=length))

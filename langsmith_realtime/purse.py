"""How much of a thread's time may go to code that is not ours.

Pure: time is an argument, in seconds of a clock that never jumps.
"""

from __future__ import annotations


class Purse:
    """Seconds that may be spent: a ``share`` of the time that goes by, and no more than ``most`` of it saved up."""

    def __init__(self, share: float, most: float) -> None:
        self._share = share
        self._most = self._left = most
        self._filled_at = 0.0

    def is_empty(self, now: float) -> bool:
        self._left = min(self._most, self._left + self._share * (now - self._filled_at))
        self._filled_at = now
        return self._left <= 0

    def spend(self, seconds: float) -> None:
        """What was spent, even where it was more than there was."""
        self._left -= seconds

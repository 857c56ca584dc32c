"""What waits for one destination, and when it is tried again.

Pure: time is an argument, in seconds of a clock that never jumps. Each destination has a lane of its own, so
that one that hangs, or refuses, holds up no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

#: Seconds until the second try, and the longest time between two.
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
#: What may wait in memory for a destination that does not answer; the rest is left to the journals.
WAITING_LIMIT, WAITING_BYTES = 10_000, 50_000_000
#: How often that may wait while nothing is known to be wrong, and of what no trace can do without.
PATIENCE = 4
#: What is left of it when what can be done without went.
LEFT = 0.9


class RetryQueue(Generic[T]):
    """What waits, in order. ``told`` of it, at the front, have failed and somebody knows."""

    def __init__(self, size_of: Callable[[T], int]) -> None:
        self.waiting: list[T] = []
        self.flying: list[T] = []
        self.told = 0
        #: Whether somebody takes what waits.
        self.is_served = False
        #: Before that it is not tried again; None while all is well.
        self.again_at: float | None = None
        self._size_of = size_of
        self._size = 0
        self._wait_s = FIRST_WAIT_S
        self._looked_through = 0  # so many may wait before it is worth it again

    @property
    def in_trouble(self) -> bool:
        return self.again_at is not None

    @property
    def is_full(self) -> bool:
        """Whether only what a trace cannot do without is to wait here."""
        return self._is_beyond(self._times)

    @property
    def is_overfull(self) -> bool:
        """Whether nothing more is to wait here."""
        return self._is_beyond(PATIENCE)

    @property
    def untold(self) -> int:
        """How many are neither delivered nor known to have failed."""
        return max(0, len(self.flying) + len(self.waiting) - self.told)

    def put(self, item: T) -> None:
        self.waiting.append(item)
        self._size += self._size_of(item)

    def make_room(self, may_go: Callable[[T], bool]) -> list[T]:
        """Do without some of what waits, the oldest first, where it is too much; what went.

        It is not looked through again before it has grown.
        """
        if not self.is_full or len(self.waiting) < self._looked_through:
            return []
        excess = len(self.waiting) - LEFT * self._times * WAITING_LIMIT
        too_large = self._size - LEFT * self._times * WAITING_BYTES
        stays: list[T] = []
        went: list[T] = []
        known = self.told - len(self.flying)
        for position, item in enumerate(self.waiting):
            if (len(went) < excess or too_large > 0) and may_go(item):
                went.append(item)
                too_large -= self._size_of(item)
                self.told -= position < known
            else:
                stays.append(item)
        self.waiting = stays
        self._size -= sum(map(self._size_of, went))
        self._looked_through = round(len(stays) / LEFT)
        return went

    def take(self, first: Callable[[list[T]], tuple[list[T], list[T]]]) -> list[T]:
        """What flies next; ``first`` splits it off."""
        self.flying, self.waiting = first(self.waiting)
        return self.flying

    def landed(self, again: list[T], now: float) -> None:
        """What flew is delivered, or refused for good, but for what is to be tried ``again``."""
        gone = len(self.flying) - len(again)
        self._size -= sum(map(self._size_of, self.flying)) - sum(map(self._size_of, again))
        self.flying = []
        self.waiting = [*again, *self.waiting]
        if again:
            # Nobody answers: what waits behind it would fare no better.
            self.told = len(self.waiting)
            self.again_at = now + self._wait_s
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        else:
            self.told = max(0, self.told - gone)
            self.again_at, self._wait_s = None, FIRST_WAIT_S

    def empty(self) -> list[T]:
        """Give up: what was not delivered, as far as that is known."""
        left, self.waiting = [*self.flying, *self.waiting], []
        self.told, self._size = len(self.flying), sum(map(self._size_of, self.flying))
        return left

    @property
    def _times(self) -> int:
        return 1 if self.in_trouble else PATIENCE

    def _is_beyond(self, times: float) -> bool:
        return len(self.waiting) >= times * WAITING_LIMIT or self._size >= times * WAITING_BYTES

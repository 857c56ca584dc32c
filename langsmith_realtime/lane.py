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


class Lane(Generic[T]):
    """What waits, in order. ``told`` of it, at the front, have failed and somebody knows."""

    def __init__(self, size_of: Callable[[T], int]) -> None:
        self.waiting: list[T] = []
        self.flying: list[T] = []
        self.told = 0
        #: Before that it is not tried again; None while all is well.
        self.again_at: float | None = None
        self._size_of = size_of
        self._size = 0
        self._wait_s = FIRST_WAIT_S

    @property
    def in_trouble(self) -> bool:
        return self.again_at is not None

    @property
    def is_full(self) -> bool:
        """Whether no more is to wait here: it only does where nobody answers."""
        return self.in_trouble and (len(self.waiting) >= WAITING_LIMIT or self._size >= WAITING_BYTES)

    @property
    def untold(self) -> int:
        """How many are neither delivered nor known to have failed."""
        return max(0, len(self.flying) + len(self.waiting) - self.told)

    def put(self, item: T) -> None:
        self.waiting.append(item)
        self._size += self._size_of(item)

    def take(self, first: Callable[[list[T]], tuple[list[T], list[T]]]) -> list[T]:
        """What flies next; ``first`` splits it off."""
        self.flying, self.waiting = first(self.waiting)
        return self.flying

    def landed(self, again: list[T], now: float) -> int:
        """What flew is delivered, or refused for good, but for what is to be tried ``again``.

        Returns:
            How many are now known to have failed, and were not before.
        """
        gone = len(self.flying) - len(again)
        self._size -= sum(map(self._size_of, self.flying)) - sum(map(self._size_of, again))
        self.flying = []
        self.waiting = [*again, *self.waiting]
        known = max(0, self.told - gone)
        if not again:
            self.told, self.again_at, self._wait_s = known, None, FIRST_WAIT_S
            return 0
        self.again_at = now + self._wait_s
        self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        # Nobody answers: what waits behind it would fare no better.
        self.told = len(self.waiting)
        return self.told - known

    def empty(self) -> list[T]:
        """Give up: what was not delivered, as far as that is known."""
        left, self.waiting = [*self.flying, *self.waiting], []
        self.told, self._size = len(self.flying), sum(map(self._size_of, self.flying))
        return left

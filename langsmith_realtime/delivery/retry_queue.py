"""The operations waiting for one destination, and the time of the next retry.

Pure: times are arguments, in seconds of a monotonic clock. Each destination has a queue of its own, so that a
destination that hangs or refuses delays no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from langsmith_realtime.options.limits import Limits

T = TypeVar("T")

#: The share of the limits that is still used after dispensable operations were left out.
ROOM_MADE = 0.9


class RetryQueue(Generic[T]):
    """Items in the order in which they are sent.

    Args:
        size_of: the bytes of an item.
        limits: how many items may wait, and how long retries wait.
    """

    def __init__(self, size_of: Callable[[T], int], limits: Limits) -> None:
        self._limits = limits
        self.waiting: list[T] = []
        #: The items of the request under way.
        self.in_flight: list[T] = []
        #: How many items, from the front, count as failed: the ones in flight first, then the waiting ones.
        self.known_failed = 0
        #: Whether a thread sends the items.
        self.has_thread = False
        #: No retry before this time; None while the destination answers.
        self.retry_at: float | None = None
        self._size_of = size_of
        self._size = 0
        self._wait_s = limits.first_retry_s
        self._next_scan_at = 0  # number of waiting items from which on looking for dispensable ones is worth it again

    @property
    def is_retrying(self) -> bool:
        """Whether the last request left items that have to be sent again."""
        return self.retry_at is not None

    @property
    def is_full(self) -> bool:
        """Whether the queue should accept only items that no trace can do without; sooner while it is retrying."""
        return self._exceeds(self._limit_factor)

    @property
    def is_overfull(self) -> bool:
        """Whether the queue should accept no more items."""
        return self._exceeds(self._limits.waiting_factor)

    @property
    def unresolved(self) -> int:
        """The number of items, in flight or waiting, that do not count as failed."""
        return max(0, len(self.in_flight) + len(self.waiting) - self.known_failed)

    def put(self, item: T) -> None:
        self.waiting.append(item)
        self._size += self._size_of(item)

    def make_room(self, leave_out: Callable[[T], bool]) -> list[T]:
        """If the queue is full, remove waiting items that ``leave_out`` agrees to, the oldest first; return them.

        Stops when 90% of the limits are used. After one scan there is no other until the queue has grown again.
        """
        if not self.is_full or len(self.waiting) < self._next_scan_at:
            return []
        excess_items = len(self.waiting) - ROOM_MADE * self._limit_factor * self._limits.waiting_runs
        excess_bytes = self._size - ROOM_MADE * self._limit_factor * self._limits.waiting_bytes
        remaining: list[T] = []
        removed: list[T] = []
        failed_waiting = self.known_failed - len(self.in_flight)
        for position, item in enumerate(self.waiting):
            if (len(removed) < excess_items or excess_bytes > 0) and leave_out(item):
                removed.append(item)
                excess_bytes -= self._size_of(item)
                self.known_failed -= position < failed_waiting
            else:
                remaining.append(item)
        self.waiting = remaining
        self._size -= sum(map(self._size_of, removed))
        self._next_scan_at = round(len(remaining) / ROOM_MADE)
        return removed

    def take(self, split: Callable[[list[T]], tuple[list[T], list[T]]]) -> list[T]:
        """Put the next batch in flight; ``split`` divides the waiting items into this batch and the rest."""
        self.in_flight, self.waiting = split(self.waiting)
        return self.in_flight

    def finish_batch(self, retry: list[T], now: float) -> None:
        """End the request under way: items in ``retry`` wait again, the others are delivered or refused for good."""
        resolved = len(self.in_flight) - len(retry)
        self._size -= sum(map(self._size_of, self.in_flight)) - sum(map(self._size_of, retry))
        self.in_flight = []
        self.waiting = [*retry, *self.waiting]
        if retry:
            # The destination does not answer, so the items behind count as failed, too.
            self.known_failed = len(self.waiting)
            self.retry_at = now + self._wait_s
            self._wait_s = min(2 * self._wait_s, self._limits.longest_retry_s)
        else:
            self.known_failed = max(0, self.known_failed - resolved)
            self.retry_at, self._wait_s = None, self._limits.first_retry_s

    def abandon(self) -> list[T]:
        """Remove all waiting items; return these and the ones in flight, whose outcome stays unknown."""
        abandoned, self.waiting = [*self.in_flight, *self.waiting], []
        self.known_failed, self._size = len(self.in_flight), sum(map(self._size_of, self.in_flight))
        return abandoned

    @property
    def _limit_factor(self) -> int:
        return 1 if self.is_retrying else self._limits.waiting_factor

    def _exceeds(self, factor: float) -> bool:
        limits = self._limits
        return len(self.waiting) >= factor * limits.waiting_runs or self._size >= factor * limits.waiting_bytes

"""Simulated time for a conversation, and the alternation of two conversations in one event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

#: How long a loop works before it pauses, in seconds.
WORK_S = 0.02
#: The other threads are idle if they use less CPU than `IDLE_CPU_S` for `IDLE_S` seconds.
IDLE_S, IDLE_CPU_S = 0.15, 0.002
#: The longest wait until the other threads are idle, in seconds.
IDLE_TIMEOUT_S = 3.0


class SimulatedTime:
    """A clock that a conversation moves forward instead of waiting.

    While its context is entered, the clock replaces ``time.monotonic`` in the whole process. `busy` is the share of
    real time in which the conversation works; in the rest it pauses.
    """

    def __init__(self, busy: float) -> None:
        self._real_time = time.monotonic
        self.busy = busy
        self._ahead = 0.0
        self._paused_at: float | None = None
        self._began = self._resumed = self._real_time()

    def __enter__(self) -> Self:
        time.monotonic = self._now
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        time.monotonic = self._real_time

    def _now(self) -> float:
        return (self._real_time() if self._paused_at is None else self._paused_at) + self._ahead

    @property
    def elapsed(self) -> float:
        """Simulated seconds since the clock was created."""
        return self._now() - self._began

    async def advance_to(self, seconds: float) -> None:
        """Moves the clock forward to `seconds` after its creation. Pauses in real time if `busy` requires it."""
        self._ahead += max(0.0, seconds - self.elapsed)
        worked = self._real_time() - self._resumed
        if self.busy < 1 and worked >= WORK_S:
            await asyncio.sleep(worked / self.busy - worked)
            self._resumed = self._real_time()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the clock."""
        self._paused_at = self._real_time()
        try:
            yield
        finally:
            self._ahead -= self._real_time() - self._paused_at
            self._paused_at = None
            self._resumed = self._real_time()


class Alternation:
    """Lets two conversations in one event loop work in turn; between two turns, the background threads become idle.

    So both run on the same machine in the same process. The machine's speed varies by more than tracing costs, and so
    do two processes. The conversations are numbered 0 and 1; number 1 begins.
    """

    def __init__(self) -> None:
        self._may_work = (asyncio.Event(), asyncio.Event())
        self._may_work[1].set()
        self._other_finished = False

    async def hand_over(self, number: int) -> None:
        """Ends the turn of conversation `number` and waits for its next one, unless the other one has finished."""
        if self._other_finished:
            return
        await _background_idle()
        self._may_work[number].clear()
        self._may_work[1 - number].set()
        await self._may_work[number].wait()

    async def wait_for_first_turn(self, number: int) -> None:
        """Waits until conversation `number` may work."""
        await self._may_work[number].wait()

    def finish(self, number: int) -> None:
        """Conversation `number` is over, so the other one works alone."""
        self._other_finished = True
        self._may_work[1 - number].set()


async def _background_idle() -> None:
    began = idle_since = time.perf_counter()
    cpu_before = time.process_time() - time.thread_time()
    while time.perf_counter() < min(idle_since + IDLE_S, began + IDLE_TIMEOUT_S):
        await asyncio.sleep(IDLE_S / 5)
        cpu = time.process_time() - time.thread_time()
        if cpu > cpu_before + IDLE_CPU_S:
            cpu_before, idle_since = cpu, time.perf_counter()

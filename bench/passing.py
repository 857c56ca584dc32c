"""Time as it passes when people talk, without waiting for it; and who of two talks in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

#: How long a loop works before it waits, in seconds.
WORK_S = 0.02
#: When the other threads of a process do nothing for so long, in seconds, they have nothing to do; they are not waited
#: for longer than that.
QUIET_S, PATIENCE_S = 0.15, 3.0
#: What counts as nothing, in seconds of CPU.
NOTHING_S = 0.002


class ConversationTime:
    """The time of one conversation, which goes on when it is told to as well.

    Whoever tells it works for ``busy`` of the real time, and waits in between. As a context manager it is
    ``time.monotonic`` for everybody in the process.
    """

    def __init__(self, busy: float) -> None:
        self._real = time.monotonic
        self.busy = busy
        self._ahead = 0.0
        self._held: float | None = None
        self._began = self._resumed = self._real()

    def __enter__(self) -> Self:
        time.monotonic = self._now
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        time.monotonic = self._real

    def _now(self) -> float:
        return (self._real() if self._held is None else self._held) + self._ahead

    @property
    def elapsed(self) -> float:
        return self._now() - self._began

    async def until(self, seconds: float) -> None:
        """The conversation has lasted so long."""
        self._ahead += max(0.0, seconds - self.elapsed)
        worked = self._real() - self._resumed
        if self.busy < 1 and worked >= WORK_S:
            await asyncio.sleep(worked / self.busy - worked)
            self._resumed = self._real()

    @contextmanager
    def held(self) -> Iterator[None]:
        """It stands still meanwhile."""
        self._held = self._real()
        try:
            yield
        finally:
            self._ahead -= self._real() - self._held
            self._held = None
            self._resumed = self._real()


class Relay:
    """Two in one event loop, of whom one works until it passes on; what goes on beside it comes to an end first.

    So both meet the same machine and the same process: its speed changes by more than what is measured, and differs
    from one process to the next.
    """

    def __init__(self) -> None:
        self._has_it = (asyncio.Event(), asyncio.Event())
        self._has_it[1].set()
        self._alone = False

    async def pass_on(self, me: int) -> None:
        """Have the other work until it is one's turn again."""
        if self._alone:
            return
        await _quiet()
        self._has_it[me].clear()
        self._has_it[1 - me].set()
        await self._has_it[me].wait()

    async def first_turn(self, me: int) -> None:
        await self._has_it[me].wait()

    def leave(self, me: int) -> None:
        """One of them has done its work."""
        self._alone = True
        self._has_it[1 - me].set()


async def _quiet() -> None:
    began = since = time.perf_counter()
    worked = time.process_time() - time.thread_time()
    while time.perf_counter() < min(since + QUIET_S, began + PATIENCE_S):
        await asyncio.sleep(QUIET_S / 5)
        now = time.process_time() - time.thread_time()
        if now > worked + NOTHING_S:
            worked, since = now, time.perf_counter()

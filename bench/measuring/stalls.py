"""Measures how long an event loop stalls."""

from __future__ import annotations

import asyncio
import time


class Stalls:
    """The longest stall of the event loop, in seconds: the longest time between two of its iterations.

    Only time in which this process used CPU counts, so that other processes on the machine add nothing.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._skip_next = True

    def skip(self) -> None:
        """Ignores the time since the last iteration of the loop."""
        self._skip_next = True

    async def watch(self, every: float = 0.0) -> None:
        """Measures until cancelled. The loop is expected to iterate every `every` seconds."""
        before, cpu_before = time.perf_counter(), time.process_time()
        while True:
            await asyncio.sleep(every)
            now, cpu = time.perf_counter(), time.process_time()
            if not self._skip_next:
                self.longest = max(self.longest, min(now - before - every, cpu - cpu_before))
            self._skip_next = False
            before, cpu_before = now, cpu

"""Background work that makes a pause now and then: the conversation goes first.

A thread that wants to run beside one that computes waits for its turn for as long as Python's switch interval (5 ms),
and asking for it costs that thread's time.
"""

from __future__ import annotations

import time

#: How long work goes on without a pause, and how long that is, in seconds.
EVERY, PAUSE = 0.002, 0.0001


class Breath:
    """Whoever works asks for one between two pieces of work."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Work begins after a longer pause."""
        self._since = time.perf_counter()

    def take(self) -> None:
        """Pause, if it is time to."""
        if time.perf_counter() > self._since + EVERY:
            time.sleep(PAUSE)
            self._since = time.perf_counter()

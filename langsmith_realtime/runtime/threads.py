"""Background threads, also at the end of the process: Python 3.12 begins none from there on, not even for what has
to be done before it.
"""

from __future__ import annotations

import math
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from langsmith_realtime.runtime.forks import at_fork
from langsmith_realtime.runtime.guard import logger

#: Whether a thread has to be there in time.
NEEDS_SPARE = sys.version_info[:2] == (3, 12)


def start_thread(work: Callable[[], None], name: str) -> threading.Thread | None:
    """Do ``work`` in a daemon thread of that name; None where it is too late to begin one."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def run_at_exit(work: Callable[[], None]) -> bool:
    """Where it is too late: do ``work`` in the thread that was kept for that; False when there is none."""
    return _spare.do(work)


def prepare_spare_thread() -> None:
    """Have the spare thread, where one is needed; from any thread, while the process goes on."""
    if NEEDS_SPARE:
        _spare.begin()


class _Spare:
    """A thread that waits for work until the process ends."""

    def __init__(self) -> None:
        self._works: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._beginning = threading.Lock()
        self._is_there = False

    def begin(self) -> None:
        with self._beginning:
            if not self._is_there:
                self._is_there = start_thread(self._wait, "langsmith-realtime-spare") is not None

    def do(self, work: Callable[[], None]) -> bool:
        if self._is_there:
            self._works.put(work)
        return self._is_there

    def _wait(self) -> None:
        while True:
            work = self._works.get()
            try:
                work()
            except BaseException:  # whatever it is: others wait for this thread
                logger.warning("work at the end of the process failed", exc_info=True)


_spare = _Spare()


def _begin_again() -> None:
    """After a fork: the thread is the parent's."""
    global _spare  # noqa: PLW0603
    _spare = _Spare()


at_fork(after_in_child=_begin_again)


#: How long work goes on without a pause, and how long that is, in seconds.
EVERY, PAUSE = 0.002, 0.0001


class Pauses:
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


#: Seconds that a step may take which waits for somebody else: 5 MB, the least that S3 takes, at 350 kB a second.
STEP_S = 15.0


_under_way: dict[object, float] = {}  # until when it need not say that it comes on


@contextmanager
def work_in_progress(step_s: float = math.inf) -> Iterator[Callable[[], None]]:
    """Work that comes on while it makes the step it is given every ``step_s`` seconds; or that just computes."""
    work = object()

    def step() -> None:
        _under_way[work] = time.monotonic() + step_s

    step()
    try:
        yield step
    finally:
        _under_way.pop(work, None)


def is_progressing() -> bool:
    """Whether any such work does."""
    now = time.monotonic()
    return any(until > now for until in list(_under_way.values()))


# The child does not have the threads that do it.
at_fork(after_in_child=_under_way.clear)

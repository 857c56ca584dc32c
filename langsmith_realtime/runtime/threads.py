"""Background threads: starting them, also while the process exits, their pauses, and whether their work progresses.

From the start of the interpreter's shutdown on, Python 3.12 starts no threads, not even for work that must be done
before it ends. A spare thread, started in time, does that work.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from langsmith_realtime.runtime.forks import at_fork
from langsmith_realtime.runtime.guard import logger

#: Whether Python starts no threads during shutdown, so that a spare thread is needed.
NEEDS_SPARE = sys.version_info[:2] == (3, 12)


def start_thread(work: Callable[[], None], name: str) -> threading.Thread | None:
    """Run ``work`` in a daemon thread of that name; None if Python starts no more threads."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def run_at_exit(work: Callable[[], None]) -> bool:
    """Have the spare thread run ``work``, without waiting; False if there is no spare thread."""
    return _spare.run(work)


def prepare_spare_thread() -> None:
    """On Python 3.12, which starts no threads at exit, start the thread that runs work then. Elsewhere, do nothing."""
    if NEEDS_SPARE:
        _spare.start()


class _SpareThread:
    """A thread that waits for work until the process ends."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._is_running = False

    def start(self) -> None:
        with self._starting:
            if not self._is_running:
                self._is_running = start_thread(self._serve, "langsmith-realtime-spare") is not None

    def run(self, work: Callable[[], None]) -> bool:
        if self._is_running:
            self._work.put(work)
        return self._is_running

    def _serve(self) -> None:
        while True:
            work = self._work.get()
            try:
                work()
            except BaseException:  # the thread must stay for the next piece of work
                logger.warning("work at the end of the process failed", exc_info=True)


_spare = _SpareThread()


def _reset_spare_thread() -> None:
    """In a forked child, which has none of its parent's threads."""
    global _spare  # noqa: PLW0603
    _spare = _SpareThread()


at_fork(after_in_child=_reset_spare_thread)


#: A thread that computes pauses after so many seconds of work, for so many seconds.
WORK_S, PAUSE_S = 0.002, 0.0001


class Pauses:
    """The pauses of one background thread, so that the conversation's threads run first.

    Without a pause, a thread that wants to run waits for Python's switch interval (5 ms), and the request costs time,
    too.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Note that work begins, after a wait that was a pause by itself."""
        self._since = time.perf_counter()

    def take(self) -> None:
        """Between two pieces of work: sleep :data:`PAUSE_S` if more than :data:`WORK_S` passed since the last pause."""
        if time.perf_counter() > self._since + WORK_S:
            time.sleep(PAUSE_S)
            self._since = time.perf_counter()


#: Seconds that a step of an upload may take: S3's smallest part, 5 MB, at 350 kB a second.
STEP_S = 15.0


_deadlines: dict[object, float] = {}  # when the next step of each piece of work is due


@contextmanager
def work_in_progress(step_s: float = math.inf) -> Iterator[Callable[[], None]]:
    """Have the exit of the process wait for the work in the block, in whatever thread.

    Args:
        step_s: The work counts as stuck if it takes longer than so many seconds without a step. By default it never
            does: work that only computes comes to an end.

    Yields:
        Call this after each step.
    """
    work = object()

    def step() -> None:
        _deadlines[work] = time.monotonic() + step_s

    step()
    try:
        yield step
    finally:
        _deadlines.pop(work, None)


def is_progressing() -> bool:
    """Whether any work is in progress and not stuck."""
    now = time.monotonic()
    return any(until > now for until in list(_deadlines.values()))


# A forked child has none of the threads that do the work.
at_fork(after_in_child=_deadlines.clear)


def load_library(package: str, pattern: str) -> None:
    """Load the shared libraries of a package without holding the interpreter lock, which its import would hold.

    For numpy this shortens the longest stall of the other threads during the import from 24 ms to 13 ms. A package or a
    file that is not there is left to the import.

    Args:
        package: name of the package; it is not imported.
        pattern: glob pattern of the libraries, relative to the package's folder.
    """
    with suppress(ImportError, OSError, ValueError):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for library in Path(folder).glob(pattern):
                ctypes.CDLL(str(library))

"""Repeats a device test whose result is wrong because the machine stalled.

Watchers detect stalls: on every processor a process of ordinary priority wakes every 10 ms. If a watcher wakes late, a
sound device may have been starved as well, so a wrong result says little about the code under test. If all watchers
wake in time, the result counts.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

#: Delay of a watcher, in seconds, above which the machine counts as stalled.
STALL_S = 0.04
#: Largest number of runs of one test.
TAKES = 3

WATCH = """
import os, select, sys, time
os.setpriority(os.PRIO_PROCESS, 0, 0)
os.sched_setaffinity(0, {int(sys.argv[1])})
longest, ended = 0.0, False
while not ended:
    before = time.monotonic()
    ended = bool(select.select([sys.stdin], [], [], 0.01)[0])
    longest = max(longest, time.monotonic() - before - 0.01)
print(longest)
"""


class Watch:
    """The watchers' result: `longest_s` is the longest delay of a wake-up, in seconds."""

    longest_s = 0.0


def processors() -> list[int]:
    """The numbers of the processors that this process may run on; none where the system does not tell."""
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))
    else:  # noqa: RET505 - types of all platforms are checked
        return []


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """Runs the watchers inside the block; the result is set when the block ends."""
    watch = Watch()
    with contextlib.ExitStack() as stack:
        watchers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WATCH, str(processor)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            for processor in processors()
        ]
        try:
            yield watch
        finally:
            watch.longest_s = max(float(watcher.communicate()[0]) for watcher in watchers)


@dataclass(frozen=True)
class Take(Generic[T]):
    """One run of a device test.

    Attributes:
        result: what the run returned.
        error_ratio: its error relative to the tolerance that applies while the machine keeps time.
        stalled_s: longest stall of the machine during the run, in seconds.
    """

    result: T
    error_ratio: float
    stalled_s: float

    @property
    def starved(self) -> bool:
        """Whether the machine stalled."""
        return self.stalled_s > STALL_S


def best_take(run: Callable[[], T], error_ratio: Callable[[T], float]) -> Take[T]:
    """Runs a device test, and repeats it up to `TAKES` runs while its error ratio exceeds 1 and the machine stalled.

    Returns:
        The run with the lowest error ratio.

    Raises:
        Exception: an exception of `run`, if the machine did not stall or no run returned a result.
    """
    takes: list[Take[T]] = []
    for number in range(1, TAKES + 1):
        failure: Exception | None = None
        with watched() as watch:
            try:
                result = run()
            except Exception as error:
                failure = error
        stalled = f"longest stall {watch.longest_s * 1000:.0f} ms"
        if failure is None:
            takes.append(Take(result, error_ratio(result), watch.longest_s))
            print(f"take {number}: error ratio {takes[-1].error_ratio:.2f}, {stalled}")
            if takes[-1].error_ratio <= 1 or not takes[-1].starved:
                return takes[-1]
        else:
            print(f"take {number}: {failure!r}, {stalled}")
            if watch.longest_s <= STALL_S or (number == TAKES and not takes):
                raise failure
    return min(takes, key=lambda take: take.error_ratio)

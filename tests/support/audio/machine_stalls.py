"""A witness of whether the machine kept time: what starves a sound device starves these watchers too.

On every processor a process of ordinary priority wants to wake every 10 ms. What a device test held while one of them
was woken late proves little of what is tested; what it held while all were in time is judged as it is.
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

STALL_S = 0.04
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
    """`longest_s` is the longest that a watcher was woken late."""

    longest_s = 0.0


def processors() -> list[int]:
    """The numbers of the processors that this process may run on; none where the system does not tell."""
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))
    else:  # noqa: RET505 - types of all platforms are checked
        return []


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """Watches while inside; known afterwards."""
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
    """What was held; `wrong` is by how much, 1 being what is allowed at most while the machine keeps time."""

    held: T
    wrong: float
    stalled_s: float

    @property
    def starved(self) -> bool:
        """Whether the machine did not keep time."""
        return self.stalled_s > STALL_S


def best_take(hold: Callable[[], T], wrong: Callable[[T], float]) -> Take[T]:
    """Holds it once; again, `TAKES` times at most, only where it is wrong and the machine starved. The least wrong.

    What `hold` raises counts as wrong, and is raised when there is no other take.
    """
    takes: list[Take[T]] = []
    for number in range(1, TAKES + 1):
        failure: Exception | None = None
        with watched() as watch:
            try:
                held = hold()
            except Exception as error:
                failure = error
        stalled = f"longest stall {watch.longest_s * 1000:.0f} ms"
        if failure is None:
            takes.append(Take(held, wrong(held), watch.longest_s))
            print(f"take {number}: wrong by {takes[-1].wrong:.2f}, {stalled}")
            if takes[-1].wrong <= 1 or not takes[-1].starved:
                return takes[-1]
        else:
            print(f"take {number}: {failure!r}, {stalled}")
            if watch.longest_s <= STALL_S or (number == TAKES and not takes):
                raise failure
    return min(takes, key=lambda take: take.wrong)

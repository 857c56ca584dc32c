"""Whether what takes long before it has something to send comes on: the end of the process waits for that.

Any thread may do such work.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Seconds that a step may take which waits for somebody else: 5 MB, the least that S3 takes, at 350 kB a second.
STEP_S = 15.0

_under_way: dict[object, float] = {}  # until when it need not say that it comes on


@contextmanager
def under_way(step_s: float = math.inf) -> Iterator[Callable[[], None]]:
    """Work that comes on while it makes the step it is given every ``step_s`` seconds; or that just computes."""
    work = object()

    def step() -> None:
        _under_way[work] = time.monotonic() + step_s

    step()
    try:
        yield step
    finally:
        _under_way.pop(work, None)


def comes_on() -> bool:
    """Whether any such work does."""
    now = time.monotonic()
    return any(until > now for until in list(_under_way.values()))


# The child does not have the threads that do it.
os.register_at_fork(after_in_child=_under_way.clear)

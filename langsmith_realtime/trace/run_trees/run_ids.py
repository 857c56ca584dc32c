"""Run ids and the order of runs, made with integers: a UUIDv7's time is exactly its run's start time.

Pure but for randomness where no seed is given. Times are whole microseconds since the epoch (UTC).
"""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

from langsmith_realtime.runtime.forks import at_fork

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Our own, because the application may seed the shared one; ids are told apart by it, and are no secrets.
_random = random.Random()  # noqa: S311
at_fork(after_in_child=_random.seed)


def uuid7(microseconds: int, seed: str | None = None) -> UUID:
    """A UUIDv7 of that time (RFC 9562): milliseconds in front, their fraction in the 12 bits behind it.

    The rest is random, or the same again for the same ``seed``.

    LangSmith finds runs by the milliseconds in their id; the fraction makes ids of one millisecond sort.
    """
    milliseconds, fraction = divmod(microseconds, 1000)
    upper = milliseconds << 16 | 7 << 12 | fraction * 4096 // 1000
    if seed is None:
        lower = _random.getrandbits(62)
    else:
        lower = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest(), "big") & (1 << 62) - 1
    return UUID(int=upper << 64 | 2 << 62 | lower)


def time_of(microseconds: int) -> datetime:
    return _EPOCH + timedelta(0, 0, microseconds)


def microseconds_of(time: datetime) -> int:
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return (time - _EPOCH) // _MICROSECOND


def segment(time: datetime, run_id: UUID) -> str:
    """A run's own part of its ``dotted_order``."""
    second, fraction = divmod(microseconds_of(time), 1_000_000)
    return f"{_written(second)}{fraction:06}Z{run_id}"


@lru_cache
def _written(second: int) -> str:
    """A second since the epoch as a ``dotted_order`` has it; many runs share one, and writing it is slow."""
    return time_of(second * 1_000_000).strftime("%Y%m%dT%H%M%S")


def start_of(dotted_order: str) -> datetime:
    """When the run with this ``dotted_order`` started; its last segment says so.

    Raises:
        ValueError: it is no dotted order.
    """
    stamp = dotted_order.rsplit(".", 1)[-1].split("Z", maxsplit=1)[0]
    return datetime.strptime(stamp, "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)

"""Makes run ids and ``dotted_order`` segments from a run's start time, which is exactly the time in its UUIDv7.

Times are whole microseconds since the epoch (UTC) and are handled as integers, because floats round. Pure, except for
the random bits of ids made without a seed.
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
# A generator of its own, because the application may seed the shared one, which would repeat ids. Ids are no secrets.
_random = random.Random()  # noqa: S311
at_fork(after_in_child=_random.seed)


def uuid7(microseconds: int, seed: str | None = None) -> UUID:
    """A UUIDv7 (RFC 9562) of a time: its milliseconds, then their fraction in 12 bits, then 62 more bits.

    LangSmith finds a run by the milliseconds in its id. The fraction makes ids within one millisecond sort by time.

    Args:
        microseconds: the run's start, since the epoch (UTC).
        seed: determines the 62 bits, so that an equal time and seed give an equal id; random if None.
    """
    milliseconds, fraction = divmod(microseconds, 1000)
    upper = milliseconds << 16 | 7 << 12 | fraction * 4096 // 1000
    if seed is None:
        lower = _random.getrandbits(62)
    else:
        lower = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest(), "big") & (1 << 62) - 1
    return UUID(int=upper << 64 | 2 << 62 | lower)


def time_of(microseconds: int) -> datetime:
    """The UTC time of a number of microseconds since the epoch."""
    return _EPOCH + timedelta(0, 0, microseconds)


def microseconds_of(time: datetime) -> int:
    """The microseconds from the epoch to a time; a time without a zone is taken as UTC."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return (time - _EPOCH) // _MICROSECOND


def segment(time: datetime, run_id: UUID) -> str:
    """A run's own segment of its ``dotted_order``: ``%Y%m%dT%H%M%S%fZ`` and the run id."""
    second, fraction = divmod(microseconds_of(time), 1_000_000)
    return f"{_seconds_text(second)}{fraction:06}Z{run_id}"


@lru_cache
def _seconds_text(second: int) -> str:
    """A second since the epoch as written in a ``dotted_order``. Cached: formatting is slow, runs share seconds."""
    return time_of(second * 1_000_000).strftime("%Y%m%dT%H%M%S")


def start_of(dotted_order: str) -> datetime:
    """The start time of the run with this ``dotted_order``, from its last segment.

    Raises:
        ValueError: the text is not a ``dotted_order``.
    """
    stamp = dotted_order.rsplit(".", 1)[-1].split("Z", maxsplit=1)[0]
    return datetime.strptime(stamp, "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)

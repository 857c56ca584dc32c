"""Checks the arguments of ``silence()``."""

from __future__ import annotations

import math
from numbers import Real

#: How far ahead of now a silence may begin, in seconds; what lies further is another clock's.
AHEAD = 60.0


def checked_silence(
    now: float,
    *,
    seconds: object = None,
    item_id: object = None,
    since: object = None,
    until: object = None,
) -> tuple[float | None, float | None, str | None]:
    """What a caller asked to be silenced at ``now``: since when, until when, and of which item.

    All times are seconds of one clock, ``now`` as well. An ``until`` of infinity is none.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: none at all, arguments that exclude each other, or a time that cannot be.
    """
    if sum(one is not None for one in (seconds, item_id)) + (since is not None or until is not None) != 1:
        raise ValueError("silence takes seconds, or item_id, or since and until")
    if item_id is not None:
        if not isinstance(item_id, str):
            raise TypeError(f"item_id is a string, not {type(item_id).__name__}")
        return None, None, item_id
    if seconds is not None:
        lasted = _number("seconds", seconds)
        if not lasted > 0:
            raise ValueError(f"seconds is how long back from now, and positive; {seconds} is not")
        return now - lasted, now, None
    begin = None if since is None else _number("since", since)
    end = None if until is None else _number("until", until)
    if begin is not None and not begin <= now + AHEAD:
        raise ValueError(f"since is a time of time.monotonic(), which is {now:.3f} s now; {since} is far ahead of it")
    if end is not None and (math.isnan(end) or (begin is not None and end <= begin)):
        raise ValueError(f"until is a time after since; {until} is not")
    return begin, None if end == math.inf else end, None


def _number(name: str, given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, Real):
        raise TypeError(f"{name} is a number of seconds, not {type(given).__name__}")
    return float(given)

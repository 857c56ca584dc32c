"""Checks the arguments of calls on an open conversation: ``silence()`` and ``add()``."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from numbers import Real

from langsmith_realtime.core.payloads.json_values import json_copy
from langsmith_realtime.core.protocol.inputs import Annotated

#: Seconds from now within which a silence may begin. A later time must come from another clock than time.monotonic().
AHEAD = 60.0


def checked_silence(
    now: float,
    *,
    seconds: object = None,
    item_id: object = None,
    since: object = None,
    until: object = None,
) -> tuple[float | None, float | None, str | None]:
    """Return begin, end and item id of the audio to silence; None for each that the arguments leave open.

    Args:
        now: time of the call, in seconds of ``time.monotonic()``, like ``since`` and ``until``.
        seconds: length in seconds of the silence that ends at ``now``.
        item_id: item whose audio is to be silent.
        since: begin of the silence.
        until: end of the silence; infinity counts as no end.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: no argument, or arguments that exclude each other; ``seconds`` is not positive, ``since`` is more
            than :data:`AHEAD` seconds after ``now``, or ``until`` is not after ``since``.
    """
    if sum(one is not None for one in (seconds, item_id)) + (since is not None or until is not None) != 1:
        raise ValueError("silence() needs seconds, or item_id, or since and/or until")
    if item_id is not None:
        if not isinstance(item_id, str):
            raise TypeError(f"item_id must be a str, got {type(item_id).__name__}")
        return None, None, item_id
    if seconds is not None:
        length = _number("seconds", seconds)
        if not length > 0:
            raise ValueError(f"seconds must be positive, got {seconds}")
        return now - length, now, None
    begin = None if since is None else _number("since", since)
    end = None if until is None else _number("until", until)
    if begin is not None and not begin <= now + AHEAD:
        raise ValueError(f"since must be a time of time.monotonic(), which is {now:.3f} s now, got {since}")
    if end is not None and (math.isnan(end) or (begin is not None and end <= begin)):
        raise ValueError(f"until must be later than since, got {until}")
    return begin, None if end == math.inf else end, None


def checked_annotation(t: float, metadata: object, tags: object, outputs: object) -> Annotated:
    """What is added at ``t`` seconds; None adds nothing. Values are copied as JSON.

    Raises:
        TypeError: ``metadata`` or ``outputs`` is no mapping with str keys, or ``tags`` no collection of str.
        ValueError: ``outputs`` has the key ``messages``, which holds the transcript.
    """
    for name, given in (("metadata", metadata), ("outputs", outputs)):
        if given is not None and not (isinstance(given, Mapping) and all(isinstance(key, str) for key in given)):
            raise TypeError(f"{name} must be a mapping with str keys, got {type(given).__name__}")
    if tags is None:
        tags = ()
    if isinstance(tags, str) or not isinstance(tags, Collection) or not all(isinstance(tag, str) for tag in tags):
        raise TypeError("tags must be a list of str")
    if isinstance(outputs, Mapping) and "messages" in outputs:
        raise ValueError("outputs must not have the key 'messages', which holds the transcript")
    return Annotated(t, json_copy(metadata or {}), tuple(tags), json_copy(outputs or {}))


def _number(name: str, given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, Real):
        raise TypeError(f"{name} must be a number of seconds, got {type(given).__name__}")
    return float(given)

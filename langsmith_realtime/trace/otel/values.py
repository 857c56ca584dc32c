"""Makes attribute values that every version of OpenTelemetry's SDK takes.

Pure. A lone surrogate, an integer of more than 64 bits, None or a nested map would lose the attribute, or in a span's
name the whole batch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import orjson

from langsmith_realtime.core.payloads.json_values import without_surrogates

Value: TypeAlias = str | bool | int | float | list[str]

#: The most attributes of a span; the SDK drops the oldest ones past its default limit of 128.
MAX_ATTRIBUTES = 100
#: How deeply the body of a log record may be nested; protobuf allows 100 messages, and a map takes three.
MAX_DEPTH = 20
FURTHER = "langsmith_realtime.further_attributes"
_INT64 = 1 << 63
_SCALARS = frozenset({str, int, float, bool})


def attributes(given: Mapping[str, Any]) -> dict[str, Value]:
    """The attributes that have a value. A map, or a list of anything but str, becomes JSON text.

    Those past :data:`MAX_ATTRIBUTES` are together in the last one, :data:`FURTHER`, as JSON text.
    """
    taken: dict[str, Value] = {}
    for name, value in given.items():
        if value is None:
            continue
        kind = type(value)  # most values are plain texts and integers; a call for each would cost more
        is_plain = value.isascii() if kind is str else kind is int and -_INT64 <= value < _INT64
        taken[name if name.isascii() else clean(name)] = value if is_plain else attribute_value(value)
    if len(taken) > MAX_ATTRIBUTES:
        further = {name: taken.pop(name) for name in list(taken)[MAX_ATTRIBUTES:]}
        taken[FURTHER] = json_text(further)
    return taken


def attribute_value(value: object) -> Value:
    """One value; an integer of more than 64 bits and a number that is not finite become text."""
    if type(value) is str:
        return clean(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -_INT64 <= value < _INT64 else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value):
        return [clean(each) for each in value]
    return json_text(value)


def json_text(value: object) -> str:
    """A value as JSON text; a number that is not finite is null."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:
        pass  # it has a lone surrogate, an integer of more than 64 bits, or a key that is no text
    try:
        return clean(json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":")))
    except (ValueError, TypeError, RecursionError):
        return "?"


def clean(text: str) -> str:
    """A text without lone surrogates."""
    return text if type(text) is str and text.isascii() else without_surrogates(str(text))


def body(value: Any, depth: int = 0) -> Any:
    """The body of a log record: maps, lists and texts, with integers of 64 bits and without None.

    What is nested more deeply than :data:`MAX_DEPTH` is JSON text, because OTLP's encoder refuses the whole batch.
    """
    if depth >= MAX_DEPTH or type(value) in _SCALARS:  # the most frequent ones first
        return attribute_value(value)
    depth += 1
    if isinstance(value, Mapping):
        made = {}
        for key, each in value.items():
            if each is not None:
                is_plain = type(each) is str and each.isascii()
                made[clean(key)] = each if is_plain else body(each, depth)
        return made
    if isinstance(value, (list, tuple)):
        return [body(each, depth) for each in value if each is not None]
    return attribute_value(value)

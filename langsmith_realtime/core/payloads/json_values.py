"""Converts any value to JSON types, and cuts values to a size.

Pure. A payload may contain subclasses whose methods raise, values that contain themselves, or values that JSON cannot
represent. One such value would fail the whole request that carries it. The result here consists only of exact dict
(with str keys), list, str, int, float, bool and None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import orjson
from pydantic import BaseModel

#: The application's ``redact`` function: payload in, redacted payload out.
Redact: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

#: How many containers may be nested in the outermost one, more than in any real event; a deeper one becomes
#: :data:`TOO_DEEP`.
MAX_DEPTH = 40
#: How many members all containers of a value may have together, more than in any real event. It bounds the copy of
#: containers that are members of each other several times.
MAX_MEMBERS = 100_000
TOO_DEEP = "<nested too deeply>"
TOO_MANY = "<too many members>"
CONTAINS_ITSELF = "<contains itself>"

_SCALAR_TYPES = frozenset({str, int, float, bool, type(None)})
#: Characters that are left of each text, tried in this order until the payload fits.
_TEXT_LIMITS = (1_000_000, 100_000, 10_000, 1_000, 100)


def json_copy(value: object) -> Any:
    """A deep copy of any value; the copy consists of JSON types only.

    Placeholders replace containers that contain themselves or are nested too deeply, and the members beyond
    :data:`MAX_MEMBERS`.
    """
    return _Copier().copy(value)


def json_frame(frame: object) -> Any:
    """A malformed frame as JSON types: bytes are decoded as UTF-8, anything else is copied like :func:`json_copy`."""
    if isinstance(frame, (bytes, bytearray, memoryview)):
        return bytes(frame).decode("utf-8", "replace")
    return json_copy(frame)


class _Copier:
    """Makes one copy of a value; counts its members and detects cycles."""

    def __init__(self) -> None:
        self._members_left = MAX_MEMBERS
        self._enclosing: set[int] = set()  # ids of the containers around the value that is being copied

    def copy(self, value: object) -> Any:
        kind = type(value)
        if kind is str:
            return without_surrogates(value)  # type: ignore[arg-type]
        if kind in _SCALAR_TYPES:
            return json_scalar(value)
        try:
            # The base class's methods, because a subclass may override them with anything.
            if isinstance(value, dict):
                return self._container(value, self._mapping, dict.items(value))
            if isinstance(value, list):
                return self._container(value, self._sequence, list.__iter__(value))
            if isinstance(value, tuple):
                return self._container(value, self._sequence, tuple.__iter__(value))
            if isinstance(value, (set, frozenset)):
                return self._container(value, self._sequence, frozenset(value))
            if isinstance(value, BaseModel):
                return self._container(value, self._mapping, dump_model(value).items())
            if isinstance(value, Mapping):
                return self._container(value, self._mapping, value.items())
        except Exception:
            return _unreadable(value)
        return json_scalar(value)

    def _container(self, value: object, copy_members: Callable[[Any], Any], members: Iterable[Any]) -> Any:
        if id(value) in self._enclosing:
            return CONTAINS_ITSELF
        if len(self._enclosing) > MAX_DEPTH:
            return TOO_DEEP
        self._enclosing.add(id(value))
        try:
            return copy_members(members)
        finally:
            self._enclosing.discard(id(value))

    def _mapping(self, pairs: Iterable[tuple[object, object]]) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        for key, member in pairs:
            if not self._members_left:
                copy["…"] = TOO_MANY
                break
            self._members_left -= 1
            name = key if type(key) is str and key.isascii() else str(json_scalar(key))
            # Most members are plain texts; a call for each would cost more than the copy.
            copy[name] = member if type(member) is str and member.isascii() else self.copy(member)
        return copy

    def _sequence(self, members: Iterable[object]) -> list[Any]:
        copy: list[Any] = []
        for member in members:
            if not self._members_left:
                copy.append(TOO_MANY)
                break
            self._members_left -= 1
            copy.append(self.copy(member))
        return copy


def dump_model(model: BaseModel) -> dict[str, Any]:
    """A pydantic model as JSON types, without the fields that were not on the wire."""
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)


def json_scalar(value: object) -> str | int | float | bool | None:
    """A value that is no container as a JSON scalar.

    Integers beyond 64 bits, NaN, infinity and other objects become text. Bytes, very large integers and
    values that cannot be read become a description.
    """
    if value is None or value is True or value is False:
        return value
    try:
        if isinstance(value, str):
            return without_surrogates(value if type(value) is str else str.__str__(value))
        if isinstance(value, int):
            whole = int.__index__(value)
            return whole if -(2**63) <= whole < 2**63 else _large_integer(whole)
        if isinstance(value, float):
            real = float.__float__(value)
            return real if math.isfinite(real) else str(real)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"<{memoryview(value).nbytes} bytes>"
        return without_surrogates(str(value))
    except Exception:
        return _unreadable(value)


def without_surrogates(text: str) -> str:
    """The text with each lone surrogate replaced by U+FFFD: UTF-8 cannot encode lone surrogates."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _unreadable(value: object) -> str:
    return f"<unreadable {type(value).__name__}>"


def _large_integer(whole: int) -> str:
    # Python refuses to convert very long integers to text, and many JSON parsers read at most 64 bits.
    return str(whole) if whole.bit_length() <= 4096 else f"<integer of {whole.bit_length()} bits>"


def cut_to_size(value: Any, limit: int) -> tuple[Any, int]:
    """A payload of at most ``limit`` bytes of JSON, and its size in bytes.

    If ``value``, which consists of JSON types, is larger, its longest texts are cut, so that shorter ones stay whole.
    If that is not enough, only its size remains, under ``left_out``.
    """
    size = _json_size(value)
    if size <= limit:
        return value, size
    for max_chars in _TEXT_LIMITS:
        shorter = _cut_texts(value, max_chars)
        shorter_size = _json_size(shorter)
        if shorter_size <= limit:
            return shorter, shorter_size
    replacement = {"left_out": f"<{size} bytes>"}
    return replacement, _json_size(replacement)


def cut_text(text: str, max_chars: int) -> str:
    """The text; if it is longer than ``max_chars``, its first ``max_chars`` and the number of characters left out."""
    return text if len(text) <= max_chars else f"{text[:max_chars]}… <{len(text) - max_chars} more characters>"


def _cut_texts(value: Any, max_chars: int) -> Any:
    if isinstance(value, str):
        return cut_text(value, max_chars)
    if isinstance(value, dict):
        return {cut_text(key, max_chars): _cut_texts(member, max_chars) for key, member in value.items()}
    if isinstance(value, list):
        return [_cut_texts(member, max_chars) for member in value]
    return value


def _json_size(value: Any) -> int:
    return len(orjson.dumps(value)) if value else 5

"""Anything → JSON's own types, and small enough to be sent.

Pure. What a peer or an application hands over may be a subclass whose methods raise, may contain itself,
or be a value JSON has no word for; one such value would fail the request it is sent in. Here everything
becomes an exact dict with text as keys, list, str, int, float, bool or None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import orjson
from pydantic import BaseModel

#: An application's own redaction of a payload.
Redact: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]


#: Deeper than any real event; what lies below is named, not walked.
MAX_DEPTH = 40
#: More than any real event has; values that contain each other multiply without end.
MAX_MEMBERS = 100_000
TOO_DEEP = "<nested too deeply>"
TOO_MANY = "<too many members>"
AGAIN = "<contains itself>"

_LEAVES = frozenset({str, int, float, bool, type(None)})
_LONGEST_CUTS = (1_000_000, 100_000, 10_000, 1_000, 100)


def plain(value: object) -> Any:
    """A copy of a payload in JSON's own types, which nobody else holds."""
    return _Copy().of(value)


def plain_frame(frame: object) -> Any:
    """A frame that is no event, as it can be shown."""
    if isinstance(frame, (bytes, bytearray, memoryview)):
        return bytes(frame).decode("utf-8", "replace")
    return plain(frame)


class _Copy:
    def __init__(self) -> None:
        self._left = MAX_MEMBERS
        self._around: set[int] = set()  # the containers that what is copied now lies in

    def of(self, value: object) -> Any:
        kind = type(value)
        if kind is str:
            return sayable(value)  # type: ignore[arg-type]
        if kind in _LEAVES:
            return leaf(value)
        try:
            # Past the methods of a subclass, which may be anything.
            if isinstance(value, dict):
                return self._container(value, self._mapping, dict.items(value))
            if isinstance(value, list):
                return self._container(value, self._sequence, list.__iter__(value))
            if isinstance(value, tuple):
                return self._container(value, self._sequence, tuple.__iter__(value))
            if isinstance(value, (set, frozenset)):
                return self._container(value, self._sequence, frozenset(value))
            if isinstance(value, BaseModel):
                return self._container(value, self._mapping, dumped(value).items())
            if isinstance(value, Mapping):
                return self._container(value, self._mapping, value.items())
        except Exception:
            return _unreadable(value)
        return leaf(value)

    def _container(self, value: object, copied: Callable[[Any], Any], members: Iterable[Any]) -> Any:
        if id(value) in self._around:
            return AGAIN
        if len(self._around) > MAX_DEPTH:
            return TOO_DEEP
        self._around.add(id(value))
        try:
            return copied(members)
        finally:
            self._around.discard(id(value))

    def _mapping(self, pairs: Iterable[tuple[object, object]]) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        for key, member in pairs:
            if not self._left:
                copy["…"] = TOO_MANY
                break
            self._left -= 1
            copy[key if type(key) is str and key.isascii() else str(leaf(key))] = self.of(member)
        return copy

    def _sequence(self, members: Iterable[object]) -> list[Any]:
        copy: list[Any] = []
        for member in members:
            if not self._left:
                copy.append(TOO_MANY)
                break
            self._left -= 1
            copy.append(self.of(member))
        return copy


def dumped(model: BaseModel) -> dict[str, Any]:
    """What was set of a model, as JSON: a full dump adds nulls that were never on the wire."""
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)


def leaf(value: object) -> str | int | float | bool | None:
    """A value that is no container, as JSON and LangSmith can say it."""
    if value is None or value is True or value is False:
        return value
    try:
        if isinstance(value, str):
            return sayable(value if type(value) is str else str.__str__(value))
        if isinstance(value, int):
            whole = int.__index__(value)
            return whole if -(2**63) <= whole < 2**63 else _large(whole)
        if isinstance(value, float):
            real = float.__float__(value)
            return real if math.isfinite(real) else str(real)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"<{memoryview(value).nbytes} bytes>"
        return sayable(str(value))
    except Exception:
        return _unreadable(value)


def sayable(text: str) -> str:
    """Text without lone surrogates, which no encoding of JSON has."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _unreadable(value: object) -> str:
    return f"<unreadable {type(value).__name__}>"


def _large(whole: int) -> str:
    # Python refuses to write out very long ones, and few readers take more than 64 bits.
    return str(whole) if whole.bit_length() <= 4096 else f"<integer of {whole.bit_length()} bits>"


def fitted(value: Any, limit: int) -> tuple[Any, int]:
    """A plain payload in at most ``limit`` bytes of JSON, and how many it has at most.

    One that has more is cut in its longest texts, so that the shorter ones stay whole.
    """
    size = _json_size(value)
    if size <= limit:
        return value, size
    for longest in _LONGEST_CUTS:
        shorter = _cut(value, longest)
        shorter_size = _json_size(shorter)
        if shorter_size <= limit:
            return shorter, shorter_size
    said = {"left_out": f"<{size} bytes>"}
    return said, _json_size(said)


def cut_text(text: str, longest: int) -> str:
    """The text, or its beginning and how much is left out."""
    return text if len(text) <= longest else f"{text[:longest]}… <{len(text) - longest} more characters>"


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        return cut_text(value, longest)
    if isinstance(value, dict):
        return {cut_text(key, longest): _cut(member, longest) for key, member in value.items()}
    if isinstance(value, list):
        return [_cut(member, longest) for member in value]
    return value


def _json_size(value: Any) -> int:
    return len(orjson.dumps(value)) if value else 5

"""The lines of a journal: an input of the conversation as JSON, and back.

A line has the input's kind in ``is``, and its fields under their own names; fields with their default value are left
out. An event's frame is in ``event``. Audio is in a file of its own, and the line has its place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, get_args

from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.protocol.inputs import Audio, DroppedAudio, Input, Ref

#: The inputs by the name of their kind: ``server_frame``, ``audio`` …
KINDS: dict[str, type] = {
    "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind.__name__)[1:]: kind
    for kind in get_args(Input)
}
_NAMES = {kind: name for name, kind in KINDS.items()}
_DEFAULTS = {
    kind: {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(kind)
    }
    for kind in KINDS.values()
}
_REFERENCES = ("run", "parent")
#: Text that is not base64, in place of other such text, which the journal does not keep.
UNDECODABLE = "?"


def line_of(given: Input, **changed: Any) -> dict[str, Any]:
    """The line of an input.

    Args:
        given: the input.
        **changed: fields that the line has instead of the input's: masked, or a place instead of audio.
    """
    defaults = _DEFAULTS[type(given)]
    line: dict[str, Any] = {"is": _NAMES[type(given)]}
    for name, default in defaults.items():
        value = changed[name] if name in changed else getattr(given, name)
        if value != default:
            line[name] = list(value) if isinstance(value, tuple) else value
    return line


def input_of(line: Mapping[str, Any], audio: Callable[[dict[str, Any]], bytes | None]) -> Input | None:
    """The input of a line; None if this version does not know its kind, or a field is missing.

    Args:
        line: the line.
        audio: returns the audio at a place, or None if the journal does not have it. Then silence takes its place.
    """
    kind = KINDS.get(str(line.get("is")))
    if kind is None:
        return None
    fields = {name: line[name] for name in _DEFAULTS[kind] if name in line}
    for name in _REFERENCES:
        if fields.get(name) is not None:
            fields[name] = Ref(*fields[name])
    if fields.get("error") is not None:
        fields["error"] = Failure(fields["error"])  # it was masked when it was written, so it may be shown
    for name in ("tags", "part"):
        if isinstance(fields.get(name), list):
            fields[name] = tuple(fields[name])
    if kind is Audio and "data" in fields:
        place = fields["data"]
        data = audio(place) if isinstance(place, dict) else UNDECODABLE
        if data is None:
            kind, fields["size"] = DroppedAudio, fields.pop("data")["bytes"]
        else:
            fields["data"] = data
    try:
        given: Input = kind(**fields)
    except TypeError:  # the line lacks a field
        return None
    return given

"""The eleven events a client may send, and what each must hold. Source: the Realtime API's reference."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from langsmith_realtime.testing.state.conversation import new_item
from langsmith_realtime.testing.state.wire import ClientError, Ids


@dataclass(frozen=True)
class _Field:
    shape: type[Any]
    required: bool = True


_NEEDED_TEXT = _Field(str)
_OPTIONAL_TEXT = _Field(str, required=False)
_ALWAYS = {"type": _NEEDED_TEXT, "event_id": _OPTIONAL_TEXT}
_EVENTS: dict[str, dict[str, _Field]] = {
    "session.update": {"session": _Field(dict)},
    "input_audio_buffer.append": {"audio": _NEEDED_TEXT},
    "input_audio_buffer.commit": {},
    "input_audio_buffer.clear": {},
    "conversation.item.create": {"item": _Field(dict), "previous_item_id": _OPTIONAL_TEXT},
    "conversation.item.delete": {"item_id": _NEEDED_TEXT},
    "conversation.item.retrieve": {"item_id": _NEEDED_TEXT},
    "conversation.item.truncate": {
        "item_id": _NEEDED_TEXT,
        "content_index": _Field(int),
        "audio_end_ms": _Field(int),
    },
    "response.create": {"response": _Field(dict, required=False)},
    "response.cancel": {"response_id": _OPTIONAL_TEXT},
    "output_audio_buffer.clear": {},
}
CLIENT_EVENTS = frozenset(_EVENTS)
"""Their types."""
_SHAPES = {str: "a string", dict: "an object", int: "an integer"}


def problems_of(frame: str | bytes) -> list[str]:
    """What is wrong with a client's frame, each as one clause; empty for one that keeps to the API.

    Judges the frame alone: whether an item exists, or a response is active, is not looked at.
    """
    try:
        event = json.loads(frame)
    except (ValueError, RecursionError):
        return ["not valid JSON"]
    if not isinstance(event, dict):
        return ["not a JSON object"]
    kind = event.get("type")
    if not isinstance(kind, str):
        return ["no type"]
    if kind not in _EVENTS:
        return [f"no client event is called {kind!r}"]
    fields = {**_ALWAYS, **_EVENTS[kind]}
    problems = [f"unknown field {name!r}" for name in event if name not in fields]
    for name, field in fields.items():
        value = event.get(name)
        if value is None:
            problems += [f"missing field {name!r}"] if field.required else []
        elif not isinstance(value, field.shape) or isinstance(value, bool):
            problems.append(f"{name!r} must be {_SHAPES[field.shape]}")
    return problems or _deeper_problems(event)


def _deeper_problems(event: dict[str, Any]) -> list[str]:
    if event["type"] == "input_audio_buffer.append":
        try:
            base64.b64decode(event["audio"], validate=True)
        except (binascii.Error, ValueError):
            return ["'audio' must be base64"]
    if event["type"] == "conversation.item.create":
        try:
            new_item(event["item"], Ids(0))
        except ClientError as wrong:
            return [wrong.message]
        except RecursionError:
            return ["nested too deeply"]
    return []

"""Checks client events against the Realtime API's reference: their types, and the fields of each type."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from langsmith_realtime.testing.state.conversation import new_item
from langsmith_realtime.testing.state.wire import ClientError, Ids


@dataclass(frozen=True)
class _Field:
    """A field of a client event: its JSON type, and whether it is required."""

    type: type[Any]
    required: bool = True


_REQUIRED_STRING = _Field(str)
_OPTIONAL_STRING = _Field(str, required=False)
_COMMON_FIELDS = {"type": _REQUIRED_STRING, "event_id": _OPTIONAL_STRING}
_EVENTS: dict[str, dict[str, _Field]] = {
    "session.update": {"session": _Field(dict)},
    "input_audio_buffer.append": {"audio": _REQUIRED_STRING},
    "input_audio_buffer.commit": {},
    "input_audio_buffer.clear": {},
    "conversation.item.create": {"item": _Field(dict), "previous_item_id": _OPTIONAL_STRING},
    "conversation.item.delete": {"item_id": _REQUIRED_STRING},
    "conversation.item.retrieve": {"item_id": _REQUIRED_STRING},
    "conversation.item.truncate": {
        "item_id": _REQUIRED_STRING,
        "content_index": _Field(int),
        "audio_end_ms": _Field(int),
    },
    "response.create": {"response": _Field(dict, required=False)},
    "response.cancel": {"response_id": _OPTIONAL_STRING},
    "output_audio_buffer.clear": {},
}
CLIENT_EVENTS = frozenset(_EVENTS)
"""The types of all client events."""
_TYPE_NAMES: dict[type[Any], str] = {
    str: "a string",
    dict: "an object",
    int: "an integer",
    float: "a fraction",
    list: "an array",
    bool: "a boolean",
}


def problems_of(frame: str | bytes, texts: Mapping[str, Collection[str]] = {}) -> list[str]:
    """Return a message for each way in which a client's frame breaks the API's reference; empty for a valid frame.

    ``texts`` names, for a type, optional fields with a string that a dialect has and the reference has not.

    The check does not depend on the session: it does not notice a missing item or the lack of an active response. It
    does not check the fields within ``session`` and ``response``.
    """
    try:
        event = json.loads(frame)
    except (ValueError, RecursionError):
        return ["the frame must be JSON"]
    if not isinstance(event, dict):
        return ["the frame must be a JSON object"]
    kind = event.get("type")
    if not isinstance(kind, str):
        return ["'type' must be a string"]
    if kind not in _EVENTS:
        return [f"'type' must be a client event of the Realtime API, got {kind!r}"]
    fields = {**_COMMON_FIELDS, **_EVENTS[kind], **dict.fromkeys(texts.get(kind, ()), _OPTIONAL_STRING)}
    problems = [f"unknown field {name!r}" for name in event if name not in fields]
    for name, field in fields.items():
        value = event.get(name)
        if value is None:
            problems += [f"missing field {name!r}"] if field.required else []
        elif not isinstance(value, field.type) or isinstance(value, bool):
            problems.append(f"{name!r} must be {_TYPE_NAMES[field.type]}, got {_TYPE_NAMES[type(value)]}")
    return problems or _content_problems(event)


def _content_problems(event: dict[str, Any]) -> list[str]:
    if event["type"] == "input_audio_buffer.append":
        try:
            base64.b64decode(event["audio"], validate=True)
        except (binascii.Error, ValueError):
            return ["'audio' must be base64"]
    if event["type"] == "conversation.item.create":
        try:
            new_item(event["item"], Ids(0))
        except ClientError as error:
            return [error.message]
        except RecursionError:
            return ["'item' must not be nested so deeply"]
    return []

"""The protocol's vocabulary: any frame in, one :class:`Event` out.

Pure. The wire JSON is the truth here. openai's model classes are never consulted for what an event
means, because unknown types are built as the wrong class; only the ``type`` string decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json

from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.payloads.json_values import dumped

#: Names of the beta API, still spoken by Azure Voice Live and found in old logs, and what they became.
BETA_NAMES = {
    "conversation.item.created": "conversation.item.added",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
}

#: A chunk of the microphone: there are more of these than of anything else.
APPEND = "input_audio_buffer.append"

#: Events that tell which tool calls were announced, in the order of how early they come.
ANNOUNCING = frozenset(
    {
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.done",
    }
)


class FrameError(ValueError):
    """A frame that is no Realtime event; the message says why."""


@dataclass(slots=True)  # not frozen: that takes four times as long to make, and there is one for every frame
class Event:
    """One event of the conversation.

    ``kind`` is the GA name whatever dialect the peer speaks, ``name`` the type as it was on the wire,
    ``body`` the decoded frame.
    """

    kind: str
    name: str
    body: dict[str, Any]

    @property
    def is_delta(self) -> bool:
        return self.name[-6:] == ".delta"


def parse(frame: object) -> Event:
    """Read a frame: a dict, JSON text or bytes, or an openai model.

    Raises:
        FrameError: not JSON, not an object, or without a ``type`` string.
    """
    body = _body(frame)
    name = body.get("type")
    if not isinstance(name, str) or not name:
        raise FrameError("the frame has no type")
    return Event(BETA_NAMES.get(name, name), name, body)


def _body(frame: object) -> dict[str, Any]:
    if isinstance(frame, dict):
        return frame
    if isinstance(frame, BaseModel):
        try:
            return dumped(frame)
        except Exception as error:  # its own methods may raise anything
            raise FrameError(f"the model is no JSON: {type(error).__name__}") from None
    if isinstance(frame, Mapping):
        try:
            return dict(frame)
        except Exception as error:
            raise FrameError(f"the mapping cannot be read: {type(error).__name__}") from None
    if not isinstance(frame, (str, bytes, bytearray, memoryview)):
        raise FrameError(f"a {type(frame).__name__} is no frame")
    try:
        body = _json(bytes(frame) if isinstance(frame, memoryview) else frame)
    except Exception as error:  # bad JSON, nested too deeply, or a subclass's own
        raise FrameError(f"the frame is no JSON: {type(error).__name__}") from None
    if not isinstance(body, dict):
        raise FrameError(f"the frame is a JSON {type(body).__name__}, not an object")
    return body


def _json(frame: str | bytes | bytearray) -> Any:
    try:
        return from_json(frame)
    except ValueError:  # json takes a little more: other encodings, half of a surrogate pair, deeper nesting
        return json.loads(frame)


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call an event announced. ``arguments`` is JSON text as the model wrote it.

    One that is not ``complete`` was cut off while the model wrote it: hardly anybody answers it.
    """

    call_id: str
    name: str | None
    arguments: str | None
    complete: bool = True


def announced_calls(event: Event) -> list[Call]:
    """The function calls named in an event of :data:`ANNOUNCING`; empty for any other."""
    if event.kind == "response.function_call_arguments.done":
        items: list[object] = [event.body]
    elif event.kind == "response.output_item.done":
        items = [of_type(mapping(event.body.get("item")), "function_call")]
    elif event.kind == "response.done":
        items = [
            of_type(mapping(i), "function_call") for i in sequence(mapping(event.body.get("response")).get("output"))
        ]
    else:
        items = []
    calls = []
    for item in map(mapping, items):
        call_id = item.get("call_id")
        if isinstance(call_id, str) and call_id:
            complete = item.get("status") != "incomplete"
            calls.append(Call(call_id, text(item.get("name")), text(item.get("arguments")), complete))
    return calls


def of_type(item: dict[str, Any], kind: str) -> dict[str, Any]:
    """The item itself when it is of that type, else nothing."""
    return item if item.get("type") == kind else {}


def mapping(value: object) -> dict[str, Any]:
    """The value when it is an object, else an empty one: peers send null and worse."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[Any]:
    """The value when it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: object) -> str | None:
    """The value when it is a string that says something, else None."""
    return value if isinstance(value, str) and value else None


def number(value: object) -> float | None:
    """The value when it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if -1e15 < value < 1e15 else None


def error_text(error: dict[str, Any]) -> Failure | None:
    """A wire error as one line: its code (else its type) and message, which may quote anybody."""
    code, message = text(error.get("code")) or text(error.get("type")), text(error.get("message"))
    line = ": ".join(part for part in (code, message) if part)
    return Failure(line, code or "error") if line else None

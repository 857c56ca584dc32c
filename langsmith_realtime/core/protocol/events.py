"""Parses frames into events, and reads single values from them.

Pure. Only the ``type`` string in the JSON decides what an event is. The classes of openai's models do not: the openai
library builds events of an unknown type as an unrelated class.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json

from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.payloads.json_values import dump_model

#: Other names of events, and their GA types. Azure Voice Live and old logs have the names of the beta API.
BETA_NAMES = {
    "conversation.item.created": "conversation.item.added",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    # Transcription servers that name no item (vLLM).
    "transcription.delta": "conversation.item.input_audio_transcription.delta",
    "transcription.done": "conversation.item.input_audio_transcription.completed",
}

#: The client event that carries a chunk of microphone audio.
APPEND = "input_audio_buffer.append"

#: Event in which turn detection reports that the user began to speak.
SPEECH_STARTED = "input_audio_buffer.speech_started"

#: Deltas with pieces of a text: the model's words, and the user's transcript.
TEXT_DELTAS = frozenset(
    {
        "response.output_audio_transcript.delta",
        "response.output_text.delta",
        "conversation.item.input_audio_transcription.delta",
    }
)

#: Server events that announce function calls; see :func:`announced_calls`.
ANNOUNCING = frozenset(
    {
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.done",
    }
)


class FrameError(ValueError):
    """The frame is not a Realtime event; the message says why."""


@dataclass(slots=True)  # not frozen: creating a frozen one takes four times as long, for every frame
class Event:
    """One Realtime event.

    ``kind`` is its GA type, also if the server speaks the beta API; ``name`` is the ``type`` on the wire; ``body`` is
    the decoded frame.
    """

    kind: str
    name: str
    body: dict[str, Any]

    @property
    def is_delta(self) -> bool:
        """Whether it is one of many pieces of an output; a delta has no run."""
        return self.name[-6:] == ".delta"


def parse(frame: object) -> Event:
    """Parse a frame: a mapping, JSON text or bytes, or an openai model; an :class:`Event` is returned as it is.

    Raises:
        FrameError: the frame is not a JSON object, or it has no ``type`` string.
    """
    if type(frame) is Event:
        return frame
    body = _body(frame)
    name = body.get("type")
    if not isinstance(name, str) or not name:
        raise FrameError("the frame must have a type")
    return Event(BETA_NAMES.get(name, name), name, body)


def _body(frame: object) -> dict[str, Any]:
    if isinstance(frame, dict):
        return frame
    if isinstance(frame, BaseModel):
        try:
            return dump_model(frame)
        except Exception as error:  # a model's own methods may raise anything
            raise FrameError(f"the model cannot be converted to JSON: {type(error).__name__}") from None
    if isinstance(frame, Mapping):
        try:
            return dict(frame)
        except Exception as error:
            raise FrameError(f"the mapping cannot be read: {type(error).__name__}") from None
    if not isinstance(frame, (str, bytes, bytearray, memoryview)):
        raise FrameError(f"a frame must be a mapping, a model, str or bytes, got {type(frame).__name__}")
    try:
        body = _json(bytes(frame) if isinstance(frame, memoryview) else frame)
    except Exception as error:  # bad JSON, too deep nesting, or an error in a subclass of str or bytes
        raise FrameError(f"the frame must be JSON, got {type(error).__name__}") from None
    if not isinstance(body, dict):
        raise FrameError(f"the frame must be a JSON object, got {type(body).__name__}")
    return body


def _json(frame: str | bytes | bytearray) -> Any:
    try:
        return from_json(frame)
    except ValueError:  # json accepts more: UTF-16 and UTF-32, lone surrogates, deeper nesting
        return json.loads(frame)


@dataclass(frozen=True, slots=True)
class Call:
    """A function call in an event. ``arguments`` is JSON text as the model wrote it.

    ``complete`` is False if the call was cut off while the model wrote it; applications rarely answer such a call.
    """

    call_id: str
    name: str | None
    arguments: str | None
    complete: bool = True


def announced_calls(event: Event) -> list[Call]:
    """The function calls with a ``call_id`` in an event of :data:`ANNOUNCING`; empty for other events."""
    if event.kind == "response.function_call_arguments.done":
        items: list[object] = [event.body]
    elif event.kind == "response.output_item.done":
        items = [if_type(mapping(event.body.get("item")), "function_call")]
    elif event.kind == "response.done":
        items = [
            if_type(mapping(i), "function_call") for i in sequence(mapping(event.body.get("response")).get("output"))
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


def if_type(item: dict[str, Any], kind: str) -> dict[str, Any]:
    """The item if its ``type`` is ``kind``, else an empty dict."""
    return item if item.get("type") == kind else {}


def mapping(value: object) -> dict[str, Any]:
    """The value if it is a dict, else an empty dict: a server may send null, or anything, in its place."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[Any]:
    """The value if it is a list, else an empty list."""
    return value if isinstance(value, list) else []


def text(value: object) -> str | None:
    """The value if it is a string and not empty, else None."""
    return value if isinstance(value, str) and value else None


def number(value: object) -> float | None:
    """The value if it is an int or float between -1e15 and 1e15, both excluded; None otherwise, also for a bool."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if -1e15 < value < 1e15 else None


def error_text(error: dict[str, Any]) -> Failure | None:
    """An error object of the protocol as ``code: message``, or ``type: message`` without a code.

    A missing part is left out; None if code, type and message are missing. The message may quote the user, so only the
    code (or type) is the ``kind`` of the failure, or ``error`` if both are missing.
    """
    code, message = text(error.get("code")) or text(error.get("type")), text(error.get("message"))
    line = ": ".join(part for part in (code, message) if part)
    return Failure(line, code or "error") if line else None

"""Parses frames into events, and reads single values from them.

Pure. Only the ``type`` string in the JSON decides what an event is. The classes of openai's models do not: the openai
library builds events of an unknown type as an unrelated class.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json

from langsmith_realtime.core.payloads.errors import Failure, as_code
from langsmith_realtime.core.payloads.json_values import dump_model, json_copy

#: Event types of the beta API and the GA types that replaced them. Azure Voice Live and old logs have the beta types.
BETA_NAMES = {
    "conversation.item.created": "conversation.item.added",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
}
#: Names of the end of a response that tell its status, as the events of OpenAI's Responses API do.
RESPONSE_ENDS = {
    "response.completed": "completed",
    "response.cancelled": "cancelled",
    "response.canceled": "cancelled",
    "response.failed": "failed",
    "response.incomplete": "incomplete",
}
#: All other names of events, and their GA types.
OTHER_NAMES = {
    **BETA_NAMES,
    "transcription_session.created": "session.created",
    "transcription_session.updated": "session.updated",
    "transcription_session.update": "session.update",
    # Transcription servers that name no item (vLLM).
    "transcription.delta": "conversation.item.input_audio_transcription.delta",
    "transcription.done": "conversation.item.input_audio_transcription.completed",
    # OpenAI's first names over WebRTC.
    "output_audio_buffer.audio_started": "output_audio_buffer.started",
    "output_audio_buffer.audio_stopped": "output_audio_buffer.stopped",
    **dict.fromkeys(RESPONSE_ENDS, "response.done"),
}


def ga_type(name: str) -> str:
    """The GA type of an event with that ``type``; the type itself if it has no other name."""
    return OTHER_NAMES.get(name, name)


#: The client event that carries a chunk of microphone audio.
APPEND = "input_audio_buffer.append"

#: Event in which turn detection reports that the user began to speak.
SPEECH_STARTED = "input_audio_buffer.speech_started"

#: Event with the transcript of the user's audio.
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"

#: Statuses of an item or a transcription of which more will come.
_OPEN_STATUSES = frozenset({"in_progress", "in-progress", "partial", "interim", "pending", "queued"})

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


#: Codes of an ``error`` event after which the session is over.
SESSION_ENDED = frozenset({"session_expired"})


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
        FrameError: the frame is not a JSON object, or its ``type`` is missing, empty or no string.
    """
    if type(frame) is Event:
        return frame
    body = _body(frame)
    name = body.get("type")
    if not isinstance(name, str) or not name:
        raise FrameError("the frame must have a type")
    return Event(ga_type(name), name, body)


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
        return json.loads(frame.removeprefix("\ufeff") if isinstance(frame, str) else frame)


@dataclass(frozen=True, slots=True)
class Call:
    """A function call in an event. ``arguments`` is JSON text as the model wrote it; None if the event tells none.

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
            arguments = json_text(item.get("arguments"))
            calls.append(Call(call_id, text(item.get("name")), arguments if complete else arguments or None, complete))
    return calls


def ended_response(event: Event) -> dict[str, Any]:
    """The ``response`` in an event of the kind ``response.done``.

    An event of :data:`RESPONSE_ENDS` tells the status by its name, and may tell the id and the error beside
    ``response``.
    """
    response, status = mapping(event.body.get("response")), RESPONSE_ENDS.get(event.name)
    if status is None:
        return response
    beside = {"id": event.body.get("response_id"), "error": event.body.get("error")}
    told = {key: value for key, value in beside.items() if value is not None} | response
    return told if told.get("status") in RESPONSE_ENDS.values() else {**told, "status": status}


def is_final_status(body: Mapping[str, Any]) -> bool:
    """Whether an event that says "completed" is the last of its kind.

    Some servers send it several times, with a ``status``, in the event or in its ``item``, that says ``in_progress``.
    """
    status = body.get("status") or mapping(body.get("item")).get("status")
    return not (isinstance(status, str) and status.lower() in _OPEN_STATUSES)


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


def json_text(value: object) -> str | None:
    """A text as it is, and another value as JSON text, because some servers send arguments or instructions as objects.

    None for None, and for a value that is no JSON.
    """
    if value is None or isinstance(value, str):
        return value
    with suppress(ValueError, RecursionError):
        return json.dumps(json_copy(value), ensure_ascii=False)
    return None


def number(value: object) -> float | None:
    """The value if it is an int or float between -1e15 and 1e15, both excluded; None otherwise, also for a bool."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if -1e15 < value < 1e15 else None


#: Under which keys an error's message, code and type stand; the first that has a value counts.
_ERROR_KEYS = {
    "type": ("type", "error_type"),
    "code": ("code", "error_code", "status_code", "status"),
    "message": ("message", "error_message", "msg", "detail", "description", "reason"),
    "param": ("param",),
    "event_id": ("event_id",),
}
#: The keys that describe the error if they stand beside ``error``, and not the event itself.
_BESIDE_ERROR = frozenset({"code", "error_code", "error_type", "message", "error_message", "detail", "param"})
#: How deep an error may be wrapped in other objects, lists or JSON text.
_ERROR_DEPTH = 5


def error_fields(error: object, beside: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An error in whatever shape a server writes it, as ``type``, ``code``, ``message``, ``param`` and ``event_id``.

    Fields that are missing are left out. An object that has neither type nor code nor message is the message, as JSON.

    Args:
        error: the value of ``error``: an object, a text, a list of these, or an object that has ``error`` in turn.
        beside: the object in which ``error`` stands; its code and message count where ``error`` has none.
    """
    fields = _error_fields(error, 0)
    near = {key: value for key, value in (beside or {}).items() if key in _BESIDE_ERROR}
    return _error_fields(near, 0) | fields if near else fields


def _error_fields(error: object, depth: int) -> dict[str, Any]:
    if isinstance(error, str):
        inner = _json_object(error) if error.lstrip()[:1] == "{" else None
        return ({"message": error} if error else {}) if inner is None else _error_fields(inner, depth + 1)
    if isinstance(error, list) and depth < _ERROR_DEPTH:
        return next(filter(None, (_error_fields(each, depth + 1) for each in error)), {})
    if not isinstance(error, dict):
        code = _code(error)
        return {"code": code} if code else {}
    fields: dict[str, Any] = {}
    for name, keys in _ERROR_KEYS.items():
        found = next((value for value in (_code(error.get(key)) for key in keys) if value), None)
        if found is not None:
            fields[name] = found
    if "message" not in fields and depth < _ERROR_DEPTH:
        wrapped = (error.get(key) for key in ("error", *_ERROR_KEYS["message"]))
        fields = next(filter(None, (_error_fields(each, depth + 1) for each in wrapped)), {}) | fields
    if error and not fields.keys() & {"type", "code", "message"}:
        with suppress(ValueError, RecursionError):
            fields["message"] = json.dumps(json_copy(error))
    return fields


def _code(value: object) -> str | None:
    """A text that is not empty, or a whole number as text; None for anything else."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value)


def _json_object(value: str) -> dict[str, Any] | None:
    try:
        return mapping(_json(value)) or None
    except Exception:  # no JSON, or too deep
        return None


def error_text(error: object, beside: Mapping[str, Any] | None = None) -> Failure | None:
    """An error as ``code: message (type)``, in any shape that :func:`error_fields` reads.

    A missing part is left out, and so is a type that is only ``error`` or repeats the code; without a code, the type
    takes its place. None if all are missing. The message may quote the user, so only code and type are the ``kind`` of
    the failure, or ``error`` without both; and of these only what is one word.
    """
    fields = error_fields(error, beside)
    kind, code, message = fields.get("type"), fields.get("code"), fields.get("message")
    kind = None if kind in ("error", code) and (code or message) else kind
    name = code or kind
    line = ": ".join(part for part in (name, message) if part)
    about = f" ({kind})" if code and kind else ""
    kind_about = about if as_code(kind) else ""
    known = f"{name}{kind_about}" if as_code(name) else as_code(kind) or "error"
    return Failure(f"{line}{about}", known) if line else None


def failure_of(event: Event, what: str | None = None) -> Failure | None:
    """The error that an event tells, after ``what`` failed; only ``what`` if the event gives no reason."""
    reason = error_text(event.body.get("error"), event.body)
    if what is None:
        return reason
    return Failure(what) if reason is None else reason.prefixed(what)

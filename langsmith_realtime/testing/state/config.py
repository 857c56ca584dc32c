"""The default configuration of a session, and its changes by ``session.update``.

The defaults have all fields of recorded GA sessions, including those that are null.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from langsmith_realtime.testing.script.script import Event
from langsmith_realtime.testing.state.formats import audio_format
from langsmith_realtime.testing.state.wire import ClientError, missing, wrong_type

TURN_DETECTION: dict[str, Event] = {
    "server_vad": {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 200,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    },
    "semantic_vad": {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    },
}
_FIXED = {"id", "object", "expires_at", "model"}


def default_session(session_id: str, model: str, expires_at: int) -> Event:
    """Return the session object of ``session.created``; `expires_at` is a Unix time in seconds."""
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": "You are a friendly voice assistant. Keep your answers short.",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": expires_at,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": dict(TURN_DETECTION["server_vad"]),
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "alloy", "speed": 1.0},
        },
        "include": None,
    }


def updated_session(session: Event, change: object, *, has_spoken: bool) -> Event:
    """Return a copy of `session` with the fields of a ``session.update``.

    Ignores the fields ``id``, ``object``, ``expires_at`` and ``model`` of the update.

    Args:
        session: The session before the update.
        change: The ``session`` object of the ``session.update``.
        has_spoken: Whether the agent has sent audio, so that its voice cannot change.

    Raises:
        ClientError: `change` has no type (code ``missing_required_parameter``) or a type other than ``realtime``
            (``invalid_value``), an unknown field (``unknown_parameter``), an invalid value in ``audio`` or
            ``output_modalities`` (``invalid_value`` or ``invalid_type``), or another voice although the agent has
            spoken (``cannot_update_voice``); or it is not an object (``invalid_type``).
    """
    if not isinstance(change, Mapping):
        raise wrong_type("session", "an object")
    if "type" not in change:
        raise missing("session.type")
    if change["type"] != "realtime":
        raise ClientError(
            "invalid_value", f"Invalid value: {change['type']!r}. Supported values are: 'realtime'.", "session.type"
        )
    merged = copy.deepcopy(session)
    for name, value in change.items():
        if name not in merged:
            raise ClientError("unknown_parameter", f"Unknown parameter: 'session.{name}'.", f"session.{name}")
        if name == "audio":
            _merge_audio(merged["audio"], value)
        elif name == "output_modalities":
            merged[name] = modalities(value, f"session.{name}")
        elif name not in _FIXED:
            merged[name] = copy.deepcopy(value)
    if has_spoken and merged["audio"]["output"]["voice"] != session["audio"]["output"]["voice"]:
        raise ClientError(
            "cannot_update_voice", "The voice cannot change once the agent has spoken.", "session.audio.output.voice"
        )
    return merged


def modalities(value: object, param: str) -> list[str]:
    """Return output modalities, ``["audio"]`` or ``["text"]``. Raises ClientError (``invalid_value``) for others."""
    if value in (["audio"], ["text"]):
        return list(value)
    raise ClientError(
        "invalid_value", f"Invalid value: {value!r}. Supported values are: ['text'] and ['audio'].", param
    )


def _merge_audio(audio: Event, change: object) -> None:
    for side, fields in _object(change, "session.audio").items():
        if side not in audio:
            raise ClientError(
                "unknown_parameter", f"Unknown parameter: 'session.audio.{side}'.", f"session.audio.{side}"
            )
        for name, value in _object(fields, f"session.audio.{side}").items():
            param = f"session.audio.{side}.{name}"
            if name not in audio[side]:
                raise ClientError("unknown_parameter", f"Unknown parameter: '{param}'.", param)
            audio[side][name] = _audio_field(name, value, audio[side][name], param)


def _audio_field(name: str, value: object, before: object, param: str) -> object:
    if name == "format":
        format_ = _object(value, param)
        rate = audio_format(format_).rate
        return {"type": "audio/pcm", "rate": rate} if format_["type"] == "audio/pcm" else dict(format_)
    if name == "transcription" and value is not None:
        return {"model": None, "language": None, "prompt": None, **_object(value, param)}
    if name == "turn_detection" and value is not None:
        detection = _object(value, param)
        kind = detection.get("type")
        if not isinstance(kind, str) or kind not in TURN_DETECTION:
            raise ClientError(
                "invalid_value",
                f"Invalid value: {kind!r}. Supported values are: 'server_vad', 'semantic_vad'.",
                f"{param}.type",
            )
        idle = detection.get("idle_timeout_ms")
        if idle is not None and (isinstance(idle, bool) or not isinstance(idle, int) or idle <= 0):
            raise wrong_type(f"{param}.idle_timeout_ms", "a positive integer")
        for number in ("threshold", "prefix_padding_ms", "silence_duration_ms"):
            value = detection.get(number, 0)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise wrong_type(f"{param}.{number}", "a number of at least 0")
        same_kind = isinstance(before, Mapping) and before.get("type") == kind
        return {**(before if same_kind else TURN_DETECTION[kind]), **detection}  # type: ignore[dict-item]
    return copy.deepcopy(value)


def _object(value: object, param: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise wrong_type(param, "an object")
    return value

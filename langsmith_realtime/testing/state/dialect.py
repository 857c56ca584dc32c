"""Translates between the GA API and the beta API, whose event names and shapes Azure Voice Live still uses.

The server works with GA shapes. Fields that only the beta API has are in the session beside the GA fields; their
defaults are :data:`BETA_SESSION`. Source: a recorded Azure Voice Live session.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from langsmith_realtime.core.protocol.events import BETA_NAMES
from langsmith_realtime.testing.script.script import Event
from langsmith_realtime.testing.state.wire import ClientError, wrong_type

_NAMES = {ga: beta for beta, ga in BETA_NAMES.items()}
_PARTS = {"output_audio": "audio", "output_text": "text"}
_FORMATS: dict[str, Event] = {
    "pcm16": {"type": "audio/pcm", "rate": 24000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
# Defaults of the session's fields that only the beta API has.
BETA_SESSION: Event = {
    "modalities": ["audio"],
    "input_audio_format": "pcm16",
    "output_audio_format": None,
    "max_response_output_tokens": "inf",
    "input_audio_sampling_rate": 24000,
    "animation": None,
    "input_audio_echo_cancellation": None,
    "avatar": None,
    "output_audio_timestamp_types": None,
    "truncation_strategy": None,
}
_VAD: Event = {
    "speech_duration_ms": None,
    "end_of_utterance_detection": None,
    "auto_truncate": False,
    "appended_text_after_truncation": None,
}
_TRANSCRIPTION: Event = {"custom_speech": None, "phrase_list": None}
_INPUT = {
    "turn_detection": "turn_detection",
    "input_audio_transcription": "transcription",
    "input_audio_noise_reduction": "noise_reduction",
}
_GA_ONLY = ("type", "output_modalities", "max_output_tokens", "audio", "tracing", "truncation", "prompt")


def beta_defaults(session: Event) -> Event:
    """Return the defaults of a GA session together with the fields that only the beta API has."""
    audio = copy.deepcopy(session["audio"])
    audio["output"]["voice"] = {"name": audio["output"]["voice"], "type": "openai"}
    audio["input"]["turn_detection"].update(_VAD)
    return {**session, **copy.deepcopy(BETA_SESSION), "audio": audio}


def session_change(change: object) -> Event:
    """Convert the ``session`` of a beta ``session.update`` to GA.

    Raises:
        ClientError: `change` is not an object (code ``invalid_type``), has a field in ``_GA_ONLY``
            (``unknown_parameter``), or has invalid modalities or formats (``invalid_value``).
    """
    if not isinstance(change, Mapping):
        raise wrong_type("session", "an object")
    merged: Event = {"type": "realtime", "audio": {"input": {}, "output": {}}}
    for name, value in change.items():
        if name in _GA_ONLY:
            raise ClientError("unknown_parameter", f"Unknown parameter: 'session.{name}'.", f"session.{name}")
        if name in _INPUT:
            merged["audio"]["input"][_INPUT[name]] = value
        elif name == "voice":
            merged["audio"]["output"]["voice"] = value
        else:
            merged[name] = value
        if name == "modalities":
            merged["output_modalities"] = _ga_modalities(value, "session.modalities")
            merged[name] = sorted(value)
        elif name in ("input_audio_format", "output_audio_format"):
            side = name.partition("_")[0]
            merged["audio"][side]["format"] = _ga_format(value, f"session.{name}")
        elif name == "max_response_output_tokens":
            merged["max_output_tokens"] = value
    return merged


def response_request(request: Mapping[str, Any]) -> Event:
    """Convert the ``response`` of a beta ``response.create`` to GA.

    Raises:
        ClientError: The modalities are invalid (code ``invalid_value``).
    """
    changed = dict(request)
    if "modalities" in changed:
        changed["output_modalities"] = _ga_modalities(changed.pop("modalities"), "response.modalities")
    if "max_response_output_tokens" in changed:
        changed["max_output_tokens"] = changed.pop("max_response_output_tokens")
    return changed


class BetaTranslator:
    """Translates GA server events to beta events. Events of a session must come before events of its responses."""

    def __init__(self) -> None:
        self._session: Event = dict(BETA_SESSION)

    def __call__(self, event: Event) -> Event | None:
        """Return the beta event; None for ``conversation.item.done`` of an assistant message, function or MCP call."""
        kind = event["type"]
        if kind == "conversation.item.done" and _is_generated(event["item"]):
            return None
        translated = {**event, "type": _NAMES.get(kind, kind)}
        if "session" in translated:
            self._session = translated["session"]
            translated["session"] = _beta_session(translated["session"])
        if "response" in translated:
            translated["response"] = self._beta_response(translated["response"])
        if "item" in translated:
            translated["item"] = _beta_item(translated["item"])
        return translated

    def _beta_response(self, response: Event) -> Event:
        ga = ("audio", "output_modalities", "output")
        is_text = response["output_modalities"] == ["text"]
        return {
            **{name: value for name, value in response.items() if name not in ga},
            "output": [_beta_item(item) for item in response["output"]],
            "modalities": ["text"] if is_text else self._session["modalities"],
            "voice": response["audio"]["output"]["voice"],
            "output_audio_format": self._session["output_audio_format"],
            "temperature": None,
        }


def _is_generated(item: Event) -> bool:
    return item.get("role") == "assistant" or item["type"] in ("function_call", "mcp_call")


def _beta_session(session: Event) -> Event:
    input_config = session["audio"]["input"]
    transcription = input_config["transcription"]
    return {
        **{name: value for name, value in session.items() if name not in _GA_ONLY},
        **{beta: input_config[ga] for beta, ga in _INPUT.items()},
        "input_audio_transcription": None if transcription is None else {**_TRANSCRIPTION, **transcription},
        "voice": session["audio"]["output"]["voice"],
    }


def _beta_item(item: Event) -> Event:
    translated = {"object": "realtime.item", **item}
    content = item.get("content")
    if isinstance(content, list):
        translated["content"] = [_beta_part(part) for part in content]
    return translated


def _beta_part(part: object) -> object:
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    return {**part, "type": _PARTS.get(kind, kind)} if isinstance(kind, str) else part


def _ga_modalities(value: object, param: str) -> list[str]:
    if value == ["text"]:
        return ["text"]
    if isinstance(value, list) and "audio" in value and all(each in ("audio", "text") for each in value):
        return ["audio"]
    supported = "['text'], ['audio'] and ['audio', 'text']"
    raise ClientError("invalid_value", f"Invalid value: {value!r}. Supported values are: {supported}.", param)


def _ga_format(value: object, param: str) -> Event:
    ga_format = _FORMATS.get(value) if isinstance(value, str) else None
    if ga_format is None:
        supported = ", ".join(repr(name) for name in _FORMATS)
        raise ClientError("invalid_value", f"Invalid value: {value!r}. Supported values are: {supported}.", param)
    return dict(ga_format)

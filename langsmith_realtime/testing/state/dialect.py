"""The dialects of the Realtime protocol as data, and their translation: the server works with GA events.

A dialect is a row of :data:`DIALECTS`. Flat dialects have the session of the beta API. Fields that only the beta API
has are in the session beside the GA fields; their defaults are :data:`BETA_SESSION`. Sources: a recorded Azure Voice
Live session, and the documentation and the source code of the other servers.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from langsmith_realtime.core.protocol.events import BETA_NAMES
from langsmith_realtime.testing.script.script import DialectName, Event
from langsmith_realtime.testing.state.formats import PCM_RATES
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


Move: TypeAlias = tuple[str, str | None]
"""A value's path within an event, such as ``response.usage``, and the path it moves to; None removes the value."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a server differs from the GA API. Event types are those of GA, unless stated otherwise.

    names
        The types on the wire of events that have other names.
    omits
        The events that the server never sends.
    moves
        For a server event, the values that stand elsewhere, in order.
    requests
        For a client event, the values that stand elsewhere: from the client's path to the path of GA.
    defaults
        For a client event, the values of GA's fields that a client may leave out, by path.
    texts
        For a client event, optional fields with a string that GA does not have. The scripted agent ignores them.
    is_flat
        Whether session, responses and items have the shape of the beta API.
    formats
        For a flat session, by ``input`` and ``output``: the GA formats by their names on the wire.
    rates
        Fields of a flat session that give the rate in Hz of one side's PCM, and that side.
    session
        Changes to the session's defaults, in the dialect's own shape.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    omits: frozenset[str] = frozenset()
    moves: Mapping[str, Sequence[Move]] = field(default_factory=dict)
    requests: Mapping[str, Sequence[Move]] = field(default_factory=dict)
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    texts: Mapping[str, Collection[str]] = field(default_factory=dict)
    is_flat: bool = False
    formats: Mapping[str, Mapping[str, Event]] = field(default_factory=dict)
    rates: Mapping[str, str] = field(default_factory=dict)
    session: Event = field(default_factory=dict)


_BETA = Dialect(names=_NAMES, is_flat=True, formats={"input": _FORMATS, "output": _FORMATS})
_TYPE = {"session.update": {"session.type": "realtime"}}
_XAI_SESSION: Sequence[Move] = (
    ("session.audio.input.turn_detection", "session.turn_detection"),
    ("session.audio.output.voice", "session.voice"),
    ("session.type", None),
)
_ITEM_EVENTS = (
    "conversation.item.added",
    "conversation.item.done",
    "response.output_item.added",
    "response.output_item.done",
    "response.content_part.added",
    "response.content_part.done",
)
_TRANSCRIPTION_EVENT = "conversation.item.input_audio_transcription"
_NO_PLACE: Sequence[Move] = (("item_id", None), ("content_index", None))

DIALECTS: Mapping[DialectName, Dialect] = {
    "ga": Dialect(),
    "beta": _BETA,
    "voice_live": replace(
        _BETA,
        formats={
            "input": _FORMATS,
            "output": {
                **_FORMATS,
                "pcm16_8000hz": {"type": "audio/pcm", "rate": 8000},
                "pcm16_16000hz": {"type": "audio/pcm", "rate": 16000},
            },
        },
        rates={"input_audio_sampling_rate": "input"},
        texts={"response.create": ("additional_instructions",)},
    ),
    "xai": Dialect(
        moves={
            "session.created": _XAI_SESSION,
            "session.updated": _XAI_SESSION,
            "response.done": [("response.usage", "usage")],
        },
        requests={"session.update": [(to, path) for path, to in _XAI_SESSION if to is not None]},
        defaults=_TYPE,
    ),
    "qwen_omni": replace(
        _BETA,
        moves={
            "response.done": [
                ("response.usage.input_token_details", "response.usage.input_tokens_details"),
                ("response.usage.output_token_details", "response.usage.output_tokens_details"),
            ]
        },
        formats={
            "input": {name: {"type": "audio/pcm", "rate": 16000} for name in ("pcm16", "pcm")},
            "output": {name: {"type": "audio/pcm", "rate": 24000} for name in ("pcm24", "pcm")},
        },
        session={"input_audio_format": "pcm16", "output_audio_format": "pcm24"},
    ),
    "speech_to_speech": Dialect(
        omits=frozenset(
            {
                *_ITEM_EVENTS,
                "input_audio_buffer.committed",
                "response.output_audio_transcript.delta",
                "response.function_call_arguments.delta",
            }
        ),
        moves={
            "response.created": [("response.output", None)],
            "response.done": [
                ("response.output", None),
                ("response.usage.input_token_details", None),
                ("response.usage.output_token_details", None),
            ],
        },
        defaults=_TYPE,
    ),
    "vllm": Dialect(
        names={
            f"{_TRANSCRIPTION_EVENT}.delta": "transcription.delta",
            f"{_TRANSCRIPTION_EVENT}.completed": "transcription.done",
        },
        omits=frozenset({*_ITEM_EVENTS, "input_audio_buffer.committed", "session.updated"}),
        moves={
            "session.created": [("session.id", "id"), ("session", None)],
            f"{_TRANSCRIPTION_EVENT}.delta": _NO_PLACE,
            f"{_TRANSCRIPTION_EVENT}.completed": [
                *_NO_PLACE,
                ("transcript", "text"),
                ("usage.input_tokens", "usage.prompt_tokens"),
                ("usage.output_tokens", "usage.completion_tokens"),
                ("usage.input_token_details", None),
                ("usage.type", None),
            ],
            "error": [("error.code", "code"), ("error.message", "error")],
        },
        requests={"session.update": [("model", None)]},
        defaults=_TYPE,
        session={
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 16000},
                    "turn_detection": None,
                    "transcription": {"model": "voxtral"},
                }
            }
        },
    ),
}


def beta_defaults(session: Event) -> Event:
    """Return the defaults of a GA session together with the fields that only the beta API has."""
    audio = copy.deepcopy(session["audio"])
    audio["output"]["voice"] = {"name": audio["output"]["voice"], "type": "openai"}
    audio["input"]["turn_detection"].update(_VAD)
    return {**session, **copy.deepcopy(BETA_SESSION), "audio": audio}


def defaults_of(dialect: Dialect, session: Event) -> Event:
    """Return the defaults of a GA session together with the fields that only the dialect has."""
    return beta_defaults(session) if dialect.is_flat else session


def request_of(dialect: Dialect, event: Event) -> Event:
    """Return a client's event with its values where GA has them; its ``session`` keeps the dialect's shape if flat."""
    kind = event.get("type")
    if not isinstance(kind, str) or kind not in {*dialect.requests, *dialect.defaults}:
        return event
    moved = _moved(event, dialect.requests.get(kind, ()))
    for path, value in dialect.defaults.get(kind, {}).items():
        if _value(moved, path) is _MISSING:
            _put(moved, path, value)
    return moved


def session_change(change: object, dialect: Dialect, session: Mapping[str, Any]) -> Event:
    """Convert the ``session`` of a flat dialect's ``session.update`` to GA; ``session`` is the session before it.

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
            merged["audio"][side]["format"] = _ga_format(value, f"session.{name}", dialect.formats[side])
        elif name == "max_response_output_tokens":
            merged["max_output_tokens"] = value
    for name, side in dialect.rates.items():
        if name in merged or "format" in merged["audio"][side]:
            before = session["audio"][side]["format"]
            audio_format = merged["audio"][side].get("format", before)
            if audio_format["type"] == "audio/pcm":
                rate = _ga_rate(merged.get(name, session[name]), f"session.{name}")
                merged["audio"][side]["format"] = {**audio_format, "rate": rate}
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


class Translator:
    """Translates GA server events to a dialect. Events of a session must come before events of its responses."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._session: Event = dict(BETA_SESSION)

    def __call__(self, event: Event) -> Event | None:
        """Return the dialect's event; None for an event that the dialect does not have.

        Flat dialects have no ``conversation.item.done`` of an assistant message, a function call or an MCP call.
        """
        dialect, kind = self._dialect, event["type"]
        if kind in dialect.omits:
            return None
        if dialect.is_flat:
            if kind == "conversation.item.done" and _is_generated(event["item"]):
                return None
            event = self._flat(event)
        moved = _moved(event, dialect.moves[kind]) if kind in dialect.moves else event
        return {**moved, "type": dialect.names.get(kind, kind)}

    def _flat(self, event: Event) -> Event:
        translated = dict(event)
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


def _ga_format(value: object, param: str, formats: Mapping[str, Event]) -> Event:
    ga_format = formats.get(value) if isinstance(value, str) else None
    if ga_format is None:
        supported = ", ".join(repr(name) for name in formats)
        raise ClientError("invalid_value", f"Invalid value: {value!r}. Supported values are: {supported}.", param)
    return dict(ga_format)


def _ga_rate(value: object, param: str) -> int:
    if isinstance(value, int) and value in PCM_RATES:
        return value
    supported = ", ".join(str(rate) for rate in PCM_RATES)
    raise ClientError("invalid_value", f"Invalid value: {value!r}. Supported values are: {supported}.", param)


# Paths within an event.

_MISSING: Any = object()


def _moved(event: Event, moves: Sequence[Move]) -> Event:
    """Return a copy of the event in which the values that exist have moved."""
    moved = copy.deepcopy(event)
    for path, to in moves:
        value = _value(moved, path)
        if value is not _MISSING:
            _remove(moved, path)
            if to is not None:
                _put(moved, to, value)
    return moved


def _value(event: Event, path: str) -> Any:
    found: Any = event
    for key in path.split("."):
        if not isinstance(found, dict) or key not in found:
            return _MISSING
        found = found[key]
    return found


def _remove(event: Event, path: str) -> None:
    parent, _, key = path.rpartition(".")
    del (_value(event, parent) if parent else event)[key]


def _put(event: Event, path: str, value: Any) -> None:
    """Set a value; a missing object on the way is made. Where a value is in the way, nothing is set."""
    *parents, key = path.split(".")
    within: Any = event
    for parent in parents:
        within = within.setdefault(parent, {})
        if not isinstance(within, dict):
            return
    within[key] = value

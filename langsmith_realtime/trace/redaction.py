"""Payloads without what was said in them: kinds, ids, states and numbers stay, words do not.

Pure. A side is a channel of the recording: what the user, or the application for them, said, typed and set is
``USER``'s, what the model made is ``AGENT``'s. What a tool is called with and what it returns is an input of
one and an output of the other, so it goes with either. What is not known to be one side's goes with either,
too: a new event keeps nothing that it might have to leave out.
"""

from __future__ import annotations

from typing import Any

from langsmith_realtime.core.payloads.scrubbing import NOT_KEPT
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.core.protocol.events import BETA_NAMES, mapping, sequence
from langsmith_realtime.core.protocol.items import TRANSCRIPTION_FAILED, UNTRANSCRIBED

_EITHER = frozenset({USER, AGENT})
_SIDES = {"user": frozenset({USER}), "system": frozenset({USER}), "developer": frozenset({USER})} | {
    "assistant": frozenset({AGENT})
}
# The set-up is the application's, and nobody said it.
_SET_UP = frozenset(
    f"{session}.{what}" for session in ("session", "transcription_session") for what in ("created", "updated", "update")
)
_USER_EVENTS = ("conversation.item.input_audio_transcription.", "input_audio_buffer.")
_ITEM_EVENTS = ("conversation.item.", "response.output_item.")

# Keys whose texts are words out of the protocol's vocabulary, or names that the application gave.
_STRUCTURE = frozenset(
    {
        "type",
        "id",
        "object",
        "status",
        "role",
        "name",
        "model",
        "voice",
        "format",
        "input_audio_format",
        "output_audio_format",
        "conversation",
        "reason",
        "code",
        "phase",
    }
)
# Keys whose texts are what was said.
_SAID = frozenset({"transcript", "text", "delta", "arguments", "output", "instructions"})
# Keys below which there may be anything, keys and numbers included: logprobs spell words in bytes.
_FREE = frozenset(
    {"metadata", "arguments", "output_text", "parameters", "tools", "client_secret", "logprobs", "variables"}
)
_ANSWERS = frozenset({"role", "content", "interrupted", "heard", "heard_ms", "tool_call_id", "tool_calls"})


def of_event(body: dict[str, Any], hidden: frozenset[int]) -> dict[str, Any]:
    """An event's payload without the words of the ``hidden`` sides; the set-up of the session stays."""
    name = str(body.get("type"))
    if name in _SET_UP or not _whose(BETA_NAMES.get(name, name), body) & hidden:
        return body
    bare: dict[str, Any] = structure(body)
    return bare


def of_set_up(payload: dict[str, Any], _hidden: frozenset[int]) -> dict[str, Any]:
    """How the session is set up: nobody said it."""
    return payload


def of_talk(payload: dict[str, Any], hidden: frozenset[int]) -> dict[str, Any]:
    """Inputs and outputs of chat models: the messages in ``messages`` and ``choices``."""
    bare = dict(payload)
    if "messages" in payload:
        bare["messages"] = [of_message(message, hidden) for message in payload["messages"]]
    if "choices" in payload:
        bare["choices"] = [
            {**choice, "message": of_message(choice["message"], hidden)} for choice in payload["choices"]
        ]
    return bare


def of_message(message: dict[str, Any], hidden: frozenset[int]) -> dict[str, Any]:
    """A chat message: who says it stays, and what is called."""
    if not hidden:
        return message
    bare = {key: value for key, value in message.items() if key in _ANSWERS}
    if "tool_calls" in bare:
        bare["tool_calls"] = [_call(mapping(call)) for call in sequence(bare["tool_calls"])]
    if _SIDES.get(str(message.get("role")), _EITHER) & hidden:
        for key in ("content", "heard"):
            if key in bare:
                bare[key] = _content(bare[key])
    return bare


def of_arguments(arguments: dict[str, Any], hidden: frozenset[int]) -> dict[str, Any]:
    """What a tool is called with."""
    return {"arguments": NOT_KEPT} if arguments and hidden else arguments


def structure(value: Any) -> Any:
    """A payload without any words."""
    if isinstance(value, list):
        return [structure(member) for member in value if isinstance(member, (dict, list))]
    if not isinstance(value, dict):
        return value
    bare: dict[str, Any] = {}
    for key, member in value.items():
        if isinstance(member, str):
            if not member or key in _STRUCTURE or key.endswith("_id"):
                bare[key] = member
            elif key in _SAID:
                bare[key] = NOT_KEPT
        elif key not in _FREE:
            bare[key] = structure(member)
    return bare


def _whose(kind: str, body: dict[str, Any]) -> frozenset[int]:
    """Whose words an event may have."""
    if kind.startswith(_USER_EVENTS) and not kind.endswith(".failed"):
        return frozenset({USER})
    item = mapping(body.get("item"))
    if kind.startswith(_ITEM_EVENTS) and item.get("type") == "message":
        return _SIDES.get(str(item.get("role")), _EITHER)
    return _EITHER


def _content(content: Any) -> Any:
    if not content or content in (UNTRANSCRIBED, TRANSCRIPTION_FAILED):
        return content
    if isinstance(content, list):
        return [{"type": mapping(part).get("type"), "text": NOT_KEPT} for part in content]
    return NOT_KEPT


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = {**mapping(call.get("function")), "arguments": NOT_KEPT}
    return {**call, "function": function}

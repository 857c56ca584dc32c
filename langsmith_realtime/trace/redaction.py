"""Removes the words of hidden channels from payloads; types, ids, states and numbers stay.

Pure. A channel is one of the recording's. USER has what the user says and types, and what the application writes for
the user; AGENT has what the model makes. A tool's arguments and results are output of one and input of the other, so
they are removed when either channel is hidden. So are the words of unknown events, so that a new event type shows
nothing that is hidden.
"""

from __future__ import annotations

from typing import Any

from langsmith_realtime.core.payloads.scrubbing import NOT_KEPT
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.core.protocol.events import ga_type, mapping, sequence
from langsmith_realtime.core.protocol.messages import TRANSCRIPTION_FAILED, UNTRANSCRIBED

_BOTH = frozenset({USER, AGENT})
_CHANNELS_OF_ROLE = {"user": frozenset({USER}), "system": frozenset({USER}), "developer": frozenset({USER})} | {
    "assistant": frozenset({AGENT})
}
# The configuration of the session and of an SDK's agents comes from the application and is never removed.
_SESSION_EVENTS = frozenset(
    f"{session}.{verb}" for session in ("session", "transcription_session") for verb in ("created", "updated", "update")
) | {"agent_changed", "handoff"}
_USER_EVENTS = ("conversation.item.input_audio_transcription.", "input_audio_buffer.")
_ITEM_EVENTS = ("conversation.item.", "response.output_item.")

# Keys whose texts belong to the protocol's vocabulary, or are names that the application gave.
_VOCABULARY_KEYS = frozenset(
    {
        "type",
        "id",
        "object",
        "status",
        "role",
        "name",
        "agent",
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
# Keys whose texts are words of the conversation; a placeholder takes their place.
_WORD_KEYS = frozenset({"transcript", "text", "delta", "arguments", "output", "instructions"})
# Keys removed with everything below, where keys and numbers may be words, too: logprobs spell words in bytes.
_FREE_FORM_KEYS = frozenset(
    {"metadata", "arguments", "output_text", "parameters", "tools", "client_secret", "logprobs", "variables"}
)
# Keys of a chat message that stay; the others may be anything.
_MESSAGE_KEYS = frozenset(
    {"role", "content", "interrupted", "heard", "heard_ms", "start_ms", "end_ms", "tool_call_id", "tool_calls"}
    | {"from_guardrail"}
)


def of_event(body: dict[str, Any], hidden: frozenset[int]) -> dict[str, Any]:
    """An event's payload, :func:`without_words` if the event may have words of a ``hidden`` channel.

    The events that carry the session's configuration (``_SESSION_EVENTS``) stay whole.
    """
    name = str(body.get("type"))
    if name in _SESSION_EVENTS or not _channels_of_event(ga_type(name), body) & hidden:
        return body
    redacted: dict[str, Any] = without_words(body)
    return redacted


def of_session_config(payload: dict[str, Any], _hidden: frozenset[int]) -> dict[str, Any]:
    """The session's configuration, unchanged: the application wrote it."""
    return payload


def of_application(payload: dict[str, Any], hidden: frozenset[int]) -> dict[str, Any]:
    """What the application added: a placeholder for each value if a channel is ``hidden``, as it may quote anybody."""
    return dict.fromkeys(payload, NOT_KEPT) if hidden else payload


def of_turn_inputs(payload: dict[str, Any], hidden: frozenset[int]) -> dict[str, Any]:
    """A turn's inputs, without the user's words if the user is ``hidden``."""
    return {**payload, "text": NOT_KEPT} if USER in hidden and payload.get("text") else payload


def of_turn_outputs(payload: dict[str, Any], hidden: frozenset[int]) -> dict[str, Any]:
    """A turn's outputs, without the agent's words if the agent is ``hidden``."""
    return {**payload, "text": NOT_KEPT} if AGENT in hidden and payload.get("text") else payload


def of_messages(payload: dict[str, Any], hidden: frozenset[int]) -> dict[str, Any]:
    """Inputs (``messages``) or outputs (``choices``) of a chat model, each message as in :func:`of_message`."""
    redacted = dict(payload)
    if "messages" in payload:
        redacted["messages"] = [of_message(message, hidden) for message in payload["messages"]]
    if "choices" in payload:
        redacted["choices"] = [
            {**choice, "message": of_message(choice["message"], hidden)} for choice in payload["choices"]
        ]
    return redacted


def of_message(message: dict[str, Any], hidden: frozenset[int]) -> dict[str, Any]:
    """A chat message without the words of ``hidden`` channels; its role and the names of called tools stay.

    If any channel is hidden, the arguments of tool calls and the keys that are not in ``_MESSAGE_KEYS`` are removed,
    too.
    """
    if not hidden:
        return message
    redacted = {key: value for key, value in message.items() if key in _MESSAGE_KEYS}
    if "tool_calls" in redacted:
        redacted["tool_calls"] = [_without_arguments(mapping(call)) for call in sequence(redacted["tool_calls"])]
    if _CHANNELS_OF_ROLE.get(str(message.get("role")), _BOTH) & hidden:
        for key in ("content", "heard"):
            if key in redacted:
                redacted[key] = _content_placeholder(redacted[key])
    return redacted


def of_arguments(arguments: dict[str, Any], hidden: frozenset[int]) -> dict[str, Any]:
    """A tool call's arguments, replaced by a placeholder if any channel is hidden."""
    return {"arguments": NOT_KEPT} if arguments and hidden else arguments


def without_words(value: Any) -> Any:
    """A JSON object or list without words: types, ids, states, and numbers outside of lists stay.

    Texts: those with the keys in ``_VOCABULARY_KEYS`` and with keys that end in ``_id`` stay, as do empty ones; a
    placeholder takes the place of those with the keys in ``_WORD_KEYS``; all others are removed. Scalars in lists are
    removed, and so are all other members with the keys in ``_FREE_FORM_KEYS``. Objects with any other key are kept, and
    treated alike. A bare scalar is returned as it is, a text too.
    """
    if isinstance(value, list):
        return [without_words(member) for member in value if isinstance(member, (dict, list))]
    if not isinstance(value, dict):
        return value
    redacted: dict[str, Any] = {}
    for key, member in value.items():
        if isinstance(member, str):
            if not member or key in _VOCABULARY_KEYS or key.endswith("_id"):
                redacted[key] = member
            elif key in _WORD_KEYS:
                redacted[key] = NOT_KEPT
        elif key not in _FREE_FORM_KEYS:
            redacted[key] = without_words(member)
    return redacted


def _channels_of_event(event_type: str, body: dict[str, Any]) -> frozenset[int]:
    """The channels whose words an event may have."""
    if event_type.startswith(_USER_EVENTS) and not event_type.endswith(".failed"):
        return frozenset({USER})
    item = mapping(body.get("item"))
    if event_type.startswith(_ITEM_EVENTS) and item.get("type") == "message":
        return _CHANNELS_OF_ROLE.get(str(item.get("role")), _BOTH)
    return _BOTH


def _content_placeholder(content: Any) -> Any:
    if not content or content in (UNTRANSCRIBED, TRANSCRIPTION_FAILED):
        return content
    if isinstance(content, list):
        return [{"type": mapping(part).get("type"), "text": NOT_KEPT} for part in content]
    return NOT_KEPT


def _without_arguments(call: dict[str, Any]) -> dict[str, Any]:
    function = {**mapping(call.get("function")), "arguments": NOT_KEPT}
    return {**call, "function": function}

"""The chat messages that are made of the items of a conversation, and the words of them that were heard. Pure."""

from __future__ import annotations

import re
from typing import Any

from langsmith_realtime.core.protocol.events import text
from langsmith_realtime.core.protocol.items import Item

#: The content of a user's message in place of a transcript.
UNTRANSCRIBED = "[audio, not transcribed]"
TRANSCRIPTION_FAILED = "[audio, transcription failed]"
#: In place of a call's arguments that no event has told.
ARGUMENTS_UNKNOWN = "[not received]"

# Chinese and Japanese do not separate words by spaces, so each character counts as a word.
_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")
# Items that say nothing in the conversation.
_SILENT_TYPES = frozenset({"mcp_list_tools", "item_reference"})


def messages_of(item: Item) -> list[dict[str, Any]]:
    """The item as chat messages: none, one, or two for an MCP call with its result.

    An MCP approval request reads like a call, the answer to it like its result. An item of an unknown type has the type
    as its content. A refused item has no message.
    """
    if item.refused or item.type in _SILENT_TYPES:
        return []
    if item.type == "mcp_approval_request":
        return [_call_message(item, item.item_id)]
    if item.type == "mcp_approval_response":
        return [tool_message(item.fields.get("approval_request_id"), approval_text(item.fields))]
    if item.type == "function_call":
        return [_call_message(item, item.fields.get("call_id"))]
    if item.type == "function_call_output":
        return [tool_message(item.fields.get("call_id"), item.fields.get("output"))]
    if item.type == "mcp_call":
        messages = [_call_message(item, item.item_id)]
        result = item.fields.get("output") or item.fields.get("error")
        return messages if result is None else [*messages, tool_message(item.item_id, result)]
    if item.type != "message":
        words = "\n".join(part.text_so_far for _, part in sorted(item.parts.items()) if part.text_so_far)
        role = item.role or ("system" if item.response_id is None else "assistant")
        return [{"role": role, "content": f"[{item.type}] {words}".rstrip()}]
    content = _content(item)
    role = item.role or ("user" if item.response_id is None else "assistant")
    if not content and role == "user":
        return []
    message: dict[str, Any] = {"role": role, "content": content}
    if item.from_guardrail:
        message["from_guardrail"] = True
    if item.interrupted:
        message["interrupted"] = True
    if item.interrupted and item.heard_ms is not None:
        message["heard_ms"] = round(item.heard_ms)
    return [message]


def heard_text(item: Item, share: float) -> str:
    """The beginning of the item's transcript that was heard, cut after a whole word.

    ``share`` is the share of the item's audio that was heard, from 0 to 1. The result is an estimate: it assumes
    that every character takes equally long to say.
    """
    audio_parts = [part for _, part in sorted(item.parts.items()) if part.kind == "audio"]
    transcript = "\n".join(part.text_so_far for part in audio_parts if part.text_so_far)
    heard_length = len(transcript) * share
    ends = [word.end() for word in _WORDS.finditer(transcript) if word.end() <= heard_length]
    return transcript[: ends[-1]] if ends else ""


def tool_message(call_id: object, output: object) -> dict[str, Any]:
    """A tool's result as a chat message, in the form that LangSmith's Messages view shows."""
    return {"role": "tool", "tool_call_id": call_id, "content": output}


def approval_text(fields: dict[str, Any]) -> str:
    """The answer to an MCP approval request: ``approved`` or ``denied``, and the reason if there is one."""
    verdict, reason = "approved" if fields.get("approve") is True else "denied", text(fields.get("reason"))
    return verdict if reason is None else f"{verdict}: {reason}"


def _call_message(item: Item, call_id: object) -> dict[str, Any]:
    arguments = ARGUMENTS_UNKNOWN if item.arguments is None else item.arguments or "{}"
    function = {"name": item.fields.get("name"), "arguments": arguments}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }


def _content(item: Item) -> str | list[dict[str, Any]]:
    """The content of a chat message: plain text, or a list of parts if there is an image."""
    parts: list[dict[str, Any]] = []
    for part in item.said_parts:
        if part.kind == "image":
            parts.append({"type": "image_url", "image_url": {"url": part.url}})
            continue
        content = part.text_so_far
        if content is None and part.kind == "audio" and item.role == "user" and not item.from_idle_timeout:
            content = TRANSCRIPTION_FAILED if item.transcription_failed else UNTRANSCRIBED
        if content:
            parts.append({"type": "text", "text": content})
    if any(part["type"] != "text" for part in parts):
        return parts
    return "\n".join(part["text"] for part in parts)

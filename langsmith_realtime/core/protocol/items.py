"""The items of a conversation: their order, their text, and the chat messages made of them.

Pure. Everything is keyed by ``item_id``, because transcripts arrive early, late or in pieces, in any order. An item's
place follows from the ``previous_item_id`` of the first event that adds it; later events do not move it. Text is
never deleted: after a truncation the *server* deletes its transcript, but the trace shows what was generated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from langsmith_realtime.core.payloads.scrubbing import scrub
from langsmith_realtime.core.protocol.events import mapping, sequence, text

#: The content of a user's message in place of a transcript.
UNTRANSCRIBED = "[audio, not transcribed]"
TRANSCRIPTION_FAILED = "[audio, transcription failed]"

# Chinese and Japanese do not separate words by spaces, so each character counts as a word.
_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")

_TEXT_PARTS = frozenset({"input_text", "output_text", "text"})
_AUDIO_PARTS = frozenset({"input_audio", "output_audio", "audio"})


@dataclass(slots=True)
class _Part:
    """One content part. ``kind`` is ``text``, ``audio`` or ``image``."""

    kind: str
    full_text: str | None = None  # the text or the transcript
    deltas: list[str] = field(default_factory=list)  # until full_text is known
    url: str | None = None  # of an image

    @property
    def text_so_far(self) -> str | None:
        """The text or transcript; until it is complete, the joined deltas that have arrived, or None."""
        return self.full_text if self.full_text is not None else "".join(self.deltas) or None


@dataclass(slots=True, eq=False)
class Item:
    """One item: a message, a tool call or its result. ``parts`` are keyed by ``content_index``.

    ``heard_ms`` is how much of its audio was heard, in ms; None if nothing cut it short.
    """

    item_id: str
    type: str = "message"
    role: str | None = None
    parts: dict[int, _Part] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)  # call_id, name, arguments, output, …
    placed: bool = False  # whether its place in the conversation is known
    response_id: str | None = None  # of the response that produced it; "" if that is unknown
    out_of_band: bool = False  # produced by an out-of-band response
    from_idle_timeout: bool = False  # the server committed silence
    from_guardrail: bool = False  # an SDK sent it in the user's name, because a guardrail tripped
    interrupted: bool = False
    heard_ms: float | None = None
    transcription_failed: bool = False

    @property
    def has_text(self) -> bool:
        """Whether any text or transcript of it has arrived."""
        return any(part.text_so_far for part in self.parts.values())

    @property
    def awaits_transcript(self) -> bool:
        """Whether it is the user's audio and its whole transcript has neither arrived nor failed.

        False for silence that the idle timeout committed.
        """
        return (
            self.role == "user"
            and not self.from_idle_timeout
            and not self.transcription_failed
            and any(part.kind == "audio" and part.full_text is None for part in self.parts.values())
        )

    @property
    def is_call(self) -> bool:
        """Whether it is a function call or an MCP call."""
        return self.type in {"function_call", "mcp_call"}

    @property
    def has_audio(self) -> bool:
        """Whether it has an audio part."""
        return any(part.kind == "audio" for part in self.parts.values())

    @property
    def is_user_turn(self) -> bool:
        """Whether it counts as a turn: a placed message of the user.

        Silence that the idle timeout committed, and a message about a guardrail, are not the user's.
        """
        is_the_users = not (self.from_idle_timeout or self.from_guardrail)
        return self.role == "user" and self.type == "message" and self.placed and is_the_users


class Items:
    """All items of a conversation."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        # A linked list of the placed items: the id of the next item by id. None stands for both ends.
        self._next: dict[str | None, str | None] = {None: None}
        self._last: str | None = None
        self._placed_since_take: list[Item] = []  # since the last take_new_items()

    def get(self, item_id: object) -> Item | None:
        """The item with that id; None if no event has mentioned it."""
        return self._items.get(item_id) if isinstance(item_id, str) else None

    def get_or_create(self, item_id: str) -> Item:
        """The item with that id. An item that no event has mentioned is created, without a place."""
        return self._items.setdefault(item_id, Item(item_id))

    def in_order(self) -> list[Item]:
        """All items in conversation order, then the items without a place, in the order of their first events.

        Items of out-of-band responses are no part of the conversation and are left out.
        """
        placed = []
        item_id = self._next[None]
        while item_id is not None:
            placed.append(self._items[item_id])
            item_id = self._next[item_id]
        return placed + [item for item in self._items.values() if not item.placed and not item.out_of_band]

    def place(self, item_id: str, previous: object) -> Item:
        """Put the item behind the item ``previous``, at the front for ``"root"``, at the end for any other value.

        If ``previous`` has no place, the item is put at the end. An item that has its place keeps it.
        """
        item = self.get_or_create(item_id)
        if item.placed:
            return item
        before = None if previous == "root" else self._last
        known = self.get(previous)
        if known is not None and known.placed:
            before = known.item_id
        item.placed = True
        self._placed_since_take.append(item)
        self._next[item_id], self._next[before] = self._next[before], item_id
        if before == self._last:
            self._last = item_id
        return item

    def assign_response(self, item_id: str, response_id: str) -> None:
        """Note that a response produced the item; ``""`` if its id is unknown. The first known id stays."""
        item = self.get_or_create(item_id)
        item.response_id = item.response_id or response_id

    def new_items(self) -> list[Item]:
        """The items placed since the last :meth:`take_new_items` that no response produced."""
        return [item for item in self._placed_since_take if item.response_id is None]

    def take_new_items(self) -> list[Item]:
        """Return :meth:`new_items`, and start anew with the items placed from here on."""
        taken = self.new_items()
        self._placed_since_take.clear()
        return taken

    def update(self, body: object) -> Item | None:
        """Merge an item from the wire; fields that are missing, null or an empty string keep their known values.

        Returns:
            The item; None if ``body`` is no object with an ``id``.
        """
        wire = mapping(body)
        item_id = text(wire.get("id"))
        if item_id is None:
            return None
        item = self.get_or_create(item_id)
        item.type = text(wire.get("type")) or item.type
        item.role = text(wire.get("role")) or item.role
        for key, value in wire.items():
            if key != "content" and value is not None and (value != "" or key not in item.fields):
                item.fields[key] = value
        for index, part in enumerate(sequence(wire.get("content"))):
            self.update_part(item, index, part)
        return item

    def update_part(self, item: Item, index: int, body: object) -> None:
        """Merge a text, audio or image part from the wire; ``index`` is its ``content_index``. Ignore other kinds."""
        wire = mapping(body)
        kind = text(wire.get("type"))
        if kind in _TEXT_PARTS:
            part = item.parts.setdefault(index, _Part("text"))
            part.full_text = text(wire.get("text")) or part.full_text
        elif kind in _AUDIO_PARTS:
            part = item.parts.setdefault(index, _Part("audio"))
            part.full_text = text(wire.get("transcript")) or part.full_text
        elif kind == "input_image":
            item.parts[index] = _Part(
                "image", url=scrub(text(wire.get("image_url")))
            )  # an unscrubbed data URL would stay in memory

    def add_delta(self, item_id: str, index: int, delta: object, *, kind: str) -> None:
        """Append a delta to a part's text (``kind="text"``) or transcript (``kind="audio"``)."""
        if isinstance(delta, str):
            self.get_or_create(item_id).parts.setdefault(index, _Part(kind)).deltas.append(delta)

    def set_text(self, item_id: str, index: int, full_text: object, *, kind: str) -> None:
        """Set a part's whole text or transcript, which replaces its deltas, if ``full_text`` is a string."""
        part = self.get_or_create(item_id).parts.setdefault(index, _Part(kind))
        if isinstance(full_text, str):
            part.full_text = full_text
            part.deltas.clear()


def messages_of(item: Item) -> list[dict[str, Any]]:
    """The item as chat messages: none, one, or two for an MCP call with its result."""
    if item.type == "function_call":
        return [_call_message(item, item.fields.get("call_id"))]
    if item.type == "function_call_output":
        return [tool_message(item.fields.get("call_id"), item.fields.get("output"))]
    if item.type == "mcp_call":
        messages = [_call_message(item, item.item_id)]
        result = item.fields.get("output") or item.fields.get("error")
        return messages if result is None else [*messages, tool_message(item.item_id, result)]
    if item.type != "message":
        return []
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


def _call_message(item: Item, call_id: object) -> dict[str, Any]:
    function = {"name": item.fields.get("name"), "arguments": item.fields.get("arguments") or "{}"}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }


def _content(item: Item) -> str | list[dict[str, Any]]:
    """The content of a chat message: plain text, or a list of parts if there is an image."""
    parts: list[dict[str, Any]] = []
    for _, part in sorted(item.parts.items()):
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

"""The conversation's items in conversation order, and what was said in each.

Pure. Everything is keyed by ``item_id``: transcripts come early, late or in pieces, in any order. The
order is the chain of ``previous_item_id`` at an item's first sight; later events may repeat it as null.
Once known, words are never taken back: a truncation makes the *server* delete its text, not ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from langsmith_realtime.core.payloads.scrubbing import scrub
from langsmith_realtime.core.protocol.events import mapping, sequence, text

UNTRANSCRIBED = "[audio, not transcribed]"
TRANSCRIPTION_FAILED = "[audio, transcription failed]"

# Chinese and Japanese have no spaces: each character counts as a word.
_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")

_TEXT_PARTS = frozenset({"input_text", "output_text", "text"})
_AUDIO_PARTS = frozenset({"input_audio", "output_audio", "audio"})


@dataclass(slots=True)
class _Part:
    kind: str  # text, audio or image
    words: str | None = None
    pieces: list[str] = field(default_factory=list)  # deltas, until the whole is known
    url: str | None = None

    @property
    def said(self) -> str | None:
        return self.words if self.words is not None else "".join(self.pieces) or None


@dataclass(slots=True, eq=False)
class Item:
    """One item: a message, a tool call or its result. ``parts`` are keyed by ``content_index``."""

    item_id: str
    type: str = "message"
    role: str | None = None
    parts: dict[int, _Part] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)  # call_id, name, arguments, output, …
    placed: bool = False  # it has its place in the conversation
    response_id: str | None = None  # of the response that produced it
    out_of_band: bool = False  # produced beside the conversation
    idle: bool = False  # made by the idle timeout, nobody spoke
    interrupted: bool = False
    heard_ms: float | None = None
    transcription_failed: bool = False

    @property
    def has_words(self) -> bool:
        return any(part.said for part in self.parts.values())

    @property
    def lacks_words(self) -> bool:
        """A user's speech whose transcript did not come yet."""
        return (
            self.role == "user"
            and not self.idle
            and not self.transcription_failed
            and any(part.kind == "audio" and part.words is None for part in self.parts.values())
        )

    @property
    def is_call(self) -> bool:
        return self.type in {"function_call", "mcp_call"}

    @property
    def has_audio(self) -> bool:
        return any(part.kind == "audio" for part in self.parts.values())

    @property
    def is_turn(self) -> bool:
        return self.role == "user" and self.type == "message" and self.placed and not self.idle


class Items:
    """All items by id, and in conversation order."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        # Who comes behind whom; None stands before the first and behind the last.
        self._next: dict[str | None, str | None] = {None: None}
        self._last: str | None = None
        self._fresh: list[Item] = []  # placed since the last take_fresh()

    def get(self, item_id: object) -> Item | None:
        return self._items.get(item_id) if isinstance(item_id, str) else None

    def know(self, item_id: str) -> Item:
        """The item of that id; made, still without a place, when it was never heard of."""
        return self._items.setdefault(item_id, Item(item_id))

    def ordered(self) -> list[Item]:
        """Items that have a place, then those only their words are known of, in order of first sight.

        What an out-of-band response produced is no part of the conversation.
        """
        placed = []
        item_id = self._next[None]
        while item_id is not None:
            placed.append(self._items[item_id])
            item_id = self._next[item_id]
        return placed + [item for item in self._items.values() if not item.placed and not item.out_of_band]

    def place(self, item_id: str, previous: object) -> Item:
        """Give the item its place behind ``previous``, at the front for ``"root"``, else at the end."""
        item = self.know(item_id)
        if item.placed:
            return item
        before = None if previous == "root" else self._last
        known = self.get(previous)
        if known is not None and known.placed:
            before = known.item_id
        item.placed = True
        self._fresh.append(item)
        self._next[item_id], self._next[before] = self._next[before], item_id
        if before == self._last:
            self._last = item_id
        return item

    def produced(self, item_id: str, response_id: str) -> None:
        """The item is a response's; ``""`` when it is not known whose."""
        item = self.know(item_id)
        item.response_id = item.response_id or response_id

    def fresh(self) -> list[Item]:
        """What got its place since the last ``take_fresh()`` and was not produced by a response."""
        return [item for item in self._fresh if item.response_id is None]

    def take_fresh(self) -> list[Item]:
        """The fresh items; they are not fresh any more."""
        fresh = self.fresh()
        self._fresh.clear()
        return fresh

    def update(self, body: object) -> Item | None:
        """Take over a wire item; what it leaves out, or sends as null, stays as it was known."""
        wire = mapping(body)
        item_id = text(wire.get("id"))
        if item_id is None:
            return None
        item = self.know(item_id)
        item.type = text(wire.get("type")) or item.type
        item.role = text(wire.get("role")) or item.role
        for key, value in wire.items():
            if key != "content" and value is not None and (value != "" or key not in item.fields):
                item.fields[key] = value
        for index, part in enumerate(sequence(wire.get("content"))):
            self.update_part(item, index, part)
        return item

    def update_part(self, item: Item, index: int, body: object) -> None:
        wire = mapping(body)
        kind = text(wire.get("type"))
        if kind in _TEXT_PARTS:
            part = item.parts.setdefault(index, _Part("text"))
            part.words = text(wire.get("text")) or part.words
        elif kind in _AUDIO_PARTS:
            part = item.parts.setdefault(index, _Part("audio"))
            part.words = text(wire.get("transcript")) or part.words
        elif kind == "input_image":
            item.parts[index] = _Part("image", url=scrub(text(wire.get("image_url"))))  # not kept for an hour

    def add_words(self, item_id: str, index: int, piece: object, *, kind: str) -> None:
        """One delta of a transcript or a text."""
        if isinstance(piece, str):
            self.know(item_id).parts.setdefault(index, _Part(kind)).pieces.append(piece)

    def set_words(self, item_id: str, index: int, words: object, *, kind: str) -> None:
        """The whole transcript or text; it replaces the pieces."""
        part = self.know(item_id).parts.setdefault(index, _Part(kind))
        if isinstance(words, str):
            part.words = words
            part.pieces.clear()


def messages_of(item: Item) -> list[dict[str, Any]]:
    """The item as chat messages: none, one, or a remote call and its result."""
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
    if item.interrupted:
        message["interrupted"] = True
    if item.interrupted and item.heard_ms is not None:
        message["heard_ms"] = round(item.heard_ms)
    return [message]


def heard_words(item: Item, share: float) -> str:
    """What of the item's speech was heard when a ``share`` of its sound was, from 0 to 1, in whole words.

    An estimate: words are taken to be as long as they are written.
    """
    spoken = "\n".join(part.said for _, part in sorted(item.parts.items()) if part.kind == "audio" and part.said)
    room = len(spoken) * share
    ends = [word.end() for word in _WORDS.finditer(spoken) if word.end() <= room]
    return spoken[: ends[-1]] if ends else ""


def tool_message(call_id: object, output: object) -> dict[str, Any]:
    """A tool's result in the shape LangSmith's Messages view reads."""
    return {"role": "tool", "tool_call_id": call_id, "content": output}


def _call_message(item: Item, call_id: object) -> dict[str, Any]:
    function = {"name": item.fields.get("name"), "arguments": item.fields.get("arguments") or "{}"}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }


def _content(item: Item) -> str | list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for _, part in sorted(item.parts.items()):
        if part.kind == "image":
            parts.append({"type": "image_url", "image_url": {"url": part.url}})
            continue
        said = part.said
        if said is None and part.kind == "audio" and item.role == "user" and not item.idle:
            said = TRANSCRIPTION_FAILED if item.transcription_failed else UNTRANSCRIBED
        if said:
            parts.append({"type": "text", "text": said})
    if any(part["type"] != "text" for part in parts):
        return parts
    return "\n".join(part["text"] for part in parts)

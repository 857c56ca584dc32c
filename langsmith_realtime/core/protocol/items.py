"""The items of a conversation: their order and their text.

Pure. Everything is keyed by ``item_id``, because transcripts arrive early, late or in pieces, in any order. An item
stands in the order of first sight until an event tells its ``previous_item_id``; later events do not move it. One item
may have several ids: that of the client, that of the server, that of the events with its words. Text is never deleted:
after a truncation the *server* deletes its transcript, but the trace shows what was generated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from langsmith_realtime.core.payloads.scrubbing import scrub
from langsmith_realtime.core.protocol.events import json_text, mapping, sequence, text

# No space stands between two pieces of Chinese or Japanese text.
_NO_SPACE = re.compile(r"[\s\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]")

#: Added to the index of a part for the words that come as text of a spoken part, or as transcript of a written one.
OTHER_KIND = 1000
_TEXT_PARTS = frozenset({"input_text", "output_text", "text"})
_AUDIO_PARTS = frozenset({"input_audio", "output_audio", "audio"})


@dataclass(slots=True)
class _Part:
    """One content part. ``kind`` is ``text``, ``audio`` or ``image``."""

    kind: str
    full_text: str | None = None  # the text or the transcript
    deltas: list[str] = field(default_factory=list)  # since full_text was known
    url: str | None = None  # of an image
    is_whole: bool = False  # an item from the wire told full_text, so no more pieces of it are to come

    @property
    def text_so_far(self) -> str | None:
        """The text or transcript, followed by the deltas that have arrived since; None without either."""
        return joined(self.full_text or "", "".join(self.deltas)) if self.deltas else self.full_text

    def add_piece(self, words: str) -> None:
        """Add the text of a ``….done`` event, which replaces the deltas since the last one.

        A server may send one such event for each sentence, and repeat the earlier sentences or not: a text that begins
        with the known text replaces it, a text that is known already changes nothing, and any other text follows it. An
        empty text keeps the deltas.
        """
        deltas, known = "".join(self.deltas), self.full_text
        words = words or deltas
        is_piece = bool(deltas) and deltas.strip() == words.strip()  # has deltas of its own
        self.deltas.clear()
        if self.is_whole and known and words in known:
            return
        if not known or (words.startswith(known) and not is_piece):
            self.full_text = words
        elif is_piece or not known.endswith(words):
            self.full_text = joined(known, words)

    def set_whole(self, words: str | None) -> None:
        """Set the text that an item on the wire has; None or empty text changes nothing."""
        if words:
            self.full_text, self.is_whole = words, True
            self.deltas.clear()


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
    number: int = 0  # in the order of first sight
    placed: bool = False  # whether an event told its place in the conversation
    previous: Item | None = None  # the item that it was put behind
    described: bool = False  # an event told what it is, not only its id or its words
    speaking: bool = False  # speech_started named it, and the user still speaks
    is_unnamed: bool = False  # no event has told its id
    refused: bool = False  # the server refused the item that the client sent
    deleted: bool = False  # it was said, and the server forgot it
    is_repeated: bool = False  # the client told a new server session what was said before
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
    def said_parts(self) -> list[_Part]:
        """Its parts in order; words that came both as text and as transcript of one part are there once."""

        def is_repeated(index: int, part: _Part) -> bool:
            other = self.parts.get(index - OTHER_KIND)
            return other is not None and other.text_so_far == part.text_so_far

        return [part for index, part in sorted(self.parts.items()) if not is_repeated(index, part)]

    @property
    def spoken_text(self) -> str:
        """All its words, with single spaces between them."""
        return " ".join(" ".join(part.text_so_far or "" for part in self.said_parts).split())

    def takes(self, fragment: Item) -> bool:
        """Append the deltas of another item, unless its words are known; False if the whole text does not have them."""
        if any(part.is_whole for part in self.parts.values()):
            return fragment.spoken_text in self.spoken_text
        for index, part in fragment.parts.items():
            self.parts.setdefault(index, _Part(part.kind)).deltas += part.deltas
        return True

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
    def arguments(self) -> str | None:
        """The arguments of a call, as JSON text; empty if it has none.

        None if no event has told them: the call was cut off, or they came in deltas, which a journal does not have.
        """
        told = json_text(self.fields.get("arguments"))
        words = told or (self.parts[0].text_so_far if 0 in self.parts else None)
        return words or (None if self.fields.get("status") in ("in_progress", "incomplete") else told)

    @property
    def has_audio(self) -> bool:
        """Whether it has an audio part."""
        return any(part.kind == "audio" for part in self.parts.values())

    @property
    def is_user_turn(self) -> bool:
        """Whether it counts as a turn: a message of the user, typed or spoken, that the server did not refuse.

        Silence that the idle timeout committed, and a message about a guardrail, are not the user's. A message of
        images alone says nothing: a camera sends one each second.
        """
        is_message = self.role == "user" and self.type == "message" and (self.described or bool(self.parts))
        is_picture = bool(self.parts) and all(part.kind == "image" for part in self.parts.values())
        return is_message and not (
            self.from_idle_timeout or self.from_guardrail or self.refused or self.is_repeated or is_picture
        )

    def repeats(self, earlier: Item) -> bool:
        """Whether it says what an earlier item said: that call or result, or those words or the heard part of them."""
        if self.type != earlier.type or self.role != earlier.role:
            return False
        if self.type != "message":
            return all(self.fields.get(key) == earlier.fields.get(key) for key in ("call_id", "name", "arguments"))
        words, known = self.spoken_text, earlier.spoken_text
        return bool(words) and (words == known or (earlier.interrupted and known.startswith(words)))


class Items:
    """All items of a conversation."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}  # by each of its ids
        self._calls: dict[str, Item] = {}  # function calls by call_id
        self._order: list[Item] = []
        self._count = 0
        self._next_of_unknown: dict[str, Item] = {}  # by the id of the unknown item that it stands behind
        self._new: list[Item] = []  # since the last take_new_items()

    def get(self, item_id: object) -> Item | None:
        """The item with that id; None if no event has mentioned it."""
        return self._items.get(item_id) if isinstance(item_id, str) else None

    def get_or_create(self, item_id: str) -> Item:
        """The item with that id. An item that no event has mentioned is created, at the end of the conversation.

        If another item has named it as its previous item, it is put before that one.
        """
        item = self._items.get(item_id)
        if item is None:
            self._count += 1
            item = self._items[item_id] = Item(item_id, number=self._count)
            follower = self._next_of_unknown.pop(item_id, None)
            self._order.insert(len(self._order) if follower is None else self._position(follower), item)
            self._new.append(item)
        return item

    def message(self, item_id: str, role: str) -> Item:
        """The message of that role with that id; another one if an item of the other side, or a call, has the id."""
        item = self.get_or_create(item_id)
        is_other = item.type != "message" or (item.role is not None and (item.role == "user") != (role == "user"))
        if is_other:
            item = self.get_or_create(f"{item_id} {role}")
        item.role = item.role or role
        return item

    def call(self, call_id: str, item_id: object = None) -> Item:
        """The function call with that ``call_id``; created if no event has mentioned it.

        It gets ``item_id`` as its id, unless another item has it: servers use one id for an answer and its calls.
        """
        item, named = self._calls.get(call_id), self.get(item_id)
        if named is not None and named.type == "function_call" and named.fields.get("call_id") in (None, call_id):
            item = named
        elif item is None:
            is_free = named is None or (named.type == "message" and not named.described and not named.parts)
            item = self.get_or_create(item_id if isinstance(item_id, str) and item_id and is_free else call_id)
        elif item.described and named is None and isinstance(item_id, str):
            item = self.get_or_create(item_id)  # another call: the server counts anew
        item.type = "function_call"
        item.fields.setdefault("call_id", call_id)
        self._calls[call_id] = item
        return item

    def known_call(self, call_id: str) -> Item | None:
        """The function call with that ``call_id``; None if no event has mentioned it."""
        return self._calls.get(call_id)

    def also_named(self, item: Item, item_id: str) -> None:
        """Note another id of an item; ignored if an item has that id already."""
        self._items.setdefault(item_id, item)

    def rename(self, item: Item, item_id: str) -> None:
        """Give an item another id, under which it is known from here on; it keeps its earlier ids as well."""
        self.also_named(item, item_id)
        item.item_id = item_id

    def merge(self, kept: Item, other: Item) -> None:
        """Two items turned out to be one: ``kept`` gets the type, role, fields and place of ``other``, and its ids."""
        if kept is other:
            return
        kept.type, kept.role = other.type, other.role or kept.role
        kept.fields.update(other.fields)
        kept.described = kept.described or other.described
        if other.placed and not kept.placed:
            del self._order[self._position(kept)]
            self._order[self._position(other)] = kept
            kept.placed = True
        else:
            del self._order[self._position(other)]
        self._new = [item for item in self._new if item is not other]
        for item_id in [each for each, item in self._items.items() if item is other]:
            self._items[item_id] = kept

    def repeated(self, item: Item, earlier: Item) -> None:
        """An item tells a new server session what an earlier one said: it is an input in the place of that."""
        item.is_repeated = True
        self._new = [each for each in self._new if each is not earlier]

    def in_order(self) -> list[Item]:
        """All items in conversation order. An item whose place no event told stands in the order of first sight.

        Items of out-of-band responses are no part of the conversation and are left out; so are refused items, and those
        that repeat earlier ones.
        """
        return [item for item in self._order if not (item.out_of_band or item.refused or item.is_repeated)]

    def untranscribed(self) -> Item | None:
        """The user's latest spoken message, if its transcript has not arrived; None if it is 100 items ago."""
        recent = islice(reversed(self._order), 100)
        latest = next((item for item in recent if item.role == "user" and item.type == "message"), None)
        if latest is None or latest.from_idle_timeout or latest.refused:
            return None
        is_open = all(part.kind == "audio" and part.full_text is None for part in latest.parts.values())
        return latest if is_open and (latest.parts or not latest.described) else None

    def unnamed_answer(self) -> Item | None:
        """The agent's latest message, if no event has told its id; None if it is 100 items ago."""
        recent = islice(reversed(self._order), 100)
        latest = next((item for item in recent if item.role == "assistant" and item.type == "message"), None)
        return latest if latest is not None and latest.is_unnamed else None

    def speech_ended(self, item: Item) -> None:
        """The user has spoken the item: it takes its place, behind what the agent said in the meantime."""
        if item.speaking:
            item.speaking = False
            if not item.placed:
                self._move(item, self._order[-1])

    def place(self, item_id: str, previous: object) -> Item:
        """Put the item behind the item ``previous``, or at the front for ``"root"``.

        For any other value its place is not told, and it stays in the order of first sight. Speech takes its place when
        it becomes an item, not when it begins. An item whose place was told keeps it.
        """
        item = self.get_or_create(item_id)
        known = self.get(previous)
        if known is item or (known is not None and known.previous is item):
            known = previous = None  # the item cannot stand behind its own successor
        if item.placed:
            pass
        elif previous == "root" or known is not None:
            self._move(item, known)
            item.placed, item.previous = True, known
        else:
            self.speech_ended(item)
            if known is None and isinstance(previous, str) and previous:
                self._next_of_unknown[previous] = item
        item.speaking = False
        return item

    def _move(self, item: Item, previous: Item | None) -> None:
        """Put the item behind ``previous``, or at the front without it.

        Earlier items whose place no event told stay between them: the server names the item before those.
        """
        if item is previous or (self._order[-1] is item and len(self._order) > 1 and self._order[-2] is previous):
            return
        del self._order[self._position(item)]
        place = 0 if previous is None else self._position(previous) + 1
        while place < len(self._order):
            other = self._order[place]
            is_earlier = previous is not None and not other.placed and other.number < item.number
            if not (other.deleted or is_earlier):
                break
            place += 1  # the server, which does not know the deleted item, names the one before it
        self._order.insert(place, item)

    def _position(self, item: Item) -> int:
        """The index of the item in the order; searched from the end, because late items are the ones that move."""
        return next(n for n in range(len(self._order) - 1, -1, -1) if self._order[n] is item)

    def assign_response(self, item_id: str, response_id: str) -> None:
        """Note that a response produced the item; ``""`` if its id is unknown. The first known id stays."""
        item = self.get_or_create(item_id)
        item.response_id = item.response_id or response_id

    def new_items(self) -> list[Item]:
        """The items since the last :meth:`take_new_items` that no response produced.

        Without what the user still speaks, and what the server refused or deleted.
        """
        new = [
            item
            for item in self._new
            if item.response_id is None and not (item.speaking or item.refused or item.deleted)
        ]
        return new if len(new) < 2 else sorted(new, key=self._position)

    def take_new_items(self) -> list[Item]:
        """Return :meth:`new_items`, and start anew with the items that come from here on."""
        taken = self.new_items()
        self._new = [item for item in self._new if item.speaking]
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
        item = self._item_of(item_id, wire)
        item.described = True
        item.type = text(wire.get("type")) or item.type
        item.role = text(wire.get("role")) or item.role
        for key, value in wire.items():
            if key != "content" and value is not None and (value != "" or key not in item.fields):
                item.fields[key] = json_text(value) if key == "arguments" else value
        content = sequence(wire.get("content"))
        for index, part in enumerate(content):
            self.update_part(item, index, part)
        self._drop_repeated_parts(item, len(content))
        return item

    def _item_of(self, item_id: str, wire: dict[str, Any]) -> Item:
        """The item that is meant: its id may be another item's, too, and a call is known by its ``call_id``."""
        kind, call_id, known = wire.get("type"), text(wire.get("call_id")), self.get(item_id)
        if kind == "function_call" and call_id is not None:
            item = self.call(call_id, item_id)
            self.also_named(item, item_id)
            return item
        if kind == "message" and known is not None and known.type == "function_call":
            return self.message(item_id, str(text(wire.get("role")) or "assistant"))
        return self.get_or_create(item_id)

    def _drop_repeated_parts(self, item: Item, count: int) -> None:
        """Drop the words that came under another ``content_index`` than the ``count`` parts that an item now tells."""
        told = {part.full_text for index, part in item.parts.items() if index < count and part.is_whole}
        for index in [each for each, part in item.parts.items() if each >= count and part.text_so_far in told]:
            del item.parts[index]

    def update_part(self, item: Item, index: int, body: object) -> None:
        """Merge a text, audio or image part from the wire; ``index`` is its ``content_index``. Ignore other kinds."""
        wire = mapping(body)
        kind = text(wire.get("type"))
        if kind in _TEXT_PARTS:
            part = item.parts.setdefault(index, _Part("text"))
            part.set_whole(text(wire.get("text")))
        elif kind in _AUDIO_PARTS:
            part = item.parts.setdefault(index, _Part("audio"))
            part.set_whole(text(wire.get("transcript")) or text(wire.get("text")))
        elif kind == "input_image":
            item.parts[index] = _Part(
                "image", url=scrub(text(wire.get("image_url")))
            )  # an unscrubbed data URL would stay in memory

    def add_delta(self, item: Item, index: int, delta: object, *, kind: str) -> None:
        """Append a delta to a part's text (``kind="text"``) or transcript (``kind="audio"``)."""
        if isinstance(delta, str):
            _part(item, index, kind).deltas.append(delta)

    def add_text(self, item: Item, index: int, words: object, *, kind: str, is_whole: bool = False) -> None:
        """Add the text of a ``….done`` event to a part, if ``words`` is a string; see :meth:`_Part.add_piece`.

        ``is_whole``: the event says that it has the whole text, which replaces what is known.
        """
        part = _part(item, index, kind)
        if isinstance(words, str) and is_whole:
            part.full_text = None
        if isinstance(words, str):
            part.add_piece(words)

    def set_interim(self, item: Item, index: int, words: str, *, kind: str) -> None:
        """Set what is known so far of a part that goes on; the next text replaces it."""
        item.parts.setdefault(index, _Part(kind)).deltas[:] = [words]


def _part(item: Item, index: int, kind: str) -> _Part:
    """The part for the words of an event; a server may tell one part as text and as transcript."""
    known = item.parts.get(index)
    if known is not None and known.kind != kind and known.text_so_far and not known.is_whole:
        index += OTHER_KIND
    return item.parts.setdefault(index, _Part(kind))


def joined(words: str, more: str) -> str:
    """Two pieces of one text, with a space between them if the language has spaces and neither piece has one there."""
    needs_space = words and more and not _NO_SPACE.match(words[-1]) and not _NO_SPACE.match(more[0])
    return f"{words} {more}" if needs_space else f"{words}{more}"

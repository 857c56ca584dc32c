"""The conversation as the server knows it: its items, in order."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from langsmith_realtime.testing.script.script import Event
from langsmith_realtime.testing.state.wire import ClientError, Ids, missing, wrong_type

ROLES = ("user", "assistant", "system")


@dataclass
class Entry:
    """An item with what the wire does not show: how many milliseconds of audio it holds."""

    item: Event
    audio_ms: float = 0.0


class Conversation:
    """Items in order. Ids that the client chose are kept."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self.entries: list[Entry] = []

    def add(self, entry: Entry, after: str | None = None) -> str | None:
        """Put an item at the end, or after the item named (``root``: at the front).

        Returns the id of the item before it. Raises ClientError if the one named does not exist, or the new
        item's id is taken.
        """
        if any(other.item["id"] == entry.item["id"] for other in self.entries):
            raise ClientError(
                "item_create_duplicate_id", f"An item with the id '{entry.item['id']}' is already there.", "item.id"
            )
        if after is None:
            place = len(self.entries)
        elif after == "root":
            place = 0
        else:
            place = self._index(after, "create", "previous_item_id") + 1
        self.entries.insert(place, entry)
        return self.entries[place - 1].item["id"] if place else None

    def find(self, item_id: object, verb: str) -> Entry:
        """The item with this id. Raises ClientError, saying which `verb` failed, if there is none."""
        return self.entries[self._index(item_id, verb, "item_id")]

    def remove(self, item_id: object) -> None:
        """Delete the item with this id. Raises ClientError if there is none."""
        del self.entries[self._index(item_id, "delete", "item_id")]

    @property
    def last_id(self) -> str | None:
        """The id of the last item."""
        return self.entries[-1].item["id"] if self.entries else None

    @property
    def has_spoken(self) -> bool:
        """Whether the agent's voice is in it."""
        return any(entry.audio_ms and entry.item.get("role") == "assistant" for entry in self.entries)

    def _index(self, item_id: object, verb: str, param: str) -> int:
        if item_id is None:
            raise missing(param)
        for index, entry in enumerate(self.entries):
            if entry.item["id"] == item_id:
                return index
        raise ClientError(f"item_{verb}_invalid_item_id", f"There is no item with the id '{item_id}'.", param)


def new_item(given: object, ids: Ids) -> Event:
    """The item of a ``conversation.item.create`` with what the server adds: an id, and a message's status.

    Raises ClientError where a field that its type needs is missing or of another type.
    """
    if given is None:
        raise missing("item")
    if not isinstance(given, dict):
        raise wrong_type("item", "an object")
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in _NEEDED:
        supported = ", ".join(repr(each) for each in _NEEDED)
        raise ClientError("invalid_value", f"Invalid value: {kind!r}. Supported values are: {supported}.", "item.type")
    if not isinstance(given.get("id") or "", str):
        raise wrong_type("item.id", "a string")
    for name, shape in _NEEDED[kind].items():
        if name not in given:
            raise missing(f"item.{name}")
        if not isinstance(given[name], shape):
            raise wrong_type(f"item.{name}", _SHAPES[shape])
    if kind == "message" and given["role"] not in ROLES:
        raise ClientError("invalid_value", f"Invalid value: {given['role']!r}.", "item.role")
    status = {"status": "completed"} if kind in ("message", "function_call") else {}
    item: Event = {"id": given.get("id") or ids.new("item"), "type": kind, **status}
    return {**item, **copy.deepcopy({k: v for k, v in given.items() if k not in ("id", "type", "object")})}


_NEEDED: dict[str, dict[str, type[Any]]] = {
    "message": {"role": str, "content": list},
    "function_call": {"name": str, "arguments": str},
    "function_call_output": {"call_id": str, "output": str},
    "mcp_list_tools": {"server_label": str, "tools": list},
    "mcp_call": {"server_label": str, "name": str, "arguments": str},
    "mcp_approval_request": {"server_label": str, "name": str, "arguments": str},
    "mcp_approval_response": {"approval_request_id": str, "approve": bool},
}
_SHAPES: dict[type[Any], str] = {str: "a string", list: "an array", bool: "a boolean"}

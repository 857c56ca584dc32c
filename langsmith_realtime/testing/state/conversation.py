"""The items of a conversation in order, and the check of items that a client creates."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from langsmith_realtime.testing.script.script import Event
from langsmith_realtime.testing.state.wire import ClientError, Ids, missing, wrong_type

ROLES = ("user", "assistant", "system")


@dataclass
class Entry:
    """An item of the conversation, and the length of its audio in milliseconds, which events do not have."""

    item: Event
    audio_ms: float = 0.0


class Conversation:
    """The items of one conversation in order. An item keeps an id that the client has given it."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self.entries: list[Entry] = []

    def add(self, entry: Entry, after: str | None = None) -> str | None:
        """Add an item at the end, or after another item.

        Args:
            entry: The new item.
            after: Id of the item that precedes the new item; ``root`` for the beginning, None for the end.

        Returns:
            The id of the item before the new item; None at the beginning.

        Raises:
            ClientError: The item `after` does not exist (code ``item_create_invalid_item_id``), or another item has the
                new item's id (code ``item_create_duplicate_id``).
        """
        if any(other.item["id"] == entry.item["id"] for other in self.entries):
            raise ClientError(
                "item_create_duplicate_id",
                f"The conversation already has an item with the id '{entry.item['id']}'.",
                "item.id",
            )
        if after is None:
            index = len(self.entries)
        elif after == "root":
            index = 0
        else:
            index = self._index(after, "create", "previous_item_id") + 1
        self.entries.insert(index, entry)
        return self.entries[index - 1].item["id"] if index else None

    def find(self, item_id: object, verb: str) -> Entry:
        """Return the item with this id.

        Raises:
            ClientError: No item has this id (code ``item_<verb>_invalid_item_id``), or the id is None (code
                ``missing_required_parameter``).
        """
        return self.entries[self._index(item_id, verb, "item_id")]

    def remove(self, item_id: object) -> None:
        """Delete the item with this id; raises ClientError as :meth:`find` does, with the verb ``delete``."""
        del self.entries[self._index(item_id, "delete", "item_id")]

    @property
    def last_id(self) -> str | None:
        """The id of the last item; None for an empty conversation."""
        return self.entries[-1].item["id"] if self.entries else None

    @property
    def has_spoken(self) -> bool:
        """Whether an item of the agent has audio."""
        return any(entry.audio_ms and entry.item.get("role") == "assistant" for entry in self.entries)

    def _index(self, item_id: object, verb: str, param: str) -> int:
        if item_id is None:
            raise missing(param)
        for index, entry in enumerate(self.entries):
            if entry.item["id"] == item_id:
                return index
        raise ClientError(
            f"item_{verb}_invalid_item_id", f"The conversation has no item with the id '{item_id}'.", param
        )


def new_item(given: object, ids: Ids) -> Event:
    """Return a copy of the item of a ``conversation.item.create``, with a new id if it has none.

    A message or function call without a status gets the status ``completed``.

    Raises:
        ClientError: The item's type or role is unknown (code ``invalid_value``); the item or a required field is
            missing (``missing_required_parameter``); or the item, its ``id`` or a required field has the wrong type
            (``invalid_type``).
    """
    if given is None:
        raise missing("item")
    if not isinstance(given, dict):
        raise wrong_type("item", "an object")
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in _REQUIRED_FIELDS:
        supported = ", ".join(repr(each) for each in _REQUIRED_FIELDS)
        raise ClientError("invalid_value", f"Invalid value: {kind!r}. Supported values are: {supported}.", "item.type")
    if not isinstance(given.get("id") or "", str):
        raise wrong_type("item.id", "a string")
    for name, type_ in _REQUIRED_FIELDS[kind].items():
        if name not in given:
            raise missing(f"item.{name}")
        if not isinstance(given[name], type_):
            raise wrong_type(f"item.{name}", _TYPE_NAMES[type_])
    if kind == "message" and given["role"] not in ROLES:
        supported = ", ".join(repr(role) for role in ROLES)
        raise ClientError(
            "invalid_value", f"Invalid value: {given['role']!r}. Supported values are: {supported}.", "item.role"
        )
    status = {"status": "completed"} if kind in ("message", "function_call") else {}
    item: Event = {"id": given.get("id") or ids.new("item"), "type": kind, **status}
    return {**item, **copy.deepcopy({k: v for k, v in given.items() if k not in ("id", "type", "object")})}


_REQUIRED_FIELDS: dict[str, dict[str, type[Any]]] = {
    "message": {"role": str, "content": list},
    "function_call": {"name": str, "arguments": str},
    "function_call_output": {"call_id": str, "output": str},
    "mcp_list_tools": {"server_label": str, "tools": list},
    "mcp_call": {"server_label": str, "name": str, "arguments": str},
    "mcp_approval_request": {"server_label": str, "name": str, "arguments": str},
    "mcp_approval_response": {"approval_request_id": str, "approve": bool},
}
_TYPE_NAMES: dict[type[Any], str] = {str: "a string", list: "an array", bool: "a boolean"}

"""What the client asked for and the server has neither confirmed nor refused.

Pure. A server refuses an event by an ``error``, which names the event's ``event_id``, or only what it refused: by
``param`` and by words of its message. Servers answer in the order in which events arrive, and confirm only some.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langsmith_realtime.core.protocol.events import Event, mapping, text
from langsmith_realtime.core.protocol.items import Item

#: How many events may wait for the server's answer; older ones count as accepted.
MAX_WAITING = 256

#: How an error without an ``event_id`` names an event: the first part of its ``param``, and words of its text.
_NAMES: dict[str, tuple[frozenset[str], tuple[str, ...]]] = {
    # The order decides if an error names several kinds.
    "conversation.item.create": (
        frozenset({"item", "previous_item_id"}),
        ("conversation.item.create", "item.", "tool call", "tool_call", "call_id", "function call output"),
    ),
    "response.create": (frozenset({"response"}), ("response.create", "active response", "active_response")),
    "session.update": (frozenset({"session"}), ("session", "format", "voice", "modalities", "turn_detection")),
    "input_audio_buffer.commit": (frozenset(), ("input_audio_buffer_commit", "input_audio_buffer.commit", "commit")),
}
#: The events whose refusal undoes something. A truncation has its own rules in ``interruptions``.
REVOCABLE = frozenset(_NAMES)


@dataclass(slots=True, eq=False)
class SentEvent:
    """An event that the client sent at ``t``, in seconds.

    Attributes:
        item: the item that a ``conversation.item.create`` put into the transcript.
        request: the ``response`` of a ``response.create``.
    """

    kind: str
    event_id: str | None
    t: float
    item: Item | None = None
    request: dict[str, Any] = field(default_factory=dict)

    def is_named_by(self, error: Mapping[str, Any]) -> bool:
        """Whether an error without an ``event_id`` names an event of this kind."""
        params, words = _NAMES[self.kind]
        param = (text(error.get("param")) or "").partition(".")[0].partition("[")[0]
        if param:
            return param in params
        said = f"{error.get('code')} {error.get('message')}".lower()
        return any(word in said for word in words) or self._is_quoted_in(said)

    def _is_quoted_in(self, said: str) -> bool:
        """Whether the error's text quotes an id in this event."""
        ids = () if self.item is None else (text(self.item.fields.get("call_id")), self.item.item_id)
        return any(each is not None and each.lower() in said for each in ids)

    def is_quoted_by(self, error: Mapping[str, Any]) -> bool:
        """Whether the error's text quotes an id in this event."""
        return self._is_quoted_in(f"{error.get('code')} {error.get('message')}".lower())


class SentEvents:
    """The client's events whose refusal would undo something, oldest first."""

    def __init__(self) -> None:
        self._waiting: list[SentEvent] = []
        self._confirms: set[str] = set()  # the kinds that this server confirms

    def sent(self, event: Event, t: float, item: Item | None = None) -> None:
        """The client sent an event."""
        event_id, request = text(event.body.get("event_id")), mapping(event.body.get("response"))
        self._waiting.append(SentEvent(event.kind, event_id, t, item, request))
        del self._waiting[:-MAX_WAITING]

    def waiting(self, kind: str) -> list[SentEvent]:
        """The events of a kind that wait for the server's answer, oldest first."""
        return [each for each in self._waiting if each.kind == kind]

    def _named_of(self, kind: str, error: Mapping[str, Any]) -> list[SentEvent]:
        return [each for each in self.waiting(kind) if each.is_named_by(error)]

    def confirmed(self, event: SentEvent, *, alone: bool = False) -> None:
        """The server did what the event asked for.

        It has then decided about the earlier ones of that kind, too, unless it answers each ``alone``, in any order.
        """
        until = self._waiting.index(event)
        self._waiting = [
            each
            for n, each in enumerate(self._waiting)
            if each is not event and (alone or n > until or each.kind != event.kind)
        ]
        self._confirms.add(event.kind)

    def refused_by(self, error: Mapping[str, Any]) -> SentEvent | None:
        """Take the event that an ``error`` refuses; None if it refuses none of them.

        Without an ``event_id`` it is an event that the error's text quotes, else one of the kind that ``param`` or the
        text names: the oldest if the server confirms events of that kind, else the latest.
        """
        event_id = text(error.get("event_id"))
        if event_id is not None:
            found = [each for each in self._waiting if each.event_id == event_id]
        else:
            named = [self._named_of(kind, error) for kind in _NAMES]
            found = next((each for each in named if each), [])
            found = [each for each in found if each.is_quoted_by(error)] or found
        if not found:
            return None
        refused = found[0] if found[0].kind in self._confirms else found[-1]
        self._waiting.remove(refused)
        return refused

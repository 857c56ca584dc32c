"""Recognises conversations in another protocol than Realtime, of which a trace would show nothing.

Pure. These protocols share names with Realtime (``session.created``, ``session.updated``, ``error``), so only an event
that Realtime does not have tells them apart.
"""

from __future__ import annotations

from langsmith_realtime.core.protocol.events import Event, mapping, text

#: How the types of another protocol's events begin, and the protocol's name. The first row that fits counts.
_BEGINNINGS = (
    ("session.input_audio_buffer.", "Realtime translation"),
    ("session.output_audio.fixture.", "GPT-Live"),
    ("session.output_audio.", "GPT-Live or Realtime translation"),
    ("session.input_transcript.", "GPT-Live or Realtime translation"),
    ("session.output_transcript.", "GPT-Live or Realtime translation"),
    ("session.start", "GPT-Live"),
    ("session.input_audio.", "GPT-Live"),
    ("session.delegation.", "GPT-Live"),
    ("session.commentary.", "GPT-Live"),
    ("session.thinking.", "GPT-Live"),
    ("session.instructions.", "GPT-Live"),
    ("response.event", "GPT-Live"),
)
#: How the types of events begin that only Realtime has.
_REALTIME = (
    "conversation.item.",
    "input_audio_buffer.",
    "output_audio_buffer.",
    "response.created",
    "response.done",
    "response.output_",
)
#: Types of sessions that are traced.
_SESSION_TYPES = frozenset({"realtime", "transcription"})


class ProtocolCheck:
    """Which protocol the events of one conversation belong to."""

    def __init__(self) -> None:
        self._other: str | None = None
        self._is_realtime = False

    @property
    def untraced(self) -> str | None:
        """The protocol's name if it is not traced; None if the server sent an event that only Realtime has."""
        return None if self._is_realtime else self._other

    def see(self, event: Event, *, is_client: bool = False) -> None:
        """Note an event. Only the server's show that it is Realtime: a client may send what no server knows."""
        if self._is_realtime:
            return
        if not is_client and event.kind.startswith(_REALTIME):
            self._is_realtime = True
        elif self._other is None:
            self._other = _other_protocol(event)


def _other_protocol(event: Event) -> str | None:
    if event.kind == "session.created":
        kind = text(mapping(event.body.get("session")).get("type"))
        return None if kind is None or kind in _SESSION_TYPES else f"Realtime {kind}"
    return next((name for beginning, name in _BEGINNINGS if event.name.startswith(beginning)), None)

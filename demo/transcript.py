"""What was said, in the order of the conversation: transcripts may arrive after the answer to them."""

from __future__ import annotations

from dataclasses import dataclass

WHO = {"user": "You", "agent": "Agent"}


@dataclass
class Entry:
    """One message. `heard_ms` is set when the user cut it off after so much of it."""

    speaker: str
    text: str = ""
    heard_ms: int | None = None

    def __str__(self) -> str:
        cut = "" if self.heard_ms is None else f"  [interrupted after {self.heard_ms / 1000:.1f} s]"
        return f"{WHO[self.speaker]}: {self.text}{cut}"


class Transcript:
    """Messages by item id; an item takes its place when it is first mentioned."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def item(self, item_id: str, speaker: str) -> Entry:
        """The message of an item, new when it was not known. `speaker` is ``user`` or ``agent``."""
        return self._entries.setdefault(item_id, Entry(speaker))

    @property
    def entries(self) -> list[Entry]:
        """The messages that say something."""
        return [entry for entry in self._entries.values() if entry.text]

    def __str__(self) -> str:
        return "\n".join(map(str, self.entries))

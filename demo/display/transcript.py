"""The transcript, in the order of the conversation's items: an item's text may arrive after the reply to it."""

from __future__ import annotations

from dataclasses import dataclass

#: The name of each speaker on the screen.
SPEAKER_NAMES = {"user": "You", "agent": "Agent"}


@dataclass
class Message:
    """The text of one item. `played_ms` is set if a barge-in cut the item after that many ms."""

    speaker: str
    text: str = ""
    played_ms: int | None = None

    def __str__(self) -> str:
        interruption = "" if self.played_ms is None else f"  [interrupted after {self.played_ms / 1000:.1f} s]"
        return f"{SPEAKER_NAMES[self.speaker]}: {self.text}{interruption}"


class Transcript:
    """Messages by item id, in the order in which the items were added."""

    def __init__(self) -> None:
        self._messages: dict[str, Message] = {}

    def message(self, item_id: str, speaker: str) -> Message:
        """Returns the message of an item, and adds it if it is new. `speaker` is ``user`` or ``agent``."""
        return self._messages.setdefault(item_id, Message(speaker))

    @property
    def messages(self) -> list[Message]:
        """The messages with text."""
        return [message for message in self._messages.values() if message.text]

    def __str__(self) -> str:
        return "\n".join(map(str, self.messages))

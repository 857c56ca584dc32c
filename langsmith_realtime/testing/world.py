"""What the parts of one session share."""

from __future__ import annotations

from dataclasses import dataclass, field

from langsmith_realtime.testing.agenda import Agenda, Process
from langsmith_realtime.testing.conversation import Conversation
from langsmith_realtime.testing.ids import Ids
from langsmith_realtime.testing.script import Event, Script
from langsmith_realtime.testing.usage import Tokens

TOKEN_LIMIT = 15_000_000


@dataclass
class World:
    """One session's script, time, ids and conversation, and what is counted over all its responses.

    `sideband` is a connection beside a call, which has no audio; `playing` is what that call is hearing.
    """

    script: Script
    agenda: Agenda
    ids: Ids
    conversation: Conversation
    sideband: bool = False
    previous_prompt: Tokens = field(default_factory=Tokens)
    remaining_tokens: int = TOKEN_LIMIT
    playing: dict[str, Process] = field(default_factory=dict)

    def announce(self, item: Event, before: str | None) -> None:
        """Tell of an item that was put into the conversation whole."""
        self.agenda.send("conversation.item.added", previous_item_id=before, item=item)
        self.agenda.send("conversation.item.done", previous_item_id=before, item=item)

    def stop_playing(self) -> None:
        """Stop what the call is hearing."""
        stopped, self.playing = self.playing, {}
        for response_id, process in stopped.items():
            self.agenda.stop(process)
            self.agenda.send("output_audio_buffer.cleared", response_id=response_id)

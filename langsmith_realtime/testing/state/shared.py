"""What the parts of one session share."""

from __future__ import annotations

from dataclasses import dataclass, field

from langsmith_realtime.testing.script.script import Close, Drop, Dtmf, Emit, Event, Raw, Script
from langsmith_realtime.testing.state.scheduler import Scheduler, Process
from langsmith_realtime.testing.state.conversation import Conversation
from langsmith_realtime.testing.state.usage import Tokens
from langsmith_realtime.testing.state.wire import Ids

TOKEN_LIMIT = 15_000_000


@dataclass
class SharedState:
    """One session's script, time, ids and conversation, and what is counted over all its responses.

    `sideband` is a connection beside a call, which has no audio; `playing` is what that call is hearing.
    `unix_zero` is the Unix time at which the agenda's clock was 0.
    """

    script: Script
    scheduler: Scheduler
    ids: Ids
    conversation: Conversation
    sideband: bool = False
    unix_zero: float = 0.0
    previous_prompt: Tokens = field(default_factory=Tokens)
    remaining_tokens: int = TOKEN_LIMIT
    playing: dict[str, Process] = field(default_factory=dict)

    def announce(self, item: Event, before: str | None) -> None:
        """Tell of an item that was put into the conversation whole."""
        self.scheduler.send("conversation.item.added", previous_item_id=before, item=item)
        self.scheduler.send("conversation.item.done", previous_item_id=before, item=item)

    def act(self, action: Emit | Raw | Dtmf | Close | Drop) -> None:
        """Do what a script says, where that takes no time."""
        if isinstance(action, Emit):
            self.scheduler.emit(action.event)
        elif isinstance(action, Raw):
            self.scheduler.emit_raw(action)
        elif isinstance(action, Dtmf):
            pressed = {"event": action.key, "received_at": int(self.unix_zero + self.scheduler.now)}
            # The only event of the API that has no event_id.
            self.scheduler.emit({"type": "input_audio_buffer.dtmf_event_received", "event_id": None, **pressed})
        else:
            self.scheduler.end(action)

    def stop_playing(self) -> None:
        """Stop what the call is hearing."""
        stopped, self.playing = self.playing, {}
        for response_id, process in stopped.items():
            self.scheduler.stop(process)
            self.scheduler.send("output_audio_buffer.cleared", response_id=response_id)

"""The state that the parts of one session share."""

from __future__ import annotations

from dataclasses import dataclass, field

from langsmith_realtime.testing.script.script import Close, Drop, Dtmf, Emit, Event, Raw, Script
from langsmith_realtime.testing.state.conversation import Conversation
from langsmith_realtime.testing.state.scheduler import Process, Scheduler
from langsmith_realtime.testing.state.usage import Tokens
from langsmith_realtime.testing.state.wire import Ids

TOKEN_LIMIT = 15_000_000


@dataclass
class SharedState:
    """The script, scheduler, ids and conversation of one session, and counters over all its responses.

    Attributes:
        sideband: Whether the connection belongs to a telephone or WebRTC call, so that it has no audio.
        unix_zero: Unix time in seconds at the scheduler's time 0.
        previous_prompt: Tokens in the prompt of the previous response, which the next response may find cached.
        remaining_tokens: The ``remaining`` of the tokens in ``rate_limits.updated``.
        playing: For a sideband connection, the processes that end the playback of a response, by response id.
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

    def announce_item(self, item: Event, previous_item_id: str | None) -> None:
        """Send ``conversation.item.added`` and ``conversation.item.done`` for an item that is complete at once."""
        self.scheduler.send("conversation.item.added", previous_item_id=previous_item_id, item=item)
        self.scheduler.send("conversation.item.done", previous_item_id=previous_item_id, item=item)

    def perform(self, action: Emit | Raw | Dtmf | Close | Drop) -> None:
        """Perform an action of the script that takes no time."""
        if isinstance(action, Emit):
            self.scheduler.emit(action.event)
        elif isinstance(action, Raw):
            self.scheduler.emit_raw(action)
        elif isinstance(action, Dtmf):
            pressed = {"event": action.key, "received_at": int(self.unix_zero + self.scheduler.now)}
            # This event is the only event of the API without an event_id.
            self.scheduler.emit({"type": "input_audio_buffer.dtmf_event_received", "event_id": None, **pressed})
        else:
            self.scheduler.end(action)

    def clear_output_audio(self) -> None:
        """Stop the playback of every response on a call, and send ``output_audio_buffer.cleared`` for each."""
        stopped, self.playing = self.playing, {}
        for response_id, process in stopped.items():
            self.scheduler.stop(process)
            self.scheduler.send("output_audio_buffer.cleared", response_id=response_id)

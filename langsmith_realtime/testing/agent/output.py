"""The output items of one response, from ``response.output_item.added`` to ``response.output_item.done``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from langsmith_realtime.testing.script.script import Event
from langsmith_realtime.testing.state.conversation import Entry
from langsmith_realtime.testing.state.shared import SharedState


@dataclass
class Output:
    """One output item of a response.

    Attributes:
        index: The ``output_index``.
        entry: The item, and the length of its audio.
        part: Type of the item's only content part; None for items without content.
        previous_item_id: Id of the item before this item.
        text: Transcript, text or arguments sent so far.
        audio_bytes: Size of the audio sent so far, in the session's format.
        complete: Whether the item has all its content.
        closed: Whether ``response.output_item.done`` is sent, or is sent after the end of the response.
    """

    index: int
    entry: Entry
    part: Literal["audio", "text"] | None
    previous_item_id: str | None
    text: str = ""
    audio_bytes: int = 0
    complete: bool = False
    closed: bool = False

    @property
    def item(self) -> Event:
        """The item as in the events."""
        return self.entry.item


class Outputs:
    """The output items of the response `response_id` in order."""

    def __init__(self, shared: SharedState, response_id: str, *, in_conversation: bool) -> None:
        self.all: list[Output] = []
        self._shared = shared
        self._scheduler = shared.scheduler
        self._response_id = response_id
        self._in_conversation = in_conversation

    def add(self, item: Event, part: Literal["audio", "text"] | None = None) -> Output:
        """Add an item to the response, and to the conversation if the response belongs to it.

        Sends ``response.output_item.added`` and, if the item joins the conversation, ``conversation.item.added``.
        Closes no earlier item and sends nothing of the content, not even ``response.content_part.added``: the caller
        does. `part` is the type of the item's only content part; None for an item without content.
        """
        entry = Entry(item)
        index = len(self.all)
        previous_item_id = self._shared.conversation.last_id
        self._scheduler.send("response.output_item.added", response_id=self._response_id, output_index=index, item=item)
        if self._in_conversation:
            previous_item_id = self._shared.conversation.add(entry)
            self._scheduler.send("conversation.item.added", previous_item_id=previous_item_id, item=item)
        output = Output(index, entry, part, previous_item_id)
        self.all.append(output)
        return output

    def send_part(self, type_: str, output: Output, **fields: Any) -> None:
        """Send an event of an output item, or of the item's only content part if the item has one."""
        place: dict[str, Any] = {
            "response_id": self._response_id,
            "item_id": output.item["id"],
            "output_index": output.index,
        }
        if output.part is not None:
            place["content_index"] = 0
        self._scheduler.send(type_, **place, **fields)

    def close_all(self, *, cancelled: bool = False) -> None:
        """Close every open item, before the next item or at the response's end; for `cancelled` see :meth:`close`."""
        for output in self.all:
            if not output.closed:
                self.close(output, cancelled=cancelled)

    def close(self, output: Output, *, cancelled: bool = False) -> None:
        """Close an item: set its content and status, and send the events of its end.

        These are the ``done`` events of its text, audio or call arguments (not an MCP call's) and of its content part;
        ``conversation.item.done`` if the item is in the conversation; and ``response.output_item.done``.

        The status is ``completed`` if the item has all its content, else ``incomplete``; MCP calls have no status.

        If the response was `cancelled`, an incomplete function call has no ``response.function_call_arguments.done``.
        """
        output.closed = True
        item = output.item
        if "status" in item:
            item["status"] = "completed" if output.complete else "incomplete"
        if output.part == "audio":
            self.send_part("response.output_audio.done", output)
            self.send_part("response.output_audio_transcript.done", output, transcript=output.text)
            self.send_part("response.content_part.done", output, part={"type": "audio", "transcript": output.text})
            item["content"] = [{"type": "output_audio", "transcript": output.text}]
        elif output.part == "text":
            self.send_part("response.output_text.done", output, text=output.text)
            self.send_part("response.content_part.done", output, part={"type": "text", "text": output.text})
            item["content"] = [{"type": "output_text", "text": output.text}]
        elif item["type"] == "function_call":
            item["arguments"] = output.text
            if not cancelled or output.complete:
                call = {"call_id": item["call_id"], "name": item["name"], "arguments": output.text}
                self.send_part("response.function_call_arguments.done", output, **call)
        if self._in_conversation:
            self._scheduler.send(
                "conversation.item.done", previous_item_id=self._previous_item_id_when_done(output), item=item
            )
        self._scheduler.send(
            "response.output_item.done", response_id=self._response_id, output_index=output.index, item=item
        )

    def _previous_item_id_when_done(self, output: Output) -> str | None:
        """Return the ``previous_item_id`` of ``conversation.item.done``: the item directly before this one, or None.

        In recorded sessions, the field is null if the item before is a message of the user.
        """
        for entry in self._shared.conversation.entries:
            if entry.item["id"] == output.previous_item_id:
                return None if entry.item.get("role") == "user" else output.previous_item_id
        return None

"""The output items of one response, from ``response.output_item.added`` to ``response.output_item.done``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from langsmith_realtime.testing.script.script import Event
from langsmith_realtime.testing.state.conversation import Entry
from langsmith_realtime.testing.state.shared import SharedState


@dataclass
class Output:
    """One output item while it is being generated. One that is `closed` is done, or will be without the response."""

    index: int
    entry: Entry
    part: Literal["audio", "text"] | None
    before: str | None
    text: str = ""
    audio_bytes: int = 0
    complete: bool = False
    closed: bool = False

    @property
    def item(self) -> Event:
        return self.entry.item


class Outputs:
    """The items of the response `response_id` in order."""

    def __init__(self, shared: SharedState, response_id: str, *, in_conversation: bool) -> None:
        self.all: list[Output] = []
        self._shared = shared
        self._scheduler = shared.scheduler
        self._response_id = response_id
        self._in_conversation = in_conversation

    def add(self, item: Event, part: Literal["audio", "text"] | None = None) -> Output:
        """Begin another item."""
        entry = Entry(item)
        index = len(self.all)
        before = self._shared.conversation.last_id
        self._scheduler.send("response.output_item.added", response_id=self._response_id, output_index=index, item=item)
        if self._in_conversation:
            before = self._shared.conversation.add(entry)
            self._scheduler.send("conversation.item.added", previous_item_id=before, item=item)
        output = Output(index, entry, part, before)
        self.all.append(output)
        return output

    def send_part(self, type_: str, output: Output, **fields: Any) -> None:
        """Send an event about an item of this response, or about its only content part if it has one."""
        place: dict[str, Any] = {
            "response_id": self._response_id,
            "item_id": output.item["id"],
            "output_index": output.index,
        }
        if output.part is not None:
            place["content_index"] = 0
        self._scheduler.send(type_, **place, **fields)

    def close_all(self, *, cut: bool = False) -> None:
        """End the items that are not closed yet; `cut` ones stay as far as they got."""
        for output in self.all:
            if not output.closed:
                self.close(output, cut=cut)

    def close(self, output: Output, *, cut: bool = False) -> None:
        """End this item."""
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
            if not cut or output.complete:
                call = {"call_id": item["call_id"], "name": item["name"], "arguments": output.text}
                self.send_part("response.function_call_arguments.done", output, **call)
        if self._in_conversation:
            self._scheduler.send("conversation.item.done", previous_item_id=self._done_after(output.before), item=item)
        self._scheduler.send(
            "response.output_item.done", response_id=self._response_id, output_index=output.index, item=item
        )

    def _done_after(self, before: str | None) -> str | None:
        """The ``previous_item_id`` of an item that is done: recorded sessions give null after a user's message."""
        for entry in self._shared.conversation.entries:
            if entry.item["id"] == before:
                return None if entry.item.get("role") == "user" else before
        return None

"""MCP calls: made by the server, told in events of their own, each one :class:`ToolRun`.

Pure. The events come in many orders: a response may be done before its calls are, and the result stands
in the call's item, which may be shown before or after the event that says the call has finished.
"""

from __future__ import annotations

from dataclasses import dataclass

from langsmith_realtime.events import mapping, text
from langsmith_realtime.happenings import Failure, Ref, ToolRun
from langsmith_realtime.items import Item, tool_message
from langsmith_realtime.responses import error_text

_ANNOUNCES = frozenset({"response.mcp_call_arguments.done", "response.mcp_call.in_progress"})
_FINISHES = frozenset({"response.mcp_call.completed", "response.mcp_call.failed"})
_SHOWS = frozenset({"response.output_item.done", "conversation.item.done"})
FAILED = Failure("the MCP call failed")


@dataclass(slots=True, eq=False)
class _McpCall:
    item: Item
    parent: Ref | None = None
    announced: bool = False
    finished: float | None = None
    shown: bool = False  # as it is after it has finished
    failed: bool = False

    @property
    def result(self) -> object:
        """What the call gave; an empty output says nothing while the call may still be at work."""
        return self.item.fields.get("output") or self.item.fields.get("error")

    @property
    def is_settled(self) -> bool:
        return self.announced and self.finished is not None and (self.shown or bool(self.result))


class McpCalls:
    """All MCP calls of a conversation."""

    def __init__(self) -> None:
        self._open: dict[str, _McpCall] = {}
        self._traced: set[str] = set()

    def event(self, kind: str, item: Item, t: float, ref: Ref) -> list[ToolRun]:
        """One event in the life of a call. Items the application put into the conversation are none."""
        if item.item_id in self._traced or (kind.startswith("conversation.") and item.item_id not in self._open):
            return []
        call = self._open.setdefault(item.item_id, _McpCall(item))
        shows = kind in _SHOWS
        finishes = kind in _FINISHES or (shows and bool(call.result))
        if (kind in _ANNOUNCES or finishes) and not call.announced:
            call.parent, call.announced = ref, True
        if finishes and call.finished is None:
            call.finished = t
        call.failed = call.failed or kind == "response.mcp_call.failed"
        call.shown = call.shown or (shows and call.finished is not None)
        return self._settle(call)

    def response_done(self, items: list[Item], t: float, ref: Ref) -> list[ToolRun]:
        """A response with these calls is done; those still at work hang below it."""
        settled = []
        for item in items:
            if item.item_id in self._traced:
                continue
            call = self._open.setdefault(item.item_id, _McpCall(item))
            if not call.announced or (call.finished is None and not call.result):
                call.parent, call.announced = ref, True
            if call.finished is None and call.result:
                call.finished = t
            settled += self._settle(call)
        return settled

    def close(self) -> list[ToolRun]:
        """The conversation ended: calls never finished end where they were announced."""
        return [self._run(call) for call in list(self._open.values()) if call.announced]

    def _settle(self, call: _McpCall) -> list[ToolRun]:
        return [self._run(call)] if call.is_settled else []

    def _run(self, call: _McpCall) -> ToolRun:
        item_id, fields = call.item.item_id, call.item.fields
        del self._open[item_id]
        self._traced.add(item_id)
        error = fields.get("error")
        message = (error_text(mapping(error)) or Failure(str(error), FAILED)) if error else None
        answered = call.finished is not None
        output = fields.get("output") or error or fields.get("output")
        return ToolRun(
            parent=call.parent,
            call_id=item_id,
            name=text(fields.get("name")) or "mcp_call",
            arguments=text(fields.get("arguments")),
            output=tool_message(item_id, output) if answered and output is not None else None,
            end=call.finished,
            answered=answered,
            error=message or (FAILED if call.failed else None),
            metadata={"server_label": fields["server_label"]} if "server_label" in fields else {},
        )

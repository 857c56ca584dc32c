"""MCP calls: when they start and end, and the :class:`ToolRun` of each.

Pure. The server carries out an MCP call and reports it in events of its own, in varying order: the response may be done
before its calls, and the result is in the call's item, which may arrive before or after the event that ends the call.
"""

from __future__ import annotations

from dataclasses import dataclass

from langsmith_realtime.core.conversation.run_data import ToolRun
from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.protocol.events import error_text, text
from langsmith_realtime.core.protocol.inputs import ROOT, Ref
from langsmith_realtime.core.protocol.items import Item
from langsmith_realtime.core.protocol.messages import tool_message

_ANNOUNCEMENTS = frozenset({"response.mcp_call_arguments.done", "response.mcp_call.in_progress"})
_ENDS = frozenset({"response.mcp_call.completed", "response.mcp_call.failed"})
_ITEM_EVENTS = frozenset({"response.output_item.done", "conversation.item.done"})

MCP_CALL_FAILED = Failure("the MCP call failed")


@dataclass(slots=True, eq=False)
class _McpCall:
    item: Item
    parent: Ref | None = None
    announced: bool = False
    finished: float | None = None  # arrival of the first event that shows the end, in seconds
    item_is_final: bool = False  # the item arrived after the end, so an empty output is the output
    failed: bool = False

    @property
    def result(self) -> object:
        """The item's output or error; None or empty if it has neither, as while the call is at work."""
        return self.item.fields.get("output") or self.item.fields.get("error")

    @property
    def is_complete(self) -> bool:
        """Whether the parent, the end and the result of the call are known."""
        return self.announced and self.finished is not None and (self.item_is_final or bool(self.result))


class McpCalls:
    """All MCP calls of a conversation."""

    def __init__(self) -> None:
        self._open: dict[str, _McpCall] = {}
        self._traced: set[str] = set()

    def event(self, kind: str, item: Item, t: float, ref: Ref) -> list[ToolRun]:
        """An event of the call arrived: ``kind`` is its GA name and ``item`` the call's item.
        Return the call's run once it is complete.

        An MCP call that was only seen as an item of the conversation has no run: the application inserted it.
        """
        if item.item_id in self._traced or (kind.startswith("conversation.") and item.item_id not in self._open):
            return []
        call = self._open.setdefault(item.item_id, _McpCall(item))
        has_item = kind in _ITEM_EVENTS
        ends = kind in _ENDS or (has_item and bool(call.result))
        if (kind in _ANNOUNCEMENTS or ends) and not call.announced:
            call.parent, call.announced = ref, True
        if ends and call.finished is None:
            call.finished = t
        call.failed = call.failed or kind == "response.mcp_call.failed"
        call.item_is_final = call.item_is_final or (has_item and call.finished is not None)
        return self._complete(call)

    def response_done(self, items: list[Item], t: float, ref: Ref) -> list[ToolRun]:
        """``response.done`` arrived with these MCP call items. Return the runs that are complete.

        The runs of calls that are unfinished, or that no event announced, hang below ``response.done``.
        """
        runs = []
        for item in items:
            if item.item_id in self._traced:
                continue
            call = self._open.setdefault(item.item_id, _McpCall(item))
            if not call.announced or (call.finished is None and not call.result):
                call.parent, call.announced = ref, True
            if call.finished is None and call.result:
                call.finished = t
            runs += self._complete(call)
        return runs

    def close(self) -> list[ToolRun]:
        """End the conversation; return the runs of announced MCP calls that have none yet.

        Their ``end`` is None, unless only the result is missing.
        """
        return [self._run(call) for call in list(self._open.values()) if call.announced]

    def _complete(self, call: _McpCall) -> list[ToolRun]:
        return [self._run(call)] if call.is_complete else []

    def _run(self, call: _McpCall) -> ToolRun:
        item_id, fields = call.item.item_id, call.item.fields
        del self._open[item_id]
        self._traced.add(item_id)
        error = fields.get("error")
        as_told = Failure(str(error), MCP_CALL_FAILED)
        message = ((None if isinstance(error, str) else error_text(error)) or as_told) if error else None
        answered = call.finished is not None
        output = fields.get("output") or error or fields.get("output")
        return ToolRun(
            parent=call.parent or ROOT,
            call_id=item_id,
            name=text(fields.get("name")) or "mcp_call",
            arguments=call.item.arguments,
            output=tool_message(item_id, output) if answered and output is not None else None,
            end=call.finished,
            answered=answered,
            error=message or (MCP_CALL_FAILED if call.failed else None),
            metadata={"server_label": fields["server_label"]} if "server_label" in fields else {},
            began=None if call.parent is None else call.parent.start,
            response_id=call.item.response_id,
        )

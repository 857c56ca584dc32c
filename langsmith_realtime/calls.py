"""Tool calls: announced by one event, answered by another, each one :class:`ToolRun`.

Pure. A call's parent is the ``response.done`` of its response or, when its result came before that, the
event that completed its arguments. A ``response.done`` that announced calls ends when the last of their
results was sent. MCP calls run on the server and tell their result in their own item.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from langsmith_realtime.events import Call, mapping, text
from langsmith_realtime.happenings import EventRun, Happening, Ref, ToolRun
from langsmith_realtime.items import Item, tool_message


@dataclass(slots=True)
class _Call:
    call_id: str
    name: str | None = None
    arguments: str | None = None
    parent: Ref | None = None
    final: bool = False  # the parent is the response.done
    traced: bool = False
    left: float | None = None  # when the application's own block for this call ended
    error: str | None = None


@dataclass(slots=True)
class _McpCall:
    item: Item
    parent: Ref | None = None
    final: bool = False
    finished: float | None = None
    failure: str | None = None
    traced: bool = False


@dataclass(slots=True)
class _Held:
    """A ``response.done`` that waits for the results of its calls."""

    run: EventRun
    waiting_for: set[str] = field(default_factory=set)


class Calls:
    """All tool calls of a conversation."""

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}
        self._mcp: dict[str, _McpCall] = {}
        self._held: list[_Held] = []

    def announced(self, calls: list[Call], ref: Ref) -> None:
        """An event before ``response.done`` completed these calls."""
        for call in calls:
            known = self._know(call)
            if known.parent is None:
                known.parent = ref

    def response_done(self, run: EventRun, calls: list[Call], mcp_items: list[Item]) -> list[Happening]:
        """The ``response.done`` that announced ``calls``: out at once, or held until all are answered."""
        waiting = set()
        for call in calls:
            known = self._know(call)
            if not known.traced:
                known.parent, known.final = run.ref, True
                waiting.add(known.call_id)
        for item in mcp_items:
            mcp = self._mcp.setdefault(item.item_id, _McpCall(item))
            mcp.parent, mcp.final = run.ref, True
        settled = self._settle_mcp()
        if not waiting:
            return [run, *settled]
        self._held.append(_Held(run, waiting))
        return settled

    def answered(self, item: dict[str, Any], t: float) -> list[Happening]:
        """A ``function_call_output`` item was sent, or shown by the server. The first of a call counts."""
        call_id = text(item.get("call_id"))
        if call_id is None:
            return []
        call = self._calls.setdefault(call_id, _Call(call_id))
        if call.traced or call.parent is None:
            return []
        return [self._run(call, t, output=item.get("output"), answered=True), *self._release(call_id, t)]

    def entered(self, call_id: str, ref: Ref) -> None:
        """The application opened its own block around the call."""
        call = self._calls.setdefault(call_id, _Call(call_id))
        if call.parent is None:
            call.parent = ref

    def left(self, call_id: str, t: float, error: str | None) -> None:
        """The application's own block around the call ended."""
        call = self._calls.setdefault(call_id, _Call(call_id))
        call.left, call.error = t, error

    def mcp_event(
        self, item: Item, ref: Ref, *, announces: bool, finished: float | None, failed: bool
    ) -> list[Happening]:
        """One event in the life of an MCP call."""
        mcp = self._mcp.setdefault(item.item_id, _McpCall(item))
        if announces and mcp.parent is None:
            mcp.parent = ref
        if finished is not None and mcp.finished is None:
            mcp.finished = finished
        if failed:
            mcp.failure = mcp.failure or "the MCP call failed"
        return self._settle_mcp()

    def close(self) -> list[Happening]:
        """The conversation ended: calls never answered end where they were announced."""
        open_calls = [call for call in self._calls.values() if not call.traced and call.parent is not None]
        open_mcp = [mcp for mcp in self._mcp.values() if not mcp.traced and mcp.parent is not None]
        happenings: list[Happening] = [
            *(self._run(call, call.left, output=None, answered=False) for call in open_calls),
            *(self._mcp_run(mcp, answered=mcp.finished is not None) for mcp in open_mcp),
            *(held.run for held in self._held),
        ]
        self._held.clear()
        return happenings

    def _know(self, call: Call) -> _Call:
        known = self._calls.setdefault(call.call_id, _Call(call.call_id))
        known.name = call.name or known.name
        known.arguments = call.arguments or known.arguments
        return known

    def _run(self, call: _Call, end: float | None, *, output: object, answered: bool) -> ToolRun:
        call.traced = True
        return ToolRun(
            parent=call.parent,
            call_id=call.call_id,
            name=call.name or "tool",
            arguments=call.arguments,
            output=tool_message(call.call_id, output) if answered else None,
            end=end,
            answered=answered,
            error=call.error,
        )

    def _release(self, call_id: str, t: float) -> list[Happening]:
        released: list[Happening] = []
        for held in list(self._held):
            held.waiting_for.discard(call_id)
            if not held.waiting_for:
                self._held.remove(held)
                run = held.run
                released.append(EventRun(run.ref, run.name, run.payload, t, run.error, run.interrupted, run.metadata))
        return released

    def _settle_mcp(self) -> list[Happening]:
        settled: list[Happening] = []
        for mcp in self._mcp.values():
            has_result = "output" in mcp.item.fields or "error" in mcp.item.fields
            if not mcp.traced and mcp.parent is not None and mcp.finished is not None and has_result:
                settled.append(self._mcp_run(mcp, answered=True))
        return settled

    def _mcp_run(self, mcp: _McpCall, *, answered: bool) -> ToolRun:
        mcp.traced = True
        fields = mcp.item.fields
        error = fields.get("error")
        message = text(mapping(error).get("message")) or (None if error is None else str(error))
        output = fields.get("output", error)
        return ToolRun(
            parent=mcp.parent,
            call_id=mcp.item.item_id,
            name=text(fields.get("name")) or "mcp_call",
            arguments=text(fields.get("arguments")),
            output=tool_message(mcp.item.item_id, output) if answered and output is not None else None,
            end=mcp.finished,
            answered=answered,
            error=message or mcp.failure,
            metadata={"server_label": fields["server_label"]} if "server_label" in fields else {},
        )

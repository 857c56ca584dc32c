"""Function calls: announced by one event, answered by another, each one :class:`ToolRun`.

Pure. A call's parent is the ``response.done`` of its response or, when its result came before that, the
event that completed its arguments. A ``response.done`` that announced calls ends when the last of their
results was sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from langsmith_realtime.core.conversation.run_data import EventRun, Ref, RunData, ToolRun
from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.protocol.events import Call, error_text, mapping, text
from langsmith_realtime.core.protocol.items import Item, tool_message

#: Events that wait for the results of their calls at once; many more wait for an application that gives none.
HELD = 64


@dataclass(slots=True, eq=False)
class _Call:
    call_id: str
    name: str | None = None
    arguments: str | None = None
    parent: Ref | None = None
    announced: bool = False
    left: float | None = None  # when the application's own block for this call ended
    error: str | None = None


@dataclass(slots=True, eq=False)
class _Held:
    """A ``response.done`` that waits for the results of its calls."""

    run: EventRun
    waiting_for: set[str]


class ToolCalls:
    """All function calls of a conversation."""

    def __init__(self) -> None:
        self._open: dict[str, _Call] = {}
        self._traced: set[str] = set()
        self._held: dict[_Held, None] = {}  # in the order they came
        self._held_for: dict[str, list[_Held]] = {}  # by call id

    def named(self, call_id: object, name: object) -> None:
        """An event before the arguments were complete named the function, which not every later one does."""
        if text(call_id) and call_id not in self._traced:
            self._know(Call(str(call_id), text(name), None))

    def announced(self, calls: list[Call], ref: Ref) -> None:
        """An event before ``response.done`` completed these calls."""
        for call in calls:
            if call.call_id not in self._traced:
                known = self._know(call)
                if not known.announced:
                    known.parent, known.announced = ref, True

    def response_done(self, run: EventRun, calls: list[Call]) -> list[RunData]:
        """The ``response.done`` that announced ``calls``: out at once, or held until all are answered.

        Calls that were cut off while the model wrote them are not waited for.
        """
        calls = [call for call in calls if call.call_id not in self._traced]
        for call in calls:
            known = self._know(call)
            known.parent, known.announced = run.ref, True
        waiting_for = {call.call_id for call in calls if call.complete}
        if not waiting_for:
            return [run]
        held = _Held(run, waiting_for)
        self._held[held] = None
        for call_id in waiting_for:
            self._held_for.setdefault(call_id, []).append(held)
        return [self._let_go(next(iter(self._held)))] if len(self._held) > HELD else []

    def answered(self, item: dict[str, object], t: float) -> list[RunData]:
        """A ``function_call_output`` item was sent, or shown by the server. The first of a call counts.

        A result without a call is none: the application put an earlier conversation into this one.
        """
        call = self._open.get(text(item.get("call_id")) or "")
        if call is None or not call.announced:
            return []
        return [self._run(call, t, output=item.get("output"), answered=True), *self._release(call.call_id, t)]

    def entered(self, call_id: str, ref: Ref) -> None:
        """The application opened its own block around the call."""
        self.announced([Call(call_id, None, None)], ref)

    def left(self, call_id: str, t: float, error: str | None) -> None:
        """The application's own block around the call ended."""
        call = self._open.get(call_id)
        if call is not None:
            call.left, call.error = t, error

    def close(self) -> list[RunData]:
        """The conversation ended: calls never answered end where they were announced."""
        unanswered = [call for call in self._open.values() if call.announced]
        happenings: list[RunData] = [self._run(call, call.left, output=None, answered=False) for call in unanswered]
        happenings += [held.run for held in self._held]
        self._held.clear()
        return happenings

    def _know(self, call: Call) -> _Call:
        known = self._open.setdefault(call.call_id, _Call(call.call_id))
        known.name = call.name or known.name
        known.arguments = call.arguments or known.arguments
        return known

    def _run(self, call: _Call, end: float | None, *, output: object, answered: bool) -> ToolRun:
        del self._open[call.call_id]
        self._traced.add(call.call_id)
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

    def _let_go(self, held: _Held) -> RunData:
        """Nobody answers: it goes out as it is."""
        del self._held[held]
        for call_id in held.waiting_for:
            others = [other for other in self._held_for.pop(call_id) if other is not held]
            if others:
                self._held_for[call_id] = others
        return held.run

    def _release(self, call_id: str, t: float) -> list[RunData]:
        released: list[RunData] = []
        for held in self._held_for.pop(call_id, []):
            held.run = replace(held.run, end=t)
            held.waiting_for.discard(call_id)
            if not held.waiting_for:
                del self._held[held]
                released.append(held.run)
        return released


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


#: Tool calls that are remembered: those of one answer, and many more.
CALLS = 256


class ToolTimes:
    """When tools were at work: from the announcement of a call to its answer."""

    def __init__(self) -> None:
        self._calls: dict[str, tuple[float, float | None]] = {}

    def announced(self, call_id: str, t: float) -> None:
        if call_id not in self._calls:
            self._calls[call_id] = t, None
            if len(self._calls) > CALLS:
                del self._calls[next(iter(self._calls))]

    def answered(self, call_id: str | None, t: float) -> None:
        """The first answer counts."""
        begin, end = self._calls.get(call_id or "", (None, None))
        if call_id is not None and begin is not None and end is None:
            self._calls[call_id] = begin, t

    def between(self, begin: float, end: float) -> float | None:
        """Seconds in which at least one call announced between these moments was at work; None without any."""
        spans = sorted(
            (announced, end if answered is None else min(answered, end))
            for announced, answered in self._calls.values()
            if begin <= announced < end
        )
        if not spans:
            return None
        total, reached = 0.0, begin
        for announced, answered in spans:
            total += max(0.0, answered - max(announced, reached))
            reached = max(reached, answered)
        return total

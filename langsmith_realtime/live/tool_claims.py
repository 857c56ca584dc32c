"""Decides in the caller's thread which run carries out which tool call, and tells the worker by inputs.

The caller's next line may trace work below a call, so the call's run must be known at once. A call is parsed from the
frame that announced it only when such work begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from langsmith.run_trees import RunTree

from langsmith_realtime.core.protocol.inputs import ROOT, ChildBegun, Input, Ref, ToolBegun, ToolClaimed
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns, EventParent, ParentRun

#: How many of the latest events that announce calls are searched for the call that a run of the caller's carries out.
MAX_ANNOUNCING_EVENTS = 64


class ToolClaims:
    """The calls of one conversation that have a run, as far as the callers' threads decide it.

    Args:
        runs: what the conversation's runs share.
        put: gives an input to the worker.
        now: returns the seconds since the conversation opened.
    """

    def __init__(self, runs: ConversationRuns, put: Callable[[Input], None], now: Callable[[], float]) -> None:
        self._runs = runs
        self._put = put
        self._now = now
        self._announcing: deque[EventParent] = deque(maxlen=MAX_ANNOUNCING_EVENTS)
        self._claimed: dict[str, RunTree] = {}  # the caller's own runs, by call id
        self._begun: dict[str, ParentRun] = {}  # this package's runs that the caller entered, by call id
        self._answered: dict[str, int] = {}  # by call id, the start of the latest event when the result was sent

    def announced(self, event: EventParent) -> None:
        """An event arrived that may announce calls."""
        self._announcing.append(event)

    def answered(self, call_id: str, latest: Ref) -> None:
        """The application sent the call's result, so no later run carries out the call."""
        self._answered.setdefault(call_id, latest.start)

    def begin(self, call_id: str, latest: Ref) -> RunTree:
        """The run of a call whose block the application enters: its own run of the call, else this package's.

        This package's run stands below the latest event that announces the call, or else below ``latest``.
        """
        if call_id in self._claimed:
            return self._claimed[call_id]
        if call_id not in self._begun:
            until = self._answered.get(call_id, latest.start)
            found = [
                (event.ref, call)
                for event in self._announcing
                if event.ref.start <= until
                for call in event.calls()
                if call.call_id == call_id
            ]
            # The latest is response.done, if it has arrived.
            parent, name = (found[-1][0], found[-1][1].name) if found else (latest, None)
            run = self._runs.tool_run(parent, call_id, name or "tool")
            if self._begun.setdefault(call_id, run) is run:
                self._put(ToolBegun(call_id, self._now(), parent))
        return self._begun[call_id]

    def child_begun(self, child: RunTree, parent: ParentRun) -> str | None:
        """A run of the caller's began: return the id of the call that it carries out; None if it carries out none."""
        by_application = bool(parent.__dict__["by_application"])
        event = parent.event
        above = None if by_application or parent.run_type == "tool" else ROOT if event is None else event.ref
        self._put(ChildBegun(self._now(), above))
        call_id = None if parent.is_in_tool_call else self._claim(child, event)
        if call_id is not None:
            self._put(ToolClaimed(call_id, self._now(), str(child.id)))
        return call_id

    def call_run(self, event: EventParent, name: object) -> ParentRun | None:
        """The run of the call that an item announced, if work with this name below that event is the call's.

        An application may begin the call's work when its item is done, in a task that outlasts ``response.done``. Then
        the call's run stands below the item's event and begins with it. Work that is named like an announced call
        carries that call out by itself, unless the call's run has begun.
        """
        calls = event.calls() if event.name == "response.output_item.done" else []
        if not calls or calls[0].call_id in self._claimed:
            return None
        call = calls[0]
        if call.call_id in self._begun:
            return self._begun[call.call_id]
        names = {each.name for announcing in (event, *self._announcing) for each in announcing.calls()}
        if call.call_id in self._answered or call.name is None or name in names:
            return None
        run = self.begin(call.call_id, event.ref)
        return run if isinstance(run, ParentRun) else None

    def _claim(self, child: RunTree, parent: EventParent | None) -> str | None:
        """The first unanswered call with the child's name that has no run yet, in the parent and then in any event."""
        for event in [*([parent] if parent is not None else []), *self._announcing]:
            for call in event.calls():
                is_taken = call.call_id in self._answered or call.call_id in self._begun
                # Older servers name the function in another event; a run directly below the call's event still matches.
                matches = call.name == child.name or (call.name is None and event is parent)
                if matches and not is_taken and self._claimed.setdefault(call.call_id, child) is child:
                    return call.call_id
        return None

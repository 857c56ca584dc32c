"""Sets the parent of traced work in the callers' contexts: the conversation's root run, then its latest event.

Deltas do not count as events here. LangSmith reads the parent of a new run from a context variable. Each asyncio task
and each thread has its own value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langsmith.run_trees import RunTree

from langsmith_realtime.delivery.langsmith_client import context
from langsmith_realtime.delivery.langsmith_client.context import (
    ParentReference,
    current_parent_reference,
    set_parent_reference,
)
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns, EventParent, ParentRun

if TYPE_CHECKING:
    from langsmith_realtime.trace.otel.spans.callers_context import CallersContext


class ParentContext:
    """A conversation's part of the contexts of its callers.

    Every ``recv`` and every event call its methods in the caller's thread, so they do as little as possible.

    Args:
        runs: runs of the conversation.
    """

    def __init__(self, runs: ConversationRuns) -> None:
        self.runs = runs
        if runs.is_sent:
            runs.previous_parent = context.get_current_run_tree()
        self._spans = runs.spans
        self._callers: CallersContext | None = None
        if runs.spans is not None:
            from langsmith_realtime.trace.otel.spans.callers_context import CallersContext  # noqa: PLC0415 - an extra

            self._callers = CallersContext(runs.spans)
        self._latest_parent: ParentRun | EventParent = runs.root
        #: ParentReference in the contexts of callers that wait for the next event.
        self._awaiting: ParentReference | None = None
        self._closed = False

    @property
    def is_closed(self) -> bool:
        return self._closed

    def enter(self) -> None:
        """Make the conversation's root the parent in this context, when a ``with`` block begins."""
        if self._callers is not None:
            self._callers.enter()
        if self.runs.is_sent:
            current = context.get_current_run_tree()
            if not self._is_own(current):  # events may come before the block
                self.runs.previous_parent = current
            context.set_parent(self.runs.root)

    def begin_receive(self) -> None:
        """Prepare the context of a caller that waits for the next event.

        The context gets a reference to the latest run. When the next event arrives, the reference points to that
        event's run, also if another task parses the event. A delta leaves it at the latest run.
        """
        if self._closed:
            return
        if self._callers is not None:
            self._callers.begin_receive()
        if not self.runs.is_sent:
            return
        awaiting = self._awaiting
        if awaiting is None:
            awaiting = self._awaiting = ParentReference(self._latest_parent)
        set_parent_reference(awaiting)

    def _set_parent(self, event: EventParent | None) -> None:
        """Make an event the parent in this context and in those of callers that wait for an event.

        ``event`` is None for a delta: the parent stays the latest event.
        """
        if self._callers is not None:
            self._callers.arrived(is_delta=event is None)
        if not self.runs.is_sent:
            return
        awaiting, reference = self._awaiting, current_parent_reference()
        if event is None:
            if reference is awaiting:
                self._awaiting = None  # these contexts received the delta: later events do not change their parent
        else:
            self._latest_parent = event
            if awaiting is not None:
                self._awaiting, awaiting.parent = None, event
        if reference is None or reference.parent is not self._latest_parent:
            set_parent_reference(ParentReference(self._latest_parent))

    def _leave(self) -> None:
        """Leave the contexts when the conversation ends."""
        if self._callers is not None:
            self._callers.leave()
        self.restore_parent()

    def restore_parent(self) -> None:
        """Restore the parent that this context had before the conversation.

        Does so only if the current parent is the root or an event of this conversation.
        """
        if not self.runs.is_sent:
            return
        current = context.get_current_run_tree()
        self.runs.previous_parent = _nearest_open(self.runs.previous_parent)
        if self._is_own(current):
            context.set_parent(self.runs.previous_parent)

    def _is_own(self, run: RunTree | None) -> bool:
        """Whether a run is this conversation's root or one of its events."""
        return isinstance(run, ParentRun) and run.conversation_runs is self.runs and run.is_root_or_event


def _nearest_open(run: RunTree | None) -> RunTree | None:
    """Return ``run``, or the parent before its conversation if that has ended: blocks may end in any order.

    None if that leads back to a conversation: a block may be entered during an event of its own conversation.
    """
    seen: set[int] = set()
    while isinstance(run, ParentRun) and run.is_root_or_event and run.conversation_runs.ended:
        if id(run.conversation_runs) in seen:
            return None
        seen.add(id(run.conversation_runs))
        run = run.conversation_runs.previous_parent
    return run

"""Decides which runs are left out when a trace comes near LangSmith's 25,000, or has more than can be sent.

Pure. Runs of :attr:`Priority.LOW` are left out first. Responses, tools, and runs that are known to have children are
not left out before the trace is full.
"""

from __future__ import annotations

import enum
from uuid import UUID

from langsmith_realtime.core.protocol.events import BETA_NAMES
from langsmith_realtime.delivery.operations import MissingReason
from langsmith_realtime.options.limits import Limits

#: Events below which responses and most tools hang.
_PARENT_EVENTS = frozenset({"response.created", "response.done"})


class Priority(enum.IntEnum):
    """How important a run is to its trace; runs of the lowest priority are left out first."""

    #: Any other event, such as ``conversation.item.done``.
    LOW = 0
    #: Errors, events whose run has an error, malformed frames, and ``session.…`` events.
    MEDIUM = 1
    #: The root, responses, tools, and the events ``response.created`` and ``response.done``.
    HIGH = 2


def priority_of(name: str, *, failed: bool = False) -> Priority:
    """The priority of an event's run, from the event's ``type`` and whether the run has an error."""
    event_type = BETA_NAMES.get(name, name)
    if event_type in _PARENT_EVENTS:
        return Priority.HIGH
    if failed or event_type in ("error", "malformed_frame") or event_type.startswith("session."):
        return Priority.MEDIUM
    return Priority.LOW


class RunBudget:
    """Counts the runs of one trace, and remembers which of them were left out.

    Two threads use it without a lock: the caller's reports children (:meth:`note_child`), another leaves runs out
    (:meth:`leave_out`). Whichever comes second notices that a left-out run has a child; then that run is sent after
    all, unless the trace is full.

    Args:
        limits: how many runs of each priority the trace may have.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        #: Runs in the trace, the root included.
        self.count = 1
        self._parents: dict[UUID, None] = {}
        self._left_out: dict[UUID, MissingReason] = {}
        self._missing = dict.fromkeys(MissingReason, 0)

    def missing(self) -> dict[str, int]:
        """The number of runs missing from the trace, by the root's metadata key for the reason; without zeros."""
        return {reason.value: count for reason, count in self._missing.items() if count}

    def admits(self, run_id: UUID, priority: Priority) -> bool:
        """Count a run and return True if it is to be sent; False if it is left out, which is not counted."""
        self.count += 1
        return self.count <= self._limit(priority) or not self.leave_out(run_id, MissingReason.LIMIT)

    def leave_out(self, run_id: UUID, reason: MissingReason) -> bool:
        """Leave out a run; False if the run must be sent because it has children and the trace is not full."""
        self._left_out[run_id] = reason  # before the check, so that a child added meanwhile notices it
        self._missing[reason] += 1
        # If the entry is gone again, the thread that reported the child has sent the run.
        if run_id in self._parents and self.count <= self._limits.trace_runs and self._take_back(run_id):
            return False
        self.count -= 1
        return True

    def note_refused(self) -> None:
        """Count a run that LangSmith refused for good."""
        self._missing[MissingReason.REFUSED] += 1

    def note_child(self, parent_id: UUID) -> bool:
        """Remember that a run has a child; True if that parent was left out. Does not count the child."""
        self._parents[parent_id] = None
        if len(self._parents) > self._limits.trace_parents:
            del self._parents[next(iter(self._parents))]
        return parent_id in self._left_out

    def readmit(self, run_id: UUID) -> bool:
        """Count a left-out run again and return True if it is to be sent now, because it has a child.

        False if the trace is full, or the run is not left out any more.
        """
        if self.count >= self._limits.trace_runs or not self._take_back(run_id):
            return False
        self.count += 1
        return True

    def _take_back(self, run_id: UUID) -> bool:
        """Note that the run is not left out any more; False if it was not, or another thread was faster."""
        reason = self._left_out.pop(run_id, None)
        if reason is not None:
            self._missing[reason] -= 1
        return reason is not None

    def _limit(self, priority: Priority) -> int:
        """The number of runs in the trace up to which a run of this priority is sent."""
        limits = self._limits
        return {
            Priority.LOW: limits.trace_low_priority_runs,
            Priority.MEDIUM: limits.trace_medium_priority_runs,
            Priority.HIGH: limits.trace_runs,
        }[priority]

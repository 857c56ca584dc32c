"""Decides which runs are left out when a trace would have more than LangSmith's 25,000, or more than can be sent.

Events without content of their own are left out first. Responses, tools and runs that have children are never left out
before the trace is full. The worker's thread admits runs, and the sender's leave them out, so there is a lock.
"""

from __future__ import annotations

import enum
import threading
from uuid import UUID

from langsmith_realtime.core.protocol.events import ga_type
from langsmith_realtime.delivery.operations import MissingReason
from langsmith_realtime.options.limits import Limits

#: Events below which responses and tools hang.
_PARENT_EVENTS = frozenset({"response.created", "response.done"})


class Priority(enum.IntEnum):
    """How important a run is to its trace; runs of the lowest priority are left out first."""

    #: Any other event, even if it has content, such as a transcript.
    LOW = 0
    #: Failed events, malformed frames, and ``session.…`` events.
    MEDIUM = 1
    #: Responses, tools, and the ``response.created`` and ``response.done`` below which these hang.
    HIGH = 2


def priority_of(name: str, *, failed: bool = False) -> Priority:
    """The priority of an event's run, from the event's ``type`` and whether the run has an error."""
    event_type = ga_type(name)
    if event_type in _PARENT_EVENTS:
        return Priority.HIGH
    if failed or event_type in ("error", "malformed_frame") or event_type.startswith("session."):
        return Priority.MEDIUM
    return Priority.LOW


class RunBudget:
    """Counts the runs of one trace, and remembers which of them were left out. Thread-safe.

    Args:
        limits: how many runs of each priority the trace may have.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._count = 1  # runs in the trace, the root included
        self._parents: dict[UUID, None] = {}
        self._left_out: dict[UUID, tuple[MissingReason, str]] = {}
        self._missing = dict.fromkeys(MissingReason, 0)

    def missing(self) -> dict[str, int]:
        """The number of runs missing from the trace, by the root's metadata key for the reason; without zeros."""
        with self._lock:
            return {reason.value: count for reason, count in self._missing.items() if count}

    def admits(self, run_id: UUID, name: str, priority: Priority) -> bool:
        """Count a run and return True if it is to be sent; otherwise it is left out, and its name is remembered."""
        with self._lock:
            self._count += 1
            return self._count <= self._limit(priority) or not self._leave_out(run_id, name, MissingReason.LIMIT)

    def leave_out(self, run_id: UUID, name: str, reason: MissingReason) -> bool:
        """Leave out a run that was admitted; False if it must be sent, because it has children."""
        with self._lock:
            return self._leave_out(run_id, name, reason)

    def note_refused(self) -> None:
        """Count a run that LangSmith refused for good."""
        with self._lock:
            self._missing[MissingReason.REFUSED] += 1

    def add_child(self) -> None:
        """Count a run of the application's own, which is sent in any case."""
        with self._lock:
            self._count += 1

    def bring_back(self, parent_id: UUID) -> str | None:
        """A run has a child: return its name if it was left out and is to be sent now; None otherwise.

        Does not count the child. From here on the run is not left out before the trace is full.
        """
        with self._lock:
            self._parents[parent_id] = None
            if len(self._parents) > self._limits.trace_parents:
                del self._parents[next(iter(self._parents))]
            if parent_id not in self._left_out or self._count >= self._limits.trace_runs:
                return None
            reason, name = self._left_out.pop(parent_id)
            self._missing[reason] -= 1
            self._count += 1
            return name

    def _leave_out(self, run_id: UUID, name: str, reason: MissingReason) -> bool:
        if run_id in self._parents and self._count <= self._limits.trace_runs:
            return False
        self._left_out[run_id] = reason, name
        self._missing[reason] += 1
        self._count -= 1
        return True

    def _limit(self, priority: Priority) -> int:
        """The number of runs in the trace up to which a run of this priority is sent."""
        limits = self._limits
        return {
            Priority.LOW: limits.trace_low_priority_runs,
            Priority.MEDIUM: limits.trace_medium_priority_runs,
            Priority.HIGH: limits.trace_runs,
        }[priority]

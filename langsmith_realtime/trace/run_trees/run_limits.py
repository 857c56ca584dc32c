"""What goes first when there is too much of it: LangSmith takes 25,000 runs in a trace, and memory has an end.

Pure. An event that only says that it arrived goes first; responses, tools and what has children never go
before the trace is full.
"""

from __future__ import annotations

import enum
from uuid import UUID

from langsmith_realtime.core.protocol.events import BETA_NAMES
from langsmith_realtime.delivery.operations import Shortage

#: Runs in one trace, as LangSmith allows them.
RUNS = 25_000
#: Runs of a trace from which on those of one weight are left out.
STRUCTURE_UNTIL, EVENTS_UNTIL = 20_000, 24_000

#: Runs that are known to have children, while they may still be left out: not for long.
REMEMBERED = 10_000

#: Events that responses and tools hang below.
_PARENTS = frozenset({"response.created", "response.done"})


class Weight(enum.IntEnum):
    """How much a run says; the lightest goes first."""

    #: An event that only says that it arrived.
    STRUCTURE = 0
    #: What went wrong, and what the session was like.
    EVENT = 1
    #: The root, responses, tools, and the events these hang below.
    CORE = 2


def weight_of(name: str, *, failed: bool = False) -> Weight:
    """The weight of an event's run."""
    kind = BETA_NAMES.get(name, name)
    if kind in _PARENTS:
        return Weight.CORE
    if failed or kind in ("error", "malformed_frame") or kind.startswith("session."):
        return Weight.EVENT
    return Weight.STRUCTURE


class RunCount:
    """The runs of one trace, as far as they are seen, and which of them were left out.

    The caller's threads tell of children, others ask for runs. Whichever comes second finds that a run that
    was left out has a child, and has it sent after all.
    """

    def __init__(self) -> None:
        #: The root is one.
        self.count = 1
        self._parents: dict[UUID, None] = {}
        self._left_out: dict[UUID, Shortage] = {}
        self._lacks = dict.fromkeys(Shortage, 0)

    def lacks(self) -> dict[str, int]:
        """How many runs the trace lacks, and why."""
        return {why.value: count for why, count in self._lacks.items() if count}

    def admits(self, run_id: UUID, weight: Weight) -> bool:
        """Whether the run is to be sent; it is left out otherwise."""
        self.count += 1
        return self.count <= _until(weight) or not self.leave_out(run_id, Shortage.LIMIT)

    def leave_out(self, run_id: UUID, why: Shortage) -> bool:
        """Leave out a run; False when it has children that need it."""
        self._left_out[run_id] = why  # first, or a child born in between would not know
        self._lacks[why] += 1
        # Where it is not there any more, the one who brought the child has sent it.
        if run_id in self._parents and self.count <= RUNS and self._is_back(run_id):
            return False
        self.count -= 1
        return True

    def refused(self) -> None:
        """The server refused a run for good."""
        self._lacks[Shortage.REFUSED] += 1

    def child_below(self, parent_id: UUID) -> bool:
        """A run is there that needs that one; whether it was left out. The child itself is not counted here."""
        self._parents[parent_id] = None
        if len(self._parents) > REMEMBERED:
            del self._parents[next(iter(self._parents))]
        return parent_id in self._left_out

    def bring_back(self, run_id: UUID) -> bool:
        """Whether a run that was left out is to be sent now, as it has a child."""
        if self.count >= RUNS or not self._is_back(run_id):
            return False
        self.count += 1
        return True

    def _is_back(self, run_id: UUID) -> bool:
        """Whether it was left out, and is not any more; true for one of two who ask at once."""
        why = self._left_out.pop(run_id, None)
        if why is not None:
            self._lacks[why] -= 1
        return why is not None


def _until(weight: Weight) -> int:
    return {Weight.STRUCTURE: STRUCTURE_UNTIL, Weight.EVENT: EVENTS_UNTIL, Weight.CORE: RUNS}[weight]

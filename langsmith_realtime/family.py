"""What all runs of one conversation share, and which of the caller's own runs carries out which tool call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from langsmith.run_trees import RunTree

from langsmith_realtime.events import ANNOUNCING
from langsmith_realtime.guard import Guard
from langsmith_realtime.holding import Holding
from langsmith_realtime.ids import microseconds_of, uuid7
from langsmith_realtime.limits import Census, Weight, weight_of
from langsmith_realtime.options import THREAD_KEYS
from langsmith_realtime.parents import ParentRun, Stamp, adopt, derive, unmade
from langsmith_realtime.plain import sayable

#: Events whose calls may still be waiting for the user's own tool run.
REMEMBERED = 64


class Family:
    """What all runs of one conversation share, and which calls the user's own runs have taken."""

    def __init__(
        self,
        root: RunTree,
        *,
        outer: RunTree | None,
        metadata: dict[str, Any],
        tags: tuple[str, ...],
        guard: Guard,
        surroundings: Mapping[str, Any] | None = None,
    ) -> None:
        self.outer = outer
        self.guard = guard
        #: Metadata and tags that were set around the conversation; runs below it do not inherit them.
        self._around = dict((surroundings or {}).get("metadata") or {})
        self._tags_around = frozenset((surroundings or {}).get("tags") or ())
        self.metadata = metadata
        self.tags = tags
        self.root = adopt(root, self)
        self.census = Census()
        #: Sends the run of an event after all, which was left out and has a child now.
        self.bring_back: Callable[[ParentRun], None] | None = None
        #: Where runs wait while it is not decided whether the conversation is kept.
        self.holding: Holding | None = None
        #: What the context held when the conversation's block began.
        self.before: RunTree | None = None
        self.ended = False
        #: The user's own tool runs, by call id.
        self.claimed: dict[str, RunTree] = {}
        #: Tool runs of ours, by call id.
        self.tools: dict[str, ParentRun] = {}
        self._answered: set[str] = set()
        self._announcers: deque[ParentRun] = deque(maxlen=REMEMBERED)

    def event(self, name: str, microseconds: int, frame: object, kind: str) -> ParentRun:
        """The run of an event that arrived then."""
        if kind not in ANNOUNCING:
            return unmade(Stamp(self, name, microseconds, None))
        run = unmade(Stamp(self, name, microseconds, frame))
        self._announcers.append(run)
        return run

    def tool(self, call_id: str, latest: ParentRun) -> RunTree:
        """The run of a call: the user's own when there is one, else ours, made when it was not yet."""
        claimed = self.claimed.get(call_id)
        if claimed is not None:
            return claimed
        found = [(run, call) for run in self._announcers for call in run.calls() if call.call_id == call_id]
        # The latest to announce it is the response.done, where there is one.
        parent, call = found[-1] if found else (latest, None)
        return self.tool_below(parent, call_id, (call.name if call else None) or "tool")

    def tool_below(self, parent: ParentRun, call_id: str, name: str) -> ParentRun:
        """Our run of a call, below that event unless it has its place already."""
        known = self.tools.get(call_id)
        if known is not None:
            return known
        start = parent.start_time
        # Made again from the journal, it is the same run.
        run_id = uuid7(microseconds_of(start), f"{parent.id} tool {sayable(call_id)}")
        run = derive(parent, name, "tool", start, run_id)
        self.child_below(parent)
        return self.tools.setdefault(call_id, run)

    def child_below(self, parent: ParentRun) -> None:
        """A run is there that needs that one."""
        if weight_of(parent.name) is Weight.CORE:
            return  # it is there, or nothing more can be
        if self.census.child_below(parent.id) and self.bring_back is not None:
            self.bring_back(parent)

    def answered(self, call_id: str) -> None:
        self._answered.add(call_id)

    def equip(self, child: RunTree, below: ParentRun) -> bool:
        """Give a user's own run what every run of the conversation has, and the call it carries out, if it does."""
        given = (child.extra or {}).get("metadata") or {}
        metadata = {
            key: value
            for key, value in given.items()
            if key not in THREAD_KEYS and not (key in self._around and self._around[key] == value)
        }
        if metadata.get("tool_call_id") in self.claimed:
            del metadata["tool_call_id"]  # its parent's
        metadata.update(self.metadata)
        call_id = None if below.is_at_work else self.claim(child, below)
        if call_id is not None:
            metadata["tool_call_id"] = call_id
        child.extra = {**(child.extra or {}), "metadata": metadata}
        tags = [tag for tag in child.tags or [] if tag not in self._tags_around]
        child.tags = list(dict.fromkeys([*tags, *self.tags]))
        return call_id is not None

    def claim(self, child: RunTree, below: ParentRun) -> str | None:
        """The call that a user's run carries out: by function name, then in the order announced."""
        for run in [below, *self._announcers]:
            for call in run.calls():
                taken = call.call_id in self._answered or call.call_id in self.tools
                # Older servers name the function elsewhere; on that very event it can be no other.
                matches = call.name == child.name or (call.name is None and run is below)
                if not matches or taken:
                    continue
                if self.claimed.setdefault(call.call_id, child) is child:
                    return call.call_id
        return None

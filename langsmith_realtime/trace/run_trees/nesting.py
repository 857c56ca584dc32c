"""The run trees that the caller's own traced work hangs below.

Each is a copy of the conversation's root with another identity, made when somebody looks at it, as there is one
for every event and hardly any is looked at; the run itself is sent by the worker. LangSmith's ``@traceable`` and
``trace`` ask their parent for a child, which is where a user's own tool run is seen at birth and given its call's id.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from langsmith.run_trees import RunTree

from langsmith_realtime.core.payloads.json_values import without_surrogates
from langsmith_realtime.core.protocol.events import ANNOUNCING, Call, FrameError, announced_calls, parse
from langsmith_realtime.delivery.tail_sampling import HeldConversation
from langsmith_realtime.options.tracing import THREAD_KEYS
from langsmith_realtime.runtime.forks import at_fork
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, segment, time_of, uuid7
from langsmith_realtime.trace.run_trees.run_limits import RunCount, Weight, weight_of


class ParentRun(RunTree):
    """A run of the conversation as a parent for the caller's own work."""

    @property
    def family(self) -> ConversationRuns:
        family: ConversationRuns = self.__dict__["family"]
        return family

    @property
    def is_conversation(self) -> bool:
        """Whether this is a conversation's root or one of its events, not a tool at work or the user's run."""
        return bool(self.__dict__["ours"]) and self.run_type != "tool"

    @property
    def is_at_work(self) -> bool:
        """Whether it carries out a call or is done for one: what is called there is that call's, and no other."""
        if self.__dict__["ours"]:
            return self.run_type == "tool"
        return bool(self.__dict__["at_work"])

    def calls(self) -> list[Call]:
        """The function calls the event announced, in its order."""
        calls: list[Call] | None = self.__dict__.get("calls_")
        if calls is None:
            frame = self.__dict__.pop("frame", None)
            try:
                calls = announced_calls(parse(frame)) if frame is not None else []
            except FrameError:
                calls = []
            self.__dict__["calls_"] = calls
        return calls

    def create_child(self, *args: Any, **kwargs: Any) -> RunTree:
        """LangSmith's own, for the caller's work; the child gets what every run of the conversation has."""
        if kwargs.get("start_time") is None:
            start = self._start_of_child(kwargs.get("run_id"))
            kwargs["start_time"] = time_of(start)
            kwargs["run_id"] = kwargs.get("run_id") or uuid7(start)
        child = super().create_child(*args, **kwargs)
        self.child_runs.clear()  # nobody reads them, and they would grow with the conversation
        family = self.family
        at_work = self.is_at_work
        try:
            family.census.count += 1
            if self.__dict__["ours"]:
                family.child_below(self)
            at_work = family.equip(child, self) or at_work
        except Exception as error:
            family.guard.report("create_child", error)
        return adopt(child, family, ours=False, at_work=at_work)

    def _start_of_child(self, run_id: object) -> int:
        """When a child that is made now starts, in µs: in the millisecond of its id, by which LangSmith looks it up.

        Its id may have been made some time ago. LangSmith refuses a child that is older than its parent, and the
        wall clock may be set back.
        """
        start = microseconds_of(datetime.now(UTC))
        if isinstance(run_id, UUID) and run_id.version == 7:
            begin = (run_id.int >> 80) * 1000
            start = min(max(start, begin), begin + 999)
        return max(start, microseconds_of(self.start_time))

    def post(self, exclude_child_runs: bool = True) -> None:
        """LangSmith's own; the caller's runs wait where it is not decided yet whether the conversation is kept."""
        post = super().post
        if not self._is_held(lambda: post(exclude_child_runs)):
            post(exclude_child_runs)

    def patch(self, **how: Any) -> None:
        """LangSmith's own, as :meth:`post`."""
        patch = super().patch
        if not self.end_time:
            self.end()  # not when it was decided
        if not self._is_held(lambda: patch(**how)):
            patch(**how)

    def _is_held(self, call: Callable[[], None]) -> bool:
        holding = self.family.holding
        if holding is None or self.__dict__["ours"] or self.client is not self.family.root.client:
            return False
        return holding.hold(call)


class Stamp:
    """What the run of an event is made of."""

    __slots__ = ("_fields", "_id", "family", "frame", "microseconds", "name")

    def __init__(self, family: ConversationRuns, name: str, microseconds: int, frame: object) -> None:
        self.family = family
        self.name = name
        self.microseconds = microseconds
        self.frame = frame
        self._id: UUID | None = None
        self._fields: dict[str, Any] | None = None

    @property
    def id(self) -> UUID:
        with _looking:  # two threads may look at once
            return self._made_id()

    def fields(self) -> dict[str, Any]:
        """Those of the run; to be asked for with :data:`_looking`."""
        if self._fields is None:
            start = time_of(self.microseconds)
            self._fields = _fields_below(self.family.root, self.name, "chain", start, self._made_id())
            if self.frame is not None:
                self._fields["frame"] = self.frame
        return self._fields

    def _made_id(self) -> UUID:
        if self._id is None:
            self._id = uuid7(self.microseconds)
        return self._id


class Unmade(ParentRun):
    """The run of an event at which nobody has looked: it becomes a :class:`ParentRun` when somebody does."""

    def __getattribute__(self, name: str) -> Any:
        # The worker asks every one of them for these.
        if name in _STAMPED:
            stamp = _get(self, "__dict__").get(_STAMP)
            if stamp is not None:
                return _STAMPED[name](stamp)
        _make(self)
        return getattr(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _make(self)
        setattr(self, name, value)


_get, _set = object.__getattribute__, object.__setattr__  # past pydantic's own, and ours
_STAMP = "stamp"
_STAMPED: dict[str, Callable[[Stamp], Any]] = {
    "id": lambda stamp: stamp.id,
    "name": lambda stamp: stamp.name,
    "start_time": lambda stamp: time_of(stamp.microseconds),
}
_looking = threading.Lock()


def _look_again() -> None:
    """After a fork: a thread that the child does not have may have looked."""
    global _looking  # noqa: PLW0603
    _looking = threading.Lock()


at_fork(after_in_child=_look_again)


def _make(run: ParentRun) -> None:
    with _looking:
        if type(run) is ParentRun:
            return  # by another thread
        stamp = _get(run, "__dict__").get(_STAMP)
        if stamp is not None:  # a copy of one has all of it
            _set(run, "__dict__", stamp.fields())
            _complete(run, stamp.family.root)
        _set(run, "__class__", ParentRun)


def unmade(stamp: Stamp) -> ParentRun:
    """The run of an event, made when somebody looks at it."""
    run = ParentRun.__new__(Unmade)
    _set(run, "__dict__", {_STAMP: stamp})
    return run


def adopt(run: RunTree, family: ConversationRuns, *, ours: bool = True, at_work: bool = False) -> ParentRun:
    """Make a run tree of LangSmith's one whose children are seen; ``ours`` or the user's own."""
    run.__class__ = ParentRun
    run.__dict__.update(family=family, ours=ours, at_work=at_work)
    assert isinstance(run, ParentRun)
    return run


def derive(parent: ParentRun, name: str, run_type: str, start: datetime, run_id: UUID) -> ParentRun:
    """A child of ``parent``, without the 23 µs that constructing a run tree takes.

    It carries what every run of the conversation does, and nothing else of its parent's.
    """
    return _filled(parent, _fields_below(parent, name, run_type, start, run_id))


def _fields_below(parent: ParentRun, name: str, run_type: str, start: datetime, run_id: UUID) -> dict[str, Any]:
    fields = parent.__dict__.copy()
    family: ConversationRuns = fields["family"]
    fields["parent_run_id"] = fields["id"]
    fields["dotted_order"] = f"{fields['dotted_order']}.{segment(start, run_id)}"
    fields["id"] = run_id
    fields["name"] = name
    fields["run_type"] = run_type
    fields["start_time"] = start
    fields["end_time"] = None
    fields["child_runs"] = []
    fields["inputs"] = {}
    fields["outputs"] = {}
    fields["events"] = []
    fields["extra"] = {"metadata": family.metadata.copy()}
    fields["tags"] = list(family.tags)
    fields["ours"] = True
    if "frame" in fields:
        del fields["frame"]
    if "calls_" in fields:
        del fields["calls_"]
    return fields


def _filled(like: ParentRun, fields: dict[str, Any]) -> ParentRun:
    run = ParentRun.__new__(ParentRun)
    _set(run, "__dict__", fields)
    _complete(run, like)
    return run


def _complete(run: ParentRun, like: ParentRun) -> None:
    """Give it what pydantic's own constructor would have set beside the fields."""
    _set(run, "__pydantic_fields_set__", like.__pydantic_fields_set__.copy())
    _set(run, "__pydantic_extra__", None)
    _set(run, "__pydantic_private__", _PRIVATE.copy())


_PRIVATE = {name: attribute.get_default() for name, attribute in RunTree.__private_attributes__.items()}


#: Events whose calls may still be waiting for the user's own tool run.
REMEMBERED = 64


class ConversationRuns:
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
        self.census = RunCount()
        #: Sends the run of an event after all, which was left out and has a child now.
        self.bring_back: Callable[[ParentRun], None] | None = None
        #: Where runs wait while it is not decided whether the conversation is kept.
        self.holding: HeldConversation | None = None
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
        run_id = uuid7(microseconds_of(start), f"{parent.id} tool {without_surrogates(call_id)}")
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

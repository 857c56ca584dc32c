"""The run trees under which the caller's own traced work nests, and which run of the caller's makes which tool call.

LangSmith's ``@traceable`` and ``trace`` call :meth:`create_child` of their parent run. A :class:`ParentRun` uses that
to give a child the conversation's metadata and, if the child carries out a tool call, that call's id.

Every event but a delta has a run that may become such a parent, but few do. So the run tree of an event is a copy of
the root's fields, built when it is first used (:class:`LazyEventRun`). The run that is sent is another object with the
same id, made by :class:`~langsmith_realtime.trace.run_builder.RunBuilder`.
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
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.options.tracing import THREAD_KEYS
from langsmith_realtime.runtime.forks import at_fork
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, segment, time_of, uuid7
from langsmith_realtime.trace.run_trees.run_limits import Priority, RunBudget, priority_of


class ParentRun(RunTree):
    """A run of a conversation: the root, an event, a response, a tool call, or a run of the caller's below these.

    Beside RunTree's fields, its ``__dict__`` has ``conversation_runs``, ``by_application`` (whether the caller's code
    made the run) and ``in_tool_call``; an event that may announce tool calls has ``frame`` or ``parsed_calls``.
    """

    @property
    def conversation_runs(self) -> ConversationRuns:
        """What all runs of the conversation share."""
        runs: ConversationRuns = self.__dict__["conversation_runs"]
        return runs

    @property
    def is_root_or_event(self) -> bool:
        """Whether this is the conversation's root or an event, not a tool run or a run of the caller's."""
        return not self.__dict__["by_application"] and self.run_type != "tool"

    @property
    def is_in_tool_call(self) -> bool:
        """Whether the run carries out a tool call or is below one that does; runs below it carry out no other call."""
        if self.__dict__["by_application"]:
            return bool(self.__dict__["in_tool_call"])
        return self.run_type == "tool"

    def calls(self) -> list[Call]:
        """The function calls that the event announces, in its order; empty for any other run."""
        calls: list[Call] | None = self.__dict__.get("parsed_calls")
        if calls is None:
            frame = self.__dict__.pop("frame", None)
            try:
                calls = announced_calls(parse(frame)) if frame is not None else []
            except FrameError:
                calls = []
            self.__dict__["parsed_calls"] = calls
        return calls

    def create_child(self, *args: Any, **kwargs: Any) -> RunTree:
        """Make a run of the caller's as LangSmith does, with the conversation's metadata and tags.

        If the run carries out a tool call, its metadata has the ``tool_call_id``. A failure to add these is reported to
        the guard, and the run is returned without them.
        """
        if kwargs.get("start_time") is None:
            start = self._child_start(kwargs.get("run_id"))
            kwargs["start_time"] = time_of(start)
            kwargs["run_id"] = kwargs.get("run_id") or uuid7(start)
        child = super().create_child(*args, **kwargs)
        self.child_runs.clear()  # LangSmith's list of children is never read, and would grow with the conversation
        runs = self.conversation_runs
        in_tool_call = self.is_in_tool_call
        try:
            runs.run_budget.count += 1
            if not self.__dict__["by_application"]:
                runs.note_child(self)
            in_tool_call = runs.adopt_application_run(child, self) or in_tool_call
        except Exception as error:
            runs.guard.report("create_child", error)
        return as_parent_run(child, runs, by_application=True, in_tool_call=in_tool_call)

    def _child_start(self, run_id: object) -> int:
        """The start of a child made now, in µs since the epoch.

        If ``run_id`` is a UUIDv7, the start is within the millisecond of that id: LangSmith finds a run by the time in
        its id, and the id may have been made earlier. But the start is never before the parent's: LangSmith refuses
        such runs, and the wall clock may be set back.
        """
        start = microseconds_of(datetime.now(UTC))
        if isinstance(run_id, UUID) and run_id.version == 7:
            id_start = (run_id.int >> 80) * 1000
            start = min(max(start, id_start), id_start + 999)
        return max(start, microseconds_of(self.start_time))

    def post(self, exclude_child_runs: bool = True) -> None:
        """Post as LangSmith does, but hold a run of the caller's until ``keep=`` has decided on the conversation.

        The run is dropped if the conversation is not kept. Runs with another client than the root's are not held.
        """
        post = super().post
        if not self._hold(lambda: post(exclude_child_runs)):
            post(exclude_child_runs)

    def patch(self, **options: Any) -> None:
        """Patch as LangSmith does, but hold the patch as :meth:`post` does. A run without an end ends now."""
        patch = super().patch
        if not self.end_time:
            self.end()  # now, because LangSmith would end the run when it is released
        if not self._hold(lambda: patch(**options)):
            patch(**options)

    def _hold(self, call: Callable[[], None]) -> bool:
        held_conversation = self.conversation_runs.held_conversation
        if held_conversation is None or not self.__dict__["by_application"]:
            return False
        if self.client is not self.conversation_runs.root.client:
            return False
        return held_conversation.hold_call(call)


class EventRunFields:
    """The fields of an event's run tree, computed on first use.

    Args:
        conversation_runs: what the conversation's runs share.
        name: the run's name, the event's ``type``.
        microseconds: the run's start, since the epoch (UTC).
        frame: the event's frame if the event may announce tool calls, else None.
    """

    __slots__ = ("_fields", "_id", "conversation_runs", "frame", "microseconds", "name")

    def __init__(self, conversation_runs: ConversationRuns, name: str, microseconds: int, frame: object) -> None:
        self.conversation_runs = conversation_runs
        self.name = name
        self.microseconds = microseconds
        self.frame = frame
        self._id: UUID | None = None
        self._fields: dict[str, Any] | None = None

    @property
    def id(self) -> UUID:
        with _building:  # two threads may ask at once, and must get one id
            return self._run_id()

    def fields(self) -> dict[str, Any]:
        """The run tree's ``__dict__``; the caller holds :data:`_building`."""
        if self._fields is None:
            start = time_of(self.microseconds)
            self._fields = _fields_below(self.conversation_runs.root, self.name, "chain", start, self._run_id())
            if self.frame is not None:
                self._fields["frame"] = self.frame
        return self._fields

    def _run_id(self) -> UUID:
        if self._id is None:
            self._id = uuid7(self.microseconds)
        return self._id


class LazyEventRun(ParentRun):
    """The run tree of an event, not built yet; becomes a :class:`ParentRun` with all fields on first use.

    Only reading ``id``, ``name`` or ``start_time`` is no such use.
    """

    def __getattribute__(self, name: str) -> Any:
        # The worker reads these three of every event's run.
        if name in _CHEAP_ATTRIBUTES:
            source = _get(self, "__dict__").get(_SOURCE)
            if source is not None:
                return _CHEAP_ATTRIBUTES[name](source)
        _build(self)
        return getattr(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _build(self)
        setattr(self, name, value)


_get, _set = object.__getattribute__, object.__setattr__  # without pydantic's methods, and without LazyEventRun's
_SOURCE = "event_run_fields"
_CHEAP_ATTRIBUTES: dict[str, Callable[[EventRunFields], Any]] = {
    "id": lambda source: source.id,
    "name": lambda source: source.name,
    "start_time": lambda source: time_of(source.microseconds),
}
#: Held while a run tree is built, so that two threads build only one.
_building = threading.Lock()


def _replace_lock_after_fork() -> None:
    """In a forked child, replace the lock, which a thread that the child lacks may hold."""
    global _building  # noqa: PLW0603
    _building = threading.Lock()


at_fork(after_in_child=_replace_lock_after_fork)


def _build(run: ParentRun) -> None:
    """Turn a :class:`LazyEventRun` into a :class:`ParentRun`."""
    with _building:
        if type(run) is ParentRun:
            return  # another thread was faster
        source = _get(run, "__dict__").get(_SOURCE)
        if source is not None:  # a copy of a run may have all fields already
            _set(run, "__dict__", source.fields())
            _set_pydantic_attributes(run, source.conversation_runs.root)
        _set(run, "__class__", ParentRun)


def lazy_event_run(source: EventRunFields) -> ParentRun:
    """The run tree of an event, built on first use."""
    run = ParentRun.__new__(LazyEventRun)
    _set(run, "__dict__", {_SOURCE: source})
    return run


def as_parent_run(
    run: RunTree, conversation_runs: ConversationRuns, *, by_application: bool = False, in_tool_call: bool = False
) -> ParentRun:
    """Turn a RunTree into a :class:`ParentRun`, in place, so that :meth:`ParentRun.create_child` makes its children."""
    run.__class__ = ParentRun
    run.__dict__.update(conversation_runs=conversation_runs, by_application=by_application, in_tool_call=in_tool_call)
    assert isinstance(run, ParentRun)
    return run


def derive(parent: ParentRun, name: str, run_type: str, start: datetime, run_id: UUID) -> ParentRun:
    """A child of ``parent`` with the conversation's metadata and tags, and empty inputs, outputs and events.

    Copies the parent's fields, which avoids the 23 µs that RunTree's constructor takes.
    """
    run = ParentRun.__new__(ParentRun)
    _set(run, "__dict__", _fields_below(parent, name, run_type, start, run_id))
    _set_pydantic_attributes(run, parent)
    return run


def _fields_below(parent: ParentRun, name: str, run_type: str, start: datetime, run_id: UUID) -> dict[str, Any]:
    fields = parent.__dict__.copy()
    runs: ConversationRuns = fields["conversation_runs"]
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
    fields["extra"] = {"metadata": runs.metadata.copy()}
    fields["tags"] = list(runs.tags)
    fields["by_application"] = False
    if "frame" in fields:
        del fields["frame"]
    if "parsed_calls" in fields:
        del fields["parsed_calls"]
    return fields


def _set_pydantic_attributes(run: ParentRun, like: ParentRun) -> None:
    """Set what pydantic's constructor sets beside the fields."""
    _set(run, "__pydantic_fields_set__", like.__pydantic_fields_set__.copy())
    _set(run, "__pydantic_extra__", None)
    _set(run, "__pydantic_private__", _PRIVATE_DEFAULTS.copy())


_PRIVATE_DEFAULTS = {name: attribute.get_default() for name, attribute in RunTree.__private_attributes__.items()}


#: How many of the latest events that announce calls are searched for the call that a run of the caller's carries out.
MAX_ANNOUNCING_EVENTS = 64


class ConversationRuns:
    """What all runs of one conversation share, and which runs of the caller's carry out which tool calls.

    Args:
        root: the conversation's root run; becomes a :class:`ParentRun`.
        outer_run: the run that the conversation nests under; None if there is none.
        metadata: the metadata of every run of the conversation, ``thread_id`` included.
        tags: the tags of every run of the conversation.
        guard: counts failures.
        tracing_context: LangSmith's tracing context in which the conversation opened; runs of the caller's below the
            conversation do not get its metadata and tags.
        limits: the limits of the conversation's runs; by default those of :class:`Limits`.
    """

    def __init__(
        self,
        root: RunTree,
        *,
        outer_run: RunTree | None,
        metadata: dict[str, Any],
        tags: tuple[str, ...],
        guard: Guard,
        tracing_context: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.outer_run = outer_run
        self.guard = guard
        # LangSmith copies its context's metadata and tags to runs of the caller's; below the conversation they go.
        self._context_metadata = dict((tracing_context or {}).get("metadata") or {})
        self._context_tags = frozenset((tracing_context or {}).get("tags") or ())
        self.metadata = metadata
        self.tags = tags
        self.root = as_parent_run(root, self)
        self.run_budget = RunBudget(limits or Limits())
        #: Sends the run of an event that was left out and has a child now.
        self.send_left_out_event: Callable[[ParentRun], None] | None = None
        #: Holds runs until ``keep=`` has decided; None without ``keep=``.
        self.held_conversation: HeldConversation | None = None
        #: The context's run before the conversation's block was entered.
        self.previous_parent: RunTree | None = None
        #: Whether the conversation is closed.
        self.ended = False
        #: The caller's own tool runs, by call id.
        self.application_tool_runs: dict[str, RunTree] = {}
        #: The tool runs made by this package, by call id.
        self.tool_runs: dict[str, ParentRun] = {}
        self._answered_calls: set[str] = set()
        self._announcing_events: deque[ParentRun] = deque(maxlen=MAX_ANNOUNCING_EVENTS)

    def event(self, name: str, microseconds: int, frame: object, event_type: str) -> ParentRun:
        """The run of an event that arrived at ``microseconds`` since the epoch; ``event_type`` is the GA name."""
        if event_type not in ANNOUNCING:
            return lazy_event_run(EventRunFields(self, name, microseconds, None))
        run = lazy_event_run(EventRunFields(self, name, microseconds, frame))
        self._announcing_events.append(run)
        return run

    def tool(self, call_id: str, latest_event: ParentRun) -> RunTree:
        """The run of a call: the caller's own if there is one, else this package's, made now if necessary.

        A new run nests under the latest event that announces the call, or else under ``latest_event``.
        """
        application_run = self.application_tool_runs.get(call_id)
        if application_run is not None:
            return application_run
        found = [(run, call) for run in self._announcing_events for call in run.calls() if call.call_id == call_id]
        parent, call = found[-1] if found else (latest_event, None)  # the latest is response.done, if it has arrived
        return self.tool_below(parent, call_id, (call.name if call else None) or "tool")

    def tool_below(self, parent: ParentRun, call_id: str, name: str) -> ParentRun:
        """This package's run of a call; made below ``parent`` if it does not exist yet."""
        existing = self.tool_runs.get(call_id)
        if existing is not None:
            return existing
        start = parent.start_time
        # The seed makes the id of a run replayed from the journal equal to the first one.
        run_id = uuid7(microseconds_of(start), f"{parent.id} tool {without_surrogates(call_id)}")
        run = derive(parent, name, "tool", start, run_id)
        self.note_child(parent)
        return self.tool_runs.setdefault(call_id, run)

    def note_child(self, parent: ParentRun) -> None:
        """Note that ``parent`` has a child now; send the run of ``parent`` if that was left out before.

        Does nothing for events of high priority.
        """
        if priority_of(parent.name) is Priority.HIGH:
            return  # left out only when the trace is full
        if self.run_budget.note_child(parent.id) and self.send_left_out_event is not None:
            self.send_left_out_event(parent)

    def note_answer(self, call_id: str) -> None:
        """The application sent the call's output, so no later run of the caller's carries out the call."""
        self._answered_calls.add(call_id)

    def adopt_application_run(self, child: RunTree, parent: ParentRun) -> bool:
        """Give ``child``, a run of the caller's, the conversation's metadata and tags; True if it carries out a call.

        The call's id is then in the metadata as ``tool_call_id``. Metadata and tags that LangSmith copied from the
        tracing context are removed. A child of a run that is in a tool call carries out no call.
        """
        given = (child.extra or {}).get("metadata") or {}
        metadata = {
            key: value
            for key, value in given.items()
            if key not in THREAD_KEYS and not (key in self._context_metadata and self._context_metadata[key] == value)
        }
        if metadata.get("tool_call_id") in self.application_tool_runs:
            del metadata["tool_call_id"]  # inherited from the parent run
        metadata.update(self.metadata)
        call_id = None if parent.is_in_tool_call else self.claim_call(child, parent)
        if call_id is not None:
            metadata["tool_call_id"] = call_id
        child.extra = {**(child.extra or {}), "metadata": metadata}
        tags = [tag for tag in child.tags or [] if tag not in self._context_tags]
        child.tags = list(dict.fromkeys([*tags, *self.tags]))
        return call_id is not None

    def claim_call(self, child: RunTree, parent: ParentRun) -> str | None:
        """The id of the call that ``child``, a run of the caller's, carries out from now on; None if there is none.

        It is the first announced call with the run's name that has neither an answer nor a run; calls of ``parent``
        come first, then those of the latest announcing events, oldest first. A call of ``parent`` without a name
        matches any name.
        """
        for run in [parent, *self._announcing_events]:
            for call in run.calls():
                taken = call.call_id in self._answered_calls or call.call_id in self.tool_runs
                # Older servers name the function in another event; a run directly below the call's event still matches.
                matches = call.name == child.name or (call.name is None and run is parent)
                if not matches or taken:
                    continue
                if self.application_tool_runs.setdefault(call.call_id, child) is child:
                    return call.call_id
        return None

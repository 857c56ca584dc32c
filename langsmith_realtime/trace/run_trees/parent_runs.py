"""The run trees under which the caller's own traced work nests.

LangSmith's ``@traceable`` and ``trace`` call :meth:`~ParentRun.create_child` of their parent run. A :class:`ParentRun`
uses that to give a child the conversation's metadata and tags and, if the child carries out a tool call, that call's
id. Runs are copies of another run's fields, because RunTree's constructor takes 23 µs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from langsmith import Client
from langsmith.run_trees import RunTree

from langsmith_realtime.core.payloads.json_values import without_surrogates
from langsmith_realtime.core.protocol.events import Call, FrameError, announced_calls, parse
from langsmith_realtime.core.protocol.inputs import ROOT, Ref
from langsmith_realtime.delivery.tail_sampling import HeldConversation
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.options.tracing import THREAD_KEYS
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, segment, time_of, uuid7

if TYPE_CHECKING:
    from langsmith_realtime.trace.otel.spans.conversation_spans import ConversationSpans


class ParentRun(RunTree):
    """A run tree of a conversation: the root, an event, a tool call, or a run of the caller's below one of these.

    Beside RunTree's fields, its ``__dict__`` has ``conversation_runs``; ``event``, its :class:`EventParent`, for an
    event; ``by_application``, whether the caller's code made the run; and ``in_tool_call``.
    """

    @property
    def conversation_runs(self) -> ConversationRuns:
        """What all runs of the conversation share."""
        runs: ConversationRuns = self.__dict__["conversation_runs"]
        return runs

    @property
    def event(self) -> EventParent | None:
        """The event whose run this is; None for any other run."""
        event: EventParent | None = self.__dict__["event"]
        return event

    @property
    def is_root_or_event(self) -> bool:
        """Whether this is the conversation's root or an event, not a tool run or a run of the caller's."""
        return not self.__dict__["by_application"] and self.run_type != "tool"

    @property
    def is_in_tool_call(self) -> bool:
        """Whether the run carries out a tool call or is below a run that does, so that it carries out no other call."""
        if self.__dict__["by_application"]:
            return bool(self.__dict__["in_tool_call"])
        return self.run_type == "tool"

    def create_child(self, *args: Any, **kwargs: Any) -> RunTree:
        """Make a run of the caller's as LangSmith does; add the conversation's metadata and tags, and its tool call.

        It stands below the run of a tool call instead of this event, if it is work of that call.
        """
        call_run = self.conversation_runs.call_run(self, kwargs.get("name") or next(iter(args), None))
        if call_run is not None:
            return call_run.create_child(*args, **kwargs)
        if kwargs.get("start_time") is None:
            start = self._child_start(kwargs.get("run_id"))
            kwargs["start_time"] = time_of(start)
            kwargs["run_id"] = kwargs.get("run_id") or uuid7(start)
        child = super().create_child(*args, **kwargs)
        self.child_runs.clear()  # LangSmith's list of children is never read, and would grow with the conversation
        runs = self.conversation_runs
        in_tool_call = self.is_in_tool_call
        try:
            in_tool_call = runs.adopt(child, self) or in_tool_call
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


def as_parent_run(
    run: RunTree, conversation_runs: ConversationRuns, *, by_application: bool = False, in_tool_call: bool = False
) -> ParentRun:
    """Turn a RunTree into a :class:`ParentRun`, in place, so that :meth:`ParentRun.create_child` makes its children."""
    run.__class__ = ParentRun
    run.__dict__.update(
        conversation_runs=conversation_runs, event=None, by_application=by_application, in_tool_call=in_tool_call
    )
    assert isinstance(run, ParentRun)
    return run


def derive(parent: ParentRun, name: str, run_type: str, start: datetime, run_id: UUID) -> ParentRun:
    """A child of ``parent`` with the conversation's metadata and tags, and empty inputs, outputs and events."""
    run = ParentRun.__new__(ParentRun)
    fields = parent.__dict__.copy()
    runs = parent.conversation_runs
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
    fields["event"] = None
    _set(run, "__dict__", fields)
    # What pydantic's constructor sets beside the fields.
    _set(run, "__pydantic_fields_set__", parent.__pydantic_fields_set__.copy())
    _set(run, "__pydantic_extra__", None)
    _set(run, "__pydantic_private__", _PRIVATE_DEFAULTS.copy())
    return run


_set = object.__setattr__  # without pydantic's method
_PRIVATE_DEFAULTS = {name: attribute.get_default() for name, attribute in RunTree.__private_attributes__.items()}


class EventParent:
    """An event as a parent of the caller's work: few events are, so its run tree is built when it is first used.

    Args:
        runs: what the conversation's runs share.
        ref: the event's run.
        name: the run's name, the event's ``type``.
        frame: the event's frame if it may announce tool calls, else None.
    """

    __slots__ = ("_built", "_frame", "name", "ref", "runs")

    def __init__(self, runs: ConversationRuns, ref: Ref, name: str, frame: object) -> None:
        self.runs = runs
        self.ref = ref
        self.name = name
        self._frame = frame
        self._built: dict[str, Any] = {}

    @property
    def run(self) -> ParentRun:
        """The event's run tree; the same one for all threads."""
        run: ParentRun | None = self._built.get("run")
        if run is None:
            run = self.runs.event_run(self.ref, self.name)
            run.__dict__["event"] = self
            run = self._built.setdefault("run", run)  # another thread may have been faster
        return run

    def calls(self) -> list[Call]:
        """The function calls that the event announces, in its order."""
        calls: list[Call] | None = self._built.get("calls")
        if calls is None:
            try:
                calls = announced_calls(parse(self._frame)) if self._frame is not None else []
            except FrameError:
                calls = []
            self._built["calls"] = calls
        return calls


class ChildObserver(Protocol):
    """Is told, in the caller's thread, when a run of the caller's begins below the conversation."""

    def child_begun(self, child: RunTree, parent: ParentRun) -> str | None:
        """Return the id of the tool call that the child carries out; None if it carries out none."""

    def call_run(self, event: EventParent, name: object) -> ParentRun | None:
        """Return the run of the call whose work a child of an event with this name is; None if it is of no call."""


class ConversationRuns:
    """What all runs of one conversation share.

    Args:
        root: the conversation's root run; becomes a :class:`ParentRun`.
        outer_run: the run that the conversation nests under.
        metadata: the metadata of every run of the conversation, ``thread_id`` included.
        tags: the tags of every run of the conversation.
        guard: counts failures.
        tracing_context: LangSmith's tracing context in which the conversation opened.
        limits: how many runs the trace may have.
        is_sent: whether the runs go to LangSmith. If not, the root only has the ids, and no client.
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
        is_sent: bool = True,
    ) -> None:
        self.outer_run = outer_run
        self.guard = guard
        # LangSmith copies its context's metadata and tags to runs of the caller's; below the conversation they go.
        self._context_metadata = dict((tracing_context or {}).get("metadata") or {})
        self._context_tags = frozenset((tracing_context or {}).get("tags") or ())
        self.metadata = metadata
        self.tags = tags
        self.root = as_parent_run(root, self)
        self.start_us = microseconds_of(root.start_time)
        self.limits = limits or Limits()
        self.is_sent = is_sent
        #: Whether LangSmith's sampling keeps the trace. If not, the runs are parents of the caller's work all the same,
        #: so that LangSmith's client leaves that work out, too.
        self.is_sampled = True
        #: What the caller's threads know of the OpenTelemetry spans; None without them.
        self.spans: ConversationSpans | None = None
        #: Is told of the caller's own runs; None in a replay.
        self.observer: ChildObserver | None = None
        #: Holds runs until ``keep=`` has decided; None without ``keep=``.
        self.held_conversation: HeldConversation | None = None
        #: The context's run before the conversation's block was entered.
        self.previous_parent: RunTree | None = None
        #: Whether the conversation is closed.
        self.ended = False

    @property
    def client(self) -> Client | None:
        """The LangSmith client that sends the runs; None if they are not sent, or LangSmith's sampling drops them."""
        return self.root.client if self.is_sent and self.is_sampled else None

    # The runs that a reference stands for, equal in the caller's thread, on the worker's and in a replay

    def time_of(self, ref: Ref) -> datetime:
        """When the run of an event starts."""
        return time_of(self.start_us + ref.start)

    def id_of(self, ref: Ref) -> UUID:
        """The id of the run of an event."""
        return self.root.id if ref == ROOT else self._id(ref.start)

    def event_run(self, ref: Ref, name: str) -> ParentRun:
        """The run of an event; the root's place for :data:`ROOT`."""
        if ref == ROOT:
            run = derive(self.root, self.root.name, self.root.run_type, self.root.start_time, self.root.id)
            run.parent_run_id, run.dotted_order = self.root.parent_run_id, self.root.dotted_order
            return run
        parent = self.root if ref.turn is None else self.turn_run(ref.turn)
        return derive(parent, name, "chain", self.time_of(ref), self.id_of(ref))

    def turn_run(self, start: int) -> ParentRun:
        """The run of the turn that starts ``start`` µs after the conversation."""
        return derive(self.root, "turn", "chain", time_of(self.start_us + start), self._id(start))

    def tool_run(self, parent: Ref, call_id: str, name: str) -> ParentRun:
        """This package's run of a tool call below an event."""
        return self._run_below(parent, "tool", call_id, name, "tool")

    def model_run(self, parent: Ref, response_id: str) -> ParentRun:
        """The run of the model that made a response, below an event."""
        return self._run_below(parent, "model", response_id, "model", "llm")

    def _run_below(self, parent: Ref, kind: str, key: str, name: str, run_type: str) -> ParentRun:
        above = self.root if parent == ROOT else self.event_run(parent, "")
        start = self.time_of(parent)
        seed = f"{above.id} {kind} {without_surrogates(key)}"
        return derive(above, name, run_type, start, uuid7(microseconds_of(start), seed))

    def _id(self, start: int) -> UUID:
        return uuid7(self.start_us + start, str(self.root.id))

    # The caller's own runs

    def call_run(self, parent: ParentRun, name: object) -> ParentRun | None:
        """The run of a tool call below which a child of ``parent`` belongs; None if it belongs below ``parent``."""
        if self.observer is None or parent.event is None or parent.__dict__["by_application"]:
            return None
        try:
            return self.observer.call_run(parent.event, name)
        except Exception as error:
            self.guard.report("create_child", error)
            return None

    def adopt(self, child: RunTree, parent: ParentRun) -> bool:
        """Give a run of the caller's the conversation's metadata and tags, and its tool call; True if it has a call."""
        given = (child.extra or {}).get("metadata") or {}
        metadata = {
            key: value
            for key, value in given.items()
            if key not in THREAD_KEYS and not (key in self._context_metadata and self._context_metadata[key] == value)
        }
        if parent.is_in_tool_call:
            metadata.pop("tool_call_id", None)  # inherited from the parent run
        metadata.update(self.metadata)
        call_id = None if self.observer is None else self.observer.child_begun(child, parent)
        if call_id is not None:
            metadata["tool_call_id"] = call_id
        child.extra = {**(child.extra or {}), "metadata": metadata}
        tags = [tag for tag in child.tags or [] if tag not in self._context_tags]
        child.tags = list(dict.fromkeys([*tags, *self.tags]))
        return call_id is not None

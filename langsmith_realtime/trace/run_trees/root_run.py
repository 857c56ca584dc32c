"""Makes a conversation's root run: its parent, its thread, and the project or replicas that it is sent to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple, Self
from uuid import UUID

from langsmith import run_helpers
from langsmith.run_trees import RunTree

from langsmith_realtime.core.payloads.scrubbing import scrub, scrub_message
from langsmith_realtime.delivery.langsmith_client import context
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.options.tracing import THREAD_KEYS, Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns, ParentRun
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, start_of, time_of, uuid7

try:
    #: The version of the installed package; "0" in a source tree that is not installed.
    __version__ = version("langsmith-realtime")
except PackageNotFoundError:
    __version__ = "0"


class RootIdentity(NamedTuple):
    """What a root run is known by before it is made, and whatever its options turn out to be.

    Attributes:
        start: its start in µs since the epoch.
        id: its id.
        thread_id: its thread, unless the options or the outer run name one.
    """

    start: int
    id: UUID
    thread_id: str

    @classmethod
    def now(cls) -> Self:
        """The identity of a root that starts now. LangSmith wants the ids of runs and threads to be UUIDv7."""
        start = microseconds_of(datetime.now(UTC))
        return cls(start, uuid7(start), str(uuid7(start)))


def start_conversation_runs(
    options: Options, guard: Guard, limits: Limits | None = None, identity: RootIdentity | None = None
) -> ConversationRuns:
    """Make the root run of a conversation, in the caller's context, and what its runs share.

    Without ``limits``, the defaults of :class:`Limits` apply; without ``identity``, the conversation opens now.
    """
    outer_run = _outer_run(options) if options.langsmith else None
    tracing_context = run_helpers.get_tracing_context()
    root, metadata = _root(options, outer_run, tracing_context, identity or RootIdentity.now())
    return ConversationRuns(
        root,
        outer_run=outer_run,
        metadata=metadata,
        tags=tuple(root.tags or ()),
        guard=guard,
        tracing_context=tracing_context,
        limits=limits,
        is_sent=options.langsmith,
    )


def _outer_run(options: Options) -> RunTree | None:
    """The run that the conversation nests under: the ``parent`` option, else the context's run; None without either.

    If that run is the root or an event of another conversation, that conversation's outer run is taken instead.
    """
    run = options.parent or context.get_current_run_tree()
    while isinstance(run, ParentRun) and run.is_root_or_event:
        run = run.conversation_runs.outer_run
    return run


def _root(
    options: Options, outer_run: RunTree | None, tracing_context: Mapping[str, Any], identity: RootIdentity
) -> tuple[RunTree, dict[str, Any]]:
    """The conversation's root run, and the metadata that every run of the conversation has.

    The project, replicas and client come from the options, else the outer run, else LangSmith's context or settings. An
    address, from the options or the outer run, takes the place of any project.
    """
    inherited = ((outer_run.extra or {}).get("metadata") or {}) if outer_run is not None else {}
    given: dict[str, Any] = scrub(dict(options.metadata or {}))
    thread_id = options.thread_id or _thread_id(given) or _thread_id(inherited)
    metadata = {key: value for key, value in given.items() if key not in THREAD_KEYS}
    microseconds = identity.start
    fields: dict[str, Any] = {}
    if outer_run is not None:
        microseconds = max(microseconds, microseconds_of(start_of(outer_run.dotted_order)))
        fields["parent_run"] = outer_run
        fields["project_name"] = outer_run.session_name
    elif tracing_context.get("project_name"):
        fields["project_name"] = tracing_context["project_name"]
    if options.project_name is not None:
        fields["project_name"] = options.project_name
    if options.address is not None:
        fields["address"] = options.address
        fields.pop("project_name", None)
    elif outer_run is not None and getattr(outer_run, "address", None) is not None:
        fields["address"] = outer_run.address
        fields.pop("project_name", None)
    replicas = options.replicas
    if replicas is None and outer_run is not None:
        replicas = outer_run.replicas
    if replicas is not None and options.langsmith:
        fields["replicas"] = list(replicas)
    client = options.client or (outer_run.ls_client if outer_run is not None else None) or tracing_context.get("client")
    if client is not None and options.langsmith:
        fields["ls_client"] = client
    metadata["thread_id"] = thread_id or identity.thread_id
    root = RunTree(
        name="realtime_session",
        run_type="chain",
        id=identity.id if microseconds == identity.start else uuid7(microseconds, str(identity.id)),
        start_time=time_of(microseconds),
        inputs={},
        extra={"metadata": {}},
        tags=[scrub_message(tag) for tag in options.tags],
        **fields,
    )
    if options.langsmith:
        root.ls_client = root.client  # LangSmith makes the default client on first use; all runs share it
    root.extra = {"metadata": {**metadata, **root_metadata(nested=outer_run is not None)}}
    return root, metadata


def root_metadata(*, nested: bool) -> dict[str, Any]:
    """The metadata of a conversation's root that says what it is; ``nested`` below another run."""
    metadata = {
        "ls_modality": "audio",
        "ls_integration": "langsmith-realtime",
        "ls_integration_version": __version__,
    }
    if not nested:
        metadata["ls_agent_type"] = "root"
    return metadata


def _thread_id(metadata: Mapping[str, Any]) -> str | None:
    """The id of the thread to which LangSmith assigns a run with this metadata; None if it names no thread."""
    return next((str(metadata[key]) for key in THREAD_KEYS if metadata.get(key)), None)

"""The conversation's root run: what it nests under, which thread it belongs to, where it is sent."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from langsmith import run_helpers
from langsmith.run_trees import RunTree

from langsmith_realtime.core.payloads.scrubbing import scrub, scrub_message
from langsmith_realtime.delivery.langsmith_client import context
from langsmith_realtime.options.tracing import THREAD_KEYS, Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns, ParentRun
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, start_of, time_of, uuid7

try:
    #: The package's version, as it was installed.
    __version__ = version("langsmith-realtime")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0"


def begin(options: Options, guard: Guard) -> ConversationRuns:
    """The family of a conversation that opens now, in this context."""
    outer = _outer(options)
    surroundings = run_helpers.get_tracing_context()
    root, metadata = _root(options, outer, surroundings)
    tags = tuple(root.tags or ())
    return ConversationRuns(root, outer=outer, metadata=metadata, tags=tags, guard=guard, surroundings=surroundings)


def _outer(options: Options) -> RunTree | None:
    """What the conversation nests under: never an event of another conversation."""
    outer = options.parent or context.get_current_run_tree()
    while isinstance(outer, ParentRun) and outer.is_conversation:
        outer = outer.family.outer
    return outer


def _root(options: Options, outer: RunTree | None, surroundings: Mapping[str, Any]) -> tuple[RunTree, dict[str, Any]]:
    """The conversation's root run, and the metadata that every run of it carries."""
    inherited = ((outer.extra or {}).get("metadata") or {}) if outer is not None else {}
    given: dict[str, Any] = scrub(dict(options.metadata or {}))
    thread_id = options.thread_id or _thread(given) or _thread(inherited) or str(uuid.uuid4())
    metadata = {key: value for key, value in given.items() if key not in THREAD_KEYS}
    metadata["thread_id"] = thread_id
    now = datetime.now(timezone.utc)
    fields: dict[str, Any] = {}
    if outer is not None:
        now = max(now, start_of(outer.dotted_order))
        fields["parent_run"] = outer
        fields["project_name"] = outer.session_name
    elif surroundings.get("project_name"):
        fields["project_name"] = surroundings["project_name"]
    if options.project_name is not None:
        fields["project_name"] = options.project_name
    if options.address is not None:
        fields["address"] = options.address
        fields.pop("project_name", None)
    elif outer is not None and getattr(outer, "address", None) is not None:
        fields["address"] = outer.address
        fields.pop("project_name", None)
    replicas = options.replicas if options.replicas is not None else (outer.replicas if outer is not None else None)
    if replicas is not None:
        fields["replicas"] = list(replicas)
    client = options.client or (outer.ls_client if outer is not None else None) or surroundings.get("client")
    if client is not None:
        fields["ls_client"] = client
    microseconds = microseconds_of(now)
    root = RunTree(
        name="realtime_session",
        run_type="chain",
        id=uuid7(microseconds),
        start_time=time_of(microseconds),
        inputs={},
        extra={"metadata": {}},
        tags=_tags(options),
        **fields,
    )
    root.ls_client = root.client  # resolved once, here, for all runs
    root.extra = {"metadata": {**metadata, **_root_metadata(nested=outer is not None)}}
    return root, metadata


def _tags(options: Options) -> list[str]:
    return [scrub_message(tag) for tag in options.tags]


def _root_metadata(*, nested: bool) -> dict[str, Any]:
    said = {
        "ls_modality": "audio",
        "ls_integration": "langsmith-realtime",
        "ls_integration_version": __version__,
    }
    if not nested:
        said["ls_agent_type"] = "root"
    return said


def _thread(metadata: Mapping[str, Any]) -> str | None:
    """The thread that LangSmith reads from metadata."""
    return next((str(metadata[key]) for key in THREAD_KEYS if metadata.get(key)), None)

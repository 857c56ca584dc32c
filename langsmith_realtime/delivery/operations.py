"""The unit of delivery: one create or update of a run, with its callbacks, and the run's form in a request."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langsmith.run_trees import RunTree

#: Names under which the journal acknowledges a root's operations. Every other run has one operation, named by its id.
ROOT_CREATE, ROOT_UPDATE, FEEDBACK = "root", "root-update", "feedback"

#: Key of the metadata that the application gave one response. Its content is free-form and may quote anybody.
RESPONSE_METADATA = "response_metadata"

#: Key of the flag on runs whose payload was left out because masking it failed, or because the run was left out first.
PAYLOAD_LEFT_OUT = "payload_left_out"


class MissingReason(enum.StrEnum):
    """Why runs are missing from a trace; the value is the root's metadata key for their number."""

    #: The trace reached LangSmith's limit, or the conversation reached the limit of held runs.
    LIMIT = "left_out_runs"
    #: Runs were made faster than they could be sent.
    OVERLOAD = "dropped_runs"
    #: LangSmith refused these runs for good.
    REFUSED = "refused_runs"


@dataclass(slots=True, eq=False)  # not frozen: creating a frozen one takes four times as long
class Operation:
    """One create, or the one update, of a run.

    Attributes:
        run: the run as LangSmith gets it.
        update: whether this is an update; otherwise it is a create.
        attachments: MIME type and path of each file, by attachment name.
        size: roughly the bytes of the run's JSON.
        on_verdict: called with True once LangSmith, or the own queue of LangSmith's client, has the run; with False
            once the run is refused for good or cannot be sent.
        on_batch_verdict: called after the ``on_verdict`` calls of a batch; once if several operations of the batch
            have the same function here.
        on_abandoned: called when this process gives up sending without a verdict. ``on_verdict`` is still called after
            that if a request was under way.
        make_replacement: called with the HTTP status when LangSmith refuses the attachments; returns the operation to
            send instead. May take seconds.
        leave_out: present if the trace can do without the run. Called with the reason why the run would be missing;
            returns True if the run is left out, False if it must be sent because it has children.
    """

    run: RunTree
    update: bool = False
    attachments: dict[str, tuple[str, Path]] = field(default_factory=dict)
    size: int = 1000
    on_verdict: Callable[[bool], None] | None = None
    on_batch_verdict: Callable[[], None] | None = None
    on_abandoned: Callable[[], None] | None = None
    make_replacement: Callable[[int], Operation] | None = None
    leave_out: Callable[[MissingReason], bool] | None = None


def run_dict(operation: Operation) -> dict[str, Any]:
    """The operation's run as the dictionary that LangSmith's ``multipart_ingest`` takes."""
    run = operation.run
    fields: dict[str, Any] = {
        "id": run.id,
        "trace_id": run.trace_id,
        "parent_run_id": run.parent_run_id,
        "dotted_order": run.dotted_order,
        "name": run.name,
        "run_type": run.run_type,
        "start_time": run.start_time,
        "end_time": run.end_time,
        "inputs": run.inputs,
        "outputs": run.outputs,
        "error": run.error,
        "extra": {**run.extra, "metadata": dict(run.extra["metadata"])},  # copies, because the client changes them
        "tags": run.tags,
        "events": run.events,
        "session_name": run.session_name,
        "session_id": run.session_id,
        "address": getattr(run, "address", None),
        "attachments": operation.attachments,
    }
    return {key: value for key, value in fields.items() if value is not None}


def application_keys(run: RunTree) -> Iterable[str]:
    """The keys of the metadata that all runs of the conversation have: those of the application, and ``thread_id``."""
    return getattr(getattr(run, "conversation_runs", None), "metadata", ())

"""The unit of delivery: one create or update of a run, with its callbacks, and the run's form in a request."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from langsmith.run_trees import RunTree

#: Names under which the journal acknowledges a root's operations. Every other run has one operation, named by its id.
ROOT_CREATE, ROOT_UPDATE, FEEDBACK = "root", "root-update", "feedback"
#: Name under which the journal notes that the spans of the conversation were exported to OpenTelemetry.
SPANS = "otel"

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


class Verdict(enum.Enum):
    """The end of an operation: what became of it."""

    #: LangSmith has the run.
    DELIVERED = "delivered"
    #: LangSmith refused it for good, or it could not be serialised.
    REFUSED = "refused"
    #: Sending was given up, and the outcome is not known.
    ABANDONED = "abandoned"


@dataclass(slots=True, eq=False)  # not frozen: creating a frozen one takes four times as long
class Operation:
    """One create, or the one update, of a run.

    Attributes:
        run: the run as LangSmith gets it.
        name: the name under which the ledger knows the operation.
        update: whether this is an update; otherwise it is a create.
        attachments: MIME type and path of each file, by attachment name.
        size: roughly the bytes of the run's JSON.
        is_dispensable: whether the trace can do without the run.
        owner: is told the verdict, and answers what may be done with the operation; None if nobody cares.
    """

    run: RunTree
    name: str = ""
    update: bool = False
    attachments: dict[str, tuple[str, Path]] = field(default_factory=dict)
    size: int = 1000
    is_dispensable: bool = False
    owner: Owner | None = None

    def leave_out(self, reason: MissingReason) -> bool:
        """Leave the run out of its trace, if the trace can do without it; return whether it is left out."""
        return self.is_dispensable and self.owner is not None and self.owner.leave_out(self, reason)


class Owner(Protocol):
    """Who made an operation: the one place where verdicts come back. Every method may be called from any thread."""

    def settled(self, verdicts: Sequence[tuple[Operation, Verdict]]) -> None:
        """The operations of a batch have their verdicts."""

    def leave_out(self, operation: Operation, reason: MissingReason) -> bool:
        """Leave a dispensable run out; return False if it must be sent, because it has children."""

    def replacement(self, operation: Operation, status: int) -> Operation | None:
        """Return what to send instead of an operation whose attachments LangSmith refused with the HTTP status.

        None if there is nothing smaller. May take seconds.
        """


class Ledger(Protocol):
    """Knows which operations are expected, and which of them are settled: the journal, as delivery sees it."""

    def expect(self, operation: str, *, again: bool = False) -> bool: ...
    def settle(self, operation: str, *, refused: bool = False) -> None: ...
    def give_up(self, operation: str) -> None: ...
    def flush(self) -> None: ...
    def discard(self) -> None: ...


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

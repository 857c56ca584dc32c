"""What is sent: one operation of a run, how it is acknowledged, and why it may be left out."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langsmith.run_trees import RunTree

#: The operations of a root, as they are acknowledged; every other run has one, under its id.
ROOT_CREATE, ROOT_UPDATE, FEEDBACK = "root", "root-update", "feedback"


class Shortage(str, enum.Enum):
    """Why a trace lacks runs, as its root says."""

    #: The trace would have had too many, or more than could be held until its end.
    LIMIT = "left_out_runs"
    #: They could not be sent as fast as they came.
    OVERLOAD = "dropped_runs"
    #: LangSmith took everything but them.
    REFUSED = "refused_runs"


#: Metadata that the application gave one response, in which there may be anything.
FREE_METADATA = "response_metadata"


#: Metadata of a run that lacks what it was about.
LEFT_OUT = "payload_left_out"


@dataclass(slots=True, eq=False)  # not frozen, which takes four times as long to make
class Operation:
    """One create, or the one update, of a run.

    ``size`` is roughly its bytes; ``done`` hears the verdict: delivered, or refused for good; ``noted`` then, once for
    all that were sent together. ``left`` hears instead that it is not tried any more. ``refused`` makes what is sent
    instead when the server refuses it with that HTTP status because of an attachment; that may take seconds. ``spare``
    is there where the trace can do without it: it notes that it is left out, unless it has to be sent all the same.
    """

    run: RunTree
    update: bool = False
    attachments: dict[str, tuple[str, Path]] = field(default_factory=dict)
    size: int = 1000
    done: Callable[[bool], None] | None = None
    noted: Callable[[], None] | None = None
    left: Callable[[], None] | None = None
    refused: Callable[[int], Operation] | None = None
    spare: Callable[[Shortage], bool] | None = None


def row(operation: Operation) -> dict[str, Any]:
    """A run as LangSmith's ingestion takes it."""
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
        "extra": {**run.extra, "metadata": dict(run.extra["metadata"])},  # the client changes it
        "tags": run.tags,
        "events": run.events,
        "session_name": run.session_name,
        "session_id": run.session_id,
        "address": getattr(run, "address", None),
        "attachments": operation.attachments,
    }
    return {key: value for key, value in fields.items() if value is not None}


def given_fields(run: RunTree) -> Iterable[str]:
    """The names of metadata that are the application's."""
    return getattr(getattr(run, "family", None), "metadata", ())

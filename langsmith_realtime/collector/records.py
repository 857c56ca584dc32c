"""The records that a collector hands out: runs, attachments, requests and broken rules."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

THREAD_KEYS = ("session_id", "conversation_id", "thread_id")
"""Metadata keys that hold a run's thread id, in the order in which LangSmith looks them up."""


@dataclass(frozen=True)
class Attachment:
    """A file attached to a run.

    Attributes:
        mime_type: The ``Content-Type`` of the multipart part, without its ``length`` parameter.
        path: The stored file, below the collector's directory.
    """

    mime_type: str
    path: Path


@dataclass(frozen=True)
class StoredRun:
    """One run as LangSmith would show it: the create and the update, merged.

    Fields of the update that are not null replace those of the create, whichever arrived first. A run whose create
    has not arrived yet has ``creates == 0``. A field that neither the create nor the update has is empty, or None if
    its type allows None.

    Attributes:
        id: UUID in lower case, like ``trace_id`` and ``parent_run_id``.
        start_time: UTC, with time zone; taken from ``dotted_order`` if the run has no ``start_time``.
        end_time: UTC, with time zone; None until the run has ended.
        project: Name of the project (a project is a "session" in LangSmith's API).
        status: ``error`` if the run's ``error`` is a non-empty text, else ``success`` if it has an ``end_time``, else
            ``pending``.
        attachments: The run's attachments by name.
        feedback: The JSON objects of the run's feedback, oldest first.
        reference_example_id: The example of a dataset that an experiment ran; None for other runs.
        creates: Number of accepted creates, 0 or 1.
        updates: Number of accepted updates, 0 or 1.
    """

    id: str
    trace_id: str
    parent_run_id: str | None
    dotted_order: str
    name: str
    run_type: str
    start_time: datetime
    end_time: datetime | None
    inputs: dict[str, Any]
    outputs: dict[str, Any] | None
    error: str | None
    extra: dict[str, Any]
    tags: list[str]
    events: list[dict[str, Any]]
    project: str
    status: Literal["error", "success", "pending"]
    attachments: Mapping[str, Attachment] = field(default_factory=dict)
    creates: int = 0
    updates: int = 0
    feedback: Sequence[Mapping[str, Any]] = ()
    reference_example_id: str | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """The run's metadata, ``extra["metadata"]``; an empty dict if the run has none."""
        metadata = self.extra.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def thread_id(self) -> str | None:
        """The metadata's ``session_id``, or else ``conversation_id``, or else ``thread_id``, as a string; or None."""
        for key in THREAD_KEYS:
            if self.metadata.get(key) is not None:
                return str(self.metadata[key])
        return None

    @property
    def ancestors(self) -> list[str]:
        """The ids of the run's ancestors in ``dotted_order``, from the root to the parent."""
        return [segment[-36:] for segment in self.dotted_order.split(".")[:-1]]


@dataclass(frozen=True)
class Violation:
    """A rule of LangSmith that a request broke.

    Attributes:
        rule: The rule's name in :data:`langsmith_realtime.collector.rules.RULES`.
        run_id: The run that broke the rule; None if the rule concerns the whole request.
        status: HTTP status of the answer. 202 if LangSmith accepts the request, but loses data, cannot find the run by
            its id, or shows the run in the wrong place.
        message: What is wrong and what to do; the answer of a refused request has this message, too.
    """

    rule: str
    run_id: str | None
    status: int
    message: str


@dataclass(frozen=True)
class Request:
    """One HTTP request to the collector.

    Attributes:
        method: HTTP method.
        path: Path without the query.
        status: HTTP status of the answer; 0 if the connection ended without an answer.
        operations: Number of creates, updates and feedback in a write request whose body was parsed, accepted or
            refused; 0 for all other requests.
        bytes: Size of the part of the body that the collector read, before decompression.
    """

    method: str
    path: str
    status: int
    operations: int
    bytes: int


#: How many requests, and how many violations, a log holds; older ones go.
_CAPACITY = 100_000


class RequestLog:
    """The newest 100,000 requests and the newest 100,000 violations, both oldest first.

    Args:
        on_request: Called on the server's thread after every added request.
    """

    def __init__(self, on_request: Callable[[], None]) -> None:
        self.requests: deque[Request] = deque(maxlen=_CAPACITY)
        self.violations: deque[Violation] = deque(maxlen=_CAPACITY)
        self._on_request = on_request

    def add(self, request: Request) -> None:
        """Add a request, and call ``on_request``. The store must have committed the request's runs before."""
        self.requests.append(request)
        self._on_request()

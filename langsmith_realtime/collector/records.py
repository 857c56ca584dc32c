"""What the collector keeps and shows: runs, attachments, broken rules and requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


THREAD_KEYS = ("session_id", "conversation_id", "thread_id")
"""Metadata keys that name a run's thread, in the order LangSmith looks them up."""


@dataclass(frozen=True)
class Attachment:
    """A file that came with a run.

    Attributes:
        mime_type: The part's content type, without its ``length`` parameter.
        path: Where the bytes are, below the collector's directory.
    """

    mime_type: str
    path: Path


@dataclass(frozen=True)
class StoredRun:
    """One run as LangSmith would show it: its create and its update, merged.

    The update's fields win wherever they are not null, whichever arrived first. A run whose create has
    not arrived yet has ``creates == 0``; what neither of them said is empty.

    Attributes:
        id: UUID string, like ``trace_id`` and ``parent_run_id``.
        start_time: Aware, UTC; taken from ``dotted_order`` when the run states none.
        project: Name of the project ("session" in LangSmith's API).
        status: ``error`` with an error, ``success`` once ended, ``pending`` until then.
        attachments: By name.
        creates: Accepted creates, 0 or 1.
        updates: Accepted updates, 0 or 1.
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

    @property
    def metadata(self) -> dict[str, Any]:
        """``extra["metadata"]``, or an empty dict."""
        metadata = self.extra.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def thread_id(self) -> str | None:
        """The thread this run belongs to: the first of :data:`THREAD_KEYS` in its metadata."""
        for key in THREAD_KEYS:
            if self.metadata.get(key) is not None:
                return str(self.metadata[key])
        return None

    @property
    def ancestors(self) -> list[str]:
        """Ids of the runs above this one, root first."""
        return [segment[-36:] for segment in self.dotted_order.split(".")[:-1]]


@dataclass(frozen=True)
class Violation:
    """A rule of LangSmith's that a request broke.

    Attributes:
        rule: Its name in :data:`langsmith_realtime.collector.rules.RULES`.
        run_id: The run it concerns, when there is one.
        status: What was answered: 202 for what LangSmith accepts and then loses, else the refusal.
        message: What LangSmith says, or would.
    """

    rule: str
    run_id: str | None
    status: int
    message: str


@dataclass(frozen=True)
class Request:
    """One request the collector was asked.

    Attributes:
        method: HTTP method.
        path: Path without the query.
        status: What was answered, 0 when the connection was dropped.
        operations: Creates, updates and feedback of a write, accepted or not; 0 when its body could not be read.
        bytes: Size of the body on the wire, before decompression.
    """

    method: str
    path: str
    status: int
    operations: int
    bytes: int


_KEPT = 100_000


class RequestLog:
    """The newest requests and violations, in order.

    Args:
        changed: Called after every request, from the server's thread.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.requests: deque[Request] = deque(maxlen=_KEPT)
        self.violations: deque[Violation] = deque(maxlen=_KEPT)
        self._changed = changed

    def note(self, request: Request) -> None:
        """Add a request; whatever it stored is stored by now."""
        self.requests.append(request)
        self._changed()

"""What LangSmith demands of a run, and how it answers when a run breaks it. Pure: no I/O, no state.

The table is the whole of it; the checks below raise :class:`Refused` for rules whose status refuses the
request and return :class:`Violation` for those that LangSmith answers with 202 and pays for later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from langsmith_realtime.collector.records import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langsmith_realtime.collector.records import Attachment
from typing import TYPE_CHECKING

from langsmith_realtime.collector.records import Attachment

if TYPE_CHECKING:
    pass

RULES: Final = {
    # The request.
    "api-key-missing": 401,  # a key is demanded and none was sent
    "api-key-wrong": 403,
    "body": 422,  # no JSON, no multipart, cut short
    "body-encoding": 415,  # neither plain, gzip nor zstd
    "body-size": 413,
    "body-empty": 202,  # a body without parts counts as delivered, and whatever it should have held is lost
    # A multipart part.
    "part-name": 422,
    "part-content-type": 422,  # none, or JSON under another type
    "part-length": 422,  # neither Content-Length nor a length parameter, or not the true one
    "part-encoding": 422,  # only the whole body may be compressed
    "part-alone": 422,  # a field or an attachment whose run is not in the request
    "attachment-name": 202,  # accepted, and the attachment is dropped
    # A run.
    "id": 422,  # not a UUID
    "field": 422,  # missing, or of the wrong type
    "name": 422,  # empty, or above 128 characters
    "run-type": 422,
    "time-order": 400,  # a child's timestamp before its parent's
    "timestamp": 400,  # not exactly %Y%m%dT%H%M%S%fZ
    "dotted-order": 400,  # does not fit the run's id or parent
    "trace-id": 400,  # is not the first id of dotted_order
    "uuid7-time": 202,  # accepted, and not found later when looked up by id
    # A run among those already stored.
    # A second create, or a second update: its content is lost. What LangSmith does with the rest of the request
    # is not known; here it is lost too, so that what relies on the contrary shows.
    "conflict": 409,
    "trace-size": 422,  # more runs than a trace holds
    # A question.
    "query": 422,
    "filter": 400,
}
"""Every rule by name, with the status it is answered with."""

RUN_TYPES: Final = frozenset({"tool", "chain", "llm", "retriever", "embedding", "prompt", "parser"})
NAME_LIMIT: Final = 128
ATTACHMENT_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_TIMESTAMP = re.compile(r"\d{8}T\d{12}Z")
_FIELD_TYPES: Final[dict[str, type]] = {
    "inputs": dict,
    "outputs": dict,
    "extra": dict,
    "serialized": dict,
    "events": list,
    "tags": list,
    "error": str,
    "session_name": str,
}
# LangSmith's own client makes ids from floating point seconds and is one millisecond off for some of them.
_UUID7_TOLERANCE_MS = 1


class Refused(Exception):  # noqa: N818 - says what happened to the request, not what failed here
    """A request that LangSmith would not accept.

    Attributes:
        rule: A name in :data:`RULES`, whose status is the answer.
        message: What the answer says.
        run_id: The run that broke the rule, when there is one.
    """

    def __init__(self, rule: str, message: str, run_id: str | None = None) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.run_id = run_id

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return RULES[self.rule]

    def violation(self) -> Violation:
        """The refusal as an entry of the collector's list."""
        return Violation(self.rule, self.run_id, self.status, self.message)


@dataclass
class Operation:
    """One create (``post``) or update (``patch``) of a run.

    Attributes:
        kind: Which of the two.
        id: The run's id as it was sent; canonical once :func:`check` accepted it.
        fields: The run as sent, JSON values.
        attachments: By name, already on disk.
        size: Bytes of its fields as JSON.
    """

    kind: Literal["post", "patch"]
    id: str
    fields: dict[str, Any]
    attachments: dict[str, Attachment] = field(default_factory=dict)
    size: int = 0

    @property
    def trace_id(self) -> str:
        """The trace it belongs to."""
        return str(self.fields["trace_id"])


def check(operation: Operation) -> list[Violation]:
    """Hold one operation against every rule that needs no other run.

    Ids in its fields become canonical UUID strings.

    Returns:
        The rules it breaks that LangSmith accepts all the same.

    Raises:
        Refused: A rule it breaks that fails the request.
    """
    fields = operation.fields
    operation.id = uuid_text(operation.id, "id")
    if "id" in fields and uuid_text(fields["id"], "id", operation.id) != operation.id:
        raise Refused("id", f"id {fields['id']} does not match the run {operation.id} it was sent for", operation.id)
    fields["id"] = operation.id
    for key in ("trace_id", "parent_run_id"):
        if fields.get(key) is not None:
            fields[key] = uuid_text(fields[key], key, operation.id)
    _check_fields(operation)
    _check_order(operation)
    return [
        Violation(rule, operation.id, RULES[rule], message)
        for rule, message in (*_uuid7_time(operation), *_attachment_names(operation))
    ]


def conflict(run_id: str) -> Refused:
    """Return the refusal of a second create or update of a run."""
    return Refused("conflict", "Conflict: payload already received: payloads already received", run_id)


def uuid_text(value: object, key: str, run_id: str | None = None) -> str:
    """Return the canonical form of a UUID.

    Raises:
        Refused: It is none.
    """
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise Refused("id", f"{key}: {value!r} is not a valid UUID", run_id)
    return value.lower()


def time(value: object, key: str, run_id: str | None = None) -> datetime:
    """Read a time as LangSmith's clients send it: ISO 8601, UTC where it says nothing, or milliseconds.

    Raises:
        Refused: It is neither.
    """
    try:
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value)
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)
    except (ValueError, OverflowError):
        pass
    raise Refused("field", f"{key}: {value!r} is not a valid time", run_id)


def start_time(fields: dict[str, Any]) -> datetime:
    """Return when a checked run started: its ``start_time``, else its own timestamp in ``dotted_order``."""
    if fields.get("start_time") is not None:
        return time(fields["start_time"], "start_time")
    return _segment(fields["dotted_order"].rsplit(".", 1)[-1])[0]


def root_order(run_id: str, started: datetime) -> str:
    """Return the ``dotted_order`` of a root run."""
    return f"{started:%Y%m%dT%H%M%S%fZ}{run_id}"


def _check_fields(operation: Operation) -> None:
    fields = operation.fields
    for key, kind in _FIELD_TYPES.items():
        if fields.get(key) is not None and not isinstance(fields[key], kind):
            raise Refused("field", f"{key}: must be of type {kind.__name__}", operation.id)
    for key in ("start_time", "end_time"):
        if fields.get(key) is not None:
            time(fields[key], key, operation.id)
    for key in ("trace_id", "dotted_order"):
        if not isinstance(fields.get(key), str):
            raise Refused("field", f"{key}: must be set", operation.id)
    creates = operation.kind == "post"
    name = fields.get("name")
    if (name is not None or creates) and not (isinstance(name, str) and 0 < len(name) <= NAME_LIMIT):
        raise Refused("name", f"name: must have 1 to {NAME_LIMIT} characters", operation.id)
    run_type = fields.get("run_type")
    if (run_type is not None or creates) and (not isinstance(run_type, str) or run_type not in RUN_TYPES):
        raise Refused("run-type", f"run_type: {run_type!r} is not one of {', '.join(sorted(RUN_TYPES))}", operation.id)


def _check_order(operation: Operation) -> None:
    fields = operation.fields
    trace_id, parent_run_id, dotted_order = fields["trace_id"], fields.get("parent_run_id"), fields["dotted_order"]
    about = f"run_id:{operation.id} trace_id:{trace_id} dotted_order:{dotted_order} parent_run_id:{parent_run_id}"

    def refuse(rule: str, message: str) -> Refused:
        return Refused(rule, f"Bad request: invalid 'dotted_order': {message} for {about}", operation.id)

    segments = []
    try:
        for part in dotted_order.split("."):
            segments.append(_segment(part))
    except ValueError as error:
        at = len(segments)
        raise refuse("timestamp", f"invalid timestamp in dotted_order {part} at index {at}: {error}") from None
    times, ids = [at for at, _ in segments], [run_id for _, run_id in segments]
    if ids[-1] != operation.id:
        raise refuse("dotted-order", f"run_id {operation.id} does not match last part {ids[-1]}")
    if ids[0] != trace_id:
        raise refuse("trace-id", f"trace_id {trace_id} does not match first part of dotted_order {ids[0]}")
    if parent_run_id is None and len(ids) != 1:
        raise refuse("dotted-order", "dotted_order must contain a single part for root runs")
    if parent_run_id is not None and len(ids) == 1:
        raise refuse("dotted-order", "dotted_order must contain at least two parts for child runs")
    if parent_run_id is not None and ids[-2] != parent_run_id:
        raise refuse("dotted-order", f"parent_run_id {parent_run_id} does not match second to last part {ids[-2]}")
    for parent, child in pairwise(times):
        if child < parent:
            raise refuse("time-order", f"dotted_order has timestamp {child} earlier than parent timestamp {parent}")


@lru_cache(maxsize=4096)
def _segment(text: str) -> tuple[datetime, str]:
    """Split one part of a dotted_order; ValueError when it is none."""
    stamp, run_id = text[:-36], text[-36:].lower()
    if not _TIMESTAMP.fullmatch(stamp):
        raise ValueError(f"cannot parse {stamp!r} as %Y%m%dT%H%M%S%fZ")
    if not _UUID.fullmatch(run_id):
        raise ValueError(f"{run_id!r} is not a valid UUID")
    return datetime.strptime(stamp, "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC), run_id


def _uuid7_time(operation: Operation) -> Iterator[tuple[str, str]]:
    run_id = UUID(operation.id)
    if operation.kind == "patch" or run_id.version != 7:
        return
    started = start_time(operation.fields) - datetime(1970, 1, 1, tzinfo=UTC)
    off = (run_id.int >> 80) - started // timedelta(milliseconds=1)
    if abs(off) > _UUID7_TOLERANCE_MS:
        yield "uuid7-time", f"the time in id {operation.id} is {off} ms off start_time: look-ups by id will not find it"


def _attachment_names(operation: Operation) -> Iterator[tuple[str, str]]:
    for name in list(operation.attachments):
        if not ATTACHMENT_NAME.fullmatch(name):
            del operation.attachments[name]
            yield "attachment-name", f"attachment {name!r} dropped: its name must match {ATTACHMENT_NAME.pattern}"


@dataclass
class Batch:
    """What one write request asks for.

    Attributes:
        operations: Creates and updates, in the order they were sent.
        feedback: Feedback as sent, each with an ``id``.
        violations: Rules it breaks that do not fail it.
    """

    operations: list[Operation] = field(default_factory=list)
    feedback: list[dict[str, Any]] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    def check(self, run_limit: int) -> None:
        """Hold every operation against the rules.

        Args:
            run_limit: Bytes a run may have without its attachments.

        Raises:
            Refused: One of them fails the request.
        """
        for operation in self.operations:
            if operation.size > run_limit:
                raise too_large(f"run {operation.id} has {operation.size} bytes, the limit is {run_limit}")
            sent = list(operation.attachments.values())
            self.violations += check(operation)
            for dropped in set(sent) - set(operation.attachments.values()):
                dropped.path.unlink(missing_ok=True)
        for feedback in self.feedback:
            feedback["id"] = uuid_text(feedback.get("id"), "feedback id")
            if not isinstance(feedback.get("key"), str):
                raise Refused("field", "feedback key: must be set")
        if not self.operations and not self.feedback:
            self.note("body-empty", "the request holds nothing")

    def note(self, rule: str, message: str, run_id: str | None = None) -> None:
        """Remember a broken rule that does not fail the request."""
        self.violations.append(Violation(rule, run_id, RULES[rule], message))

    def discard(self) -> None:
        """Remove the attachments' files that nobody took over."""
        for operation in self.operations:
            for attachment in operation.attachments.values():
                attachment.path.unlink(missing_ok=True)


def too_large(message: str) -> Refused:
    """Return the refusal of something above a size limit."""
    return Refused("body-size", f"Payload too large: {message}")

"""LangSmith's rules for runs, and the HTTP status with which LangSmith answers a broken rule.

:data:`RULES` lists all of them. The checks raise :class:`Refused` for a rule that fails the request, and return a
:class:`Violation` for a rule that LangSmith answers with 202 although the data is lost, cannot be found later, or is
shown in the wrong place.
Sentences such as "trace_id … does not match first part of dotted_order …" are LangSmith's own; the remedies are not.
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

RULES: Final = {
    # The request.
    "api-key-missing": 401,  # the collector demands a key, and the request has none
    "api-key-wrong": 403,
    "body": 422,  # not JSON, not multipart/form-data, or incomplete
    "body-encoding": 415,  # not gzip, zstd or identity
    "body-size": 413,
    "body-empty": 202,  # LangSmith accepts a body without parts, so the client takes its runs for delivered
    # A multipart part.
    "part-name": 422,
    "part-content-type": 422,  # missing, or not application/json for a JSON part
    "part-length": 422,  # no Content-Length and no length parameter, or another length than stated
    "part-encoding": 422,  # only the whole body may be compressed
    "part-alone": 422,  # a field or an attachment of a run that is not in the request
    "attachment-name": 202,  # LangSmith accepts the run and drops the attachment
    # A run.
    "id": 422,  # not a UUID
    "field": 422,  # missing, or of the wrong type
    "name": 422,  # empty, or above 128 characters
    "run-type": 422,
    "time-order": 400,  # a child's timestamp before its parent's
    "timestamp": 400,  # not exactly %Y%m%dT%H%M%S%fZ
    "dotted-order": 400,  # does not fit the run's id or parent
    "trace-id": 400,  # not the first id in dotted_order
    "uuid7-time": 202,  # LangSmith accepts the run and does not find it by its id
    # A run compared with the stored runs.
    # A second create or a second update of a run: its content is lost. It is not known whether LangSmith stores the
    # rest of the request; the collector does not, so that tests show a client that relies on it.
    "conflict": 409,
    "parent-order": 202,  # LangSmith accepts a child's dotted_order that does not begin with its parent's: a wrong tree
    "name-taken": 409,  # a project or a dataset of this name exists
    "trace-size": 422,  # more runs than Limits.trace_runs
    # A query.
    "query": 422,
    "filter": 400,
}
"""HTTP status of the answer to a request that breaks a rule, by the rule's name."""

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
_JSON_TYPES: Final[dict[type, str]] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
# LangSmith's client computes ids from floating point seconds, so some of its ids are one millisecond off.
_UUID7_TOLERANCE_MS = 1


class Refused(Exception):  # noqa: N818 - the request is refused; the collector has no error
    """A request that LangSmith would refuse.

    Attributes:
        rule: The broken rule's name in :data:`RULES`.
        message: The reason in the answer.
        run_id: The run that broke the rule; None if the rule concerns the whole request.
    """

    def __init__(self, rule: str, message: str, run_id: str | None = None) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.run_id = run_id

    @property
    def status(self) -> int:
        """The HTTP status of the answer, from :data:`RULES`."""
        return RULES[self.rule]

    def violation(self) -> Violation:
        """Return the refusal as an entry of ``Collector.violations``."""
        return Violation(self.rule, self.run_id, self.status, self.message)


@dataclass
class Operation:
    """One create (``post``) or update (``patch``) of a run.

    Attributes:
        kind: ``post`` for a create, ``patch`` for an update.
        id: The run's id as received; :func:`check` replaces it by the UUID in lower case.
        fields: The run's fields, JSON values.
        attachments: The run's attachments by name; their files are written already.
        size: Size of the fields as JSON, in bytes.
    """

    kind: Literal["post", "patch"]
    id: str
    fields: dict[str, Any]
    attachments: dict[str, Attachment] = field(default_factory=dict)
    size: int = 0

    @property
    def trace_id(self) -> str:
        """The id of the run's trace."""
        return str(self.fields["trace_id"])


def check(operation: Operation) -> list[Violation]:
    """Check one operation against the rules for one run alone, except for its size.

    Changes the operation's ids to UUIDs in lower case, and removes attachments with an invalid name from the operation.

    Returns:
        The broken rules that LangSmith answers with 202.

    Raises:
        Refused: The operation breaks a rule that fails the request.
    """
    fields = operation.fields
    operation.id = uuid_text(operation.id, "id")
    if "id" in fields and uuid_text(fields["id"], "id", operation.id) != operation.id:
        message = f"id must be {operation.id}, the run's id in the part's name or in the path, got {fields['id']}"
        raise Refused("id", message, operation.id)
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
    """Return the refusal of a second create or a second update of a run."""
    message = "Conflict: payload already received: payloads already received; send a run's create and its update once"
    return Refused("conflict", message, run_id)


def conflicting_name(what: str, name: str) -> Refused:
    """Return the refusal of a second project or dataset with a name."""
    return Refused("name-taken", f"Conflict: a {what} named {name!r} exists already; choose another name")


def wrong_place(run_id: str, dotted_order: str, parent_order: str) -> Violation:
    """Return the violation of a child whose ``dotted_order`` is not its parent's, a period and its own segment."""
    message = (
        f"LangSmith shows run {run_id} in the wrong place: its dotted_order {dotted_order} does not begin with "
        f"{parent_order}, the dotted_order of its parent; begin a child's dotted_order with that of its parent"
    )
    return Violation("parent-order", run_id, RULES["parent-order"], message)


def uuid_text(value: object, key: str, run_id: str | None = None) -> str:
    """Return a UUID in lower case.

    Args:
        value: The UUID as received.
        key: Name of the field, for the message.
        run_id: The run with the field, for the violation.

    Raises:
        Refused: The value is not a UUID with four hyphens (rule ``id``).
    """
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise Refused("id", f"{key} must be a UUID, got {value!r}", run_id)
    return value.lower()


def time(value: object, key: str, run_id: str | None = None) -> datetime:
    """Return a time that a LangSmith client sent, in UTC.

    Args:
        value: An ISO 8601 string (in UTC if it has no offset), or milliseconds since 1970.
        key: Name of the field, for the message.
        run_id: The run with the field, for the violation.

    Raises:
        Refused: The value is neither (rule ``field``).
    """
    try:
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value)
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)
    except (ValueError, OverflowError):
        pass
    raise Refused("field", f"{key} must be an ISO 8601 time or milliseconds since 1970, got {value!r}", run_id)


def start_time(fields: dict[str, Any]) -> datetime:
    """Return the ``start_time`` of a checked run, or else the last timestamp in its ``dotted_order``."""
    if fields.get("start_time") is not None:
        return time(fields["start_time"], "start_time")
    return _segment(fields["dotted_order"].rsplit(".", 1)[-1])[0]


def root_order(run_id: str, started: datetime) -> str:
    """Return the ``dotted_order`` of a root run: its start time and its id."""
    return f"{started:%Y%m%dT%H%M%S%fZ}{run_id}"


def _check_fields(operation: Operation) -> None:
    fields = operation.fields
    for key, kind in _FIELD_TYPES.items():
        if fields.get(key) is not None and not isinstance(fields[key], kind):
            raise Refused("field", f"{key} must be {_JSON_TYPES[kind]}, got {json_type(fields[key])}", operation.id)
    for key in ("start_time", "end_time"):
        if fields.get(key) is not None:
            time(fields[key], key, operation.id)
    for key in ("trace_id", "dotted_order"):
        if not isinstance(fields.get(key), str):
            message = f"{key} must be a string, got {json_type(fields.get(key))}; send it with every create and update"
            raise Refused("field", message, operation.id)
    creates = operation.kind == "post"
    name = fields.get("name")
    if (name is not None or creates) and not (isinstance(name, str) and 0 < len(name) <= NAME_LIMIT):
        got = f"{len(name)} characters" if isinstance(name, str) else json_type(name)
        raise Refused("name", f"name must be a string of 1 to {NAME_LIMIT} characters, got {got}", operation.id)
    run_type = fields.get("run_type")
    if (run_type is not None or creates) and (not isinstance(run_type, str) or run_type not in RUN_TYPES):
        message = f"run_type must be one of {', '.join(sorted(RUN_TYPES))}, got {run_type!r}"
        raise Refused("run-type", message, operation.id)


def _check_order(operation: Operation) -> None:
    fields = operation.fields
    trace_id, parent_run_id, dotted_order = fields["trace_id"], fields.get("parent_run_id"), fields["dotted_order"]
    ids_of_run = f"run_id:{operation.id} trace_id:{trace_id} dotted_order:{dotted_order} parent_run_id:{parent_run_id}"
    child_remedy = "begin a child's dotted_order with the dotted_order of its parent"

    def refused(rule: str, message: str, remedy: str) -> Refused:
        text = f"Bad request: invalid 'dotted_order': {message} for {ids_of_run}; {remedy}"
        return Refused(rule, text, operation.id)

    segments = []
    try:
        for part in dotted_order.split("."):
            segments.append(_segment(part))
    except ValueError as error:
        at = len(segments)
        raise refused(
            "timestamp",
            f"invalid timestamp in dotted_order {part} at index {at}: {error}",
            "each segment must be a UTC timestamp such as 20250131T093000123456Z and the id of a run",
        ) from None
    times, ids = [at for at, _ in segments], [run_id for _, run_id in segments]
    if ids[-1] != operation.id:
        raise refused(
            "dotted-order",
            f"run_id {operation.id} does not match last part {ids[-1]}",
            "end dotted_order with the id of the run",
        )
    if ids[0] != trace_id:
        raise refused(
            "trace-id",
            f"trace_id {trace_id} does not match first part of dotted_order {ids[0]}",
            "set trace_id to the id of the root run",
        )
    if parent_run_id is None and len(ids) != 1:
        raise refused(
            "dotted-order",
            "dotted_order must contain a single part for root runs",
            "set parent_run_id if the run is a child",
        )
    if parent_run_id is not None and len(ids) == 1:
        raise refused("dotted-order", "dotted_order must contain at least two parts for child runs", child_remedy)
    if parent_run_id is not None and ids[-2] != parent_run_id:
        raise refused(
            "dotted-order",
            f"parent_run_id {parent_run_id} does not match second to last part {ids[-2]}",
            child_remedy,
        )
    for parent, child in pairwise(times):
        if child < parent:
            raise refused(
                "time-order",
                f"dotted_order has timestamp {child} earlier than parent timestamp {parent}",
                "a child's timestamp must not be earlier than its parent's timestamp",
            )


@lru_cache(maxsize=4096)
def _segment(text: str) -> tuple[datetime, str]:
    """Return the timestamp and the run id of one segment of a dotted_order, or raise ValueError."""
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
        lost = f"the time in id {operation.id} is {off} ms off start_time, so LangSmith does not find the run by its id"
        yield "uuid7-time", f"{lost}; make the id from start_time"


def _attachment_names(operation: Operation) -> Iterator[tuple[str, str]]:
    for name in list(operation.attachments):
        if not ATTACHMENT_NAME.fullmatch(name):
            del operation.attachments[name]
            rule = f"the name of an attachment must match {ATTACHMENT_NAME.pattern}"
            yield "attachment-name", f"attachment {name!r} is dropped: {rule}; rename the attachment"


@dataclass
class Batch:
    """The content of one write request.

    Attributes:
        operations: Creates and updates in the order of the request; from ``POST /runs/batch``, creates first.
        feedback: The JSON objects of the feedback; :meth:`check` demands an ``id`` and a ``key``.
        violations: The broken rules that do not fail the request.
    """

    operations: list[Operation] = field(default_factory=list)
    feedback: list[dict[str, Any]] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    def check(self, run_limit: int) -> None:
        """Check every operation and all feedback against the rules that do not depend on stored runs.

        Adds the broken rules that do not fail the request to ``violations``, and deletes the files of attachments with
        an invalid name.

        Args:
            run_limit: Largest size of one create or update without its attachments, in bytes.

        Raises:
            Refused: An operation or feedback breaks a rule that fails the request.
        """
        for operation in self.operations:
            if operation.size > run_limit:
                size = f"run {operation.id} must have at most {run_limit} bytes, got {operation.size}"
                raise too_large(f"{size}; shorten its inputs and outputs, or send them as attachments")
            received = list(operation.attachments.values())
            self.violations += check(operation)
            for dropped in set(received) - set(operation.attachments.values()):
                dropped.path.unlink(missing_ok=True)
        for feedback in self.feedback:
            feedback["id"] = uuid_text(feedback.get("id"), "feedback id")
            if not isinstance(feedback.get("key"), str):
                raise Refused("field", f"the key of feedback must be a string, got {json_type(feedback.get('key'))}")
            if not isinstance(feedback.get("score"), int | float | None):
                raise Refused("field", f"the score of feedback must be a number, got {json_type(feedback['score'])}")
            for key in ("run_id", "trace_id", "session_id"):
                if feedback.get(key) is not None:
                    feedback[key] = uuid_text(feedback[key], f"{key} of feedback")
        if not self.operations and not self.feedback:
            self.add_violation("body-empty", "the request must have at least one run or one feedback, got none")

    def add_violation(self, rule: str, message: str, run_id: str | None = None) -> None:
        """Add a broken rule that does not fail the request: a name in :data:`RULES`; ``run_id`` is None for no run."""
        self.violations.append(Violation(rule, run_id, RULES[rule], message))

    def discard(self) -> None:
        """Delete the files of attachments that the store has not taken over."""
        for operation in self.operations:
            for attachment in operation.attachments.values():
                attachment.path.unlink(missing_ok=True)


def too_large(message: str) -> Refused:
    """Return the refusal of a request or a run above a size limit."""
    return Refused("body-size", f"Payload too large: {message}")


def json_type(value: object) -> str:
    """Return the JSON type of a parsed value with its article, for messages: ``an object``, ``null``."""
    return _JSON_TYPES.get(type(value), type(value).__name__)

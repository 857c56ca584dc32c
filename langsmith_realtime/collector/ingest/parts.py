"""Parses write requests, multipart parts or JSON bodies, into batches of operations.

Until the collector accepts a request, its JSON is in memory and its attachments are in temporary files, which
:meth:`PartReader.discard` or :meth:`Batch.discard` deletes if the request is refused.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, cast

from langsmith_realtime.collector.json_bodies import parse_json
from langsmith_realtime.collector.records import Attachment
from langsmith_realtime.collector.rules import (
    Batch,
    Operation,
    Refused,
    conflict,
    json_type,
    root_order,
    time,
    too_large,
    uuid_text,
)

if TYPE_CHECKING:
    from langsmith_realtime.collector.records import StoredRun

FIELDS: Final = frozenset({"inputs", "outputs", "events", "extra", "error", "serialized"})
"""Fields of a run that may be a part of their own, ``post.<id>.<field>`` or ``patch.<id>.<field>``."""
_NAME = re.compile(r';\s*name="([^"]*)"')
_NAME_RULE: Final = (
    "a part's name must be post.<id>, post.<id>.<field>, patch.<id>, patch.<id>.<field>, attachment.<id>.<name> or "
    "feedback.<id>"
)
_LENGTH = re.compile(r"[0-9]{1,18}")
_LENGTH_PARAMETER = re.compile(r";\s*length=([0-9]{1,18})(?![^;\s])", re.IGNORECASE)
MEMORY_LIMIT: Final = 128 * 1024 * 1024
"""Largest size of all JSON parts of one multipart request after decompression, in bytes."""


class PartReader:
    """Collects the parts of ``POST /runs/multipart`` into a batch.

    Args:
        folder: Folder for the temporary files of attachments.
    """

    def __init__(self, folder: Path) -> None:
        self.batch = Batch()
        self._folder = folder
        self._runs: dict[tuple[str, str], Operation] = {}
        self._field_parts: list[tuple[str, str, str, object, int]] = []
        self._attachment_parts: list[tuple[str, str, Attachment]] = []
        self._bytes_in_memory = 0
        self._name: list[str] = []  # the current part's name, split at its first two dots
        self._stated_length = 0
        self._received = 0
        self._json = bytearray()
        self._file: BinaryIO | None = None

    def begin(self, headers: dict[str, str]) -> None:
        """Start a part. Raises Refused if its headers break a rule."""
        match = _NAME.search(headers.get("content-disposition", ""))
        name = match[1] if match else ""
        self._name = name.split(".", 2)
        kind = self._name[0]
        if len(self._name) < (3 if kind == "attachment" else 2):
            raise Refused("part-name", f"{_NAME_RULE}, got {name!r}")
        run_id = self._name[1]
        if kind not in {"post", "patch", "feedback", "attachment"}:
            raise Refused("part-name", f"{_NAME_RULE}, got {name!r}")
        content_type = headers.get("content-type", "")
        if not content_type or not content_type.isascii():
            raise Refused(
                "part-content-type", f"part {name!r} must have a Content-Type in ASCII, got {content_type!r}", run_id
            )
        if "content-encoding" in headers:
            message = f"part {name!r} must not have a Content-Encoding; compress the whole body instead"
            raise Refused("part-encoding", message, run_id)
        # LangSmith's client states the length of a file as a parameter of the Content-Type.
        parameter = _LENGTH_PARAMETER.search(content_type)
        length = headers.get("content-length", parameter[1] if parameter else "")
        if not _LENGTH.fullmatch(length):
            message = (
                f"part {name!r} must have a Content-Length or a length parameter in its Content-Type, got {length!r}"
            )
            raise Refused("part-length", message, run_id)
        self._stated_length, self._received = int(length), 0
        self._json.clear()
        if kind == "attachment":
            descriptor, path = tempfile.mkstemp(prefix="incoming-", dir=self._folder)
            self._file = os.fdopen(descriptor, "wb")
            attachment = Attachment(_LENGTH_PARAMETER.sub("", content_type), Path(path))
            self._attachment_parts.append((run_id, self._name[2], attachment))
        elif content_type.partition(";")[0].strip().lower() != "application/json":
            message = f"the Content-Type of part {name!r} must be application/json, got {content_type!r}"
            raise Refused("part-content-type", message, run_id)

    def data(self, chunk: bytes) -> None:
        """Receive the next bytes of the current part's content.

        Raises:
            Refused: All JSON parts of the request together are larger than ``MEMORY_LIMIT``, 128 MiB (rule
                ``body-size``).
        """
        self._received += len(chunk)
        if self._file is not None:
            self._file.write(chunk)
            return
        self._bytes_in_memory += len(chunk)
        if self._bytes_in_memory > MEMORY_LIMIT:
            size = f"the request must have at most {MEMORY_LIMIT} bytes without its attachments, got more"
            raise too_large(f"{size}; send fewer runs in a request")
        self._json += chunk

    def end(self) -> None:
        """Finish the current part. Raises Refused if its length or its content breaks a rule."""
        kind, run_id, *rest = self._name
        part = f"part {'.'.join(self._name)!r}"
        self._close_file()
        if self._received != self._stated_length:
            message = f"{part} must have {self._stated_length} bytes, the length in its headers, got {self._received}"
            raise Refused("part-length", message, run_id)
        if kind == "attachment":
            return
        value = _parsed(bytes(self._json), part, run_id)
        if rest:
            if kind == "feedback" or rest[0] not in FIELDS:
                message = f"{_NAME_RULE}, with a field of {', '.join(sorted(FIELDS))}; got {'.'.join(self._name)!r}"
                raise Refused("part-name", message, run_id)
            self._field_parts.append((kind, run_id, rest[0], value, self._received))
        elif kind == "feedback":
            self.batch.feedback.append({**_object(value, part, run_id), "id": run_id})
        else:
            operation = Operation(_kind(kind), run_id, _object(value, part, run_id), size=self._received)
            if self._runs.setdefault((kind, run_id), operation) is not operation:
                raise conflict(run_id)
            self.batch.operations.append(operation)

    def finish(self) -> Batch:
        """Add fields and attachments to their runs, whatever the order of the parts, and return the batch.

        Raises:
            Refused: A field or an attachment belongs to a run that is not in the request (rule ``part-alone``).
        """
        for kind, run_id, key, value, size in self._field_parts:
            run = self._runs.get((kind, run_id))
            if run is None:
                message = f"part {kind}.{run_id}.{key} must come with a part {kind}.{run_id} in the same request"
                raise Refused("part-alone", message, run_id)
            run.fields[key] = value
            run.size += size
        while self._attachment_parts:
            run_id, name, attachment = self._attachment_parts[-1]
            run = self._runs.get(("post", run_id)) or self._runs.get(("patch", run_id))
            if run is None:
                owner = f"a part post.{run_id} or patch.{run_id} in the same request"
                raise Refused("part-alone", f"part attachment.{run_id}.{name} must come with {owner}", run_id)
            # Of several attachments with one name, the run keeps the first.
            if (later := run.attachments.get(name)) is not None:
                later.path.unlink(missing_ok=True)
            run.attachments[name] = attachment
            self._attachment_parts.pop()
        return self.batch

    def discard(self) -> None:
        """Delete the files of attachments that the store has not taken over."""
        self._close_file()
        for *_, attachment in self._attachment_parts:
            attachment.path.unlink(missing_ok=True)
        self.batch.discard()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def json_batch(body: bytes) -> Batch:
    """Parse the body of ``POST /runs/batch``: ``{"post": [run, …], "patch": [run, …]}``.

    Raises:
        Refused: The body is malformed, or has two creates or two updates of one run.
    """
    value = _object(_parsed(body, "the body"), "the body")
    batch = Batch()
    seen = set()
    for kind in ("post", "patch"):
        runs = value.get(kind)
        if runs is None:
            continue
        if not isinstance(runs, list):
            raise Refused("body", f"{kind} must be an array of runs, got {json_type(runs)}")
        for run in runs:
            fields = _object(run, f"a run in {kind}")
            run_id = str(fields.get("id"))
            if (kind, run_id) in seen:
                raise conflict(run_id)
            seen.add((kind, run_id))
            batch.operations.append(Operation(_kind(kind), run_id, fields, size=len(json.dumps(fields))))
    return batch


def json_create(body: bytes) -> Batch:
    """Parse the body of ``POST /runs``: one run.

    A root may lack ``trace_id``, and a root with ``start_time`` may lack ``dotted_order``, too.

    Raises:
        Refused: The body is not a JSON object, or its ``id`` or ``start_time`` is invalid.
    """
    fields = _object(_parsed(body, "the body"), "the body")
    run_id = uuid_text(fields.get("id"), "id")
    if fields.get("parent_run_id") is None:
        fields.setdefault("trace_id", run_id)
        if fields.get("start_time") is not None:
            fields.setdefault("dotted_order", root_order(run_id, time(fields["start_time"], "start_time", run_id)))
    return Batch([Operation("post", run_id, fields, size=len(body))])


def json_update(body: bytes, run_id: str, stored: StoredRun | None) -> Batch:
    """Parse the body of ``PATCH /runs/{id}``.

    Args:
        body: JSON object with the fields to change.
        run_id: The run's id in the path.
        stored: The stored run, or None; the update takes ``trace_id``, ``dotted_order`` and ``parent_run_id`` from it
            if the body lacks them, or has null, as from ``client.update_run(run_id, …)``.

    Raises:
        Refused: The body is not a JSON object.
    """
    position = {"trace_id": stored.trace_id, "dotted_order": stored.dotted_order} if stored else {}
    if stored and stored.parent_run_id:
        position["parent_run_id"] = stored.parent_run_id
    fields = _object(_parsed(body, "the body"), "the body", run_id)
    given = {key: value for key, value in fields.items() if value is not None or key not in position}
    return Batch([Operation("patch", run_id, {**position, **given}, size=len(body))])


def json_feedback(body: bytes) -> Batch:
    """Parse the body of ``POST /feedback``: one feedback. Raises Refused if it is not a JSON object."""
    return Batch(feedback=[_object(_parsed(body, "the body"), "the body")])


def _kind(kind: str) -> Literal["post", "patch"]:
    return cast("Literal['post', 'patch']", kind)


def _parsed(body: bytes, what: str, run_id: str | None = None) -> object:
    try:
        return parse_json(body)
    except (ValueError, RecursionError) as error:
        raise Refused("body", f"{what} must be JSON: {error}", run_id) from None


def _object(value: object, what: str, run_id: str | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused("body", f"{what} must be a JSON object, got {json_type(value)}", run_id)
    return value

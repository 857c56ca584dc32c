"""The write requests' bodies: parts or JSON in, checked operations out.

Nothing of a request is kept before all of it was accepted: its JSON waits in memory, its attachments in
files of their own, which :meth:`Batch.discard` removes.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, cast

from langsmith_realtime.collector.records import Attachment
from langsmith_realtime.collector.rules import Operation, Refused, conflict, root_order, time, uuid_text

if TYPE_CHECKING:
    from langsmith_realtime.collector.records import StoredRun
from langsmith_realtime.collector.rules import Batch, too_large

FIELDS: Final = frozenset({"inputs", "outputs", "events", "extra", "error", "serialized"})
_NAME = re.compile(r';\s*name="([^"]*)"')
_LENGTH = re.compile(r"[0-9]{1,18}")
_LENGTH_PARAMETER = re.compile(r";\s*length=([0-9]{1,18})(?![^;\s])", re.IGNORECASE)
MEMORY_LIMIT: Final = 128 * 1024 * 1024
"""Bytes one request may hold in memory: everything but its attachments."""


class PartReader:
    """Makes a batch of the parts of ``POST /runs/multipart``.

    Args:
        folder: Where attachments are written as they arrive.
    """

    def __init__(self, folder: Path) -> None:
        self.batch = Batch()
        self._folder = folder
        self._runs: dict[tuple[str, str], Operation] = {}
        self._fields: list[tuple[str, str, str, object, int]] = []
        self._attachments: list[tuple[str, str, Attachment]] = []
        self._held = 0
        self._name: list[str] = []
        self._length = 0
        self._received = 0
        self._json = bytearray()
        self._file: BinaryIO | None = None

    def begin(self, headers: dict[str, str]) -> None:
        """Start a part; its headers must satisfy the rules."""
        named = _NAME.search(headers.get("content-disposition", ""))
        name = named[1] if named else ""
        self._name = name.split(".", 2)
        kind = self._name[0]
        if len(self._name) < (3 if kind == "attachment" else 2):
            raise Refused("part-name", f"part {name!r} is not named kind.id")
        run_id = self._name[1]
        if kind not in {"post", "patch", "feedback", "attachment"}:
            raise Refused("part-name", f"part {name!r} has an unknown kind")
        content_type = headers.get("content-type", "")
        if not content_type or not content_type.isascii():
            raise Refused("part-content-type", f"part {name!r} has no valid Content-Type", run_id)
        if "content-encoding" in headers:
            raise Refused("part-encoding", f"part {name!r} has a Content-Encoding", run_id)
        # LangSmith's client states the length of a file as a parameter of its type.
        parameter = _LENGTH_PARAMETER.search(content_type)
        length = headers.get("content-length", parameter[1] if parameter else "")
        if not _LENGTH.fullmatch(length):
            raise Refused("part-length", f"part {name!r} states no length", run_id)
        self._length, self._received = int(length), 0
        self._json.clear()
        if kind == "attachment":
            descriptor, path = tempfile.mkstemp(prefix="incoming-", dir=self._folder)
            self._file = os.fdopen(descriptor, "wb")
            attachment = Attachment(_LENGTH_PARAMETER.sub("", content_type), Path(path))
            self._attachments.append((run_id, self._name[2], attachment))
        elif content_type.partition(";")[0].strip().lower() != "application/json":
            raise Refused("part-content-type", f"part {name!r} must be application/json", run_id)

    def data(self, chunk: bytes) -> None:
        """Take a piece of the current part."""
        self._received += len(chunk)
        if self._file is not None:
            self._file.write(chunk)
            return
        self._held += len(chunk)
        if self._held > MEMORY_LIMIT:
            raise too_large(f"the request has more than {MEMORY_LIMIT} bytes without its attachments")
        self._json += chunk

    def end(self) -> None:
        """Finish the current part."""
        kind, run_id, *rest = self._name
        self._close_file()
        if self._received != self._length:
            name = ".".join(self._name)
            raise Refused("part-length", f"part {name!r} has {self._received} bytes, not {self._length}", run_id)
        if kind == "attachment":
            return
        value = _parsed(bytes(self._json), f"part {'.'.join(self._name)!r}", run_id)
        if rest:
            if kind == "feedback" or rest[0] not in FIELDS:
                raise Refused("part-name", f"part {'.'.join(self._name)!r} is no field of a run", run_id)
            self._fields.append((kind, run_id, rest[0], value, self._received))
        elif kind == "feedback":
            self.batch.feedback.append({**_object(value, run_id), "id": run_id})
        else:
            made = Operation(_kind(kind), run_id, _object(value, run_id), size=self._received)
            if self._runs.setdefault((kind, run_id), made) is not made:
                raise conflict(run_id)
            self.batch.operations.append(made)

    def finish(self) -> Batch:
        """Join fields and attachments to their runs, wherever they stood in the body."""
        for kind, run_id, key, value, size in self._fields:
            run = self._runs.get((kind, run_id))
            if run is None:
                raise Refused("part-alone", f"part {kind}.{run_id}.{key} has no {kind}.{run_id}", run_id)
            run.fields[key] = value
            run.size += size
        while self._attachments:
            run_id, name, attachment = self._attachments[-1]
            run = self._runs.get(("post", run_id)) or self._runs.get(("patch", run_id))
            if run is None:
                raise Refused("part-alone", f"part attachment.{run_id}.{name} has no run in the request", run_id)
            run.attachments[name] = attachment
            self._attachments.pop()
        return self.batch

    def discard(self) -> None:
        """Remove every file of the request that nobody took over."""
        self._close_file()
        for *_, attachment in self._attachments:
            attachment.path.unlink(missing_ok=True)
        self.batch.discard()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def json_batch(body: bytes) -> Batch:
    """Read the body of ``POST /runs/batch``: ``{"post": [run, …], "patch": [run, …]}``."""
    value = _object(_parsed(body, "body"))
    batch = Batch()
    seen = set()
    for kind in ("post", "patch"):
        runs = value.get(kind)
        if runs is None:
            continue
        if not isinstance(runs, list):
            raise Refused("body", f"{kind} must be a list")
        for run in runs:
            fields = _object(run)
            run_id = str(fields.get("id"))
            if (kind, run_id) in seen:
                raise conflict(run_id)
            seen.add((kind, run_id))
            batch.operations.append(Operation(_kind(kind), run_id, fields, size=len(json.dumps(fields))))
    return batch


def json_create(body: bytes) -> Batch:
    """Read the body of ``POST /runs``: one run, whose trace and order may be missing on a root."""
    fields = _object(_parsed(body, "body"))
    run_id = uuid_text(fields.get("id"), "id")
    if fields.get("parent_run_id") is None:
        fields.setdefault("trace_id", run_id)
        if fields.get("start_time") is not None:
            fields.setdefault("dotted_order", root_order(run_id, time(fields["start_time"], "start_time", run_id)))
    return Batch([Operation("post", run_id, fields, size=len(body))])


def json_update(body: bytes, run_id: str, stored: StoredRun | None) -> Batch:
    """Read the body of ``PATCH /runs/{id}``.

    Args:
        body: The fields to change.
        run_id: The id in the path.
        stored: The run so far, which an update need not repeat the place of.
    """
    place = {"trace_id": stored.trace_id, "dotted_order": stored.dotted_order} if stored else {}
    if stored and stored.parent_run_id:
        place["parent_run_id"] = stored.parent_run_id
    fields = _object(_parsed(body, "body"), run_id)
    return Batch([Operation("patch", run_id, {**place, **fields}, size=len(body))])


def json_feedback(body: bytes) -> Batch:
    """Read the body of ``POST /feedback``."""
    return Batch(feedback=[_object(_parsed(body, "body"))])


def _kind(kind: str) -> Literal["post", "patch"]:
    return cast("Literal['post', 'patch']", kind)


def _parsed(body: bytes, what: str, run_id: str | None = None) -> object:
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused("body", f"{what} is not JSON: {error}", run_id) from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _object(value: object, run_id: str | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused("body", "a run must be a JSON object", run_id)
    return value

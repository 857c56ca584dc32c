"""Parses ``POST`` and ``PATCH /platform/datasets/{id}/examples``: examples in multipart parts, with attachments.

The parts of an example are ``{id}``, ``{id}.inputs``, ``{id}.outputs``, ``{id}.attachment.{name}`` and, in an update,
``{id}.attachments_operations``.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from langsmith_realtime.collector.ingest.parts import MEMORY_LIMIT
from langsmith_realtime.collector.json_bodies import parse_json
from langsmith_realtime.collector.records import Attachment
from langsmith_realtime.collector.rules import ATTACHMENT_NAME, Refused, json_type, too_large, uuid_text

_NAME: Final = re.compile(r';\s*name="([^"]*)"')
_LENGTH: Final = re.compile(r";\s*length=[0-9]+(?![^;\s])", re.IGNORECASE)
_FIELDS: Final = ("inputs", "outputs", "attachments_operations")


@dataclass
class ExampleParts:
    """What a request says of one example: its fields, and its files by the attachment's name."""

    fields: dict[str, Any] = field(default_factory=dict)
    attachments: dict[str, Attachment] = field(default_factory=dict)


class ExampleReader:
    """Collects the parts of a request. Call :meth:`discard` at the end, which deletes the files that nobody took.

    Attributes:
        examples: The examples by their id, in the order of the request.

    Args:
        folder: Folder for the temporary files of attachments.
    """

    def __init__(self, folder: Path) -> None:
        self.examples: dict[str, ExampleParts] = {}
        self._folder = folder
        self._example = ExampleParts()
        self._field = ""
        self._json = bytearray()
        self._bytes_in_memory = 0
        self._file: BinaryIO | None = None
        self._files: list[Path] = []

    def begin(self, headers: dict[str, str]) -> None:
        """Start a part. Raises Refused if its name is none of the module's list."""
        match = _NAME.search(headers.get("content-disposition", ""))
        example_id, _, self._field = (match[1] if match else "").partition(".")
        self._example = self.examples.setdefault(uuid_text(example_id, "an example's id"), ExampleParts())
        self._json.clear()
        if not self._field.startswith("attachment."):
            if self._field and self._field not in _FIELDS:
                raise Refused("part-name", f"the field of an example must be one of {_FIELDS}, got {self._field!r}")
            return
        name = self._field.partition(".")[2]
        if not ATTACHMENT_NAME.fullmatch(name):
            raise Refused("part-name", f"an attachment's name must match {ATTACHMENT_NAME.pattern}, got {name!r}")
        descriptor, path = tempfile.mkstemp(prefix="incoming-", dir=self._folder)
        self._file = os.fdopen(descriptor, "wb")
        self._files.append(Path(path))
        mime_type = _LENGTH.sub("", headers.get("content-type", "application/octet-stream"))
        self._example.attachments[name] = Attachment(mime_type, Path(path))

    def data(self, chunk: bytes) -> None:
        """Receive the next bytes of the part. Raises Refused if the JSON of all parts is larger than 128 MiB."""
        if self._file is not None:
            self._file.write(chunk)
            return
        self._bytes_in_memory += len(chunk)
        if self._bytes_in_memory > MEMORY_LIMIT:
            raise too_large(f"examples must have at most {MEMORY_LIMIT} bytes without their attachments, got more")
        self._json += chunk

    def end(self) -> None:
        """Finish the part. Raises Refused if it is no JSON object."""
        if self._file is not None:
            self._close_file()
            return
        try:
            value = parse_json(bytes(self._json))
        except (ValueError, RecursionError) as error:
            raise Refused("body", f"a part of an example must be JSON: {error}") from None
        if not isinstance(value, dict):
            raise Refused("body", f"a part of an example must be a JSON object, got {json_type(value)}")
        self._example.fields.update({self._field: value} if self._field else value)

    def discard(self) -> None:
        """Delete the files that the store has not taken over."""
        self._close_file()
        for path in self._files:
            path.unlink(missing_ok=True)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

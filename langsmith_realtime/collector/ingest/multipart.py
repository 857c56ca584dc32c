"""multipart/form-data as a stream: bytes in, parts out, whatever the chunking. Pure, bounded memory."""

from __future__ import annotations

from typing import Protocol

_HEADER_LIMIT = 16 * 1024


class MultipartError(ValueError):
    """A body that is not well-formed multipart/form-data."""


class PartSink(Protocol):
    """Receives the parts of a body, one after the other."""

    def begin(self, headers: dict[str, str]) -> None:
        """Start a part; the names of its headers are in lower case."""

    def data(self, chunk: bytes) -> None:
        """Take the next bytes of the current part."""

    def end(self) -> None:
        """Finish the current part."""


class MultipartParser:
    """Cuts a body into parts (RFC 2046 5.1.1) and hands them to a sink as they arrive.

    Exceptions the sink raises pass through; after one the parser must not be used again.

    Args:
        boundary: The boundary of the request's ``Content-Type``.
        sink: Where the parts go.
    """

    def __init__(self, boundary: str, sink: PartSink) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("latin-1")
        self._sink = sink
        # The first delimiter has no line break before it when nothing precedes it.
        self._buffer = b"\r\n"
        self._at = 0
        self._state = self._preamble

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            MultipartError: The body is not well-formed.
        """
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        while self._state():
            pass

    def close(self) -> None:
        """State that the body is over.

        Raises:
            MultipartError: It ends before its closing boundary.
        """
        if self._state != self._epilogue:
            raise MultipartError("the body ends before its closing boundary")

    # Each state takes what it can from the buffer and returns whether the next state may go on.

    def _preamble(self) -> bool:
        found = self._buffer.find(self._delimiter, self._at)
        if found < 0:
            self._at = max(self._at, len(self._buffer) - len(self._delimiter) + 1)
            return False
        self._at = found + len(self._delimiter)
        self._state = self._after_delimiter
        return True

    def _after_delimiter(self) -> bool:
        if self._buffer.startswith(b"--", self._at):
            self._state = self._epilogue
            return True
        end = self._buffer.find(b"\r\n", self._at)
        if self._buffer[self._at : end if end >= 0 else None].strip(b" \t\r-"):
            raise MultipartError("a boundary is not followed by a line break")
        if end < 0:
            return False
        # The line break stays, so that a part without headers ends them like any other.
        self._at = end
        self._state = self._headers
        return True

    def _headers(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", self._at)
        if (end if end >= 0 else len(self._buffer)) - self._at > _HEADER_LIMIT:
            raise MultipartError("the headers of a part are too long")
        if end < 0:
            return False
        headers = {}
        for line in filter(None, self._buffer[self._at : end].split(b"\r\n")):
            name, colon, value = line.partition(b":")
            if not colon:
                raise MultipartError("a part has a header without a colon")
            headers[name.decode("latin-1").strip().lower()] = value.decode("utf-8", "replace").strip()
        self._at = end + 4
        self._sink.begin(headers)
        self._state = self._content
        return True

    def _content(self) -> bool:
        found = self._buffer.find(self._delimiter, self._at)
        # What may be the beginning of a delimiter waits for the next chunk.
        end = found if found >= 0 else len(self._buffer) - len(self._delimiter) + 1
        if end > self._at:
            self._sink.data(self._buffer[self._at : end])
            self._at = end
        if found < 0:
            return False
        self._sink.end()
        self._at = found + len(self._delimiter)
        self._state = self._after_delimiter
        return True

    def _epilogue(self) -> bool:
        self._at = len(self._buffer)
        return False

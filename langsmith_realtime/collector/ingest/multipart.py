"""Parses multipart/form-data as a stream without I/O, and does not keep the content of parts in memory."""

from __future__ import annotations

from typing import Protocol

#: Largest size of the headers of one part, in bytes.
_HEADER_LIMIT = 16 * 1024


class MultipartError(ValueError):
    """A body is malformed multipart/form-data."""


class PartSink(Protocol):
    """Receives the parts of a body in order."""

    def begin(self, headers: dict[str, str]) -> None:
        """Start a part with these headers; the names of the headers are in lower case."""

    def data(self, chunk: bytes) -> None:
        """Receive the next bytes of the current part's content."""

    def end(self) -> None:
        """Finish the current part."""


class MultipartParser:
    """Splits a body into parts (RFC 2046, 5.1.1), and passes each part to a sink as it arrives.

    Exceptions of the sink propagate to the caller; after an exception the parser cannot be used again.

    Args:
        boundary: The ``boundary`` parameter of the request's ``Content-Type``.
        sink: Receives the parts.
    """

    def __init__(self, boundary: str, sink: PartSink) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("latin-1")
        self._sink = sink
        # A body may begin with its first delimiter, without the line break that belongs to a delimiter.
        self._buffer = b"\r\n"
        self._at = 0
        self._state = self._preamble

    def feed(self, chunk: bytes) -> None:
        """Parse the next chunk of the body. What follows the closing boundary is ignored.

        Raises:
            MultipartError: The body is malformed so far. Only :meth:`close` tells whether it is complete.
        """
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        while self._state():
            pass

    def close(self) -> None:
        """Finish the body.

        Raises:
            MultipartError: The body ends before its closing boundary.
        """
        if self._state != self._epilogue:
            raise MultipartError("the body ends before its closing boundary")

    # Each state parses the buffer as far as it can, and returns whether the next state can continue.

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
            raise MultipartError("a boundary must be followed by a line break or by two hyphens")
        if end < 0:
            return False
        # The line break stays in the buffer, so that the headers of a part without headers end with an empty line, too.
        self._at = end
        self._state = self._headers
        return True

    def _headers(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", self._at)
        if (end if end >= 0 else len(self._buffer)) - self._at > _HEADER_LIMIT:
            raise MultipartError(f"the headers of a part must have at most {_HEADER_LIMIT} bytes, got more")
        if end < 0:
            return False
        headers = {}
        for line in filter(None, self._buffer[self._at : end].split(b"\r\n")):
            name, colon, value = line.partition(b":")
            if not colon:
                line_text = line[:100].decode("latin-1")
                raise MultipartError(f"a part's header must have a colon, got {line_text!r}")
            headers[name.decode("latin-1").strip().lower()] = value.decode("utf-8", "replace").strip()
        self._at = end + 4
        self._sink.begin(headers)
        self._state = self._content
        return True

    def _content(self) -> bool:
        found = self._buffer.find(self._delimiter, self._at)
        # The last bytes stay in the buffer, because they may be the beginning of a delimiter.
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

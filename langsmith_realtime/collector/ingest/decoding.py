"""Decompresses a request body as a stream, by its Content-Encoding: gzip, zstd or identity."""

from __future__ import annotations

import zlib
from typing import IO, TYPE_CHECKING, Protocol, cast

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable

#: Largest chunk of decompressed bytes that a decoder passes on.
_CHUNK = 256 * 1024


class DecodingError(ValueError):
    """A body cannot be decompressed as its Content-Encoding says."""


class Decoder(Protocol):
    """Decompresses the chunks of one body, and passes the decompressed bytes to a sink."""

    def feed(self, chunk: bytes) -> None:
        """Decompress the next chunk of the body. Raises DecodingError if the body is malformed."""

    def close(self) -> None:
        """Pass the remaining bytes to the sink. The gzip decoder raises DecodingError if the body is incomplete."""


def decoder(encoding: str, sink: Callable[[bytes], None]) -> Decoder | None:
    """Return the decoder for a ``Content-Encoding``: gzip, zstd, identity or empty; None for any other encoding."""
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return _Identity(sink)
    if encoding == "gzip":
        return _Gzip(sink)
    if encoding == "zstd":
        return _Zstd(sink)
    return None


class _Identity:
    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink

    def feed(self, chunk: bytes) -> None:
        self._sink(chunk)

    def close(self) -> None:
        """Do nothing: ``feed`` has passed on every byte."""


class _Gzip:
    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._member = zlib.decompressobj(wbits=31)
        self._has_data = False

    def feed(self, chunk: bytes) -> None:
        self._has_data = True
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=31)
            try:
                plain = self._member.decompress(chunk, _CHUNK)
            except zlib.error as error:
                raise DecodingError(f"the body is not gzip, as its Content-Encoding says: {error}") from None
            if plain:
                self._sink(plain)
            chunk = self._member.unconsumed_tail or self._member.unused_data

    def close(self) -> None:
        # The decompressor still holds the bytes beyond the last chunk.
        if plain := self._member.flush():
            self._sink(plain)
        if self._has_data and not self._member.eof:
            raise DecodingError("the gzip body is incomplete: it ends before the end of its last member")


class _Zstd:
    """Decompresses a sequence of zstd frames; LangSmith's client sends a batch as several frames."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        output = cast("IO[bytes]", self)  # stream_writer calls only write()
        self._writer = zstandard.ZstdDecompressor().stream_writer(output, write_size=_CHUNK, closefd=False)

    def write(self, plain: bytes) -> int:
        self._sink(bytes(plain))
        return len(plain)

    def feed(self, chunk: bytes) -> None:
        try:
            self._writer.write(chunk)
        except zstandard.ZstdError as error:
            raise DecodingError(f"the body is not zstd, as its Content-Encoding says: {error}") from None

    def close(self) -> None:
        """Do nothing: the parser of the content, multipart or JSON, notices an incomplete last frame."""

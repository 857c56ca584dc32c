"""Content-Encoding as a stream: compressed bytes in, plain bytes out in small pieces."""

from __future__ import annotations

import zlib
from typing import IO, TYPE_CHECKING, Protocol, cast

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE = 256 * 1024


class DecodingError(ValueError):
    """A body that is not what its Content-Encoding says."""


class Decoder(Protocol):
    """Takes a body's bytes as they arrive; what they mean has gone to the sink when ``feed`` returns."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body. Raises DecodingError."""

    def close(self) -> None:
        """State that the body is over. Raises DecodingError when it is incomplete."""


def decoder(encoding: str, sink: Callable[[bytes], None]) -> Decoder | None:
    """Return the decoder of a ``Content-Encoding``, or None for one that LangSmith does not take."""
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
        """Nothing is held back."""


class _Gzip:
    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._member = zlib.decompressobj(wbits=31)
        self._fed = False

    def feed(self, chunk: bytes) -> None:
        self._fed = True
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=31)
            try:
                plain = self._member.decompress(chunk, _PIECE)
            except zlib.error as error:
                raise DecodingError(f"the body is not gzip: {error}") from None
            if plain:
                self._sink(plain)
            chunk = self._member.unconsumed_tail or self._member.unused_data

    def close(self) -> None:
        # What did not fit the last piece is still inside.
        if plain := self._member.flush():
            self._sink(plain)
        if self._fed and not self._member.eof:
            raise DecodingError("the gzip body is cut short")


class _Zstd:
    """A stream of frames, which is how LangSmith's client sends a batch."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        into = cast("IO[bytes]", self)  # only write() is called
        self._writer = zstandard.ZstdDecompressor().stream_writer(into, write_size=_PIECE, closefd=False)

    def write(self, plain: bytes) -> int:
        self._sink(bytes(plain))
        return len(plain)

    def feed(self, chunk: bytes) -> None:
        try:
            self._writer.write(chunk)
        except zstandard.ZstdError as error:
            raise DecodingError(f"the body is not zstd: {error}") from None

    def close(self) -> None:
        """Whether the last frame is complete shows in what it held: multipart and JSON both have an end."""

"""Reads request bodies chunk by chunk: decompresses them, and checks their size."""

from __future__ import annotations

from email.message import Message
from typing import TYPE_CHECKING

from langsmith_realtime.collector.ingest.decoding import DecodingError, decoder
from langsmith_realtime.collector.ingest.multipart import MultipartError, MultipartParser, PartSink
from langsmith_realtime.collector.rules import Refused, too_large

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

_REMEDY = "send fewer runs in a request"


async def read_whole(request: Request, limit: int, wire_limit: int | None = None) -> bytes:
    """Return the decompressed body of a request.

    Args:
        request: The request.
        limit: Largest size after decompression, in bytes.
        wire_limit: Largest size as received, in bytes; None for no limit.

    Raises:
        Refused: The body is too large, or its Content-Encoding is not supported or not true.
    """
    body = bytearray()

    def add(chunk: bytes) -> None:
        if len(body) + len(chunk) > limit:
            raise too_large(f"the body must have at most {limit} bytes after decompression, got more; {_REMEDY}")
        body.extend(chunk)

    await _decode(request, add, wire_limit)
    return bytes(body)


async def read_parts(request: Request, sink: PartSink, wire_limit: int | None = None) -> None:
    """Pass the parts of a multipart/form-data body to a sink as they arrive.

    Args:
        request: The request.
        sink: Receives the headers and the content of each part.
        wire_limit: Largest size as received, in bytes; None for no limit.

    Raises:
        Refused: The Content-Type is not multipart/form-data, the Content-Encoding is not supported, the body is
            malformed or too large, or the sink raises Refused for a part.
    """
    header = Message()
    header["Content-Type"] = request.headers.get("content-type", "")
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/form-data" or not boundary:
        await drain(request.stream())
        got = request.headers.get("content-type")
        raise Refused("body", f"the Content-Type must be multipart/form-data with a boundary, got {got!r}")
    parser = MultipartParser(boundary, sink)
    try:
        await _decode(request, parser.feed, wire_limit)
        parser.close()
    except MultipartError as error:
        raise Refused("body", f"the body is not valid multipart/form-data: {error}") from None


async def _decode(request: Request, sink: Callable[[bytes], None], wire_limit: int | None) -> None:
    encoding = request.headers.get("content-encoding", "")
    decoding = decoder(encoding, sink)
    chunks = request.stream()
    if decoding is None:
        await drain(chunks)
        raise Refused("body-encoding", f"the Content-Encoding must be gzip, zstd or identity, got {encoding!r}")
    received = 0
    try:
        async for chunk in chunks:
            received += len(chunk)
            if wire_limit is not None and received > wire_limit:
                raise too_large(f"the body must have at most {wire_limit} bytes, got more; {_REMEDY}")
            decoding.feed(chunk)
        decoding.close()
    except DecodingError as error:
        await drain(chunks)
        raise Refused("body", str(error)) from None
    except (Refused, MultipartError):
        await drain(chunks)
        raise


async def drain(chunks: AsyncIterator[bytes]) -> None:
    """Read and discard the rest of a body, because a client does not read the answer while it sends."""
    async for _ in chunks:
        pass

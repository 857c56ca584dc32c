"""Request bodies as they arrive: decompressed piece by piece, measured, and read to the end."""

from __future__ import annotations

from email.message import Message
from typing import TYPE_CHECKING

from langsmith_realtime.collector.ingest.decoding import DecodingError, decoder
from langsmith_realtime.collector.ingest.multipart import MultipartError, MultipartParser, PartSink
from langsmith_realtime.collector.rules import Refused, too_large

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request


async def read_whole(request: Request, limit: int, wire_limit: int | None = None) -> bytes:
    """Return a body that is kept in memory.

    Args:
        request: Whose body.
        limit: Bytes it may have once decompressed.
        wire_limit: Bytes it may have as sent.

    Raises:
        Refused: It is too large, or not what its Content-Encoding says.
    """
    body = bytearray()

    def add(chunk: bytes) -> None:
        if len(body) + len(chunk) > limit:
            raise too_large(f"the body has more than {limit} bytes")
        body.extend(chunk)

    await _decode(request, add, wire_limit)
    return bytes(body)


async def read_parts(request: Request, sink: PartSink, wire_limit: int | None = None) -> None:
    """Hand the parts of a multipart/form-data body to a sink as they arrive.

    Raises:
        Refused: The body is not well-formed or too large, or the sink refused a part.
    """
    header = Message()
    header["Content-Type"] = request.headers.get("content-type", "")
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/form-data" or not boundary:
        await drain(request.stream())
        raise Refused("body", "the body must be multipart/form-data with a boundary")
    parser = MultipartParser(boundary, sink)
    try:
        await _decode(request, parser.feed, wire_limit)
        parser.close()
    except MultipartError as error:
        raise Refused("body", f"the body is not multipart/form-data: {error}") from None


async def _decode(request: Request, sink: Callable[[bytes], None], wire_limit: int | None) -> None:
    encoding = request.headers.get("content-encoding", "")
    decoding = decoder(encoding, sink)
    chunks = request.stream()
    if decoding is None:
        await drain(chunks)
        raise Refused("body-encoding", f"Content-Encoding {encoding} is not supported")
    received = 0
    try:
        async for chunk in chunks:
            received += len(chunk)
            if wire_limit is not None and received > wire_limit:
                raise too_large(f"the body has more than {wire_limit} bytes")
            decoding.feed(chunk)
        decoding.close()
    except DecodingError as error:
        await drain(chunks)
        raise Refused("body", str(error)) from None
    except (Refused, MultipartError):
        await drain(chunks)
        raise


async def drain(chunks: AsyncIterator[bytes]) -> None:
    """Read a body to its end: a client that is still sending would not see the answer."""
    async for _ in chunks:
        pass

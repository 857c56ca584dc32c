"""Decompression of request bodies as streams."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.collector.ingest.decoding import DecodingError, decoder


def decode(encoding: str, body: bytes, size: int = 1 << 20) -> bytes:
    chunks: list[bytes] = []
    decoding = decoder(encoding, chunks.append)
    assert decoding is not None
    for at in range(0, len(body), size):
        decoding.feed(body[at : at + size])
    decoding.close()
    return b"".join(chunks)


def encode(encoding: str, content: bytes) -> bytes:
    if encoding == "gzip":
        return gzip.compress(content)
    return zstandard.compress(content) if encoding == "zstd" else content


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", " GZIP", "zstd"])
@given(contents=st.lists(st.binary(max_size=100), max_size=4), size=st.integers(min_value=1, max_value=50))
def test_any_chunking_of_any_number_of_frames_gives_the_original_bytes(
    encoding: str, contents: list[bytes], size: int
) -> None:
    body = b"".join(encode(encoding.strip().lower(), content) for content in contents)

    assert decode(encoding, body, size) == b"".join(contents)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_that_expands_a_thousandfold_is_decompressed_in_small_chunks(encoding: str) -> None:
    body = encode(encoding, bytes(64 << 20))
    total = 0

    def count(chunk: bytes) -> None:
        nonlocal total
        total += len(chunk)

    tracemalloc.start()
    try:
        decoding = decoder(encoding, count)
        assert decoding is not None
        decoding.feed(body)
        decoding.close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert total == 64 << 20
    assert peak < 8 << 20


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_without_compression_is_refused(encoding: str) -> None:
    with pytest.raises(DecodingError, match=f"is not {encoding}"):
        decode(encoding, b"plain text, nothing else")


def test_an_incomplete_gzip_body_is_refused() -> None:
    with pytest.raises(DecodingError, match="incomplete"):
        decode("gzip", gzip.compress(bytes(range(256)))[:-4])


def test_other_encodings_are_not_supported() -> None:
    assert decoder("br", lambda _: None) is None

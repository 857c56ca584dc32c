"""The multipart parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.collector.ingest.multipart import MultipartError, MultipartParser


class Parts:
    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.largest = 0
        self._headers: dict[str, str] = {}
        self._content = b""

    def begin(self, headers: dict[str, str]) -> None:
        self._headers, self._content = headers, b""

    def data(self, chunk: bytes) -> None:
        self._content += chunk
        self.largest = max(self.largest, len(chunk))

    def end(self) -> None:
        self.seen.append((self._headers, self._content))


def parse(body: bytes, size: int = 1 << 20) -> Parts:
    parser = MultipartParser("b", parts := Parts())
    for at in range(0, len(body), size):
        parser.feed(body[at : at + size])
    parser.close()
    return parts


def test_a_body_is_split_into_its_parts() -> None:
    body = b"--b\r\nA: 1\r\nB:2\r\n\r\none\r\n--b\r\nA: 2\r\n\r\n\r\n--b--\r\n"

    assert parse(body).seen == [({"a": "1", "b": "2"}, b"one"), ({"a": "2"}, b"")]


def test_text_before_and_after_the_parts_is_ignored() -> None:
    assert parse(b"before\r\n--b \t\r\n\r\none\r\n--b--after\r\n--b\r\nmore").seen == [({}, b"one")]


def test_a_body_may_have_no_parts() -> None:
    assert parse(b"--b--\r\n").seen == []


@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([b"\r\n--", b"\r\n--x", b"--b", b"\r", b"\r\n"])),
    st.integers(min_value=1, max_value=30),
)
def test_any_chunking_gives_the_same_parts(contents: list[bytes], size: int) -> None:
    contents = [content for content in contents if b"\r\n--b" not in b"\r\n" + content]
    body = b"".join(b"--b\r\nX: y\r\n\r\n" + content + b"\r\n" for content in contents) + b"--b--\r\n"

    assert parse(body, size).seen == [({"x": "y"}, content) for content in contents]


def test_a_large_part_is_passed_on_in_chunks() -> None:
    parts = parse(b"--b\r\n\r\n" + bytes(1_000_000) + b"\r\n--b--\r\n", size=1000)

    assert len(parts.seen[0][1]) == 1_000_000
    assert parts.largest <= 1010


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "before its closing boundary"),
        (b"nothing of the kind", "before its closing boundary"),
        (b"--b\r\nA: 1\r\n\r\none", "before its closing boundary"),
        (b"--b\r\nA: 1\r\n\r\none\r\n--b", "before its closing boundary"),
        (b"--bx\r\n", "must be followed by a line break"),
        (b"--b then", "must be followed by a line break"),
        (b"--b\r\nA\r\n\r\none\r\n--b--", "must have a colon, got 'A'"),
        (b"--b\r\nA: " + b"x" * 20_000, "at most 16384 bytes, got more"),
        (b"--b\r\nA: " + b"x" * 20_000 + b"\r\n\r\none\r\n--b--", "at most 16384 bytes, got more"),
    ],
)
def test_a_malformed_body_raises(body: bytes, reason: str) -> None:
    with pytest.raises(MultipartError, match=reason):
        parse(body)

"""The playback queue: order, truncations, and how much was played."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from demo.devices.playback_queue import ContentPart, PlaybackQueue, Truncation

FIRST, SECOND = ContentPart("item_1", 0), ContentPart("item_2", 0)
ONE_SECOND = bytes(48_000)


def test_audio_is_played_in_order() -> None:
    queue = PlaybackQueue()
    queue.put(FIRST, b"aabb")
    queue.put(SECOND, b"cc")
    assert queue.take(2) == b"aabb"
    assert queue.take(2) == b"cc"
    assert queue.empty
    assert queue.take(2) == b""


@given(st.lists(st.integers(0, 7)), st.integers(1, 5))
def test_any_chunking_plays_equal_bytes(sizes: list[int], frames: int) -> None:
    queue = PlaybackQueue()
    audio = bytes(range(sum(sizes) // 2 * 2))
    sent = 0
    for size in sizes:
        queue.put(FIRST, audio[sent : sent + size])
        sent += size
    played = b""
    while not queue.empty:
        played += queue.take(frames)
    assert played == audio


def test_flush_returns_how_much_of_the_reply_was_played_and_drops_the_rest() -> None:
    queue = PlaybackQueue()
    queue.put(FIRST, ONE_SECOND)
    queue.take(6_000)
    assert queue.flush() == [Truncation(FIRST, 250)]
    assert queue.take(480) == b""


def test_a_part_that_was_not_started_is_truncated_at_zero() -> None:
    queue = PlaybackQueue()
    queue.put(FIRST, ONE_SECOND)
    queue.put(SECOND, ONE_SECOND)
    queue.take(24_001)
    assert queue.flush() == [Truncation(SECOND, 0)]


def test_a_part_played_to_its_end_is_not_truncated() -> None:
    queue = PlaybackQueue()
    queue.put(FIRST, ONE_SECOND)
    queue.take(24_000)
    assert queue.flush() == []
    assert queue.played_ms == 1_000


def test_later_audio_of_an_interrupted_part_is_not_played() -> None:
    queue = PlaybackQueue()
    queue.put(FIRST, b"aab")
    queue.flush()
    queue.put(FIRST, ONE_SECOND)
    queue.put(SECOND, b"cc")
    assert queue.take(480) == b"cc"

"""The play queue: what a barge-in cuts, and how much of it was heard."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from demo.devices.playback_queue import ContentPart, PlaybackQueue, Truncation

FIRST, SECOND = ContentPart("item_1", 0), ContentPart("item_2", 0)
ONE_SECOND = bytes(48_000)


def test_plays_what_it_is_given_in_order() -> None:
    queue = PlaybackQueue()
    queue.put(FIRST, b"aabb")
    queue.put(SECOND, b"cc")
    assert queue.take(2) == b"aabb"
    assert queue.take(2) == b"cc"
    assert queue.empty
    assert queue.take(2) == b""


@given(st.lists(st.integers(0, 7)), st.integers(1, 5))
def test_any_chunking_plays_the_same_bytes(sizes: list[int], frames: int) -> None:
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


def test_a_barge_in_tells_how_much_of_the_reply_was_heard_and_drops_the_rest() -> None:
    queue = PlaybackQueue()
    queue.put(FIRST, ONE_SECOND)
    queue.take(6_000)
    assert queue.flush() == [Truncation(FIRST, 250)]
    assert queue.take(480) == b""


def test_a_part_that_was_not_begun_was_heard_for_nothing() -> None:
    queue = PlaybackQueue()
    queue.put(FIRST, ONE_SECOND)
    queue.put(SECOND, ONE_SECOND)
    queue.take(24_001)
    assert queue.flush() == [Truncation(SECOND, 0)]


def test_what_was_played_to_its_end_is_not_cut() -> None:
    queue = PlaybackQueue()
    queue.put(FIRST, ONE_SECOND)
    queue.take(24_000)
    assert queue.flush() == []
    assert queue.played_ms == 1_000


def test_audio_of_an_interrupted_part_that_still_arrives_is_not_played() -> None:
    queue = PlaybackQueue()
    queue.put(FIRST, b"aab")
    queue.flush()
    queue.put(FIRST, ONE_SECOND)
    queue.put(SECOND, b"cc")
    assert queue.take(480) == b"cc"

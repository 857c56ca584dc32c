"""One frame that is parsed twice is one event, whatever a peer makes of ids."""

from __future__ import annotations

import sys

import pytest

from langsmith_realtime.live.duplicates import KEPT, KEPT_BYTES, REMEMBERED, RecentFrames

pytestmark = pytest.mark.newest  # no version matters to it

NAME = "response.done"


def told(seen: RecentFrames[int], event_id: object, frame: object, run: int) -> int | None:
    """The run that a frame became before, if it did; now it has one."""
    size = len(frame) if isinstance(frame, (bytes, str)) else 0
    known = seen.find(event_id, NAME, size, frame)
    if known is None:
        seen.remember(event_id, NAME, size, frame, run)
        return None
    return known.run


def test_the_same_frame_is_found_though_it_is_a_copy() -> None:
    seen: RecentFrames[int] = RecentFrames()
    assert told(seen, "event_1", b'{"a": 1}', 1) is None
    assert told(seen, "event_2", {"a": [1]}, 2) is None
    assert told(seen, "event_1", bytes(bytearray(b'{"a": 1}')), 3) == 1
    assert told(seen, "event_2", {"a": [1]}, 4) == 2


@pytest.mark.parametrize("event_id", ["constant", "", None, 7])
def test_frames_that_differ_anywhere_are_two_whatever_their_ids(event_id: object) -> None:
    seen: RecentFrames[int] = RecentFrames()
    long = b"x" * 5000
    frames = [b"1" + long, b"2" + long, long + b"1", long + b"2", {"error": {"code": 1}}, {"error": {"code": 2}}]
    assert [told(seen, event_id, frame, run) for run, frame in enumerate(frames)] == [None] * len(frames)


def test_without_an_id_only_the_latest_frame_itself_is_the_same() -> None:
    seen: RecentFrames[int] = RecentFrames()
    frame = {"a": 1}
    assert told(seen, None, frame, 1) is None
    assert told(seen, None, frame, 2) == 1
    assert told(seen, None, {"a": 1}, 3) is None
    assert told(seen, None, frame, 4) is None


def test_an_old_frame_is_known_by_its_id_and_length_and_not_for_ever() -> None:
    seen: RecentFrames[int] = RecentFrames()
    for run in range(REMEMBERED):
        assert told(seen, f"event_{run}", b"%04d" % run, run) is None
    assert told(seen, "event_0", b"0000", -1) == 0
    assert told(seen, "event_0", b"00000", -1) is None
    assert told(seen, f"event_{REMEMBERED - KEPT - 1}", b"else", -1) == REMEMBERED - KEPT - 1  # it is not kept
    for run in range(2 * REMEMBERED):
        told(seen, f"later_{run}", b"", run)
    assert told(seen, "event_1", b"0001", -1) is None


def test_what_is_kept_to_tell_is_bounded_whatever_frames_are_like() -> None:
    seen: RecentFrames[int] = RecentFrames()
    large = bytes(KEPT_BYTES // 4)
    before = sys.getrefcount(large)
    for run in range(100):
        told(seen, f"event_{run}", large, run)
    assert sys.getrefcount(large) - before == 4
    huge = bytes(2 * KEPT_BYTES)
    assert told(seen, "event_huge", huge, -1) is None
    assert sys.getrefcount(large) == before
    assert told(seen, "event_huge", bytes(huge[:-1]) + b"1", -2) is None  # the latest is compared itself

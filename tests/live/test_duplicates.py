"""A frame that is handed over twice is recognised, whatever event ids the server uses."""

from __future__ import annotations

import sys

import pytest

from langsmith_realtime.live.duplicates import KEPT, KEPT_BYTES, RecentFrames

pytestmark = pytest.mark.newest  # no version matters to it


def hand_over(frames: RecentFrames[int], event_id: object, frame: object, run: int) -> int | None:
    """Return the run of a duplicate; remember a new frame with ``run`` and return None."""
    size = len(frame) if isinstance(frame, (bytes, str)) else 0
    seen = frames.find(event_id, size, frame)
    if seen is None:
        frames.remember(event_id, size, frame, run)
        return None
    return seen.run


def test_a_copy_of_a_frame_is_a_duplicate() -> None:
    recent: RecentFrames[int] = RecentFrames()
    assert hand_over(recent, "event_1", b'{"a": 1}', 1) is None
    assert hand_over(recent, "event_2", {"a": [1]}, 2) is None
    assert hand_over(recent, "event_1", bytes(bytearray(b'{"a": 1}')), 3) == 1
    assert hand_over(recent, "event_2", {"a": [1]}, 4) == 2


@pytest.mark.parametrize("event_id", ["constant", "", None, 7])
def test_frames_that_differ_are_not_duplicates_whatever_their_ids(event_id: object) -> None:
    recent: RecentFrames[int] = RecentFrames()
    long = b"x" * 5000
    frames = [b"1" + long, b"2" + long, long + b"1", long + b"2", {"error": {"code": 1}}, {"error": {"code": 2}}]
    assert [hand_over(recent, event_id, frame, run) for run, frame in enumerate(frames)] == [None] * len(frames)


def test_without_an_id_only_the_latest_frame_object_is_a_duplicate() -> None:
    recent: RecentFrames[int] = RecentFrames()
    frame = {"a": 1}
    assert hand_over(recent, None, frame, 1) is None
    assert hand_over(recent, None, frame, 2) == 1
    assert hand_over(recent, None, {"a": 1}, 3) is None
    assert hand_over(recent, None, frame, 4) is None


def test_frames_that_python_takes_for_equal_are_not_the_same_in_json() -> None:
    recent: RecentFrames[int] = RecentFrames()
    frames: list[object] = [{"a": 1}, {"a": True}, {"a": 1.0}]
    assert [hand_over(recent, "event_1", frame, run) for run, frame in enumerate(frames)] == [None, None, None]


def test_a_frame_is_recognised_until_it_is_forgotten_and_is_new_afterwards() -> None:
    recent: RecentFrames[int] = RecentFrames()
    for run in range(KEPT):
        assert hand_over(recent, f"event_{run}", b"%04d" % run, run) is None
    assert hand_over(recent, "event_0", b"0000", -1) == 0
    assert hand_over(recent, "event_1", b"00001", -1) is None
    hand_over(recent, "later", b"", -1)
    assert hand_over(recent, "event_0", b"0000", -2) is None  # never lost, at worst twice in the trace


def test_the_kept_frames_are_bounded_in_bytes() -> None:
    recent: RecentFrames[int] = RecentFrames()
    large = bytes(KEPT_BYTES // 4)
    before = sys.getrefcount(large)
    for run in range(100):
        hand_over(recent, f"event_{run}", large, run)
    assert sys.getrefcount(large) - before == 4
    huge = bytes(2 * KEPT_BYTES)
    assert hand_over(recent, "event_huge", huge, -1) is None
    assert sys.getrefcount(large) == before
    assert hand_over(recent, "event_huge", bytes(huge[:-1]) + b"1", -2) is None  # the content of the latest is kept

"""The clocks of a sound card's streams: blocks follow without gaps, and real gaps are kept."""

from __future__ import annotations

from itertools import pairwise

import pytest

from demo.devices.stream_clock import (
    MICROPHONE_SETTLED_AFTER_BLOCKS,
    SPEAKER_SETTLED_AFTER_BLOCKS,
    MicrophoneClock,
    SpeakerClock,
)

BLOCK_S = 0.02


class Device:
    """A device with blocks of 20 ms, whose clock is 1,000 s ahead of `time.monotonic()`."""

    def __init__(self) -> None:
        self.now = 5_000.0
        self.ahead = 1_000.0
        self.late = 0.0  # how late the callback is

    def monotonic(self) -> float:
        return self.now - self.ahead + self.late


class Microphone(Device):
    def __init__(self) -> None:
        super().__init__()
        self.clock = MicrophoneClock(self.monotonic)

    def block(self, *, delay: float = 0.05, has_times: bool = True) -> float:
        at = self.clock.block_time(self.now - delay if has_times else 0.0, self.now, 480)
        self.now += BLOCK_S
        return at

    def settle(self) -> None:
        for _ in range(MICROPHONE_SETTLED_AFTER_BLOCKS):
            self.block()


class Speaker(Device):
    """A speaker. `played_at` has the computed time of each block, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = SpeakerClock(self.monotonic)
        self.played_at: list[float] = []

    def blocks(self, count: int, *, delay: float = 0.05, has_times: bool = True, underflow: bool = False) -> None:
        for _ in range(count):
            device_time = self.now + delay if has_times else 0.0
            timed = self.clock.add_block(b"sound", 480, device_time, self.now, underflow=underflow)
            self.played_at += [at for _, at in timed]
            self.now += BLOCK_S

    def flush(self) -> None:
        self.played_at += [at for _, at in self.clock.flush()]


# The microphone


def test_a_starting_microphones_own_times_are_used() -> None:
    device = Microphone()
    assert device.block(delay=0.05) == pytest.approx(3_999.95)
    assert device.block(delay=0.03) == pytest.approx(3_999.99)


def test_microphone_blocks_follow_without_gaps_though_single_times_jitter() -> None:
    device = Microphone()
    device.settle()
    got = []
    for late, delay in ((0.0, 0.05), (0.008, 0.05), (0.0, 0.09), (0.005, 0.01), (0.0, 0.05)):
        device.late = late
        got.append(device.block(delay=delay))
    assert got == pytest.approx([4_000.15, 4_000.17, 4_000.19, 4_000.21, 4_000.23], abs=1e-4)


def test_a_gap_in_the_microphones_audio_is_a_gap_in_its_times() -> None:
    device = Microphone()
    device.settle()
    device.now += 7
    assert device.block() == pytest.approx(4_007.15, abs=1e-4)


def test_lost_microphone_blocks_are_corrected_at_once_after_50_blocks() -> None:
    device = Microphone()
    device.settle()
    for _ in range(100):
        device.block()
    device.now += 0.06  # three blocks
    times = [device.block() - (device.now - BLOCK_S - 1_000.05) for _ in range(50)]
    assert times[:49] == pytest.approx([-0.06] * 49, abs=1e-3)
    assert times[49:] == pytest.approx([0.0], abs=1e-3)


def test_setting_the_device_clock_changes_no_time() -> None:
    device = Microphone()
    device.settle()
    device.now += 3_600
    device.ahead += 3_600
    assert device.block() == pytest.approx(4_000.15, abs=1e-4)


def test_only_the_shortest_delay_of_a_microphone_is_used() -> None:
    device = Microphone()
    device.settle()
    for block in range(2_000):
        at = device.block(delay=(0.05, 0.05, 0.11, 0.09, 0.06)[block // 400])
        assert at == pytest.approx(device.now - BLOCK_S - 1_000.05, abs=1e-3)


def test_late_callbacks_are_corrected_at_once_at_the_start_and_gradually_later() -> None:
    device = Microphone()
    device.late = 0.03
    device.settle()
    device.late = 0.01
    assert device.block() == pytest.approx(4_000.2 - 0.04, abs=1e-4)
    for _ in range(100):
        device.block()
    device.late = 0.0
    lengths = [later - earlier for earlier, later in pairwise(device.block() for _ in range(6_000))]
    assert lengths == pytest.approx([BLOCK_S] * 5_999, abs=3e-6)
    assert device.block() == pytest.approx(device.now - BLOCK_S - 1_000.05, abs=1e-4)


def test_a_microphone_whose_clock_drifts_is_followed_without_a_jump() -> None:
    device = Microphone()
    device.settle()
    for block in range(10_000):
        device.now += 1e-6 if block < 5_000 else -1e-6
        device.late = 0.01 * (block % 3)
        truth = device.now - 1_000.05
        assert device.block() == pytest.approx(truth, abs=1e-3)


def test_a_microphone_without_device_times_has_a_delay_of_one_block() -> None:
    assert Microphone().block(has_times=False) == pytest.approx(4_000.0 - BLOCK_S)


# The speaker


def test_speaker_blocks_are_held_back_until_the_device_has_settled() -> None:
    device = Speaker()
    device.blocks(4, delay=0.01)
    assert device.played_at == []
    device.blocks(22, delay=0.05)
    assert device.played_at == pytest.approx([4_000.05 + n * BLOCK_S for n in range(26)], abs=1e-4)


def test_speaker_blocks_follow_without_gaps_though_single_times_jitter() -> None:
    device = Speaker()
    device.blocks(SPEAKER_SETTLED_AFTER_BLOCKS)
    for late, delay in ((0.0, 0.05), (0.008, 0.05), (0.0, 0.09), (0.005, 0.01), (0.0, 0.05)):
        device.late = late
        device.blocks(1, delay=delay)
    assert device.played_at == pytest.approx([4_000.05 + n * BLOCK_S for n in range(30)], abs=1e-4)


@pytest.mark.parametrize(("stalled_s", "reported"), [(0.12, False), (0.03, True), (7.0, False)])
def test_blocks_after_an_underflow_play_later_by_its_length(stalled_s: float, reported: bool) -> None:
    device = Speaker()
    device.blocks(30)
    device.now += stalled_s
    device.blocks(1, delay=0.0, underflow=reported)
    device.blocks(3, delay=0.02)
    assert len(device.played_at) == 30  # later blocks are held back until the device has settled
    device.blocks(26)
    assert device.played_at == pytest.approx(
        [4_000.05 + n * BLOCK_S + (stalled_s if n >= 30 else 0) for n in range(60)], abs=1e-3
    )


def test_drift_of_a_speakers_clock_is_followed_within_25_ms() -> None:
    device = Speaker()
    for block in range(10_000):  # 200 s, in which the device loses 40 ms
        device.blocks(1, delay=0.05 + block * 4e-6)
    assert device.played_at == pytest.approx([4_000.05 + n * 0.020004 for n in range(10_000)], abs=0.025)


def test_wrong_speaker_times_for_4_s_change_no_block() -> None:
    device = Speaker()
    device.blocks(100, delay=0.1)
    device.blocks(200, delay=0.05)
    device.blocks(700, delay=0.1)
    assert device.played_at == pytest.approx([4_000.1 + n * BLOCK_S for n in range(1_000)], abs=1e-3)


def test_flush_returns_the_blocks_that_are_held_back() -> None:
    device = Speaker()
    device.blocks(3)
    device.flush()
    assert device.played_at == pytest.approx([4_000.05, 4_000.07, 4_000.09], abs=1e-4)
    device.flush()
    assert len(device.played_at) == 3


def test_a_speaker_without_device_times_plays_at_once() -> None:
    device = Speaker()
    device.blocks(SPEAKER_SETTLED_AFTER_BLOCKS, has_times=False)
    assert device.played_at[0] == pytest.approx(4_000.0)

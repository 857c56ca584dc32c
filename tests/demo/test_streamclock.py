"""A stream's clock: seamless where the sound was, and right where it was not."""

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
    """A device whose clock is 1,000 s ahead of ours, handing over blocks of 20 ms."""

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

    def block(self, *, delay: float = 0.05, knows: bool = True) -> float:
        at = self.clock.block_time(self.now - delay if knows else 0.0, self.now, 480)
        self.now += BLOCK_S
        return at

    def settle(self) -> None:
        for _ in range(MICROPHONE_SETTLED_AFTER_BLOCKS):
            self.block()


class Speaker(Device):
    """`heard` is when each block is said to be heard, in the order in which they were handed over."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = SpeakerClock(self.monotonic)
        self.heard: list[float] = []

    def blocks(self, count: int, *, delay: float = 0.05, knows: bool = True, ran_dry: bool = False) -> None:
        for _ in range(count):
            device_time = self.now + delay if knows else 0.0
            known = self.clock.add_block(b"sound", 480, device_time, self.now, underflow=ran_dry)
            self.heard += [at for _, at in known]
            self.now += BLOCK_S

    def end(self) -> None:
        self.heard += [at for _, at in self.clock.flush()]


# The microphone


def test_a_microphone_that_starts_is_followed_at_once() -> None:
    device = Microphone()
    assert device.block(delay=0.05) == pytest.approx(3_999.95)
    assert device.block(delay=0.03) == pytest.approx(3_999.99)


def test_then_what_is_said_is_seamless_whatever_single_times_say() -> None:
    device = Microphone()
    device.settle()
    got = []
    for late, delay in ((0.0, 0.05), (0.008, 0.05), (0.0, 0.09), (0.005, 0.01), (0.0, 0.05)):
        device.late = late
        got.append(device.block(delay=delay))
    assert got == pytest.approx([4_000.15, 4_000.17, 4_000.19, 4_000.21, 4_000.23], abs=1e-4)


def test_a_gap_in_the_sound_is_a_gap_in_its_times() -> None:
    device = Microphone()
    device.settle()
    device.now += 7
    assert device.block() == pytest.approx(4_007.15, abs=1e-4)


def test_lost_blocks_are_noticed_soon_and_made_up_for_at_once() -> None:
    device = Microphone()
    device.settle()
    for _ in range(100):
        device.block()
    device.now += 0.06  # three blocks
    times = [device.block() - (device.now - BLOCK_S - 1_000.05) for _ in range(50)]
    assert times[:49] == pytest.approx([-0.06] * 49, abs=1e-3)
    assert times[49:] == pytest.approx([0.0], abs=1e-3)


def test_a_device_clock_that_was_set_makes_no_difference() -> None:
    device = Microphone()
    device.settle()
    device.now += 3_600
    device.ahead += 3_600
    assert device.block() == pytest.approx(4_000.15, abs=1e-4)


def test_of_times_that_wander_only_the_shortest_delay_is_believed() -> None:
    device = Microphone()
    device.settle()
    for block in range(2_000):
        at = device.block(delay=(0.05, 0.05, 0.11, 0.09, 0.06)[block // 400])
        assert at == pytest.approx(device.now - BLOCK_S - 1_000.05, abs=1e-3)


def test_callbacks_that_were_all_late_are_made_up_for_at_the_beginning_at_once_and_later_unnoticeably() -> None:
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


def test_a_microphone_whose_clock_differs_is_followed_without_a_jump() -> None:
    device = Microphone()
    device.settle()
    for block in range(10_000):
        device.now += 1e-6 if block < 5_000 else -1e-6
        device.late = 0.01 * (block % 3)
        truth = device.now - 1_000.05
        assert device.block() == pytest.approx(truth, abs=1e-3)


def test_a_microphone_that_gives_no_time_is_taken_to_hand_over_what_was_just_said() -> None:
    assert Microphone().block(knows=False) == pytest.approx(4_000.0 - BLOCK_S)


# The speaker


def test_a_speaker_is_waited_for_until_it_has_settled() -> None:
    device = Speaker()
    device.blocks(4, delay=0.01)
    assert device.heard == []
    device.blocks(22, delay=0.05)
    assert device.heard == pytest.approx([4_000.05 + n * BLOCK_S for n in range(26)], abs=1e-4)


def test_a_speaker_is_seamless_whatever_single_times_say() -> None:
    device = Speaker()
    device.blocks(SPEAKER_SETTLED_AFTER_BLOCKS)
    for late, delay in ((0.0, 0.05), (0.008, 0.05), (0.0, 0.09), (0.005, 0.01), (0.0, 0.05)):
        device.late = late
        device.blocks(1, delay=delay)
    assert device.heard == pytest.approx([4_000.05 + n * BLOCK_S for n in range(30)], abs=1e-4)


@pytest.mark.parametrize(("stalled_s", "told"), [(0.12, False), (0.03, True), (7.0, False)])
def test_a_speaker_that_ran_dry_plays_what_comes_next_that_much_later(stalled_s: float, told: bool) -> None:
    device = Speaker()
    device.blocks(30)
    device.now += stalled_s
    device.blocks(1, delay=0.0, ran_dry=told)
    device.blocks(3, delay=0.02)
    assert len(device.heard) == 30  # what comes next waits until it is known
    device.blocks(26)
    assert device.heard == pytest.approx(
        [4_000.05 + n * BLOCK_S + (stalled_s if n >= 30 else 0) for n in range(60)], abs=1e-3
    )


def test_drift_between_two_clocks_stays_within_what_nobody_hears() -> None:
    device = Speaker()
    for block in range(10_000):  # 200 s, in which the device loses 40 ms
        device.blocks(1, delay=0.05 + block * 4e-6)
    assert device.heard == pytest.approx([4_000.05 + n * 0.020004 for n in range(10_000)], abs=0.025)


def test_a_speaker_is_not_believed_to_play_what_it_holds_out_of_time() -> None:
    device = Speaker()
    device.blocks(100, delay=0.1)
    device.blocks(200, delay=0.05)
    device.blocks(700, delay=0.1)
    assert device.heard == pytest.approx([4_000.1 + n * BLOCK_S for n in range(1_000)], abs=1e-3)


def test_what_still_waits_at_the_end_is_told() -> None:
    device = Speaker()
    device.blocks(3)
    device.end()
    assert device.heard == pytest.approx([4_000.05, 4_000.07, 4_000.09], abs=1e-4)
    device.end()
    assert len(device.heard) == 3


def test_a_speaker_that_gives_no_time_is_taken_to_play_at_once() -> None:
    device = Speaker()
    device.blocks(SPEAKER_SETTLED_AFTER_BLOCKS, knows=False)
    assert device.heard[0] == pytest.approx(4_000.0)

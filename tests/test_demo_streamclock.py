"""A stream's clock: seamless where the sound was, and right where it was not."""

from __future__ import annotations

import pytest

from demo.streamclock import StreamClock

SETTLED = 10


class Device:
    """A device whose clock is 1,000 s ahead of ours, and a stream's clock that is asked for every block of 20 ms."""

    def __init__(self, *, wanders: bool = False) -> None:
        self.now = 5_000.0
        self.ahead = 1_000.0
        self.late = 0.0  # how late the callback is
        self.clock = StreamClock(device_times_wander=wanders, monotonic=self._monotonic)

    def _monotonic(self) -> float:
        return self.now - self.ahead + self.late

    def block(self, *, delay: float = 0.05, knows: bool = True) -> float:
        at = self.clock.time_of(self.now + delay if knows else 0.0, self.now, 480)
        self.now += 0.02
        return at

    def settle(self) -> None:
        for _ in range(SETTLED):
            self.block()


def test_a_device_that_starts_is_followed_at_once() -> None:
    device = Device()
    assert device.block(delay=0.03) == pytest.approx(4_000.03)
    assert device.block(delay=0.05) == pytest.approx(4_000.07)


def test_then_blocks_follow_each_other_seamlessly_whatever_single_times_say() -> None:
    device = Device()
    device.settle()
    got = []
    for late, delay in ((0.0, 0.05), (0.008, 0.05), (0.0, 0.09), (0.005, 0.01), (0.0, 0.05)):
        device.late = late
        got.append(device.block(delay=delay))
    assert got == pytest.approx([4_000.25, 4_000.27, 4_000.29, 4_000.31, 4_000.33], abs=1e-4)


def test_a_gap_in_the_sound_is_a_gap_in_its_times() -> None:
    device = Device()
    device.settle()
    device.now += 7
    assert device.block() == pytest.approx(4_007.25, abs=1e-4)


def test_lost_blocks_are_noticed_soon() -> None:
    device = Device()
    device.settle()
    device.now += 0.06  # three blocks
    assert device.block() == pytest.approx(4_000.25, abs=1e-4)
    for _ in range(50):
        at = device.block()
    assert at == pytest.approx(device.now - 0.02 - 1_000 + 0.05, abs=1e-4)


def test_a_device_clock_that_was_set_makes_no_difference() -> None:
    device = Device()
    device.settle()
    device.now += 3_600
    device.ahead += 3_600
    assert device.block() == pytest.approx(4_000.25, abs=1e-4)


def test_drift_between_two_clocks_stays_within_what_nobody_hears() -> None:
    device = Device()
    for block in range(10_000):  # 200 s, in which the device loses 40 ms
        at = device.block(delay=0.05 + block * 4e-6)
        assert at == pytest.approx(4_000.05 + block * 0.020004, abs=0.022)


def test_times_that_wander_are_believed_only_at_the_start() -> None:
    device = Device(wanders=True)
    device.settle()
    for block in range(500):
        at = device.block(delay=0.05 - block * 1e-3)
        assert at == pytest.approx(4_000.25 + block * 0.02, abs=1e-3)


def test_a_driver_that_gives_no_time_is_taken_to_play_at_once() -> None:
    assert Device().block(knows=False) == pytest.approx(4_000.0)

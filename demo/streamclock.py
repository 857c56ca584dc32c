"""When the blocks of a sound card's stream are at the device, on the clock of the rest of the program."""

from __future__ import annotations

import time
from collections import deque
from statistics import median
from typing import TYPE_CHECKING

from demo.playback import RATE

if TYPE_CHECKING:
    from collections.abc import Callable

SETTLED_AFTER_BLOCKS = 10  # while a device starts, its times jump
OBSERVED_BLOCKS = 50
DRIFT_S = 0.02
GAP_S = 1.0


class StreamClock:
    """Turns one stream's times into `time.monotonic()` seconds, free of the jitter of single callbacks.

    Once the device has settled, blocks follow each other seamlessly: sound placed by raw device times would have
    clicks and gaps that nobody heard. Only when the device is more than `DRIFT_S` away in most of the last
    `OBSERVED_BLOCKS` (two clocks drift, or blocks were lost), or `GAP_S` away at once (the machine slept), is it
    followed.

    With `device_times_wander` the device's own times are believed only while it settles; then the delay they told
    is taken to stay, and the callbacks' times are used.
    """

    def __init__(self, *, device_times_wander: bool = False, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._wander = device_times_wander
        self._offset: float | None = None
        self._blocks = 0
        self._delays: list[float] = []
        self._next = 0.0
        self._astray: deque[float] = deque(maxlen=OBSERVED_BLOCKS)

    def time_of(self, device_time: float, current_time: float, frames: int) -> float:
        """When the first of a block's `frames` frames is at the device.

        Both times are PortAudio's, in seconds: of that frame (0 from drivers that do not know), and of the callback.
        """
        seen = self._monotonic() - current_time
        # A callback is only ever late, so the smallest difference is the true one; beyond a second a clock was set.
        if self._offset is None or abs(seen - self._offset) > 1:
            self._offset = seen
        self._offset = min(self._offset + 1e-6, seen)
        astray = self._offset + self._measured(device_time or current_time, current_time) - self._next
        self._astray.append(astray)
        self._blocks += 1
        if self._blocks <= SETTLED_AFTER_BLOCKS or abs(astray) > GAP_S:
            self._follow(astray)
        elif len(self._astray) == OBSERVED_BLOCKS and abs(usual := median(self._astray)) > DRIFT_S:
            self._follow(usual)
        at = self._next
        self._next += frames / RATE
        return at

    def _measured(self, device_time: float, current_time: float) -> float:
        if self._blocks < SETTLED_AFTER_BLOCKS:
            self._delays.append(device_time - current_time)
        elif self._wander:
            return current_time + median(self._delays)
        return device_time

    def _follow(self, astray: float) -> None:
        self._next += astray
        self._astray.clear()

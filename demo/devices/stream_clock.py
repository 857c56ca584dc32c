"""Converts the device times of a sound card's blocks to seconds of `time.monotonic()`.

The blocks of one stream follow each other without gaps. Raw device times jitter, so audio placed by them would have
clicks and gaps that the room did not have. Device times are PortAudio's, in seconds; a driver that does not know them
reports 0.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from demo.devices.playback_queue import RATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Blocks of a starting microphone that are placed by their own times: the times jump while the device starts.
MICROPHONE_SETTLED_AFTER_BLOCKS = 10
#: Blocks within which an earlier estimate is adopted at once: by then one callback was not delayed.
MICROPHONE_ADJUSTED_AT_ONCE_BLOCKS = 100
#: Blocks of a speaker that wait for its times to settle, after its start and after an underflow.
SPEAKER_SETTLED_AFTER_BLOCKS = 25
#: A steady difference from the device of more than this many seconds is corrected at once.
MAX_STEADY_ERROR_S = 0.02
#: A difference of more than this many seconds is a gap in the audio.
GAP_S = 1.0
#: The largest gradual correction, in seconds per second: two clocks hardly drift apart faster.
MAX_DRIFT = 100e-6


class MicrophoneClock:
    """Computes when each block was captured, from the callbacks with the least delay: no callback is early.

    From the device's own times it uses only the shortest delay, because over PulseAudio they vary by 100 ms within
    seconds. A callback delivers a complete block, so the delay is at least the block's duration.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._drift = _DriftCorrection(blocks=50, estimate=min)
        self._blocks = 0
        self._shortest_delay = GAP_S
        self._next_block_at = 0.0

    def block_time(self, device_time: float, current_time: float, frames: int) -> float:
        """Returns when the first of a block's `frames` frames was captured, in seconds of `time.monotonic()`.

        `device_time` is the device time of that frame, `current_time` the device time of the callback.
        """
        delay = current_time - device_time if device_time else 0.0
        self._blocks += 1
        if self._blocks <= MICROPHONE_SETTLED_AFTER_BLOCKS:
            self._next_block_at = self._monotonic() - max(delay, frames / RATE)
        else:
            self._shortest_delay = min(self._shortest_delay, delay)
            error = self._monotonic() - max(self._shortest_delay, frames / RATE) - self._next_block_at
            earlier = error < 0 and self._blocks <= MICROPHONE_ADJUSTED_AT_ONCE_BLOCKS
            self._next_block_at += error if earlier or abs(error) > GAP_S else self._drift.correction(error, frames)
        at = self._next_block_at
        self._next_block_at += frames / RATE
        return at


class SpeakerClock:
    """Computes when each block is played. Blocks play in order and without a gap, except after an underflow.

    After an underflow the following blocks play later, by a time that the device reports correctly only once it has
    settled again, so these blocks are held back until then. Otherwise the clock follows the device gradually: on a
    busy machine PulseAudio's times can be wrong by 50 ms for 4 s.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._drift = _DriftCorrection(blocks=500, estimate=partial(min, key=abs))
        self._next_block_at: float | None = None  # None until the device has settled
        self._held_back: list[tuple[bytes, int]] = []
        self._first_block_at: list[float] = []  # estimates for the first block held back, one from each of them

    def add_block(
        self, pcm: bytes, frames: int, device_time: float, current_time: float, *, underflow: bool = False
    ) -> list[tuple[bytes, float]]:
        """Adds a block of `frames` frames. Returns the blocks whose times are now known, each with its time.

        The returned times are of the first frame, in seconds of `time.monotonic()`. `device_time` is the device time
        at which the block is to be played, `current_time` the device time of the callback. `underflow` is the
        device's own flag, which not every device sets.
        """
        now = self._monotonic()
        played_at = now + (device_time - current_time if device_time else 0.0)
        if self._next_block_at is not None:
            too_late = bool(device_time) and now > self._next_block_at  # a block cannot play before its callback
            if underflow or too_late or abs(played_at - self._next_block_at) > GAP_S:
                self._next_block_at = None
            else:
                self._next_block_at += self._drift.correction(played_at - self._next_block_at, frames)
        if self._next_block_at is None:
            self._first_block_at.append(played_at - sum(held for _, held in self._held_back) / RATE)
        self._held_back.append((pcm, frames))
        if len(self._first_block_at) == SPEAKER_SETTLED_AFTER_BLOCKS:
            self._settle()
        return [] if self._next_block_at is None else self._release()

    def flush(self) -> list[tuple[bytes, float]]:
        """Returns the blocks that are still held back, with the best estimate of their times."""
        if self._first_block_at:
            self._settle()
        return self._release()

    def _settle(self) -> None:
        self._next_block_at = median(self._first_block_at[-len(self._first_block_at) // 2 :])
        self._first_block_at.clear()
        self._drift.restart()

    def _release(self) -> list[tuple[bytes, float]]:
        timed = []
        for pcm, frames in self._held_back:
            assert self._next_block_at is not None
            timed.append((pcm, self._next_block_at))
            self._next_block_at += frames / RATE
        self._held_back.clear()
        return timed


class _DriftCorrection:
    """Follows a device's clock gradually, or at once if the last `blocks` blocks differ by `MAX_STEADY_ERROR_S`.

    `estimate` reduces the errors of these blocks to one error.
    """

    def __init__(self, *, blocks: int, estimate: Callable[[Iterable[float]], float]) -> None:
        self._errors: deque[float] = deque(maxlen=blocks)
        self._estimate = estimate

    def correction(self, error: float, frames: int) -> float:
        """Returns the correction in seconds, after a block of `frames` frames that was `error` seconds off."""
        self._errors.append(error)
        steady_error = self._estimate(self._errors)
        if len(self._errors) == self._errors.maxlen and abs(steady_error) > MAX_STEADY_ERROR_S:
            self.restart()
            return steady_error
        limit = MAX_DRIFT * frames / RATE
        return max(-limit, min(steady_error, limit))

    def restart(self) -> None:
        """Forgets earlier errors, after the device has restarted."""
        self._errors.clear()

"""When the blocks of a sound card's streams are at the device, on the clock of the rest of the program.

Blocks follow each other seamlessly: sound placed by raw device times would have clicks and gaps that nobody heard.
Device times are PortAudio's, in seconds; 0 from drivers that do not know them.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from demo.playback import RATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MICROPHONE_SETTLED_AFTER_BLOCKS = 10  # while a device starts, its times jump
MICROPHONE_KNOWN_AFTER_BLOCKS = 100  # one of them came in time
SPEAKER_SETTLED_AFTER_BLOCKS = 25  # and after it ran dry; a speaker's blocks can wait
ASTRAY_S = 0.02
GAP_S = 1.0
FOLLOWED = 100e-6  # a part of the time that goes by: two clocks hardly differ by more


class MicrophoneClock:
    """When what was said reached the microphone, by the callbacks that came soonest: none comes early.

    Of the device's own times only the shortest delay is believed: over PulseAudio they wander by 100 ms within
    seconds. A callback hands over what has been said, so the delay is a block at least.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._pace = _Pace(blocks=50, usual=min)
        self._blocks = 0
        self._delay = GAP_S
        self._next = 0.0

    def time_of(self, device_time: float, current_time: float, frames: int) -> float:
        """`time.monotonic()` seconds of the first of a block's `frames` frames.

        `device_time` is that frame's, `current_time` the callback's.
        """
        told = current_time - device_time if device_time else 0.0
        self._blocks += 1
        if self._blocks <= MICROPHONE_SETTLED_AFTER_BLOCKS:
            self._next = self._monotonic() - max(told, frames / RATE)
        else:
            self._delay = min(self._delay, told)
            astray = self._monotonic() - max(self._delay, frames / RATE) - self._next
            sooner = astray < 0 and self._blocks <= MICROPHONE_KNOWN_AFTER_BLOCKS
            self._next += astray if sooner or abs(astray) > GAP_S else self._pace.follow(astray, frames)
        at = self._next
        self._next += frames / RATE
        return at


class SpeakerClock:
    """When what the speaker was given is heard: in order and without a gap, unless the speaker runs dry.

    Then it falls silent and plays what comes next that much later. Its times tell how much once it has settled again,
    so blocks wait for that. Otherwise its times are followed little by little: on a busy machine PulseAudio's may be
    wrong by 50 ms for 4 s.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._pace = _Pace(blocks=500, usual=partial(min, key=abs))
        self._next: float | None = None  # None until the device has settled
        self._waiting: list[tuple[bytes, int]] = []
        self._begins: list[float] = []  # of what waits, as each block tells it

    def played(
        self, pcm: bytes, frames: int, device_time: float, current_time: float, *, ran_dry: bool = False
    ) -> list[tuple[bytes, float]]:
        """What is now known of this block of `frames` frames and those before: each with when its first frame is heard.

        The time is in `time.monotonic()` seconds. `device_time` is when the device says so, `current_time` the
        callback's; `ran_dry` when the device says that, which not every one does.
        """
        now = self._monotonic()
        heard = now + (device_time - current_time if device_time else 0.0)
        if self._next is not None:
            too_late = bool(device_time) and now > self._next  # nothing is heard before it is handed over
            if ran_dry or too_late or abs(heard - self._next) > GAP_S:
                self._next = None
            else:
                self._next += self._pace.follow(heard - self._next, frames)
        if self._next is None:
            self._begins.append(heard - sum(waiting for _, waiting in self._waiting) / RATE)
        self._waiting.append((pcm, frames))
        if len(self._begins) == SPEAKER_SETTLED_AFTER_BLOCKS:
            self._settle()
        return [] if self._next is None else self._take()

    def rest(self) -> list[tuple[bytes, float]]:
        """What still waits when nothing follows any more, as well as it is known."""
        if self._begins:
            self._settle()
        return self._take()

    def _settle(self) -> None:
        self._next = median(self._begins[-len(self._begins) // 2 :])
        self._begins.clear()
        self._pace.restart()

    def _take(self) -> list[tuple[bytes, float]]:
        known = []
        for pcm, frames in self._waiting:
            assert self._next is not None
            known.append((pcm, self._next))
            self._next += frames / RATE
        self._waiting.clear()
        return known


class _Pace:
    """Follows a device little by little, at once where it is more than `ASTRAY_S` away, by its last `blocks`."""

    def __init__(self, *, blocks: int, usual: Callable[[Iterable[float]], float]) -> None:
        self._astray: deque[float] = deque(maxlen=blocks)
        self._usual = usual

    def follow(self, astray: float, frames: int) -> float:
        """By how many seconds to move, now that a block of `frames` frames is `astray` seconds away."""
        self._astray.append(astray)
        usual = self._usual(self._astray)
        if len(self._astray) == self._astray.maxlen and abs(usual) > ASTRAY_S:
            self.restart()
            return usual
        most = FOLLOWED * frames / RATE
        return max(-most, min(usual, most))

    def restart(self) -> None:
        """The device has begun anew."""
        self._astray.clear()

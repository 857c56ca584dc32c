"""A microphone and a speaker for machines without a sound card: the bundled user speaks, in real time.

The speaker is inaudible but plays at real speed, so the recording is what a listener would have heard.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo.devices.interface import BLOCK_FRAMES, Devices, Listener
from demo.devices.playback_queue import BYTES_PER_FRAME, RATE
from demo.speech import Line, line

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK_MS = BLOCK_FRAMES * 1000 // RATE
BLOCK_BYTES = BLOCK_FRAMES * BYTES_PER_FRAME
SILENCE = bytes(BLOCK_BYTES)
#: How long both sides are silent, after the last line was answered, before the user leaves.
LEAVES_AFTER_MS = 2_000


@dataclass(frozen=True)
class Cue:
    """When the user says a line: `pause_ms` after the agent's reply, or `into_reply_ms` into it as a barge-in."""

    line: Line
    pause_ms: int = 700
    into_reply_ms: int | None = None


def bundled_cues() -> list[Cue]:
    """The bundled user's side of the conversation, with one barge-in."""
    return [
        Cue(line("user-paris")),
        Cue(line("user-london"), into_reply_ms=5_000),
        Cue(line("user-goodbye")),
    ]


class VirtualUser:
    """Says each line when its cue is due. It has no clock: the devices ask it for one block after another."""

    def __init__(self, cues: Sequence[Cue]) -> None:
        self._cues = list(cues)
        self._unspoken = b""  # the rest of the line that the user is saying
        self._agent_finished = False
        self._silent_ms = 0
        self._played_before_ms = 0  # when the user last spoke
        self.left = False

    def agent_finished(self) -> None:
        """The agent's reply is complete, though the speaker may still be playing it."""
        self._agent_finished = True

    def next_block(self, *, speaker_idle: bool, played_ms: int) -> bytes:
        """Returns the microphone's next 20 ms. `played_ms` is how much the speaker has played since it started."""
        if not self._unspoken:
            self._silent_ms = self._silent_ms + BLOCK_MS if speaker_idle and self._agent_finished else 0
            if self._cues and self._is_due(self._cues[0], played_ms - self._played_before_ms):
                self._unspoken = self._cues.pop(0).line.pcm
                self._agent_finished = False
            elif not self._cues and self._silent_ms >= LEAVES_AFTER_MS:
                self.left = True
        block, self._unspoken = self._unspoken[:BLOCK_BYTES], self._unspoken[BLOCK_BYTES:]
        if block:
            self._played_before_ms = played_ms
        return block.ljust(BLOCK_BYTES, b"\0")

    def _is_due(self, cue: Cue, reply_played_ms: int) -> bool:
        if cue.into_reply_ms is not None and reply_played_ms >= cue.into_reply_ms:
            return True
        return self._silent_ms >= cue.pause_ms  # so that a barge-in cue is not lost when the reply is too short


class VirtualDevices(Devices):
    """Runs a `VirtualUser` and an inaudible speaker at real speed, on a thread of their own."""

    time_limit_s = 100.0  # no person is there to press Ctrl-C if the model stops answering

    def __init__(self, cues: Sequence[Cue] | None = None) -> None:
        super().__init__()
        self._user = VirtualUser(bundled_cues() if cues is None else cues)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, listener: Listener) -> None:
        self._thread = threading.Thread(target=self._run, args=(listener,), name="virtual-devices", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def agent_finished(self) -> None:
        self._user.agent_finished()

    @property
    def user_left(self) -> bool:
        return self._user.left

    def _run(self, listener: Listener) -> None:
        started, blocks = time.monotonic(), 0
        while True:
            at = started + blocks * BLOCK_FRAMES / RATE
            played = self._queue.take(BLOCK_FRAMES)
            if played:
                listener.speaker_audio(played, at)
            block = self._user.next_block(speaker_idle=self._queue.empty, played_ms=self._queue.played_ms)
            blocks += 1
            # A microphone delivers a block when it is complete. Deadlines are absolute, so delays do not add up.
            if self._closing.wait(max(0.0, started + blocks * BLOCK_FRAMES / RATE - time.monotonic())):
                return
            listener.microphone_audio(block, at)

"""A microphone and a speaker for machines without a sound card: the bundled user talks, in real time.

The speaker is inaudible but keeps time like a real one, so that the recording is what would have been heard.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo.devices import BLOCK_FRAMES, Devices, Listener
from demo.playback import BYTES_PER_FRAME, RATE
from demo.speech import Line, line

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK_MS = BLOCK_FRAMES * 1000 // RATE
BLOCK_BYTES = BLOCK_FRAMES * BYTES_PER_FRAME
SILENCE = bytes(BLOCK_BYTES)
LEAVES_AFTER_MS = 2_000  # when nothing is left to say and the agent has answered


@dataclass(frozen=True)
class Cue:
    """When a line is said: `pause_ms` after the agent has finished, or `into_reply_ms` into the agent's reply."""

    line: Line
    pause_ms: int = 700
    into_reply_ms: int | None = None


def bundled_cues() -> list[Cue]:
    """The bundled user's side of the conversation, a barge-in included."""
    return [
        Cue(line("user-paris")),
        Cue(line("user-london"), into_reply_ms=5_000),
        Cue(line("user-goodbye")),
    ]


class VirtualUser:
    """Says its lines when the conversation calls for them. Knows no clock: it is asked once for every block."""

    def __init__(self, cues: Sequence[Cue]) -> None:
        self._cues = list(cues)
        self._speech = b""
        self._agent_finished = False
        self._idle_ms = 0
        self._heard_before_ms = 0
        self.finished = False

    def turn_over(self) -> None:
        """The agent has said all it wants to say, though the speaker may still be playing it."""
        self._agent_finished = True

    def next_block(self, *, speaker_quiet: bool, played_ms: int) -> bytes:
        """What the microphone hears in the next 20 ms, given what the speaker has played so far."""
        if not self._speech:
            self._idle_ms = self._idle_ms + BLOCK_MS if speaker_quiet and self._agent_finished else 0
            if self._cues and self._is_due(self._cues[0], played_ms - self._heard_before_ms):
                self._speech = self._cues.pop(0).line.pcm
                self._agent_finished = False
            elif not self._cues and self._idle_ms >= LEAVES_AFTER_MS:
                self.finished = True
        block, self._speech = self._speech[:BLOCK_BYTES], self._speech[BLOCK_BYTES:]
        if block:
            self._heard_before_ms = played_ms
        return block.ljust(BLOCK_BYTES, b"\0")

    def _is_due(self, cue: Cue, heard_ms: int) -> bool:
        if cue.into_reply_ms is not None and heard_ms >= cue.into_reply_ms:
            return True
        return self._idle_ms >= cue.pause_ms  # also when the reply was too short to be interrupted


class VirtualDevices(Devices):
    """Runs a `VirtualUser` and an inaudible speaker at real speed, on a thread of its own."""

    longest_s = 100.0  # nobody is there to press Ctrl-C when the model falls silent

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

    def turn_over(self) -> None:
        self._user.turn_over()

    @property
    def finished(self) -> bool:
        return self._user.finished

    def _run(self, listener: Listener) -> None:
        started, blocks = time.monotonic(), 0
        while True:
            at = started + blocks * BLOCK_FRAMES / RATE
            played = self._queue.take(BLOCK_FRAMES)
            if played:
                listener.speaker(played, at)
            block = self._user.next_block(speaker_quiet=self._queue.empty, played_ms=self._queue.played_ms)
            blocks += 1
            # A microphone hands a block over when it is complete. A late wake-up is caught up, never added.
            if self._closing.wait(max(0.0, started + blocks * BLOCK_FRAMES / RATE - time.monotonic())):
                return
            listener.microphone(block, at)

"""What the speaker has yet to play, and how much of each reply has been heard."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

RATE = 24_000  # Hz, mono PCM16 throughout the demo: what Realtime sessions speak by default
BYTES_PER_FRAME = 2


@dataclass(frozen=True)
class Part:
    """One audio part of an item, as `conversation.item.truncate` names it."""

    item_id: str
    content_index: int


@dataclass(frozen=True)
class Cut:
    """A part that will not be heard to its end, and how many ms of it were heard."""

    part: Part
    heard_ms: int


class PlayQueue:
    """Agent audio on its way to a speaker. Thread-safe: the network side puts, the speaker's callback takes.

    What was taken counts as heard, since a device cannot be asked to give back what it holds. So the recording, which
    is made of what was taken, and the truncation sent to the server agree to the millisecond.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Part, bytes]] = deque()
        self._odd: dict[Part, bytes] = {}
        self._taken: dict[Part, int] = {}  # frames
        self._closed: set[Part] = set()
        self._total = 0

    def put(self, part: Part, pcm: bytes) -> None:
        """Appends PCM16 audio of any length; half a frame waits for its other half. Ignored after a `flush`."""
        with self._lock:
            if part in self._closed:
                return
            pcm = self._odd.pop(part, b"") + pcm
            whole = len(pcm) // BYTES_PER_FRAME * BYTES_PER_FRAME
            if whole < len(pcm):
                self._odd[part] = pcm[whole:]
            self._taken.setdefault(part, 0)
            if whole:
                self._waiting.append((part, pcm[:whole]))

    def take(self, frames: int) -> bytes:
        """The next audio to play: at most `frames` frames, fewer when fewer are waiting."""
        wanted = frames * BYTES_PER_FRAME
        pieces = []
        with self._lock:
            while wanted and self._waiting:
                part, pcm = self._waiting.popleft()
                piece, rest = pcm[:wanted], pcm[wanted:]
                if rest:
                    self._waiting.appendleft((part, rest))
                wanted -= len(piece)
                self._taken[part] += len(piece) // BYTES_PER_FRAME
                self._total += len(piece) // BYTES_PER_FRAME
                pieces.append(piece)
        return b"".join(pieces)

    def flush(self) -> list[Cut]:
        """Drops everything that waits (a barge-in), refuses more of the same parts, and says what was cut where."""
        with self._lock:
            parts = list(dict.fromkeys(part for part, _ in self._waiting))
            self._waiting.clear()
            self._odd.clear()
            cuts = [Cut(part, self._taken[part] * 1000 // RATE) for part in parts]
            self._closed.update(self._taken)
            self._taken.clear()
            return cuts

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be played."""
        with self._lock:
            return not self._waiting

    @property
    def played_ms(self) -> int:
        """How much was played altogether, in ms."""
        with self._lock:
            return self._total * 1000 // RATE

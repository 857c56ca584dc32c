"""The queue of agent audio for the speaker, which counts how much of each content part was played."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

#: Hz. All audio of the demo is mono PCM16 at 24 kHz, the default of Realtime sessions.
RATE = 24_000
BYTES_PER_FRAME = 2


@dataclass(frozen=True)
class ContentPart:
    """One audio part of an item, with the fields that `conversation.item.truncate` uses to name it."""

    item_id: str
    content_index: int


@dataclass(frozen=True)
class Truncation:
    """A part that was cut by a barge-in, and how many ms of it were played."""

    part: ContentPart
    played_ms: int


class PlaybackQueue:
    """Agent audio on its way to a speaker. Thread-safe: the event loop puts, the speaker's callback takes.

    Frames count as played when the speaker takes them, because a device cannot return audio that it holds. The
    recording is made from the frames taken, too, so it agrees to the millisecond with the truncation sent to the
    server.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queued: deque[tuple[ContentPart, bytes]] = deque()
        self._half_frames: dict[ContentPart, bytes] = {}
        self._played_frames: dict[ContentPart, int] = {}
        self._truncated: set[ContentPart] = set()
        self._total_frames = 0

    def put(self, part: ContentPart, pcm: bytes) -> None:
        """Appends PCM16 audio of any length in bytes. An odd byte waits for the next one of its frame.

        Audio of a part that `flush` has cut is ignored.
        """
        with self._lock:
            if part in self._truncated:
                return
            pcm = self._half_frames.pop(part, b"") + pcm
            whole = len(pcm) // BYTES_PER_FRAME * BYTES_PER_FRAME
            if whole < len(pcm):
                self._half_frames[part] = pcm[whole:]
            self._played_frames.setdefault(part, 0)
            if whole:
                self._queued.append((part, pcm[:whole]))

    def take(self, frames: int) -> bytes:
        """Removes the next audio to play: `frames` frames, or fewer if the queue holds fewer."""
        wanted = frames * BYTES_PER_FRAME
        pieces = []
        with self._lock:
            while wanted and self._queued:
                part, pcm = self._queued.popleft()
                piece, rest = pcm[:wanted], pcm[wanted:]
                if rest:
                    self._queued.appendleft((part, rest))
                wanted -= len(piece)
                self._played_frames[part] += len(piece) // BYTES_PER_FRAME
                self._total_frames += len(piece) // BYTES_PER_FRAME
                pieces.append(piece)
        return b"".join(pieces)

    def flush(self) -> list[Truncation]:
        """Drops all queued audio, as a barge-in requires, and ignores later audio of every part seen so far.

        Returns a truncation for each part that had audio in the queue.
        """
        with self._lock:
            parts = list(dict.fromkeys(part for part, _ in self._queued))
            self._queued.clear()
            self._half_frames.clear()
            truncations = [Truncation(part, self._played_frames[part] * 1000 // RATE) for part in parts]
            self._truncated.update(self._played_frames)
            self._played_frames.clear()
            return truncations

    @property
    def empty(self) -> bool:
        """Whether no audio is queued."""
        with self._lock:
            return not self._queued

    @property
    def played_ms(self) -> int:
        """How much audio was taken since the queue was created, in ms."""
        with self._lock:
            return self._total_frames * 1000 // RATE

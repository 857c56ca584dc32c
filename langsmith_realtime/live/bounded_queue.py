"""What callers recorded of one conversation, until the worker has done it: in order, and bounded for all together.

The caller's thread pays for an append. When too much waits, audio is dropped first, runs last, and each
conversation says on its root how much it lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

from langsmith_realtime.core.protocol.events import APPEND
from langsmith_realtime.live.dropped_audio import DroppedAudio, Session, fill_before
from langsmith_realtime.runtime.guard import Guard

#: Entries that may wait before audio, and before anything, is dropped. 20 ms chunks of 500 conversations come to the
#: first in about a second.
AUDIO_LIMIT = 50_000
#: Bytes of sound that may wait, as it came, before more is dropped: two seconds of 500 conversations, both sides.
AUDIO_BYTES = 128_000_000
LIMIT = 200_000
#: Entries from which on an event that only says that it arrived is dropped.
STRUCTURE_LIMIT = 150_000
#: Chunks of a microphone that are taken together: as much work as anything else, in number and in bytes.
CHUNKS, CHUNKS_BYTES = 100, 1_000_000

#: A chunk of the microphone: as it was sent (base64, or the event's JSON text), when (seconds), and whether it is text.
Chunk: TypeAlias = tuple[str, float, bool]
#: What is done with chunks that nothing else came between.
TakeChunks: TypeAlias = Callable[[Iterator[Chunk]], None]
_Entry: TypeAlias = tuple[Callable[..., None] | None, tuple[Any, ...], int]


def no_chunks(chunks: Iterator[Chunk]) -> None:
    """For inboxes that no chunks are put into."""
    for _ in chunks:
        raise TypeError("nobody takes chunks here")


class QueueLoad:
    """How much waits for one worker, in entries and in bytes of sound, since nothing did.

    Two threads at once may count one entry: that is forgotten as soon as nothing waits.
    """

    __slots__ = ("done", "put", "sound", "sound_done")

    def __init__(self) -> None:
        self.put = self.done = self.sound = self.sound_done = 0

    @property
    def takes_audio(self) -> bool:
        """Whether audio would not be dropped now."""
        return self.put - self.done < AUDIO_LIMIT and self.sound - self.sound_done < AUDIO_BYTES

    @property
    def is_crowded(self) -> bool:
        """Whether there is only room for what matters."""
        return self.put - self.done >= STRUCTURE_LIMIT

    def nothing_waits(self) -> None:
        self.put = self.done = self.sound = self.sound_done = 0


class BoundedQueue:
    """One conversation's entries. Any thread may put; the worker alone takes.

    Args:
        load: what waits in all inboxes of the worker.
        due: tells the worker that something waits in one.
        guard: hears what failed.
        chunks: what is done with chunks of the microphone, if any are put. After a failure it is called again, with
            what is left of the same iterator.
    """

    __slots__ = ("_chunks", "_due", "_entries", "_guard", "_is_due", "load")

    def __init__(
        self,
        load: QueueLoad,
        due: Callable[[BoundedQueue], None],
        guard: Guard,
        chunks: TakeChunks = no_chunks,
    ) -> None:
        self.load = load
        self._due = due
        self._guard = guard
        self._chunks = chunks
        self._entries: deque[_Entry] = deque()
        self._is_due = False

    def insist(self, work: Callable[..., None], *arguments: Any) -> bool:
        """Have ``work(*arguments)`` done, however much waits: for what each conversation does once.

        Always True.
        """
        self._put(work, arguments, 0)
        self._due(self)  # whatever kept somebody from saying so before
        return True

    def put(self, work: Callable[..., None], *arguments: Any) -> bool:
        """The same, for the rest; False when too much waits, and it was dropped."""
        if self.load.put - self.load.done >= LIMIT:
            return False
        self._put(work, arguments, 0)
        return True

    def put_audio(self, size: int, work: Callable[..., None], *arguments: Any) -> bool:
        """Like :meth:`put`, for ``size`` bytes of audio: dropped earlier."""
        if not self.load.takes_audio:
            return False
        self._put(work, arguments, size)
        return True

    def put_chunk(self, sent: str, t: float, is_text: bool) -> bool:
        """Like :meth:`put_audio`, for a chunk of the microphone: there are more of them than of anything else."""
        if not self.load.takes_audio:
            return False
        self._put(None, (sent, t, is_text), len(sent))
        return True

    def _put(self, work: Callable[..., None] | None, arguments: tuple[Any, ...], size: int) -> None:
        self.load.put += 1
        self.load.sound += size
        self._entries.append((work, arguments, size))
        if not self._is_due:
            self._is_due = True
            self._due(self)

    # From the worker

    def empty(self, between: Callable[[], None]) -> None:
        """Do all that was put so far; ``between`` is called between two pieces of work."""
        # First, so that who puts more from here on says so again.
        self._is_due = False
        left = len(self._entries)
        while left > 0:
            work, arguments, size = self._entries.popleft()
            count = 1
            if work is None:
                chunks, size = self._following(arguments, size, min(left, CHUNKS))
                work, arguments, count = self._take, (chunks,), len(chunks)
            left -= count
            self.load.done += count
            self.load.sound_done += size
            try:
                work(*arguments)
            except BaseException as error:  # whatever it is: others wait for this thread
                self._guard.report(getattr(work, "__name__", "work"), error)
            between()

    def _following(self, first: Chunk, size: int, most: int) -> tuple[list[Chunk], int]:
        """That chunk and those that nothing comes before, as many as there are, and all that they count for."""
        chunks, entries = [first], self._entries
        while len(chunks) < most and size < CHUNKS_BYTES and entries[0][0] is None:
            _, chunk, its_size = entries.popleft()
            chunks.append(chunk)
            size += its_size
        return chunks, size

    def _take(self, chunks: list[Chunk]) -> None:
        waiting = iter(chunks)
        for _ in chunks:  # after a failure it goes on with the next
            try:
                self._chunks(waiting)
                break
            except BaseException as error:  # as above
                self._guard.report("chunks", error)


#: What is done later, with arguments.
Work: TypeAlias = Callable[..., None]


class Intake:
    """In front of an inbox.

    Args:
        inbox: takes what there is room for.
        session: takes silence in the place of dropped sound, on the worker's thread.
        guard: hears what failed.
    """

    __slots__ = ("_guard", "_inbox", "_session", "dropped", "gaps")

    def __init__(self, inbox: BoundedQueue, session: Session, guard: Guard) -> None:
        self._inbox = inbox
        self._session = session
        self._guard = guard
        self.gaps = DroppedAudio()
        #: How much there was no room for.
        self.dropped = {"dropped_audio_chunks": 0, "dropped_events": 0}

    @property
    def is_crowded(self) -> bool:
        """Whether there is only room for what matters."""
        return self._inbox.load.is_crowded

    def insist(self, work: Work, *arguments: Any) -> None:
        """Have ``work(*arguments)`` done, however much waits."""
        self._behind_gaps(self._inbox.insist, work, arguments)

    def event(self, work: Work, *arguments: Any, light: bool = False) -> None:
        """The same, if there is room. Of ``light`` ones, what they say is said again, or hardly matters."""
        if (light and self.is_crowded) or not (
            self._behind_gaps(self._inbox.put, work, arguments)
            if self.gaps.waiting
            else self._inbox.put(work, *arguments)
        ):
            self.dropped["dropped_events"] += 1

    def audio(self, size: int, lost: Work, work: Work, *arguments: Any) -> None:
        """The same, for ``size`` bytes of sound, which are dropped earlier: then ``lost`` is told instead."""
        if self.gaps.waiting or not self._inbox.put_audio(size, work, *arguments):
            self._late_audio(size, lost, work, arguments)

    def chunk(self, work: Work, chunk: str, t: float, is_text: bool) -> None:
        """The same, for a chunk of the microphone, for which the inbox has a shorter way.

        ``work`` is what is done with it as an event, where there is something to be said before.
        """
        if self.gaps.waiting or not self._inbox.put_chunk(chunk, t, is_text):
            frame = chunk if is_text else {"type": APPEND, "audio": chunk}
            self._late_audio(len(chunk), self.gaps.sent, work, (frame, t))

    def _late_audio(self, size: int, lost: Work, work: Work, arguments: tuple[Any, ...]) -> None:
        """There is no room for it, or was none for what came before it."""
        put = partial(self._inbox.put_audio, size)
        if not self._inbox.load.takes_audio or not self._behind_gaps(put, work, arguments):
            self.dropped["dropped_audio_chunks"] += 1
            try:
                lost(*arguments)
            except Exception as error:
                self._guard.report("gaps", error)

    def _behind_gaps(self, put: Callable[..., bool], work: Work, arguments: tuple[Any, ...]) -> bool:
        """Silence takes the place of sound that was dropped, before anything else happens."""
        gaps = self.gaps.take()
        taken = put(fill_before, gaps, self._session, work, arguments)
        if not taken:
            self.gaps.give_back(gaps)
        return taken

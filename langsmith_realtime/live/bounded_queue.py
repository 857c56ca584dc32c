"""The queue between a conversation's callers and the worker thread: in order, and of limited size.

For the caller's thread, a call costs one append. When too many entries wait in all queues of a worker, audio is
dropped first, then light events (see :meth:`Intake.put_event`), then all other events. Each conversation counts its
dropped entries, and its root run shows the counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

from langsmith_realtime.core.protocol.events import APPEND
from langsmith_realtime.live.dropped_audio import DroppedAudio, Session, call_after_silence
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.runtime.guard import Guard

#: A microphone chunk: base64 audio or the JSON text of its event; seconds since the conversation opened; whether it is
#: JSON text.
Chunk: TypeAlias = tuple[str, float, bool]
#: Processes consecutive microphone chunks.
TakeChunks: TypeAlias = Callable[[Iterator[Chunk]], None]
#: A function, its arguments and their bytes of audio. The function is None for a microphone chunk.
_Entry: TypeAlias = tuple[Callable[..., None] | None, tuple[Any, ...], int]


def refuse_chunks(chunks: Iterator[Chunk]) -> None:
    """Raise TypeError if there is a chunk: the default for queues without microphone chunks."""
    for _ in chunks:
        raise TypeError("take_chunks must be given for a queue that gets microphone chunks")


class QueueLoad:
    """Counts the entries, and the bytes of audio, that wait in all queues of one worker.

    There is no lock. Two threads that put at once may be counted as one entry, an error that :meth:`reset` removes.

    Args:
        limits: how much may wait.

    Attributes:
        entries_put: entries that callers put.
        entries_taken: entries that the worker took.
        bytes_put: bytes of audio that callers put.
        bytes_taken: bytes of audio that the worker took.
    """

    __slots__ = ("bytes_put", "bytes_taken", "entries_put", "entries_taken", "limits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.entries_put = self.entries_taken = self.bytes_put = self.bytes_taken = 0

    @property
    def has_room_for_audio(self) -> bool:
        return (
            self.entries_put - self.entries_taken < self.limits.queue_audio_entries
            and self.bytes_put - self.bytes_taken < self.limits.queue_audio_bytes
        )

    @property
    def is_nearly_full(self) -> bool:
        """Whether so many entries wait that light events are dropped, whose loss hardly matters to the trace."""
        return self.entries_put - self.entries_taken >= self.limits.queue_light_entries

    def reset(self) -> None:
        """Set the counts to zero; the worker calls this when all queues are empty."""
        self.entries_put = self.entries_taken = self.bytes_put = self.bytes_taken = 0


class BoundedQueue:
    """The entries of one conversation. Any thread may put them, the worker thread alone takes them.

    Args:
        load: counts for all queues of the worker.
        notify: tells the worker that this queue has entries.
        guard: gets the exceptions of the entries.
        take_chunks: processes microphone chunks. After an exception it is called again with the rest of the iterator.
    """

    __slots__ = ("_entries", "_guard", "_is_notified", "_notify", "_take_chunks", "load")

    def __init__(
        self,
        load: QueueLoad,
        notify: Callable[[BoundedQueue], None],
        guard: Guard,
        take_chunks: TakeChunks = refuse_chunks,
    ) -> None:
        self.load = load
        self._notify = notify
        self._guard = guard
        self._take_chunks = take_chunks
        self._entries: deque[_Entry] = deque()
        self._is_notified = False

    def put_always(self, function: Callable[..., None], *arguments: Any) -> bool:
        """Have the worker call ``function(*arguments)``, also when the queue is full; return True.

        Only for the few calls that must not be dropped, for example those that open and close the conversation.
        """
        self._put(function, arguments, 0)
        self._notify(self)  # wakes the worker even if an earlier notification failed
        return True

    def put(self, function: Callable[..., None], *arguments: Any) -> bool:
        """Have the worker call ``function(*arguments)``; return False if it is dropped, as too many wait."""
        if self.load.entries_put - self.load.entries_taken >= self.load.limits.queue_entries:
            return False
        self._put(function, arguments, 0)
        return True

    def put_audio(self, size: int, function: Callable[..., None], *arguments: Any) -> bool:
        """Have the worker call ``function(*arguments)``, whose arguments hold ``size`` bytes of audio.

        Returns False if there is no room for audio and the call is dropped.
        """
        if not self.load.has_room_for_audio:
            return False
        self._put(function, arguments, size)
        return True

    def put_chunk(self, sent: str, t: float, is_text: bool) -> bool:
        """Put a microphone chunk; return False if there is no room for audio and the chunk is dropped.

        Faster than :meth:`put_audio`, because microphone chunks are the most frequent entries.
        """
        if not self.load.has_room_for_audio:
            return False
        self._put(None, (sent, t, is_text), len(sent))
        return True

    def _put(self, function: Callable[..., None] | None, arguments: tuple[Any, ...], size: int) -> None:
        self.load.entries_put += 1
        self.load.bytes_put += size
        self._entries.append((function, arguments, size))
        if not self._is_notified:
            self._is_notified = True
            self._notify(self)

    # On the worker thread

    def drain(self, after_call: Callable[[], None]) -> None:
        """Process the entries that the queue holds now, and call ``after_call()`` after each.

        Consecutive microphone chunks are processed together and count as one. Exceptions are reported to the guard.
        """
        # Reset before reading, so that a caller who puts an entry from here on notifies the worker again.
        self._is_notified = False
        left = len(self._entries)
        while left > 0:
            function, arguments, size = self._entries.popleft()
            count = 1
            if function is None:
                chunks, size = self._pop_chunks(arguments, size, min(left, self.load.limits.batch_chunks))
                function, arguments, count = self._process_chunks, (chunks,), len(chunks)
            left -= count
            self.load.entries_taken += count
            self.load.bytes_taken += size
            try:
                function(*arguments)
            except BaseException as error:  # SystemExit, too, would end the thread that other conversations need
                self._guard.report(getattr(function, "__name__", "function"), error)
            after_call()

    def _pop_chunks(self, first: Chunk, size: int, limit: int) -> tuple[list[Chunk], int]:
        """Return ``first`` and the chunks directly behind it, up to ``limit`` chunks or ``batch_bytes``."""
        chunks, entries = [first], self._entries
        while len(chunks) < limit and size < self.load.limits.batch_bytes and entries[0][0] is None:
            _, chunk, chunk_size = entries.popleft()
            chunks.append(chunk)
            size += chunk_size
        return chunks, size

    def _process_chunks(self, chunks: list[Chunk]) -> None:
        remaining = iter(chunks)
        for _ in chunks:  # each call that fails has consumed at least one chunk
            try:
                self._take_chunks(remaining)
                break
            except BaseException as error:  # SystemExit, too, would end the thread that other conversations need
                self._guard.report("microphone_chunks", error)


#: A function that the worker calls later.
Function: TypeAlias = Callable[..., None]


class Intake:
    """Puts the events and the audio of one conversation into its queue.

    Counts what the queue has no room for, and has silence take the place of dropped audio.

    Args:
        queue: queue of the conversation.
        session: writes the silence, on the worker thread.
        guard: gets exceptions from measuring dropped audio.

    Attributes:
        dropped_audio: dropped audio whose silence is not in the queue yet.
        dropped: number of dropped audio chunks (dropped playback positions included) and of dropped events, by
            metadata key of the root run.
    """

    __slots__ = ("_guard", "_queue", "_session", "dropped", "dropped_audio")

    def __init__(self, queue: BoundedQueue, session: Session, guard: Guard) -> None:
        self._queue = queue
        self._session = session
        self._guard = guard
        self.dropped_audio = DroppedAudio()
        self.dropped = {"dropped_audio_chunks": 0, "dropped_events": 0}

    @property
    def is_nearly_full(self) -> bool:
        """Whether so many entries wait in the worker's queues that light events are dropped; see :meth:`put_event`."""
        return self._queue.load.is_nearly_full

    def put_always(self, function: Function, *arguments: Any) -> None:
        """Have the worker call ``function(*arguments)``, also when the queue is full."""
        self._put_after_silence(self._queue.put_always, function, arguments)

    def put_event(self, function: Function, *arguments: Any, light: bool = False) -> None:
        """Have the worker call ``function(*arguments)``, or count a dropped event.

        A ``light`` event is dropped earlier: a text delta, whose text a later event repeats, or an event whose run the
        limits of a trace leave out first (``run_limits``).
        """
        if (light and self.is_nearly_full) or not (
            self._put_after_silence(self._queue.put, function, arguments)
            if self.dropped_audio.gaps
            else self._queue.put(function, *arguments)
        ):
            self.dropped["dropped_events"] += 1

    def put_audio(self, size: int, on_drop: Function, function: Function, *arguments: Any) -> None:
        """Have the worker call ``function(*arguments)``, whose arguments hold ``size`` bytes of audio.

        If the queue has no room for them, call ``on_drop(*arguments)`` now and count a dropped chunk.
        """
        if self.dropped_audio.gaps or not self._queue.put_audio(size, function, *arguments):
            self._put_after_silence_or_drop(size, on_drop, function, arguments)

    def put_chunk(self, function: Function, chunk: str, t: float, is_text: bool) -> None:
        """Put a microphone chunk, or count a dropped chunk.

        If silence for dropped audio comes before it, the worker calls ``function(frame, t)`` with the chunk's event
        instead of ``take_chunks``.
        """
        if self.dropped_audio.gaps or not self._queue.put_chunk(chunk, t, is_text):
            frame = chunk if is_text else {"type": APPEND, "audio": chunk}
            self._put_after_silence_or_drop(len(chunk), self.dropped_audio.add_append, function, (frame, t))

    def _put_after_silence_or_drop(
        self, size: int, on_drop: Function, function: Function, arguments: tuple[Any, ...]
    ) -> None:
        put = partial(self._queue.put_audio, size)
        if not self._queue.load.has_room_for_audio or not self._put_after_silence(put, function, arguments):
            self.dropped["dropped_audio_chunks"] += 1
            try:
                on_drop(*arguments)
            except Exception as error:
                self._guard.report("dropped_audio", error)

    def _put_after_silence(self, put: Callable[..., bool], function: Function, arguments: tuple[Any, ...]) -> bool:
        """Put one entry that writes the silence for dropped audio and then calls ``function(*arguments)``.

        Returns False if ``put`` has no room for the entry; the silence is written with a later one then.
        """
        gaps = self.dropped_audio.take()
        is_put = put(call_after_silence, gaps, self._session, function, arguments)
        if not is_put:
            self.dropped_audio.put_back(gaps)
        return is_put

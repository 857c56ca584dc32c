"""The queue of one conversation's inputs: in order, and bounded for all conversations of a worker.

For the caller's thread, a put costs one append. When too much waits, audio is dropped first, then light events, then
all other events. Silence takes the place of dropped audio, so that later audio keeps its place; dropped inputs are
counted, and the root run shows the counts. The module reads no clock and does no I/O.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from langsmith_realtime.core.protocol.audio_formats import AGENT, USER, audio_of
from langsmith_realtime.core.protocol.events import Event, FrameError, parse
from langsmith_realtime.core.protocol.inputs import Audio, ClientFrame, DroppedAudio, Input, Opened, ServerFrame
from langsmith_realtime.options.limits import Limits

#: Dropped chunks of one channel become one gap up to this length, in seconds between arrivals and in bytes.
MAX_GAP_S, MAX_GAP_BYTES = 0.5, 200_000


class QueueLoad:
    """Counts the inputs, and the bytes of audio, that wait in all queues of one worker.

    There is no lock. Two threads that put at once may be counted as one input, an error that :meth:`reset` removes.

    Args:
        limits: how much may wait.

    Attributes:
        put: inputs that callers put.
        taken: inputs that the worker took.
        bytes_put: bytes of audio that callers put.
        bytes_taken: bytes of audio that the worker took.
    """

    __slots__ = ("bytes_put", "bytes_taken", "limits", "put", "taken")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.put = self.taken = self.bytes_put = self.bytes_taken = 0

    @property
    def has_room_for_audio(self) -> bool:
        return (
            self.put - self.taken < self.limits.queue_audio_entries
            and self.bytes_put - self.bytes_taken < self.limits.queue_audio_bytes
        )

    @property
    def is_nearly_full(self) -> bool:
        """Whether so many inputs wait that light events are dropped, whose loss hardly matters to the trace."""
        return self.put - self.taken >= self.limits.queue_light_entries

    @property
    def is_full(self) -> bool:
        """Whether so many inputs wait that all are dropped but those that must not be."""
        return self.put - self.taken >= self.limits.queue_entries

    def reset(self) -> None:
        """Set the counts to zero, when all queues are empty."""
        self.put = self.taken = self.bytes_put = self.bytes_taken = 0


class BoundedQueue:
    """The inputs of one conversation. Any thread may put them, the worker's thread alone takes them.

    Args:
        load: counts for all queues of the worker.
        notify: tells the worker that this queue has inputs.

    Attributes:
        dropped: number of dropped audio chunks and events, by metadata key of the root run.
    """

    __slots__ = ("_gaps", "_inputs", "_is_notified", "_lock", "_notify", "dropped", "load")

    def __init__(self, load: QueueLoad, notify: Callable[[BoundedQueue], None]) -> None:
        self.load = load
        self._notify = notify
        self._inputs: deque[tuple[Input, int]] = deque()  # with the bytes of audio
        self._is_notified = False
        self._lock = threading.Lock()  # for the gaps
        self._gaps: list[tuple[DroppedAudio, float]] = []  # with the time of the first chunk
        self.dropped = {"dropped_audio_chunks": 0, "dropped_events": 0}

    def put_always(self, given: Input) -> None:
        """Put an input, also when the queue is full. Only for the few that must not be dropped."""
        self._put(given, 0)
        self._notify(self)  # wakes the worker even if an earlier notification failed

    def put_note(self, given: Input) -> None:
        """Put an input, also when the queue is full; the worker takes it with the others.

        Cheaper than :meth:`put_always`, because it does not wake a worker that was told before.
        """
        self._put(given, 0)

    def put_quietly(self, given: Opened, *, hold: bool) -> None:
        """Put the first input without telling the worker. The next one does; with ``hold``, only :meth:`wake` does."""
        self._inputs.append((given, 0))
        self._is_notified = hold

    def wake(self) -> None:
        """Tell the worker that this queue has inputs."""
        self._is_notified = True
        self._notify(self)

    @property
    def has_only_opened(self) -> bool:
        """Whether nothing was put since :meth:`put_quietly`."""
        return len(self._inputs) == 1 and type(self._inputs[0][0]) is Opened

    def put_event(self, given: Input, *, light: bool = False) -> None:
        """Put an input, or count a dropped event if the queue is full.

        A ``light`` one is dropped earlier: a text delta, whose text a later event repeats, or an event whose run the
        limits of a trace leave out first (``run_limits``).
        """
        if self.load.is_full or (light and self.load.is_nearly_full):
            self.dropped["dropped_events"] += 1
        else:
            self._put(given, 0)

    def put_audio(self, given: Input, size: int) -> None:
        """Put an input with ``size`` bytes of audio, or note a gap and count a dropped chunk if there is no room."""
        if self.load.has_room_for_audio:
            self._put(given, size)
            return
        self.dropped["dropped_audio_chunks"] += 1
        gap = _gap(given)
        if gap is not None:
            self._note(gap)

    def batches(self, limit: int) -> Iterator[list[Input]]:
        """Take the inputs that the queue holds now, at most ``limit`` at once; on the worker's thread."""
        # Reset before reading, so that a caller who puts an input from here on notifies the worker again.
        self._is_notified = False
        left = len(self._inputs)
        while left > 0:
            taken = [self._inputs.popleft() for _ in range(min(left, limit))]
            left -= len(taken)
            self.load.taken += sum(type(given) is not DroppedAudio for given, _ in taken)
            self.load.bytes_taken += sum(size for _, size in taken)
            yield [given for given, _ in taken]

    def _put(self, given: Input, size: int) -> None:
        gaps = self._take_gaps() if self._gaps else ()
        self.load.put += 1  # gaps do not count, or dropped audio would cost events
        self.load.bytes_put += size
        if gaps:
            self._inputs.extend([*((gap, 0) for gap in gaps), (given, size)])
        else:
            self._inputs.append((given, size))
        if not self._is_notified:
            self._is_notified = True
            self._notify(self)

    def _take_gaps(self) -> list[DroppedAudio]:
        with self._lock:
            gaps, self._gaps = self._gaps, []
        return sorted((gap for gap, _ in gaps), key=lambda gap: gap.t)

    def _note(self, gap: DroppedAudio) -> None:
        """Add a gap, or lengthen the latest one of its channel."""
        with self._lock:
            for index in range(-1, -1 - min(2, len(self._gaps)), -1):
                known, since = self._gaps[index]
                if known.channel == gap.channel:
                    size = known.size + gap.size
                    if known.event == gap.event and gap.t - since <= MAX_GAP_S and size <= MAX_GAP_BYTES:
                        # The user's chunk ended when it was sent, the agent's begins when it arrived.
                        t = gap.t if gap.channel == USER else known.t
                        self._gaps[index] = replace(known, size=size, t=t), since
                        return
                    break
            self._gaps.append((gap, gap.t))


def _gap(given: Input) -> DroppedAudio | None:
    """The gap that a dropped input leaves; None if it has no audio, or audio with a time, which leaves none."""
    if isinstance(given, (ServerFrame, ClientFrame)):
        try:
            audio = carried_audio(given, parse(given.frame))
        except FrameError:
            return None
    else:
        audio = given if isinstance(given, Audio) else None
    size = 0 if audio is None else decoded_size(audio.data)
    if audio is None or not size or audio.at is not None:
        return None
    return DroppedAudio(audio.channel, size, audio.t, event=_place(audio))


def carried_audio(given: ServerFrame | ClientFrame, event: Event) -> Audio | None:
    """The audio of an input's event; None if it carries none, or if only the other side sends such an event."""
    audio = audio_of(event, given.t)
    own = AGENT if isinstance(given, ServerFrame) else USER
    return audio if audio is not None and audio.channel == own else None


def _place(audio: Audio) -> dict[str, object] | None:
    """The fields of the event that say where its audio belongs; consecutive chunks have equal ones."""
    if audio.event is None:
        return None
    return {key: value for key, value in audio.event.items() if key in _PLACE_FIELDS}


_PLACE_FIELDS = ("type", "response_id", "item_id", "output_index", "content_index")


def decoded_size(data: bytes | str) -> int:
    """The number of bytes of audio that is still base64 text, or is decoded already."""
    return max(0, len(data) * 3 // 4 - data[-2:].count("=")) if isinstance(data, str) else len(data)

"""The audio of one item: its segments, where they play, and how many of its frames are heard.

Pure. Positions are frames of the recording, offsets are frames of the item.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from langsmith_realtime.core.audio.decoding import Samples


@dataclass(slots=True, eq=False)
class Segment:
    """Consecutive frames of an item that play without a gap.

    Attributes:
        item: item to which the frames belong.
        offset: offset of the first frame.
        arrival: position at which the frames arrived.
        start: position at which the first frame plays.
        samples: PCM16 mono.
        heard: how many of the frames, from the first, are in the recording.
    """

    item: SpokenItem
    offset: int
    arrival: int
    start: int
    samples: Samples
    heard: int = 0

    @property
    def end(self) -> int:
        """Position at which the last frame ends, heard or not."""
        return self.start + len(self.samples)

    @property
    def is_confirmed(self) -> bool:
        """Whether the application or the server confirmed when its first frame plays."""
        return self.offset < self.item.confirmed


@dataclass(slots=True, eq=False)
class SpokenItem:
    """One item's audio, and the limits on how much of it is heard.

    Truncations and barge-ins are stored separately. A truncation is exact, so it prevails while it stands; if the
    server refuses it, the limits by barge-ins apply again. A barge-in is stored as a position: how many frames had been
    played by then changes when segments move.

    Attributes:
        item_id: the API's id of the item.
        added_at: position at which the item was added to the items of the playback, or to its past items.
        segments: segments whose samples are still in memory, by offset.
        first_start: position at which the first frame plays; None before the first segment.
        frames: frames that have arrived.
        dropped: frames, from the first, whose samples are no longer in memory.
        confirmed: frames, from the first, whose position the application or the server has confirmed.
        max_frames: limit of the heard frames that depends on no position, by muting or by barge-ins; None: all.
        barge_in_at: position of the barge-in that limits the item, or may do so once segments move; None if there is
            none.
        barge_in_frames: frames that had arrived by that barge-in.
        truncations: of each truncation, the frames heard, and the position at which it was sent.
        heard: frames that are heard.
        heard_end: position at which the last heard frame ends.
    """

    item_id: str
    added_at: int = 0
    segments: list[Segment] = field(default_factory=list)
    first_start: int | None = None
    frames: int = 0
    dropped: int = 0
    confirmed: int = 0
    max_frames: int | None = None
    barge_in_at: int | None = None
    barge_in_frames: int = 0
    truncations: list[tuple[int, int]] = field(default_factory=list)
    heard: int = 0
    heard_end: int = 0

    @property
    def barge_in_limit(self) -> int | None:
        """How many frames can be heard if truncations are left aside; None: all."""
        if self.barge_in_at is not None:
            played = self.frames_before(self.barge_in_at)
            if played < self.barge_in_frames:
                return played if self.max_frames is None else min(played, self.max_frames)
        return self.max_frames

    @property
    def limit(self) -> int | None:
        """How many frames can be heard, by the last truncation, else by ``barge_in_limit``; None: all."""
        return self.truncations[-1][0] if self.truncations else self.barge_in_limit

    @property
    def stopped_at(self) -> int | None:
        """Position of the last truncation, else of the barge-in that cut the item off; None if there is neither."""
        if self.truncations:
            return self.truncations[-1][1]
        return self.barge_in_at if self._was_interrupted else None

    @property
    def had_begun(self) -> bool:
        """Whether the item had begun when it was stopped; also true if it was not stopped."""
        return bool(self.heard) or bool(self.truncations) or not self._was_interrupted

    @property
    def _was_interrupted(self) -> bool:
        return self.barge_in_at is not None and self.frames_before(self.barge_in_at) < self.barge_in_frames

    def append(self, segment: Segment) -> None:
        """Add a segment that has arrived."""
        self.segments.append(segment)
        self.frames += len(segment.samples)

    def update_heard(self) -> None:
        """Recompute the heard frames, after a change of a limit or of a segment's start."""
        if self.max_frames is None and self._was_interrupted:
            self.max_frames = self.barge_in_frames
        limit = self.limit
        self.heard = self.frames if limit is None else min(limit, self.frames)
        if self.segments:
            self.heard_end = self.position_of(self.heard)
            if not self.segments[0].offset:
                self.first_start = self.segments[0].start

    def heard_frames_of(self, segment: Segment, start: int) -> int:
        """Return how many frames of a segment would be heard if it played from position ``start`` on."""
        frames = len(segment.samples)
        if self.truncations:
            return max(0, min(self.truncations[-1][0] - segment.offset, frames))
        if self.max_frames is not None:
            frames = min(self.max_frames - segment.offset, frames)
        if self.barge_in_at is not None and segment.offset < self.barge_in_frames:
            frames = min(self.barge_in_at - start, frames)
        return max(0, frames)

    def barge_in(self, position: int) -> None:
        """If a barge-in comes before all frames so far have played, limit the item to the frames played until then.

        In that case, frames that arrive later are not heard either.
        """
        played = self.frames_before(position)
        limit = self.barge_in_limit
        if played < (self.frames if limit is None else min(limit, self.frames)):
            self.barge_in_at, self.barge_in_frames = position, self.frames
        elif not self._was_interrupted:
            # A later playback position may show that the item was still playing.
            self.barge_in_at, self.barge_in_frames = position, self.frames

    def index_of(self, offset: int) -> int:
        """Return the index of the first segment that begins at an offset or after it."""
        return bisect_left(self.segments, offset, key=lambda segment: segment.offset)

    def position_of(self, offset: int) -> int:
        """Return the position at which the frames before an offset end.

        If none of them is in memory, return the start of the first segment, or ``heard_end`` if there is no segment.
        """
        index = self.index_of(offset)
        if index:
            segment = self.segments[index - 1]
            return segment.start + min(offset - segment.offset, len(segment.samples))
        return self.segments[0].start if self.segments else self.heard_end

    def frames_before(self, position: int) -> int:
        """Return how many frames play before a position, heard or not."""
        index = bisect_left(self.segments, position, key=lambda segment: segment.start)
        if not index:
            return self.dropped
        segment = self.segments[index - 1]
        return segment.offset + min(len(segment.samples), position - segment.start)

    def drop_before(self, horizon: int) -> list[Segment]:
        """Drop the segments that ended before a position, or all if a barge-in stopped the item before it.

        Return them. The limit by such a barge-in becomes ``max_frames``.
        """
        count = 0
        if self.barge_in_at is not None and self.barge_in_at < horizon:
            count = 0 if self.stopped_at is None else len(self.segments)
            self.max_frames, self.barge_in_at = self.barge_in_limit, None
        while count < len(self.segments) and self.segments[count].end < horizon:
            count += 1
        segments = self.segments[:count]
        del self.segments[:count]
        self.dropped += sum(len(segment.samples) for segment in segments)
        return segments

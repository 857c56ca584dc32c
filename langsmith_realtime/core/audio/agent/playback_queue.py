"""The client's playback queue: where each segment plays, and the writes that put the heard frames there.

Pure. Positions are frames of the recording, offsets are frames of one item.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from langsmith_realtime.core.audio.agent.item import Segment, SpokenItem
from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.audio.writes import Write, silence

#: Seconds by which a segment may arrive late, or be off a confirmed position, without being moved.
TOLERANCE_S = 0.02
#: Seconds by which a confirmed position may exceed the frames that can have been played by then, because a player's
#: clock may be fast. A position beyond that is not one of playback: Twilio answers ``clear`` with all marks at once.
MAX_AHEAD_S = 0.2


@dataclass(slots=True)
class Plan:
    """New start positions of segments.

    Attributes:
        first: index in the queue of the first segment that moves.
        starts: start of this segment and of each later one; empty if no segment moves.
    """

    first: int = 0
    starts: list[int] = field(default_factory=list)


class PlaybackQueue:
    """The segments of all items, in the order in which they play, in real time. Heard frames never overlap."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._tolerance = round(TOLERANCE_S * rate)
        self._segments: list[Segment] = []
        self._dropped_until = 0  # position at which the heard frames of dropped segments end
        self._heard_end: int | None = 0  # position at which the heard frames of the queue end; None: to be recomputed
        #: Position up to which frames have ever been written, even if they were silenced later.
        self.written_until = 0
        #: Writes that have not been taken yet, in order.
        self.writes: list[Write] = []

    def append(self, item: SpokenItem, arrival: int, samples: Samples) -> None:
        """Queue samples of an item that arrived at a position."""
        segment = Segment(item, item.frames, arrival, 0, samples)
        segment.start = self._earliest_start(segment, self._queue_end())
        segment.heard = item.heard_frames_of(segment, segment.start)
        if not segment.heard and item.segments:
            # Frames that are not heard delay no other segment. They only continue their item.
            segment.start = self._earliest_start(segment, item.segments[-1].end)
        item.append(segment)
        self._segments.append(segment)
        if item.first_start is None:
            item.first_start = segment.start
        if segment.heard:
            item.heard = segment.offset + segment.heard
            item.heard_end = self._heard_end = segment.start + segment.heard
            self._write(segment.start, samples[: segment.heard])

    def drop(self, segments: Iterable[Segment]) -> None:
        """Remove segments that their items have dropped."""
        for segment in segments:
            heard_end = segment.start + segment.heard if segment.heard else 0
            self._dropped_until = max(self._dropped_until, heard_end)
        self._segments = [segment for segment in self._segments if segment.offset >= segment.item.dropped]

    def plan(
        self, item: SpokenItem, offset: int, position: int, *, begins: bool, max_ahead_s: float = MAX_AHEAD_S
    ) -> Plan | None:
        """Plan the queue for a confirmed position: the item's frames before an offset end there.

        Args:
            item: item whose position is confirmed.
            offset: frames of the item that have been played.
            position: position by which they have been played.
            begins: the item's first frame plays exactly there, as the server said. Only for offset 0.
            max_ahead_s: seconds by which the position may exceed the frames that can have been played by then.

        Returns:
            The new starts; an empty plan if the position is within :data:`TOLERANCE_S`; None if the frames cannot have
            been played by then.
        """
        shift = position - item.position_of(offset)
        if abs(shift) <= self._tolerance:
            return Plan()
        if shift > 0:
            return self._plan_later(item, offset, position, shift)
        return self._plan_earlier(item, offset, position, begins=begins, max_ahead_s=max_ahead_s)

    def moves_confirmed(self, plan: Plan) -> int:
        """Return by how many frames, at most, a plan moves confirmed audio to an earlier position."""
        moved = zip(self._segments[plan.first :], plan.starts, strict=False)
        return max([0, *(segment.start - start for segment, start in moved if segment.is_confirmed)])

    def _plan_later(self, item: SpokenItem, offset: int, position: int, shift: int) -> Plan:
        """Put a gap before the frames that are confirmed now for the first time; all later segments move with them."""
        confirmed = max(min(item.confirmed, item.heard, offset), item.dropped)
        if confirmed == item.frames:
            return Plan()
        first = self._split(item, confirmed)
        if offset == confirmed:
            return self._schedule(first, [position])
        last = self._split(item, offset)
        return self._schedule(first, [segment.start + shift for segment in self._segments[first:last]])

    def _plan_earlier(
        self, item: SpokenItem, offset: int, position: int, *, begins: bool, max_ahead_s: float
    ) -> Plan | None:
        """Move the frames, and those that play before them, to earlier positions, but not before their arrival."""
        if not offset and not begins:
            return Plan()  # the item has not begun at this position
        unheard = self._split(item, max(min(item.heard, offset), item.dropped))
        first = last = self._split(item, offset)
        starts, end = [position], position
        while first:
            segment = self._segments[first - 1]
            frames = len(segment.samples) if segment.item is item else segment.heard
            if first <= unheard and frames and end - frames >= segment.start:
                break
            first -= 1
            if frames:
                end = min(end - frames, segment.start)
            starts.append(end if frames else 0)
        starts.reverse()
        plan = self._schedule(first, starts if begins else starts[:-1])
        if offset:
            segment = self._segments[last - 1]
            if plan.starts[last - 1 - first] + len(segment.samples) - position > max_ahead_s * self._rate:
                return None
        return plan

    def _schedule(self, first: int, min_starts: Sequence[int]) -> Plan:
        """Plan when segments play in real time.

        Args:
            first: index of the first segment to plan; all later ones follow.
            min_starts: earliest start of this segment and of the next ones.
        """
        queue_end = self._heard_end_before(first)
        # Of each item: where its previous segment ends, and whether all of that is heard
        previous: dict[SpokenItem, tuple[int, bool]] = {}
        starts = []
        for index, segment in enumerate(self._segments[first:]):
            item = segment.item
            previous_end, is_whole = previous.get(item) or self._previous_in_item(segment, queue_end)
            min_start = min_starts[index] if index < len(min_starts) else 0
            start = max(min_start, self._earliest_start(segment, queue_end))
            heard = item.heard_frames_of(segment, start) if is_whole else 0
            if heard:
                queue_end = start + heard
            else:  # frames that are not heard delay no other segment; they only continue their item
                start = max(min_start, self._earliest_start(segment, previous_end))
                if item.barge_in_at is not None and segment.offset < item.barge_in_frames:
                    start = max(start, item.barge_in_at)
            previous[item] = start + len(segment.samples), heard == len(segment.samples)
            starts.append(start)
        return Plan(first, starts)

    def _previous_in_item(self, segment: Segment, queue_end: int) -> tuple[int, bool]:
        """Return where the item's previous segment ends (default: ``queue_end``), and whether all of it is heard."""
        index = segment.item.index_of(segment.offset)
        if not index:
            return queue_end, True
        previous = segment.item.segments[index - 1]
        return previous.end, previous.heard == len(previous.samples)

    def _earliest_start(self, segment: Segment, queue_end: int) -> int:
        """Return the start of a segment in real time: at the end of the queue, or on arrival.

        On arrival if that is more than :data:`TOLERANCE_S` later, or if nothing has played before.
        """
        follows = segment.arrival - queue_end <= self._tolerance and (queue_end or segment.arrival <= 0)
        return queue_end if follows else segment.arrival

    def _heard_end_before(self, index: int) -> int:
        """Return the position at which the heard frames before a segment of the queue end."""
        for segment in reversed(self._segments[:index]):
            if segment.heard:
                return segment.start + segment.heard
        return self._dropped_until

    def _queue_end(self) -> int:
        if self._heard_end is None:
            self._heard_end = self._heard_end_before(len(self._segments))
        return self._heard_end

    def _split(self, item: SpokenItem, offset: int) -> int:
        """Split the segment that contains an offset. Return the index in the queue of the segment that begins there.

        If no segment of the item begins there, return the index after its last segment.
        """
        index = item.index_of(offset)
        if index < len(item.segments) and item.segments[index].offset == offset:
            return self._segments.index(item.segments[index])
        segment = item.segments[index - 1]
        place, frames = self._segments.index(segment) + 1, offset - segment.offset
        if frames == len(segment.samples):
            return place
        rest = Segment(item, offset, segment.arrival, segment.start + frames, segment.samples[frames:])
        segment.samples = segment.samples[:frames]
        segment.heard, rest.heard = min(segment.heard, frames), max(0, segment.heard - frames)
        item.segments.insert(index, rest)
        self._segments.insert(place, rest)
        return place

    # Writing

    def update(self, items: Iterable[SpokenItem]) -> None:
        """Recompute the heard frames of items, after a change of their limits, and write the difference."""
        segments: list[Segment] = []
        for item in items:
            before = item.heard
            item.update_heard()
            if item.heard > before:
                index = max(0, item.index_of(before + 1) - 1)
                if item.segments:
                    first = self._segments.index(item.segments[index])
                    self.apply(self._schedule(first, [segment.start for segment in self._segments[first:]]))
            elif item.heard < before:
                segments += item.segments[max(0, item.index_of(item.heard + 1) - 1) :]
        self._write_changes(segments, [segment.start for segment in segments])

    def apply(self, plan: Plan) -> None:
        """Move segments to their new starts, and write the difference."""
        segments = self._segments[plan.first :]
        old_starts = [segment.start for segment in segments]
        for segment, start in zip(segments, plan.starts, strict=True):
            segment.start = start
        for item in {segment.item for segment in segments}:
            item.update_heard()
        self._write_changes(segments, old_starts)

    def _write_changes(self, segments: Sequence[Segment], old_starts: Sequence[int]) -> None:
        """Silence segments at their old starts and write their heard frames at the new ones; skip unchanged frames."""
        self._heard_end = None
        begin = end = 0
        writes: list[tuple[int, Samples]] = []
        for segment, old_start in zip(segments, old_starts, strict=True):
            heard = max(0, min(segment.item.heard - segment.offset, len(segment.samples)))
            unchanged = min(heard, segment.heard) if old_start == segment.start else 0
            if unchanged < segment.heard:
                if old_start + unchanged != end:
                    self._write(begin, silence(end - begin))
                    begin = old_start + unchanged
                end = old_start + segment.heard
            if unchanged < heard:
                writes.append((segment.start + unchanged, segment.samples[unchanged:heard]))
            segment.heard = heard
        self._write(begin, silence(end - begin))
        for start, samples in writes:
            self._write(start, samples)

    def _write(self, start: int, samples: Samples) -> None:
        if not len(samples):
            return
        self.written_until = max(self.written_until, start + len(samples))
        self.writes.append(Write(start, samples))

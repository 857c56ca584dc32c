"""The agent's queue: where each piece plays, and the writes that put it there.

Pure. Positions are frames since the recording began, offsets frames of one item.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from langsmith_realtime.core.audio.agent.item import Piece, SpokenItem
from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.audio.writes import Write, silence

#: Seconds by which a piece may be late, or elsewhere than was said, and stays where it is.
SLACK = 0.02
#: Seconds by which more can be said to have been played than had arrived and had time to play: a player's
#: clock. Beyond it is no playing: Twilio answers ``clear`` with all marks at once.
FAST = 0.2


@dataclass(slots=True)
class Plan:
    """Where the queue plays from its piece ``first`` on; without ``starts`` nothing moves."""

    first: int = 0
    starts: list[int] = field(default_factory=list)


class PlaybackQueue:
    """Pieces in the order in which they play, in real time. What is heard of them never overlaps."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._slack = round(SLACK * rate)
        self._queue: list[Piece] = []
        self._played_until = 0  # where the last forgotten piece ends
        self._heard_end: int | None = 0  # where what is heard ends; None when a change made it unknown
        #: Frames written up to here, even if they were cut since.
        self.written_until = 0
        self.writes: list[Write] = []

    def append(self, item: SpokenItem, arrived: int, samples: Samples) -> None:
        """Samples of an item arrived."""
        piece = Piece(item, item.frames, arrived, 0, samples)
        piece.start = self._earliest(piece, self._end())
        piece.heard = item.audible_of(piece, piece.start)
        if not piece.heard and item.pieces:
            # What nobody hears takes no time: its place is only remembered.
            piece.start = self._earliest(piece, item.pieces[-1].end)
        item.append(piece)
        self._queue.append(piece)
        if item.begin is None:
            item.begin = piece.start
        if piece.heard:
            item.audible = piece.offset + piece.heard
            item.end = self._heard_end = piece.start + piece.heard
            self._put(piece.start, samples[: piece.heard])

    def forget(self, pieces: Iterable[Piece]) -> None:
        """Let go of what the items have let go of."""
        for piece in pieces:
            self._played_until = max(self._played_until, piece.start + piece.heard if piece.heard else 0)
        self._queue = [piece for piece in self._queue if piece.offset >= piece.speech.forgotten]

    def plan(self, item: SpokenItem, offset: int, position: int, *, begins: bool) -> Plan | None:
        """How the queue is laid out so that the item's frames before ``offset`` end at ``position``.

        None when they could not have been played by then.
        """
        shift = position - item.position(offset)
        if abs(shift) <= self._slack:
            return Plan()
        if shift > 0:
            return self._later(item, offset, position, shift)
        return self._earlier(item, offset, position, begins=begins)

    def _later(self, item: SpokenItem, offset: int, position: int, shift: int) -> Plan:
        """A pause before what was played since the item's last anchor; all that follows comes later."""
        anchored = max(min(item.anchored, item.audible, offset), item.forgotten)
        if anchored == item.frames:
            return Plan()
        first = self._split(item, anchored)
        if offset == anchored:
            return self._replan(first, [position])
        return self._replan(first, [piece.start + shift for piece in self._queue[first : self._split(item, offset)]])

    def _earlier(self, item: SpokenItem, offset: int, position: int, *, begins: bool) -> Plan | None:
        """What had to be played before comes earlier as well, as far as it had arrived: its anchors came late."""
        if not offset and not begins:
            return Plan()  # it begins later, that is all
        unheard = self._split(item, max(min(item.audible, offset), item.forgotten))
        first = last = self._split(item, offset)
        wanted, end = [position], position
        while first:
            piece = self._queue[first - 1]
            frames = len(piece.samples) if piece.speech is item else piece.heard
            if first <= unheard and frames and end - frames >= piece.start:
                break
            first -= 1
            if frames:
                end = min(end - frames, piece.start)
            wanted.append(end if frames else 0)
        wanted.reverse()
        plan = self._replan(first, wanted if begins else wanted[:-1])
        if offset:
            played = self._queue[last - 1]
            if plan.starts[last - 1 - first] + len(played.samples) - position > FAST * self._rate:
                return None
        return plan

    def _replan(self, first: int, wanted: Sequence[int]) -> Plan:
        """Where the queue plays in real time from its piece ``first`` on, the first of them not before ``wanted``."""
        queued = self._heard_until(first)
        said: dict[
            SpokenItem, tuple[int, bool]
        ] = {}  # where what came before of an item ends, and whether all is heard
        starts = []
        for index, piece in enumerate(self._queue[first:]):
            item = piece.speech
            before, whole = said.get(item) or self._before(piece, queued)
            least = wanted[index] if index < len(wanted) else 0
            start = max(least, self._earliest(piece, queued))
            heard = item.audible_of(piece, start) if whole else 0
            if heard:
                queued = start + heard
            else:  # it takes no time: its place is only remembered
                start = max(least, self._earliest(piece, before))
                if item.cut_at is not None and piece.offset < item.cut_of:
                    start = max(start, item.cut_at)
            said[item] = start + len(piece.samples), heard == len(piece.samples)
            starts.append(start)
        return Plan(first, starts)

    def _before(self, piece: Piece, queued: int) -> tuple[int, bool]:
        """Where the item's piece before this one ends, and whether all of that is heard."""
        index = piece.speech.index(piece.offset)
        if not index:
            return queued, True
        before = piece.speech.pieces[index - 1]
        return before.end, before.heard == len(before.samples)

    def _earliest(self, piece: Piece, queued: int) -> int:
        """Where a piece plays in real time when what was queued before it ends at ``queued``."""
        follows = piece.arrived - queued <= self._slack and (queued or piece.arrived <= 0)
        return queued if follows else piece.arrived

    def _heard_until(self, index: int) -> int:
        """Where what is heard of the queue before its piece ``index`` ends."""
        for piece in reversed(self._queue[:index]):
            if piece.heard:
                return piece.start + piece.heard
        return self._played_until

    def _end(self) -> int:
        if self._heard_end is None:
            self._heard_end = self._heard_until(len(self._queue))
        return self._heard_end

    def _split(self, item: SpokenItem, offset: int) -> int:
        """The queue's index of the piece that begins at ``offset``; or that after the item's last."""
        index = item.index(offset)
        if index < len(item.pieces) and item.pieces[index].offset == offset:
            return self._queue.index(item.pieces[index])
        piece = item.pieces[index - 1]
        place, frames = self._queue.index(piece) + 1, offset - piece.offset
        if frames == len(piece.samples):
            return place
        rest = Piece(item, offset, piece.arrived, piece.start + frames, piece.samples[frames:])
        piece.samples = piece.samples[:frames]
        piece.heard, rest.heard = min(piece.heard, frames), max(0, piece.heard - frames)
        item.pieces.insert(index, rest)
        self._queue.insert(place, rest)
        return place

    # Writing

    def settle(self, items: Iterable[SpokenItem]) -> None:
        """What is heard of these items may have changed: silence it, or write it, and make room for it."""
        pieces: list[Piece] = []
        for item in items:
            before = item.audible
            item.settle()
            if item.audible > before:
                index = max(0, item.index(before + 1) - 1)
                if item.pieces:
                    first = self._queue.index(item.pieces[index])
                    self.lay(self._replan(first, [piece.start for piece in self._queue[first:]]))
            elif item.audible < before:
                pieces += item.pieces[max(0, item.index(item.audible + 1) - 1) :]
        self._rewrite(pieces, [piece.start for piece in pieces])

    def lay(self, plan: Plan) -> None:
        pieces = self._queue[plan.first :]
        places = [piece.start for piece in pieces]
        for piece, start in zip(pieces, plan.starts, strict=True):
            piece.start = start
        for item in {piece.speech for piece in pieces}:
            item.settle()
        self._rewrite(pieces, places)

    def _rewrite(self, pieces: Sequence[Piece], places: Sequence[int]) -> None:
        """Silence these pieces at their old ``places``, and write them at their new ones, as far as they are heard."""
        self._heard_end = None
        begin = end = 0
        fresh: list[tuple[int, Samples]] = []
        for piece, place in zip(pieces, places, strict=True):
            heard = max(0, min(piece.speech.audible - piece.offset, len(piece.samples)))
            kept = min(heard, piece.heard) if place == piece.start else 0
            if kept < piece.heard:
                if place + kept != end:
                    self._put(begin, silence(end - begin))
                    begin = place + kept
                end = place + piece.heard
            if kept < heard:
                fresh.append((piece.start + kept, piece.samples[kept:heard]))
            piece.heard = heard
        self._put(begin, silence(end - begin))
        for start, samples in fresh:
            self._put(start, samples)

    def _put(self, start: int, samples: Samples) -> None:
        if not len(samples):
            return
        self.written_until = max(self.written_until, start + len(samples))
        self.writes.append(Write(start, samples))

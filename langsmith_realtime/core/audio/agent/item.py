"""One item's speech: the pieces it came in, where they play, and how much of it is heard.

Pure. Positions are frames since the recording began, offsets frames of the item.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from langsmith_realtime.core.audio.decoding import Samples


@dataclass(slots=True, eq=False)
class Piece:
    """Some of an item's frames, that play without a break."""

    speech: SpokenItem
    offset: int  # of its first frame
    arrived: int  # position
    start: int  # position
    samples: Samples
    heard: int = 0  # frames of it that are in the recording

    @property
    def end(self) -> int:
        return self.start + len(self.samples)


@dataclass(slots=True, eq=False)
class SpokenItem:
    """What is known of one item's speech.

    What barge-ins cut and what truncations say is kept apart: a truncation is exact, so it counts while
    it stands, and the rest counts again when it is refused. A barge-in is kept as a position, because
    what had been played by then follows from where the speech is laid out.
    """

    item_id: str
    known_since: int = 0  # position
    pieces: list[Piece] = field(default_factory=list)
    begin: int | None = None  # where its first frame plays
    frames: int = 0
    forgotten: int = 0  # frames at its beginning whose samples are no longer remembered
    anchored: int = 0  # frames whose place the application, or the server, confirmed
    limit: int | None = None  # frames that can be heard; None: all
    cut_at: int | None = None  # where a barge-in stopped it
    cut_of: int = 0  # frames that had arrived by then
    truncations: list[tuple[int, int]] = field(default_factory=list)  # frames heard, sent at position
    audible: int = 0  # frames that are heard
    end: int = 0  # where the last of them plays

    @property
    def cut(self) -> int | None:
        """Frames heard, as far as barge-ins tell; None: all."""
        if self.cut_at is not None:
            played = self.frames_before(self.cut_at)
            if played < self.cut_of:
                return played if self.limit is None else min(played, self.limit)
        return self.limit

    @property
    def heard(self) -> int | None:
        """Frames heard; None: all."""
        return self.truncations[-1][0] if self.truncations else self.cut

    @property
    def stopped_at(self) -> int | None:
        """Where playing it ended early, if it did."""
        if self.truncations:
            return self.truncations[-1][1]
        return self.cut_at if self._was_stopped else None

    @property
    def _was_stopped(self) -> bool:
        return self.cut_at is not None and self.frames_before(self.cut_at) < self.cut_of

    def append(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self.frames += len(piece.samples)

    def settle(self) -> None:
        """Work out what is audible, after anything that may have changed it."""
        if self.limit is None and self._was_stopped:
            self.limit = self.cut_of
        heard = self.heard
        self.audible = self.frames if heard is None else min(heard, self.frames)
        if self.pieces:
            self.end = self.position(self.audible)
            if not self.pieces[0].offset:
                self.begin = self.pieces[0].start

    def audible_of(self, piece: Piece, start: int) -> int:
        """How many frames of the piece are heard if it plays from ``start`` on."""
        frames = len(piece.samples)
        if self.truncations:
            return max(0, min(self.truncations[-1][0] - piece.offset, frames))
        if self.limit is not None:
            frames = min(self.limit - piece.offset, frames)
        if self.cut_at is not None and piece.offset < self.cut_of:
            frames = min(self.cut_at - start, frames)
        return max(0, frames)

    def stop(self, position: int) -> None:
        """A barge-in: nothing of what arrived so far is heard beyond ``position``, nor what still comes."""
        played = self.frames_before(position)
        known = self.cut
        if played < (self.frames if known is None else min(known, self.frames)):
            self.cut_at, self.cut_of = position, self.frames
        elif not self._was_stopped:
            self.cut_at, self.cut_of = position, self.frames  # it may turn out to have played then

    def index(self, offset: int) -> int:
        """Which of its pieces is the first to begin at ``offset`` or later."""
        return bisect_left(self.pieces, offset, key=lambda piece: piece.offset)

    def position(self, offset: int) -> int:
        """Where the frame before ``offset`` has been played; where the item begins when there is none."""
        before = self.index(offset)
        if before:
            piece = self.pieces[before - 1]
            return piece.start + min(offset - piece.offset, len(piece.samples))
        return self.pieces[0].start if self.pieces else self.end

    def frames_before(self, position: int) -> int:
        """How many of its frames play before ``position``."""
        before = bisect_left(self.pieces, position, key=lambda piece: piece.start)
        if not before:
            return self.forgotten
        piece = self.pieces[before - 1]
        return piece.offset + min(len(piece.samples), position - piece.start)

    def forget(self, horizon: int) -> list[Piece]:
        """Let go of the pieces that no longer matter at ``horizon``, and tell which."""
        gone = 0
        if self.cut_at is not None and self.cut_at < horizon:
            gone = 0 if self.stopped_at is None else len(self.pieces)
            self.limit, self.cut_at = self.cut, None
        while gone < len(self.pieces) and self.pieces[gone].end < horizon:
            gone += 1
        pieces = self.pieces[:gone]
        del self.pieces[:gone]
        self.forgotten += sum(len(piece.samples) for piece in pieces)
        return pieces

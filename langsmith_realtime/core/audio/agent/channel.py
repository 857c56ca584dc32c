"""The agent's channel: what it is made from, received speech or what the application says it played.

Pure. Times are seconds since the recording began (frame 0).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from langsmith_realtime.core.audio.agent.playback import PAST, PAST_ITEMS, Cut, Playback
from langsmith_realtime.core.audio.agent.playback_queue import SLACK
from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.audio.rates import Timed
from langsmith_realtime.core.audio.writes import Write, silence

#: Where the agent's channel was taken from, the best first.
AgentSource: TypeAlias = Literal["timed_tap", "tap", "played_positions", "server_events", "playback_model"]


#: What is louder is no digital silence, resampled or not.
QUIET = 16


class Played:
    """Of sound that was fed with its times: how many frames of it were played between two positions.

    It is remembered for :data:`PAST` seconds. Silence fed before the first sound and after the last does not
    count, as an application may feed it all along; a time for which nothing was fed was not played.
    """

    def __init__(self, rate: int) -> None:
        self._memory = round(PAST * rate)
        # Of each chunk: where it begins, how many frames, of those the first that sounds, and the one after the last.
        self._chunks: deque[tuple[int, int, int, int]] = deque()

    def add(self, start: int, samples: Samples) -> None:
        loud = np.flatnonzero((samples > QUIET) | (samples < -QUIET))
        sounds = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, 0)
        self._chunks.append((start, len(samples), *sounds))
        while self._chunks[0][0] < start - self._memory:
            self._chunks.popleft()

    def frames(self, begin: int, end: float) -> int:
        played = pending = 0
        for start, frames, first, after in self._chunks:
            if not begin <= start < end:
                continue
            if after:
                played += after - first if not played else pending + after
                pending = frames - after
            elif played:
                pending += frames
        return played


class AgentChannel:
    """The agent's side: received speech as a client plays it, or what the application says it played."""

    def __init__(self, rate: int) -> None:
        self._received = Playback(rate)
        self._fed: Playback | None = None
        self._timed = Timed(rate)
        self._played = Played(rate)
        self._items: deque[str] = deque(maxlen=PAST_ITEMS)  # as they arrived
        self._rate = rate
        # What is fed has no item ids: a segment is what was fed between two cuts.
        self._segment = 0
        self._segment_ended = False
        self._segment_of: dict[str, str] = {}  # of the items that were cut
        self._writes: list[Write] = []
        self._told: set[AgentSource] = set()

    @property
    def source(self) -> AgentSource | None:
        """The best of what the channel was taken from; None when nothing was recorded."""
        if self._fed is not None:
            return "timed_tap" if "timed_tap" in self._told else "tap"
        if not self._received.written_until:
            return None
        sources: tuple[AgentSource, ...] = ("played_positions", "server_events")
        return next((source for source in sources if source in self._told), "playback_model")

    def received(self, t: float, item_id: str, samples: Samples, *, muted: bool = False) -> None:
        if not self._items or (item_id != self._items[-1] and item_id not in self._items):
            self._items.append(item_id)
        if muted:
            self._received.mute(t, item_id)
        self._received.chunk(t, item_id, samples)
        self._collect()

    def fed(self, t: float, samples: Samples, at: float | None) -> None:
        if not len(samples):
            return
        if self._fed is None:
            self._fed = Playback(self._rate)
            if self._received.written_until:
                self._writes.append(Write(0, silence(self._received.written_until)))
        if at is None:
            self._segment += self._segment_ended
            self._segment_ended = False
            self._fed.chunk(t, str(self._segment), samples)
        else:
            self._told.add("timed_tap")
            if self._fed.written_until:  # what was fed without times gives way to the truth, for good
                self._fed.cut(at, final=True)
                self._collect()
                self._fed = Playback(self._rate)
            write = self._timed.place(at, samples)
            self._played.add(write.start, write.samples)
            self._writes.append(write)
        self._collect()

    def barge_in(self, t: float, *, final: bool = False) -> list[Cut]:
        cuts = self._received.cut(t, final=final)
        if self._fed is not None:
            self._fed.cut(t, final=final)
            for cut in cuts:
                self._end_segment(cut.item_id)
            self._segment_ended = True
        self._collect()
        return cuts

    def truncate(self, t: float, item_id: str, heard_ms: float) -> Cut | None:
        cut = self._received.truncate(t, item_id, heard_ms)
        if self._fed is not None:
            segment, begins = self._end_segment(item_id), self._received.begins(item_id)
            if begins is None:
                heard_ms = self._fed.played_ms(segment, t)
            else:
                heard_ms += self._fed.played_ms(segment, begins)
            self._fed.truncate(t, segment, heard_ms)
        self._collect()
        return cut

    def truncate_refused(self, item_id: str) -> Cut | None:
        cut = self._received.truncation_refused(item_id)
        if self._fed is not None and item_id in self._segment_of:
            self._fed.truncation_refused(self._segment_of[item_id])
        self._collect()
        return cut

    def played(self, t: float, item_id: str, ms: float) -> list[Cut]:
        """As :meth:`Playback.played`; what the application feeds has no items, so there it changes nothing."""
        if self._fed is not None:
            return []
        cuts = self._received.played(t, item_id, ms)
        if cuts is not None:
            self._told.add("played_positions")
        self._collect()
        return cuts or []

    def server_started(self, t: float, item_ids: Sequence[str]) -> list[Cut]:
        """The server began to play these items at ``t``, one after the other."""
        first = next((item_id for item_id in item_ids if self._received.spoken_ms(item_id)), None)
        if first is None or self._fed is not None:
            return []
        self._told.add("server_events")
        cuts = self._received.begins_at(t, first)
        self._collect()
        return cuts or []

    def server_stopped(self, t: float, item_ids: Sequence[str]) -> None:
        """The server had played these items to their end at ``t``."""
        if self._fed is not None:
            return
        for item_id in reversed(item_ids):
            if self._received.spoken_ms(item_id):
                self._told.add("server_events")
                self._received.ends_at(t, item_id)
        self._collect()

    def playing_until(self, item_id: str) -> float | None:
        return self._received.playing_until(item_id)

    def begins(self, item_id: str) -> float | None:
        return self._received.begins(item_id)

    def spoken_ms(self, item_id: str) -> float:
        return self._received.spoken_ms(item_id)

    def heard_ms(self, item_id: str) -> float:
        """How much of the item was heard. Of one that was cut, what the application fed with times tells best."""
        heard = self._received.heard_ms(item_id)
        cut = heard < self.spoken_ms(item_id)
        return self._tapped_ms(item_id) if cut and "timed_tap" in self._told else heard

    def take_writes(self) -> list[Write]:
        writes, self._writes = self._writes, []
        return writes

    def _tapped_ms(self, item_id: str) -> float:
        """How much was played from when the item began until the next one did.

        A speaker plays some time after the model has it, so items that follow one another are told as one: what
        was played of the last of them is what the ones before it leave.
        """
        index = last = self._items.index(item_id) if item_id in self._items else 0
        before = 0.0
        while index and self._follows(self._items[index - 1], self._items[index]):
            index -= 1
            before += self.spoken_ms(self._items[index])
        begins = self.begins(self._items[index]) or 0.0
        after = self.begins(self._items[last + 1]) if last + 1 < len(self._items) else None
        end = math.inf if after is None else after * self._rate
        played = self._played.frames(round((begins - SLACK) * self._rate), end) * 1000 / self._rate
        return max(0.0, min(played - before, self.spoken_ms(item_id)))

    def _follows(self, earlier: str, later: str) -> bool:
        """Whether the later item was played right after the earlier one, of which all was heard."""
        begins, ends = self.begins(later), self.playing_until(earlier)
        heard = self._received.heard_ms(earlier)
        joins = begins is not None and ends is not None and begins - ends < SLACK
        return joins and heard == self.spoken_ms(earlier)

    def _end_segment(self, item_id: str) -> str:
        """The segment in which the item was cut; by default the one that is fed now, or was last."""
        segment = self._segment_of.setdefault(item_id, str(self._segment))
        self._segment_ended = self._segment_ended or segment == str(self._segment)
        return segment

    def _collect(self) -> None:
        if self._fed is None:
            self._writes += self._received.writes
        else:
            self._writes += self._fed.writes
            self._fed.writes.clear()
        self._received.writes.clear()

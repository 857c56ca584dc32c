"""The agent's channel: what it is made from, received speech or what the application says it played.

Pure. Times are seconds since the recording began (frame 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from langsmith_realtime.audio.formats import Samples
from langsmith_realtime.audio.playback import Cut, Playback
from langsmith_realtime.audio.timeline import Timed, Write, silence

#: Where the agent's channel was taken from, the best first.
AgentSource: TypeAlias = Literal["timed_tap", "tap", "played_positions", "server_events", "playback_model"]


class AgentChannel:
    """The agent's side: received speech as a client plays it, or what the application says it played."""

    def __init__(self, rate: int) -> None:
        self._received = Playback(rate)
        self._fed: Playback | None = None
        self._timed = Timed(rate)
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
            self._writes.append(self._timed.place(at, samples))
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
        return self._received.heard_ms(item_id)

    def take_writes(self) -> list[Write]:
        writes, self._writes = self._writes, []
        return writes

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

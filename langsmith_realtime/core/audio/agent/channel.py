"""The agent's channel of the recording, from the best source: fed audio, playback positions, or modelled playback.

Pure. Times are seconds since the recording began (frame 0); positions are frames of the recording.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from langsmith_realtime.core.audio.agent.playback import MAX_PAST_ITEMS, PAST_ITEMS_S, Cut, Playback
from langsmith_realtime.core.audio.agent.playback_queue import TOLERANCE_S
from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.audio.rates import TimedPlacement
from langsmith_realtime.core.audio.writes import Write, silence

#: Source of the agent's channel, the best first: audio fed with times, audio fed without, playback positions of the
#: application, the server's ``output_audio_buffer`` events, the playback model alone.
AgentSource: TypeAlias = Literal["timed_tap", "tap", "played_positions", "server_events", "playback_model"]


#: Largest absolute sample of digital silence; resampling makes zeros a little louder.
MAX_SILENT_SAMPLE = 16


class TimedAudio:
    """Audio fed with times: counts the frames that were played between two positions.

    The extent of each chunk, not its samples, is remembered for :data:`PAST_ITEMS_S` seconds.
    """

    def __init__(self, rate: int) -> None:
        self._memory = round(PAST_ITEMS_S * rate)
        # Of each chunk: position, frames, offset of the first frame that is not silent, offset after the last one
        self._chunks: deque[tuple[int, int, int, int]] = deque()

    def add(self, start: int, samples: Samples) -> None:
        """Add a chunk that was played from a position on."""
        loud = np.flatnonzero((samples > MAX_SILENT_SAMPLE) | (samples < -MAX_SILENT_SAMPLE))
        loud_from, loud_until = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, 0)
        self._chunks.append((start, len(samples), loud_from, loud_until))
        while self._chunks[0][0] < start - self._memory:
            self._chunks.popleft()

    def frames_between(self, begin: int, end: float) -> int:
        """Return how many frames were played, in chunks that start at ``begin`` or later and before ``end``.

        Silence between two sounds counts. Silence before the first sound and after the last one does not: an
        application may feed silence between responses.
        """
        played = silent = 0
        for start, frames, loud_from, loud_until in self._chunks:
            if not begin <= start < end:
                continue
            if loud_until:
                played += loud_until - loud_from if not played else silent + loud_until
                silent = frames - loud_until
            elif played:
                silent += frames
        return played


class AgentChannel:
    """The agent's channel: received deltas as a client plays them, or the audio that the application feeds.

    The received deltas are modelled in either case, because fed audio has no item ids.
    """

    def __init__(self, rate: int) -> None:
        self._received = Playback(rate)
        self._fed: Playback | None = None
        self._timed = TimedPlacement(rate)
        self._timed_audio = TimedAudio(rate)
        self._items: deque[str] = deque(maxlen=MAX_PAST_ITEMS)  # ids, by arrival
        self._rate = rate
        # Audio fed without times between two cuts is one item of the playback `_fed`; its id is a number.
        self._fed_item = 0
        self._is_fed_item_complete = False
        self._fed_item_of: dict[str, str] = {}  # by the id of a cut item: the fed item in which it was cut
        self._writes: list[Write] = []
        self._sources: set[AgentSource] = set()

    @property
    def source(self) -> AgentSource | None:
        """Best source that contributed to the channel; None while it has no audio."""
        if self._fed is not None:
            return "timed_tap" if "timed_tap" in self._sources else "tap"
        if not self._received.written_until:
            return None
        sources: tuple[AgentSource, ...] = ("played_positions", "server_events")
        return next((source for source in sources if source in self._sources), "playback_model")

    @property
    def ignored_positions(self) -> int:
        """How many playback positions were left out because they cannot be true."""
        return self._received.ignored_positions

    def received(self, t: float, item_id: str, samples: Samples, *, muted: bool = False) -> None:
        """Add samples of an item, received at ``t``; if ``muted``, these and later ones of the item are not heard."""
        if not self._items or (item_id != self._items[-1] and item_id not in self._items):
            self._items.append(item_id)
        if muted:
            self._received.mute(t, item_id)
        self._received.add(t, item_id, samples)
        self._collect()

    def fed(self, t: float, samples: Samples, at: float | None) -> None:
        """Add samples that the application fed at ``t`` and played from ``at`` on; the first erase all received audio.

        If ``at`` is None, they are queued like received deltas: they play when the previous ones end, or on arrival.
        """
        if not len(samples):
            return
        if self._fed is None:
            self._fed = Playback(self._rate)
            if self._received.written_until:
                self._writes.append(Write(0, silence(self._received.written_until)))
        if at is None:
            self._fed_item += self._is_fed_item_complete
            self._is_fed_item_complete = False
            self._fed.add(t, str(self._fed_item), samples)
        else:
            self._sources.add("timed_tap")
            if self._fed.written_until:  # audio with times replaces audio without, and no later cut changes it
                self._fed.barge_in(at, final=True)
                self._collect()
                self._fed = Playback(self._rate)
            write = self._timed.place(at, samples)
            self._timed_audio.add(write.start, write.samples)
            self._writes.append(write)
        self._collect()

    def barge_in(self, t: float, *, final: bool = False) -> list[Cut]:
        """Cut queued audio, received or fed without times, as in :meth:`Playback.barge_in`."""
        cuts = self._received.barge_in(t, final=final)
        if self._fed is not None:
            self._fed.barge_in(t, final=final)
            for cut in cuts:
                self._complete_fed_item(cut.item_id)
            self._is_fed_item_complete = True
        self._collect()
        return cuts

    def truncate(self, t: float, item_id: str, heard_ms: float) -> Cut | None:
        """Truncate an item, as in :meth:`Playback.truncate`, and audio fed without times at the corresponding place."""
        cut = self._received.truncate(t, item_id, heard_ms)
        if self._fed is not None:
            fed_item, begins = self._complete_fed_item(item_id), self._received.begins(item_id)
            if begins is None:
                heard_ms = self._fed.played_ms(fed_item, t)
            else:
                heard_ms += self._fed.played_ms(fed_item, begins)
            self._fed.truncate(t, fed_item, heard_ms)
        self._collect()
        return cut

    def undo_truncation(self, item_id: str) -> Cut | None:
        """Undo the last truncation of an item, as in :meth:`Playback.undo_truncation`."""
        cut = self._received.undo_truncation(item_id)
        if self._fed is not None and item_id in self._fed_item_of:
            self._fed.undo_truncation(self._fed_item_of[item_id])
        self._collect()
        return cut

    def played(self, t: float, item_id: str, ms: float) -> list[Cut]:
        """Confirm a playback position, as in :meth:`Playback.played`; ignored if the application feeds audio."""
        if self._fed is not None:
            return []
        cuts = self._received.played(t, item_id, ms)
        if cuts is not None:
            self._sources.add("played_positions")
        self._collect()
        return cuts or []

    def server_started(self, t: float, item_ids: Sequence[str]) -> list[Cut]:
        """Confirm that the server began, at ``t``, to play the first of these items that has audio.

        It is ignored if the application feeds audio. Return the cuts that this changes.
        """
        first = next((item_id for item_id in item_ids if self._received.spoken_ms(item_id)), None)
        if first is None or self._fed is not None:
            return []
        self._sources.add("server_events")
        cuts = self._received.item_started(t, first)
        self._collect()
        return cuts or []

    def server_stopped(self, t: float, item_ids: Sequence[str]) -> None:
        """Confirm that the server had played items to their end at ``t``; ignored if the application feeds audio."""
        if self._fed is not None:
            return
        for item_id in reversed(item_ids):
            if self._received.spoken_ms(item_id):
                self._sources.add("server_events")
                self._received.item_ended(t, item_id)
        self._collect()

    def playing_until(self, item_id: str) -> float | None:
        """Return when the item's last heard frame ends in the playback model, in seconds; None if none is heard."""
        return self._received.playing_until(item_id)

    def begins(self, item_id: str) -> float | None:
        """Return when the item's first frame plays in the playback model, in seconds; None if none has arrived."""
        return self._received.begins(item_id)

    def spoken_ms(self, item_id: str) -> float:
        """Return how many milliseconds of the item have arrived, heard or not."""
        return self._received.spoken_ms(item_id)

    def heard_ms(self, item_id: str) -> float:
        """Return how many milliseconds of the item the user heard.

        Audio that the application fed with times (``at=``) tells how much of a cut item was heard; otherwise the model
        of playback does.
        """
        heard = self._received.heard_ms(item_id)
        is_cut = heard < self.spoken_ms(item_id)
        return self._fed_ms(item_id) if is_cut and "timed_tap" in self._sources else heard

    def take_writes(self) -> list[Write]:
        """Return the writes since the last call, in order."""
        writes, self._writes = self._writes, []
        return writes

    def _fed_ms(self, item_id: str) -> float:
        """Return how many milliseconds of an item were fed with times, from its start until the next item's.

        A speaker plays an item later than the playback model does: it may still play the item when the model has begun
        the next one. So consecutive items are counted together, and the earlier ones are subtracted at full length.
        """
        index = last = self._items.index(item_id) if item_id in self._items else 0
        earlier_ms = 0.0
        while index and self._follows(self._items[index - 1], self._items[index]):
            index -= 1
            earlier_ms += self.spoken_ms(self._items[index])
        begins = self.begins(self._items[index]) or 0.0
        next_begins = self.begins(self._items[last + 1]) if last + 1 < len(self._items) else None
        end = math.inf if next_begins is None else next_begins * self._rate
        played = self._timed_audio.frames_between(round((begins - TOLERANCE_S) * self._rate), end) * 1000 / self._rate
        return max(0.0, min(played - earlier_ms, self.spoken_ms(item_id)))

    def _follows(self, earlier: str, later: str) -> bool:
        """Tell whether an item plays, in the playback model, right after another one that was heard to its end."""
        begins, ends = self.begins(later), self.playing_until(earlier)
        heard = self._received.heard_ms(earlier)
        is_adjacent = begins is not None and ends is not None and begins - ends < TOLERANCE_S
        return is_adjacent and heard == self.spoken_ms(earlier)

    def _complete_fed_item(self, item_id: str) -> str:
        """Return the id of the fed item in which an item was cut; by default the current one, which ends there."""
        fed_item = self._fed_item_of.setdefault(item_id, str(self._fed_item))
        self._is_fed_item_complete = self._is_fed_item_complete or fed_item == str(self._fed_item)
        return fed_item

    def _collect(self) -> None:
        if self._fed is None:
            self._writes += self._received.writes
        else:
            self._writes += self._fed.writes
            self._fed.writes.clear()
        self._received.writes.clear()

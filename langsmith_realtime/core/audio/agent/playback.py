"""Models a client that plays the agent's audio, and how barge-ins, truncations and playback positions change it.

Pure. Times are seconds since the recording began (frame 0); positions are frames of the recording, offsets are frames
of one item.
"""

from __future__ import annotations

from dataclasses import dataclass

from langsmith_realtime.core.audio.agent.item import Segment, SpokenItem
from langsmith_realtime.core.audio.agent.playback_queue import MAX_AHEAD_S, TOLERANCE_S, Plan, PlaybackQueue
from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.audio.writes import Write

#: Number of items whose lengths and times are remembered after their samples were dropped.
MAX_PAST_ITEMS = 1000
#: Seconds for which they are remembered.
PAST_ITEMS_S = 600.0


@dataclass(frozen=True, slots=True)
class Cut:
    """An item that was cut off.

    Attributes:
        item_id: the API's id of the item.
        heard_ms: milliseconds of the item that are heard.
    """

    item_id: str
    heard_ms: float


class Playback:
    """A client that plays the deltas of all items one after the other, in real time.

    Deltas arrive faster than real time. A delta plays when the previous one ends; if it arrives later than that, by
    more than :data:`~langsmith_realtime.core.audio.agent.playback_queue.TOLERANCE_S`, it plays on arrival. If the
    application or the server confirms a playback position that differs by more than this tolerance, deltas move, played
    ones too.

    A barge-in cuts the audio that is still queued. Its samples are remembered for :attr:`MEMORY_S`, because a later
    ``conversation.item.truncate`` or playback position may say that more of an item was heard.
    """

    MEMORY_S = 30.0

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._queue = PlaybackQueue(rate)
        self._items: dict[str, SpokenItem] = {}
        self._past_items: dict[str, SpokenItem] = {}  # without samples
        self._confirmed_item: SpokenItem | None = None  # item of the last confirmed position
        self._confirmed_at = 0
        self._last_stop = 0  # position of the last barge-in or truncation
        # Frames by which positions moved confirmed audio to earlier times; one is taken off in each frame of time.
        self._moved_back = self._moved_at = 0
        self._doubtful: tuple[SpokenItem, int, int] | None = None  # ignored, unless the next position agrees with it
        #: How many positions were ignored because they cannot be true.
        self.ignored_positions = 0
        self._last_drop = 0.0

    @property
    def writes(self) -> list[Write]:
        """Writes in order. The caller clears the list after taking them."""
        return self._queue.writes

    @property
    def written_until(self) -> int:
        """Position up to which frames have ever been written, even if they were silenced later."""
        return self._queue.written_until

    # Deltas and cuts

    def add(self, t: float, item_id: str, samples: Samples) -> None:
        """Queue samples of an item that arrived at ``t``."""
        if not len(samples):
            return
        self._drop_old(t)
        self._queue.append(self._get_or_create(t, item_id), round(t * self._rate), samples)

    def mute(self, t: float, item_id: str) -> None:
        """Limit an item to the samples added so far: later ones are not heard.

        A later truncation or playback position may allow more. ``t`` is when the first muted samples arrived.
        """
        item = self._get_or_create(t, item_id)
        if item.max_frames is None:
            item.max_frames = item.frames

    def barge_in(self, t: float, *, final: bool = False) -> list[Cut]:
        """Cut all audio that is queued at ``t``, and return the items that this shortens.

        Args:
            t: when the user interrupted the agent, or the conversation ended.
            final: playback has ended. The cut prevails over truncations that allow more than was played until ``t``.
        """
        self._drop_old(t)
        position = self._last_stop = round(t * self._rate)
        shortened = []
        for item in self._items.values():
            if not item.segments:
                continue
            if final and item.frames_before(position) < item.heard:
                item.truncations.clear()
                item.barge_in_at = item.max_frames = None
            before = item.barge_in_limit
            item.barge_in(position)
            if item.barge_in_limit != before and not item.truncations:
                shortened.append(item)
        self._queue.update(shortened)
        return [self._cut_of(item) for item in shortened]

    def truncate(self, t: float, item_id: str, heard_ms: float) -> Cut | None:
        """Limit an item to its first ``heard_ms`` milliseconds, by a ``conversation.item.truncate`` sent at ``t``.

        Returns:
            The cut; None if no audio of the item has arrived. The limit also applies to audio that arrives later.
        """
        self._drop_old(t)
        item = self._get_or_create(t, item_id)
        self._last_stop = round(t * self._rate)
        item.truncations.append((max(0, round(heard_ms / 1000 * self._rate)), self._last_stop))
        self._queue.update([item])
        return self._cut_of(item) if item.frames else None

    def undo_truncation(self, item_id: str) -> Cut | None:
        """Undo the last truncation of an item; return the cut that remains, None if none does or nothing was undone."""
        item = self._find(item_id)
        if item is None or not item.truncations:
            return None
        item.truncations.pop()
        self._queue.update([item])
        return None if item.limit is None else self._cut_of(item)

    # Playback positions

    def played(self, t: float, item_id: str, ms: float) -> list[Cut] | None:
        """Confirm that ``ms`` milliseconds of an item had been played at ``t``.

        A position is ignored if its ``t`` is before the last one's, if it is about audio of another item that plays
        before the last one's, if it exceeds a truncation or the audio that can have been played by then, or if the
        audio there is not in memory. It is also ignored if it contradicts the positions before it:

        - A position lower than an earlier one of the item: nothing is unplayed. A tracker started at 0 again.
        - A position that would move confirmed audio to an earlier time by more than
          :data:`~langsmith_realtime.core.audio.agent.playback_queue.MAX_AHEAD_S`. If the next position goes on from
          there in real time, the earlier positions were late, and it counts.
        - A position of a stopped item that would move confirmed audio to an earlier time at all, or that exceeds the
          audio that can have been played by then, or any position if the item had not begun: a player that is cleared
          returns all its marks at once.

        Returns:
            The cut items of which a different number of frames is heard now; None if the position is ignored.
        """
        self._drop_old(t)
        item = self._items.get(item_id)
        if item is None:
            return None
        position, offset = round(t * self._rate), round(ms / 1000 * self._rate)
        if offset > item.frames:  # the frames beyond the item are those of the next one
            position, offset = position - (offset - item.frames), item.frames
        if item.dropped and offset <= item.dropped:
            return None
        if 0 < item.confirmed - offset <= TOLERANCE_S * self._rate:
            offset = item.confirmed  # a rounding error
        cuts = None if offset < item.confirmed else self._confirm(item, offset, position, moves_confirmed=False)
        self.ignored_positions += cuts is None
        return cuts

    def item_started(self, t: float, item_id: str) -> list[Cut] | None:
        """Confirm that the server began to play an item at ``t``. Returns as :meth:`played`."""
        item = self._items.get(item_id)
        return None if item is None else self._confirm(item, 0, round(t * self._rate), begins=True)

    def item_ended(self, t: float, item_id: str) -> None:
        """The server had played an item to its end at ``t``: none of it is heard later, unless it was truncated.

        If the item would play longer, it is moved to an earlier position, or else cut at ``t``.
        """
        item = self._items.get(item_id)
        if item is None or not item.frames:
            return
        position = round(t * self._rate)
        if item.heard_end > position:
            self._confirm(item, item.frames, position)
        if item.heard_end > position and not item.truncations:
            item.barge_in(position)
            self._queue.update([item])

    # Lengths and times of items

    def spoken_ms(self, item_id: str) -> float:
        """Return how many milliseconds of the item have arrived, heard or not."""
        item = self._find(item_id)
        return 0.0 if item is None else self._ms(item.frames)

    def heard_ms(self, item_id: str) -> float:
        """Return how many milliseconds of the item are heard. Queued audio counts as heard until it is cut."""
        item = self._find(item_id)
        return 0.0 if item is None else self._ms(item.heard)

    def played_ms(self, item_id: str, t: float) -> float:
        """Return how many milliseconds of the item play before ``t``, heard or not."""
        item = self._find(item_id)
        return 0.0 if item is None else self._ms(item.frames_before(round(t * self._rate)))

    def begins(self, item_id: str) -> float | None:
        """Return when the item's first frame plays, in seconds; None if no audio of it has arrived."""
        item = self._find(item_id)
        return None if item is None or item.first_start is None else item.first_start / self._rate

    def playing_until(self, item_id: str) -> float | None:
        """Return when the item's last heard frame ends, in seconds; None if none of its frames is heard."""
        item = self._find(item_id)
        return item.heard_end / self._rate if item is not None and item.heard else None

    def _confirm(
        self, item: SpokenItem, offset: int, position: int, *, begins: bool = False, moves_confirmed: bool = True
    ) -> list[Cut] | None:
        """Move the queue so that the item's frames before an offset end at a position.

        Arguments as for :meth:`PlaybackQueue.plan`, result as for :meth:`played`. Without ``moves_confirmed``, audio
        that earlier positions confirmed stays where it is; see :meth:`played`.
        """
        reported_at = position
        # Positions may extend an item beyond the moment at which it was stopped.
        was_stopped = item.stopped_at is not None and position > min(item.stopped_at, self._last_stop)
        max_ahead_s = TOLERANCE_S if was_stopped and not moves_confirmed else MAX_AHEAD_S
        last = self._confirmed_item
        is_overtaken = last not in (None, item) and item.position_of(offset) <= last.position_of(last.confirmed)
        exceeds_truncation = bool(item.truncations) and offset > item.truncations[-1][0]
        is_dropped = bool(item.dropped) and offset <= item.dropped
        if position < self._confirmed_at or is_overtaken or exceeds_truncation or is_dropped or not item.segments:
            return None
        heard_before = {other: other.heard for other in self._items.values()}
        limits = item.barge_in_at, item.barge_in_frames, item.max_frames
        limit, stopped_at = item.limit, item.stopped_at
        exceeds_limit = limit is not None and offset > limit
        if exceeds_limit:  # more was played than the barge-in allowed
            item.max_frames = max(item.max_frames or 0, offset)
            if item.barge_in_at is not None:
                item.barge_in_at = max(item.barge_in_at, position)
                item.barge_in_frames = max(item.barge_in_frames, offset)
        elif stopped_at is not None:  # playback stopped before the position; a truncation also says how far it was then
            position = min(position, stopped_at - (item.truncations[-1][0] - offset if item.truncations else 0))
        plan = self._queue.plan(item, offset, position, begins=begins, max_ahead_s=max_ahead_s)
        if (
            plan is not None
            and not moves_confirmed
            and self._contradicts(plan, item, offset, reported_at, was_stopped=was_stopped)
        ):
            plan = None
        if plan is None:
            item.barge_in_at, item.barge_in_frames, item.max_frames = limits
            return None
        if plan.starts:
            self._queue.apply(plan)
        else:
            self._queue.update([item])
        if exceeds_limit and limits[0] is not None:  # but no more than the position says
            item.barge_in_at = max(limits[0], item.position_of(offset))
            self._queue.update([item])
        item.confirmed = offset
        self._confirmed_item, self._confirmed_at = item, position
        changed = [other for other, heard in heard_before.items() if other.heard != heard]
        return [self._cut_of(other) for other in changed if other.limit is not None]

    def _contradicts(self, plan: Plan, item: SpokenItem, offset: int, position: int, *, was_stopped: bool) -> bool:
        """Tell whether a position, reported at ``position``, contradicts earlier positions; see :meth:`played`."""
        if was_stopped and not item.had_begun:
            return True
        moved_before = max(0, self._moved_back - (position - self._moved_at))
        earlier = self._queue.moves_confirmed(plan)
        allowed = 0 if was_stopped else round(MAX_AHEAD_S * self._rate)
        doubtful, self._doubtful = self._doubtful, None
        if earlier and earlier + moved_before > allowed:
            if doubtful is None or doubtful[0] is not item:
                self._doubtful = item, offset, position
                return True
            played, passed = offset - doubtful[1], position - doubtful[2]
            tolerance = round(MAX_AHEAD_S * self._rate)
            if passed < tolerance // 2 or abs(played - passed) > tolerance // 2:
                self._doubtful = item, offset, position
                return True
            self.ignored_positions -= 1  # the doubtful position was right
        self._moved_back, self._moved_at = moved_before + earlier, position
        return False

    def _cut_of(self, item: SpokenItem) -> Cut:
        return Cut(item.item_id, self._ms(item.heard))

    def _ms(self, frames: int) -> float:
        return frames * 1000 / self._rate

    # Memory

    def _find(self, item_id: str) -> SpokenItem | None:
        return self._items.get(item_id) or self._past_items.get(item_id)

    def _get_or_create(self, t: float, item_id: str) -> SpokenItem:
        item = self._items.get(item_id)
        if item is None:
            item = self._items[item_id] = self._find(item_id) or SpokenItem(item_id)
            self._past_items.pop(item_id, None)
            item.added_at = round(t * self._rate)
        return item

    def _drop_old(self, t: float) -> None:
        """Drop samples older than :attr:`MEMORY_S`, and past items beyond their limits."""
        if t < self._last_drop + 1:  # once a second is enough
            return
        self._last_drop = t
        horizon = round((t - self.MEMORY_S) * self._rate)
        dropped: list[Segment] = []
        for item_id, item in list(self._items.items()):
            dropped += item.drop_before(horizon)
            if not item.segments and item.added_at < horizon:
                self._past_items[item_id] = self._items.pop(item_id)
                item.added_at = round(t * self._rate)
        self._queue.drop(dropped)
        oldest = round((t - PAST_ITEMS_S) * self._rate)
        past = self._past_items
        while past and (len(past) > MAX_PAST_ITEMS or next(iter(past.values())).added_at < oldest):
            del past[next(iter(past))]

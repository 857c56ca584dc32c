"""The agent's channel: where its speech is played, and what of it a barge-in or a truncation cut.

Pure. Times are seconds since the recording began (frame 0); positions are frames at ``rate`` Hz, offsets
frames of one item.
"""

from __future__ import annotations

from dataclasses import dataclass

from langsmith_realtime.core.audio.agent.item import Piece, SpokenItem
from langsmith_realtime.core.audio.agent.playback_queue import PlaybackQueue
from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.audio.writes import Write

#: Items of which numbers are remembered when their sound is not any more, and for how many seconds.
PAST_ITEMS, PAST = 1000, 600.0


@dataclass(frozen=True, slots=True)
class Cut:
    """An item whose speech was cut off: ``heard_ms`` of it were played."""

    item_id: str
    heard_ms: float


class Playback:
    """Speech as a client plays it: one piece after the other, in real time.

    Deltas arrive faster than real time, so a piece begins when the one before it ends, or when it
    arrives if that is later by more than :data:`SLACK` seconds (less is the jitter of a client that
    hands over what it plays as it plays it). Where the application, or the server, says how far playing
    has come, the queue is laid out again from there if it was elsewhere by more than :data:`SLACK`.

    A barge-in cuts what is still to be played. What was cut is kept for :attr:`MEMORY` seconds, because
    ``conversation.item.truncate`` may still say that more, or less, of an item was heard.
    """

    MEMORY = 30.0

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._layout = PlaybackQueue(rate)
        self._items: dict[str, SpokenItem] = {}
        self._past: dict[str, SpokenItem] = {}  # numbers alone
        self._anchored: SpokenItem | None = None  # whose place was confirmed last
        self._anchored_at = 0
        self._tidied = 0.0

    @property
    def writes(self) -> list[Write]:
        """What is to be written, in order; whoever takes it clears it."""
        return self._layout.writes

    @property
    def written_until(self) -> int:
        """Frames written up to here, even if they were cut since."""
        return self._layout.written_until

    # What arrives, and what is cut of it

    def chunk(self, t: float, item_id: str, samples: Samples) -> None:
        """``samples`` of an item arrived at ``t``."""
        if not len(samples):
            return
        self._forget(t)
        self._layout.append(self._item(t, item_id), round(t * self._rate), samples)

    def mute(self, t: float, item_id: str) -> None:
        """No more of the item is heard than what arrived up to now, whatever still comes."""
        item = self._item(t, item_id)
        if item.limit is None:
            item.limit = item.frames

    def cut(self, t: float, *, final: bool = False) -> list[Cut]:
        """Everything still to be played at ``t`` is not heard; tells which items that cut short.

        A truncation knows better, unless the cut is ``final``: playing stopped altogether.
        """
        self._forget(t)
        position = round(t * self._rate)
        cut = []
        for item in self._items.values():
            if not item.pieces:
                continue
            if final and item.frames_before(position) < item.audible:
                item.truncations.clear()
                item.cut_at = item.limit = None
            before = item.cut
            item.stop(position)
            if item.cut != before and not item.truncations:
                cut.append(item)
        self._layout.settle(cut)
        return [self._cut(item) for item in cut]

    def truncate(self, t: float, item_id: str, heard_ms: float) -> Cut | None:
        """``heard_ms`` of the item were heard, as the truncation sent at ``t`` says.

        It holds for what still arrives of the item, too. None when nothing arrived so far.
        """
        self._forget(t)
        item = self._item(t, item_id)
        item.truncations.append((max(0, round(heard_ms / 1000 * self._rate)), round(t * self._rate)))
        self._layout.settle([item])
        return self._cut(item) if item.frames else None

    def truncation_refused(self, item_id: str) -> Cut | None:
        """The item's latest truncation was none: as it was before. None when nothing was cut then."""
        item = self._known(item_id)
        if item is None or not item.truncations:
            return None
        item.truncations.pop()
        self._layout.settle([item])
        return None if item.heard is None else self._cut(item)

    # How far playing has come

    def played(self, t: float, item_id: str, ms: float) -> list[Cut] | None:
        """``ms`` milliseconds of the item had been played at ``t``.

        Returns:
            What of items that were cut is heard now, if that changed; None when the word counts for nothing.

        The latest word stands above the ones before it. One about an item before the item told of last
        counts for nothing, nor does one that says more than a truncation, or more than there was time to play.
        """
        self._forget(t)
        item = self._items.get(item_id)
        if item is None:
            return None
        position, offset = round(t * self._rate), round(ms / 1000 * self._rate)
        if offset > item.frames:  # what comes next was played from here on, as far as that goes
            position, offset = position - (offset - item.frames), item.frames
        return self._anchor(item, offset, position)

    def begins_at(self, t: float, item_id: str) -> list[Cut] | None:
        """The server began to play the item at ``t``; as :meth:`played`."""
        item = self._items.get(item_id)
        return None if item is None else self._anchor(item, 0, round(t * self._rate), begins=True)

    def ends_at(self, t: float, item_id: str) -> None:
        """The server had played the item to its end at ``t``: nothing of it is heard later."""
        item = self._items.get(item_id)
        if item is None or not item.frames:
            return
        position = round(t * self._rate)
        if item.end > position:
            self._anchor(item, item.frames, position)
        if item.end > position and not item.truncations:
            item.stop(position)
            self._layout.settle([item])

    # What is known of an item

    def spoken_ms(self, item_id: str) -> float:
        """How many milliseconds of the item arrived, heard or not."""
        item = self._known(item_id)
        return 0.0 if item is None else self._ms(item.frames)

    def heard_ms(self, item_id: str) -> float:
        """How many of them are heard as far as is known: what is still queued counts until it is cut."""
        item = self._known(item_id)
        return 0.0 if item is None else self._ms(item.audible)

    def played_ms(self, item_id: str, t: float) -> float:
        """How many milliseconds of the item play before ``t``, heard or not."""
        item = self._known(item_id)
        return 0.0 if item is None else self._ms(item.frames_before(round(t * self._rate)))

    def begins(self, item_id: str) -> float | None:
        """When the item's first frame plays, in seconds; None when the item is not known."""
        item = self._known(item_id)
        return None if item is None or item.begin is None else item.begin / self._rate

    def playing_until(self, item_id: str) -> float | None:
        """When the last frame of the item is heard, in seconds; None when none is."""
        item = self._known(item_id)
        return item.end / self._rate if item is not None and item.audible else None

    def _anchor(self, item: SpokenItem, offset: int, position: int, *, begins: bool = False) -> list[Cut] | None:
        """The frames before ``offset`` ended at ``position``; if the item ``begins`` there, its first one began."""
        latest = self._anchored
        overtaken = latest not in (None, item) and item.position(offset) <= latest.position(latest.anchored)
        beyond_truncation = bool(item.truncations) and offset > item.truncations[-1][0]
        unremembered = bool(item.forgotten) and offset <= item.forgotten
        if position < self._anchored_at or overtaken or beyond_truncation or unremembered or not item.pieces:
            return None
        before = {known: known.audible for known in self._items.values()}
        said = item.cut_at, item.cut_of, item.limit
        heard, stopped = item.heard, item.stopped_at
        further = heard is not None and offset > heard
        if further:  # it was played further than known
            item.limit = max(item.limit or 0, offset)
            if item.cut_at is not None:
                item.cut_at, item.cut_of = max(item.cut_at, position), max(item.cut_of, offset)
        elif stopped is not None:  # how far it had come when it was stopped; a truncation says that, too
            position = min(position, stopped - (item.truncations[-1][0] - offset if item.truncations else 0))
        plan = self._layout.plan(item, offset, position, begins=begins)
        if plan is None:
            item.cut_at, item.cut_of, item.limit = said
            return None
        if plan.starts:
            self._layout.lay(plan)
        else:
            self._layout.settle([item])
        if further and said[0] is not None:  # and no further than that
            item.cut_at = max(said[0], item.position(offset))
            self._layout.settle([item])
        item.anchored = offset
        self._anchored, self._anchored_at = item, position
        changed = [known for known, audible in before.items() if known.audible != audible]
        return [self._cut(known) for known in changed if known.heard is not None]

    # Remembering

    def _cut(self, item: SpokenItem) -> Cut:
        return Cut(item.item_id, self._ms(item.audible))

    def _ms(self, frames: int) -> float:
        return frames * 1000 / self._rate

    def _known(self, item_id: str) -> SpokenItem | None:
        return self._items.get(item_id) or self._past.get(item_id)

    def _item(self, t: float, item_id: str) -> SpokenItem:
        item = self._items.get(item_id)
        if item is None:
            item = self._items[item_id] = self._known(item_id) or SpokenItem(item_id)
            self._past.pop(item_id, None)
            item.known_since = round(t * self._rate)
        return item

    def _forget(self, t: float) -> None:
        if t < self._tidied + 1:  # once a second is often enough
            return
        self._tidied = t
        horizon = round((t - self.MEMORY) * self._rate)
        gone: list[Piece] = []
        for item_id, item in list(self._items.items()):
            gone += item.forget(horizon)
            if not item.pieces and item.known_since < horizon:
                self._past[item_id] = self._items.pop(item_id)
                item.known_since = round(t * self._rate)
        self._layout.forget(gone)
        oldest = round((t - PAST) * self._rate)
        while self._past and (len(self._past) > PAST_ITEMS or next(iter(self._past.values())).known_since < oldest):
            del self._past[next(iter(self._past))]

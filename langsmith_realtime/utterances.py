"""When each item of the user's was spoken, as far as events tell.

Pure. Times are seconds since the conversation opened. What is asked is what to silence, so where it is not
known exactly the span is the longer one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from langsmith_realtime.turns import Moment

#: The server tells of speech some time after it began, in seconds.
TOLD_LATE = 1.0
#: What is between the sound and its place in the recording at most, in seconds.
MARGIN = 0.3
#: Items that are remembered.
ITEMS = 1000


@dataclass(slots=True, eq=False)
class _Utterance:
    begin: Moment
    since: float
    end: Moment | None = None


class Utterances:
    """The user's speech by item id."""

    def __init__(self) -> None:
        self._items: dict[str, _Utterance] = {}
        self._emptied = 0.0  # when the input buffer was

    def started(self, item_id: str | None, moment: Moment) -> None:
        """The server heard speech begin, the padding before it included."""
        if item_id is not None:
            self._keep(item_id, _Utterance(moment, min(moment.at, moment.told - TOLD_LATE)))

    def stopped(self, item_id: str | None, moment: Moment) -> None:
        known = self._items.get(item_id or "")
        if known is not None:
            known.end = moment

    def committed(self, item_id: str | None, t: float) -> None:
        """What was written became the item; where no speech was told of, all since the buffer was empty."""
        known = self._items.get(item_id or "")
        if known is None and item_id is not None:
            known = _Utterance(Moment(self._emptied), self._emptied)
            self._keep(item_id, known)
        if known is not None:
            known.end = known.end or Moment(t)
        self._emptied = t

    def cleared(self, t: float) -> None:
        self._emptied = t

    def span(self, item_id: str) -> tuple[float, float] | None:
        """From when to when, infinite while it goes on; None when nothing is known of it."""
        known = self._items.get(item_id)
        if known is None:
            return None
        begin = known.begin
        known.since = min(known.since, begin.at)  # it may turn out to be earlier, and is forgotten later
        since, until = known.since, math.inf
        if known.end is not None:
            until = max(known.end.told, known.end.at)
            if begin.ms is not None and known.end.ms is not None:
                # Sound that was pushed faster than it plays lies before, or behind, the moment it was pushed.
                lasts = (known.end.ms - begin.ms) / 1000
                since, until = min(since, until - lasts), max(until, begin.at + lasts)
        return since - MARGIN, until + MARGIN

    def _keep(self, item_id: str, utterance: _Utterance) -> None:
        self._items[item_id] = utterance
        if len(self._items) > ITEMS:
            del self._items[next(iter(self._items))]

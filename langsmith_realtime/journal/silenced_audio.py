"""Which pieces of sound may lie in a silence that was asked for: rather one more than one less.

Pure. Times are seconds since the conversation opened. Where exactly a piece is heard is settled later, and
elsewhere; a journal must not hold what is silenced, and what is missing from it is silent when it is replayed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from langsmith_realtime.core.protocol.audio_formats import USER
from langsmith_realtime.recording.silencing import Span

#: How far a piece may be moved against what is guessed here, in seconds.
MARGIN_S = 0.5
#: How long before its hand-over the microphone's sound may have been captured, in seconds: a loop that stalls hands it
#: over all at once.
STALL_S = 10.0


class SilencedAudio:
    """The silences of one conversation, and where its pieces of sound may lie."""

    def __init__(self) -> None:
        self._items: set[str] = set()
        self._spans: list[tuple[float, float]] = []
        self._open: float | None = None
        self._ends: dict[int, float] = {}
        self._captured = 0.0  # when the microphone's latest piece ended at the earliest
        self._lasts: dict[str, float] = {}  # seconds of each of the agent's items
        self._heard: dict[str, tuple[float, float]] = {}  # when of it how many seconds had been played

    def silence(self, since: float | None, until: float | None, item_id: str | None) -> None:
        """As :meth:`~langsmith_realtime.trace.session.Session.silence` takes it."""
        if item_id is not None:
            self._items.add(item_id)
        elif since is None and self._open is not None:
            self._spans.append((self._open, math.inf if until is None else until))
            self._open = None
        elif until is None:
            self._open = min(since or 0.0, math.inf if self._open is None else self._open)
        else:
            self._spans.append((since or 0.0, until))

    def arrived(self, item_id: str, seconds: float) -> None:
        """So much of the agent's item came."""
        self._lasts[item_id] = self._lasts.get(item_id, 0.0) + seconds

    def played(self, item_id: str, ms: float, at: float) -> None:
        """As :meth:`~langsmith_realtime.trace.session.Session.agent_played` takes it."""
        self._heard[item_id] = at, ms / 1000

    def covers(
        self,
        channel: int,
        t: float,
        seconds: float,
        *,
        at: float | None = None,
        item_id: str | None = None,
        silent: Iterable[Span] = (),
    ) -> bool:
        """Whether a piece that came at ``t``, or was captured or played from ``at`` on, may be silenced.

        ``silent`` is what else is: the user's items, whose sound does not say whose it is.
        """
        if at is not None:
            since, until = at, at + seconds
        else:
            # One after the other, as they come; the microphone's was captured before, what is played is after.
            since = t - seconds if channel == USER else t
            until = max(self._ends.get(channel, 0.0), since) + seconds
            self._ends[channel] = until
            if channel == USER:
                since = min(since, max(self._captured, since - STALL_S))
                self._captured = since + seconds
            elif item_id in self._heard:
                then, played = self._heard[item_id]
                until = max(until, then + self._lasts.get(item_id, 0.0) - played)
        if item_id in self._items:
            return True
        spans = [*self._spans, *((span.since, span.until) for span in silent)]
        if self._open is not None:
            spans.append((self._open, math.inf))
        return any(since - MARGIN_S < end and begin < until + MARGIN_S for begin, end in spans)

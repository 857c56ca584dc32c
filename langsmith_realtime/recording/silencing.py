"""What of a recording is silent because somebody asked for it, whatever else is written there, before or after.

Pure. Times are seconds since the conversation opened, which is when the recording begins (frame 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from langsmith_realtime.core.audio.writes import ChannelWrite, Write, silence
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER


@dataclass(frozen=True, slots=True)
class Span:
    """A time of one channel; it has no end yet where ``until`` is infinite."""

    channel: int
    since: float
    until: float


class SilencedSpans:
    """The silent spans of one conversation, and the silent items, whose spans may still move."""

    def __init__(self) -> None:
        self._spans: dict[str | int, list[Span]] = {}  # by item id, or a number
        self._done: dict[tuple[str | int, int], Span] = {}  # what was made silent of them, by channel
        self._open: int | None = None
        self._ended = False
        self._written = {USER: 0, AGENT: 0}  # frames

    def __bool__(self) -> bool:
        return bool(self._spans)

    def between(self, since: float | None, until: float | None) -> None:
        """Both channels are silent in that time.

        Without ``until`` they are from ``since`` on, until another call ends that: without ``since``. If there is
        nothing to end, it is all that was until then.
        """
        key: int = len(self._spans)
        begin, end = since or 0.0, math.inf if until is None else until
        if self._open is not None and (since is None or until is None):
            key, known = self._open, self._spans[self._open][0].since
            begin = known if since is None else min(known, since)
        if since is None or until is None:
            self._open = key if until is None else None
        self._spans[key] = [Span(channel, begin, end) for channel in (USER, AGENT)]

    def item(self, item_id: str) -> None:
        """All sound of an item is silent, wherever it is placed."""
        self._spans.setdefault(item_id, [])

    def locate(self, place: Callable[[str], tuple[int, float, float] | None]) -> None:
        """Ask for the channel and the time of the silent items; None for one that is not known, or not any more."""
        for key in self._spans:
            found = place(key) if isinstance(key, str) else None
            if found is not None:
                self._spans[key] = [Span(*found)]

    def spans(self, channel: int) -> list[Span]:
        """What is silent of a channel, as it was located last."""
        return [span for spans in self._spans.values() for span in spans if span.channel == channel]

    def end(self) -> None:
        """The conversation ended: what nobody ended is silent to the last."""
        self._ended = True

    def applied(self, writes: Iterable[ChannelWrite], rate: int, t: float) -> list[ChannelWrite]:
        """Writes at ``rate`` Hz as they may be done at ``t``, and those that silence what was written before."""
        spans = [(key, self._as_of(span, t)) for key, known in self._spans.items() for span in known]
        applied = []
        for item in writes:
            end = item.write.start + len(item.write.samples)
            self._written[item.channel] = max(self._written[item.channel], end)
            applied.append(_masked(item, [span for _, span in spans], rate) if spans else item)
        for key, span in spans:
            applied += self._erased(key, span, rate)
        return applied

    def _as_of(self, span: Span, t: float) -> Span:
        """What of a silence that nobody has ended yet is silent at ``t``: the agent's queue may outlast it."""
        if span.channel == USER or not math.isinf(span.until) or self._ended:
            return span
        return Span(span.channel, span.since, max(t, span.since))

    def _erased(self, key: str | int, span: Span, rate: int) -> Iterator[ChannelWrite]:
        """Silence for what of the span was written before the span was there."""
        done = self._done.get((key, span.channel))
        since = span.since
        if done is not None and done.since <= since <= done.until:
            since = done.until
        self._done[key, span.channel] = span
        if since >= span.until:
            return
        first = max(0, math.floor(since * rate))
        frames = _frame(span.until, rate, self._written[span.channel]) - first
        if frames > 0:
            yield ChannelWrite(span.channel, Write(first, silence(frames)))


def _masked(item: ChannelWrite, spans: Iterable[Span], rate: int) -> ChannelWrite:
    start, samples = item.write.start, item.write.samples
    end = start + len(samples)
    if not samples.size or not samples.strides[0]:
        return item
    copy = None
    for span in spans:
        if span.channel == item.channel:
            since, until = max(start, math.floor(span.since * rate)), _frame(span.until, rate, end)
            if since < until:
                copy = np.array(samples) if copy is None else copy
                copy[since - start : until - start] = 0
    return item if copy is None else ChannelWrite(item.channel, Write(start, copy))


def _frame(until: float, rate: int, end: int) -> int:
    return end if math.isinf(until) else min(end, math.ceil(until * rate))

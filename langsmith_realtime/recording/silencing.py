"""Silences spans and items of a recording that the application asked to silence, whenever their audio is written.

Pure. Times are seconds since the conversation opened, when the recording begins (frame 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from langsmith_realtime.core.audio.writes import ChannelWrite, Write, silence
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER


@dataclass(frozen=True, slots=True)
class Span:
    """A span of one channel, in seconds; ``until`` is infinite while it has no end."""

    channel: int
    since: float
    until: float


#: A part of an item, as shares of its time from 0 to 1; None for all of it.
Part: TypeAlias = tuple[float, float] | None
#: What was asked to be silent: an item or a part of it; spans of both channels have a number.
_Key: TypeAlias = int | tuple[str, Part]


class SilencedSpans:
    """The silent spans and items of one conversation. The span of an item may move while more events arrive."""

    def __init__(self) -> None:
        self._spans: dict[_Key, list[Span]] = {}
        self._erased: dict[tuple[_Key, int], Span] = {}  # the part that is silent in the file, by key and channel
        self._open: int | None = None  # number of the span without an end
        self._has_ended = False
        self._written = {USER: 0, AGENT: 0}  # frames, by channel

    def __bool__(self) -> bool:
        return bool(self._spans)

    def add(self, since: float | None, until: float | None, item_id: str | None, part: Part = None) -> None:
        """Silence an item, or a span of time; see :meth:`add_item` and :meth:`add_span`."""
        if item_id is not None:
            self.add_item(item_id, part)
        else:
            self.add_span(since, until)

    def add_span(self, since: float | None, until: float | None) -> None:
        """Silence both channels from ``since`` until ``until``.

        Without ``until``, the span stays open until a call without ``since`` ends it at ``until``. If no span is open,
        a call without ``since`` silences all from the beginning of the recording.
        """
        key: int = len(self._spans)
        begin, end = since or 0.0, math.inf if until is None else until
        if self._open is not None and (since is None or until is None):
            key, known = self._open, self._spans[self._open][0].since
            begin = known if since is None else min(known, since)
        if since is None or until is None:
            self._open = key if until is None else None
        self._spans[key] = [Span(channel, begin, end) for channel in (USER, AGENT)]

    def add_item(self, item_id: str, part: Part = None) -> None:
        """Silence the audio of an item, or of a part of it, wherever it is placed in the recording."""
        self._spans.setdefault((item_id, part), [])

    def locate(self, place: Callable[[str, Part], tuple[int, float, float] | None]) -> None:
        """Update the spans of the items.

        Args:
            place: Returns the channel, begin and end in seconds of an item or of a part of it; None if they are
                unknown: its span stays.
        """
        for key in self._spans:
            found = None if isinstance(key, int) else place(*key)
            if found is not None:
                self._spans[key] = [Span(*found)]

    def spans(self, channel: int) -> list[Span]:
        """The channel's silent spans, as of the latest :meth:`locate`."""
        return [span for spans in self._spans.values() for span in spans if span.channel == channel]

    def silent_parts(self, end: float, rate: int) -> list[dict[str, Any]]:
        """Return the silent parts of the recording in order, as ``{"side", "from_s", "to_s"}``.

        Parts of one side that overlap or touch are one. An item whose place is not known has no part.

        Args:
            end: The end of the conversation, in seconds. A part without an end lasts until then, or until the end of
                the channel's audio if that is later.
            rate: The rate of the audio, in Hz.
        """
        parts: list[dict[str, Any]] = []
        for channel, side in ((USER, "user"), (AGENT, "agent")):
            last, until = max(end, self._written[channel] / rate), -1.0
            for span in sorted(self.spans(channel), key=lambda each: each.since):
                since, to = round(max(0.0, span.since), 3), round(min(last, span.until), 3)
                if since >= to:
                    continue
                if since <= until:
                    parts[-1]["to_s"] = until = max(until, to)
                else:
                    parts.append({"side": side, "from_s": since, "to_s": to})
                    until = to
        return sorted(parts, key=lambda part: (part["from_s"], part["side"] == "agent"))

    def end(self) -> None:
        """Note the end of the conversation: an open span lasts until the end of the recording."""
        self._has_ended = True

    def apply(self, writes: Iterable[ChannelWrite], rate: int, t: float) -> list[ChannelWrite]:
        """Return the writes, silent within the spans, and then writes that silence earlier ones in the file.

        Args:
            writes: The new writes.
            rate: Their rate in Hz, equal in all calls.
            t: The current time, at which open spans of the agent end for now.
        """
        spans = [(key, self._until_now(span, t)) for key, known in self._spans.items() for span in known]
        applied = []
        for item in writes:
            end = item.write.start + len(item.write.samples)
            self._written[item.channel] = max(self._written[item.channel], end)
            applied.append(_masked(item, [span for _, span in spans], rate) if spans else item)
        for key, span in spans:
            applied += self._erase(key, span, rate)
        return applied

    def _until_now(self, span: Span, t: float) -> Span:
        """End an open span of the agent at ``t`` for now: audio queued by then may play after the span's end."""
        if span.channel == USER or not math.isinf(span.until) or self._has_ended:
            return span
        return Span(span.channel, span.since, max(t, span.since))

    def _erase(self, key: _Key, span: Span, rate: int) -> Iterator[ChannelWrite]:
        """Yield a write that silences the span as far as audio was written; skip what earlier calls silenced."""
        erased = self._erased.get((key, span.channel))
        since = span.since
        if erased is not None and erased.since <= since <= erased.until:
            since = erased.until
        self._erased[key, span.channel] = span
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

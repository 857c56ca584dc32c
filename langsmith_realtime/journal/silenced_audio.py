"""Decides which chunks of audio the journal leaves out because they may lie in a silence; in doubt it leaves them out.

The journal must not hold silenced audio, but only later events tell where exactly in the recording a chunk lies. Audio
that the journal lacks is silent in a replay. Times are seconds since the conversation opened.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from langsmith_realtime.core.protocol.audio_formats import SILENT_BYTE, USER, Format
from langsmith_realtime.core.protocol.events import mapping, text
from langsmith_realtime.journal.file import Journal
from langsmith_realtime.journal.reader import JournalReader
from langsmith_realtime.recording.silencing import Span

#: How far from the place that is assumed here a chunk may lie in the recording, in seconds.
MARGIN_S = 0.5
#: How long before it was sent microphone audio may have been captured, in seconds: an event loop that stalls sends the
#: chunks of that time at once.
STALL_S = 10.0


class SilencedAudio:
    """The silences of one conversation, and the times in which its chunks of audio may lie."""

    def __init__(self) -> None:
        self._items: set[str] = set()
        self._spans: list[tuple[float, float]] = []
        self._open: float | None = None
        self._ends: dict[int, float] = {}
        self._captured_until = 0.0  # the earliest end of the latest microphone chunk
        self._received: dict[str, float] = {}  # seconds of audio of each of the agent's items
        self._played: dict[str, tuple[float, float]] = {}  # by item: a time, and the seconds played until then

    def silence(self, since: float | None, until: float | None, item_id: str | None) -> None:
        """Add a silence; arguments as in :meth:`~langsmith_realtime.trace.session.Session.silence`."""
        if item_id is not None:
            self._items.add(item_id)
        elif since is None and self._open is not None:
            self._spans.append((self._open, math.inf if until is None else until))
            self._open = None
        elif until is None:
            self._open = min(since or 0.0, math.inf if self._open is None else self._open)
        else:
            self._spans.append((since or 0.0, until))

    def received(self, item_id: str, seconds: float) -> None:
        """Note that so much more audio of the agent's item was received."""
        self._received[item_id] = self._received.get(item_id, 0.0) + seconds

    def played(self, item_id: str, ms: float, at: float) -> None:
        """Note how much of an item was played at the time ``at``."""
        self._played[item_id] = at, ms / 1000

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
        """Whether a chunk may lie in a silence.

        Call this once for each chunk, in order: chunks of a channel follow one another.

        Args:
            channel: The chunk's channel.
            t: When it was sent, received or recorded.
            seconds: How long it is.
            at: When it was captured or played from, if the application says so.
            item_id: The agent's item that it belongs to.
            silent: More silent spans: those of the user's items, which microphone audio does not name.
        """
        if at is not None:
            since, until = at, at + seconds
        else:
            # Microphone audio was captured before t, the agent's audio is played after t.
            since = t - seconds if channel == USER else t
            until = max(self._ends.get(channel, 0.0), since) + seconds
            self._ends[channel] = until
            if channel == USER:
                since = min(since, max(self._captured_until, since - STALL_S))
                self._captured_until = since + seconds
            elif item_id in self._played:
                then, played = self._played[item_id]
                until = max(until, then + self._received.get(item_id, 0.0) - played)
        if item_id in self._items:
            return True
        spans = [*self._spans, *((span.since, span.until) for span in silent)]
        if self._open is not None:
            spans.append((self._open, math.inf))
        return any(since - MARGIN_S < end and begin < until + MARGIN_S for begin, end in spans)


class FormatOf(Protocol):
    """Returns the format of a channel's audio: on the wire or, if ``fed``, as the application records it."""

    def __call__(self, channel: int, *, fed: bool) -> Format: ...


def overwrite_silenced(journal: Journal, spans_of: Callable[[int, bool], list[Span]], format_of: FormatOf) -> None:
    """Overwrite the audio in the journal that may lie in a silence.

    Args:
        journal: The journal; it is flushed before.
        spans_of: Returns a channel's silent spans for audio that does not name its item; the second argument tells
            whether the application recorded that audio.
        format_of: Returns the format of a channel's audio.
    """
    journal.flush()
    lines, silenced = list(JournalReader(journal.folder).entries()), SilencedAudio()
    for line in lines:
        if line["is"] == "silence":
            silenced.silence(line.get("since"), line.get("until"), line.get("item_id"))
        elif line["is"] == "played":
            silenced.played(line["item_id"], line["ms"], line["at"])
        elif line["is"] == "audio" and _item_id(line) is not None:
            silenced.received(str(_item_id(line)), _place(line).get("ms", 0.0) / 1000)
    for line in lines:
        place = _place(line)
        if line["is"] != "audio" or "ms" not in place:
            continue
        channel, fed = line["channel"], "event" not in line
        seconds, item_id, spans = place["ms"] / 1000, _item_id(line), spans_of(channel, fed)
        if silenced.covers(channel, line["t"], seconds, at=line.get("at"), item_id=item_id, silent=spans):
            silent_byte = SILENT_BYTE[format_of(channel, fed=fed).encoding]
            journal.overwrite_audio(place, silent_byte * int(place["bytes"]))


def _place(line: dict[str, Any]) -> dict[str, Any]:
    return mapping(line.get("data"))


def _item_id(line: dict[str, Any]) -> str | None:
    return text(mapping(line.get("event")).get("item_id"))

"""What the user did, on the clock of the conversation: when they spoke, and what was done for the answer.

Pure. Times are seconds since the conversation opened. What is said of the user's speech is told in audio
written to the input buffer, and is mapped to time when it is asked for, because the chunks that follow tell
more exactly when it was captured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from langsmith_realtime.core.audio.user.input_buffer import InputBuffer
from langsmith_realtime.core.conversation.tool_calls import ToolTimes


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of the user's: ``ms`` of the audio written, and when that was ``told``, or the latter alone."""

    told: float
    written: InputBuffer | None = None
    ms: float | None = None

    @property
    def at(self) -> float:
        """Seconds; as far as is known by now."""
        mapped = None if self.written is None or self.ms is None else self.written.time_of(self.ms)
        return self.told if mapped is None else min(mapped, self.told)


@dataclass(slots=True, eq=False)
class Speech:
    """The user spoke; one answer to it is timed from its end. ``started`` is None where nobody told."""

    started: Moment | None
    ended: Moment
    answered: bool = False


class UserTurns:
    """Who is answered: the user's latest speech, until something was said or shown in answer to it."""

    def __init__(self) -> None:
        self.tools = ToolTimes()
        self._written = InputBuffer()
        self._speaking: Moment | None = None
        self._said: Speech | None = None
        self._before_commit: Speech | None = None
        self._idle = False  # what is committed next is silence

    @property
    def speaking(self) -> Moment | None:
        """When the user began the speech that is going on."""
        return self._speaking

    @property
    def unanswered(self) -> Speech | None:
        """What a response that is created now answers."""
        return None if self._said is None or self._said.answered else self._said

    def moment(self, told: float, ms: float | None) -> Moment:
        """``ms`` of the audio written, as was told at that time."""
        return Moment(told, self._written, ms)

    def wrote(self, t: float, ms: float) -> None:
        """``input_audio_buffer.append`` handed over so many milliseconds."""
        self._written.append(t, ms)

    def reconnected(self, t: float) -> None:
        """A new server session counts its input from 0."""
        self._written = InputBuffer(t)
        self._speaking = self._said = None

    def speech_started(self, t: float, start_ms: float | None) -> None:
        """The server heard speech; ``start_ms`` is where it began, without the padding before it."""
        self._speaking, self._said = Moment(t, self._written, start_ms), None

    def speech_stopped(self, t: float, end_ms: float | None) -> None:
        self._said = Speech(self._speaking, Moment(t, self._written, end_ms))
        self._speaking = None

    def commit_sent(self, t: float) -> None:
        """Push-to-talk: the user is done with what was written so far."""
        self._before_commit = self._said
        self._said = Speech(self._speaking, Moment(t, self._written, self._written.written_ms))
        self._speaking = None

    def commit_refused(self) -> None:
        """There was nothing to commit."""
        self._said = self._before_commit

    def committed(self, t: float) -> None:
        """The server took the user's speech; if nobody told of its end, another client said so."""
        if self.unanswered is None and not self._idle:
            self._said = Speech(self._speaking, Moment(t))
            self._speaking = None
        self._idle = False

    def nobody_spoke(self) -> None:
        """The idle timeout: what is said now answers nobody."""
        self._said, self._idle = None, True


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

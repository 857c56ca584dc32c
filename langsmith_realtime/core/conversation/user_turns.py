"""When the user spoke, and which utterance is still unanswered.

Pure. Times are seconds since the conversation opened. Turn detection reports positions in the audio written to the
input buffer. A position is mapped to a time only when it is read, because later chunks tell more exactly when the
audio was captured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from langsmith_realtime.core.audio.user.input_buffer import InputBuffer
from langsmith_realtime.core.conversation.tool_times import ToolTimes

#: How long after the beginning of speech ``speech_started`` may arrive, in seconds.
DETECTION_DELAY_S = 1.0
#: How far before its first frame in the input buffer speech may be reported to start, in ms.
START_TOLERANCE_MS = 300.0
#: How far an utterance may lie from its place in the recording, in seconds.
SPAN_MARGIN_S = 0.3
#: How many utterances are remembered; older ones are forgotten.
MAX_UTTERANCES = 1000


@dataclass(frozen=True, slots=True)
class Moment:
    """The start or end of the user's speech.

    ``received_at`` is when the event that shows it arrived or, for the client's commit, was sent. ``buffer_ms`` is its
    position in ``input_buffer``, in ms of written audio; None if unknown. A start may lie up to ``reach_ms`` later: if
    the microphone was silent on the wire in between, the speech starts after that gap.
    """

    received_at: float
    input_buffer: InputBuffer | None = None
    buffer_ms: float | None = None
    reach_ms: float = 0.0

    @property
    def time(self) -> float:
        """When the audio at the position was captured, never after ``received_at``; if unknown, ``received_at``."""
        captured_at = None
        if self.input_buffer is not None and self.buffer_ms is not None:
            captured_at = self.input_buffer.time_of(self.buffer_ms, self.reach_ms)
        return self.received_at if captured_at is None else min(captured_at, self.received_at)


@dataclass(slots=True, eq=False)
class Speech:
    """One utterance of the user. ``started`` is None if no event reported the start.

    ``answered`` is set by the first response that answers it: latencies are measured for that one only.
    """

    started: Moment | None
    ended: Moment
    answered: bool = False


class UserTurns:
    """The user's latest utterance, until a response answers it, and the times of tool calls."""

    def __init__(self) -> None:
        self.tool_times = ToolTimes()
        self._input_buffer = InputBuffer()
        self._speech_start: Moment | None = None
        self._last_speech: Speech | None = None
        self._speech_before_commit: Speech | None = None
        self._next_commit_is_idle = False  # the idle timeout commits silence
        self._latest_start: tuple[str | None, float] | None = None  # of an utterance: item, and position in ms
        self._latest_end_ms: float | None = None
        #: Whether the server counts positions anew within a session, so that they tell no times.
        self.positions_restart = False

    @property
    def speech_start(self) -> Moment | None:
        """The start of the utterance that is going on; None while the user is silent."""
        return self._speech_start

    @property
    def unanswered_speech(self) -> Speech | None:
        """The utterance that a response created now would answer; None without one."""
        return None if self._last_speech is None or self._last_speech.answered else self._last_speech

    def start_position(self, item_id: str | None, start_ms: float | None, padding_ms: float) -> float | None:
        """``audio_start_ms`` of the utterance ``item_id``; None if it tells no time.

        Speech cannot begin before the end of the utterance before it, except for the padding. A server that says so
        starts to count anew within a session. It is not known where, so none of its positions counts from here on.
        """
        if start_ms is None or self.positions_restart:
            return None
        if self._latest_start is not None and self._latest_start[0] != item_id:
            reach_ms = padding_ms + 2 * START_TOLERANCE_MS
            earliest = -math.inf if self._latest_end_ms is None else self._latest_end_ms - reach_ms
            self.positions_restart = start_ms < max(earliest, self._latest_start[1])
        self._latest_start, self._latest_end_ms = (item_id, start_ms), None
        return None if self.positions_restart else start_ms

    def end_position(self, end_ms: float | None) -> float | None:
        """``audio_end_ms``; None if it tells no time, see :meth:`start_position`."""
        if self.positions_restart:
            return None
        self._latest_end_ms = end_ms
        return end_ms

    def moment(self, received_at: float, buffer_ms: float | None, *, reach_ms: float = 0.0) -> Moment:
        """The moment at a position in the session's input buffer, reported by an event; see :class:`Moment`."""
        return Moment(received_at, self._input_buffer, buffer_ms, reach_ms)

    def audio_appended(self, t: float, ms: float) -> None:
        """``input_audio_buffer.append`` with ``ms`` milliseconds of audio was sent."""
        self._input_buffer.append(t, ms)

    def reconnected(self, t: float) -> None:
        """A new server session began; it counts the written audio from 0. Earlier utterances are forgotten."""
        self._input_buffer = InputBuffer(t)
        self._speech_start = self._last_speech = None
        self._latest_start = self._latest_end_ms = None

    def speech_started(self, t: float, start_ms: float | None) -> None:
        """``speech_started`` arrived; ``start_ms`` is where the speech begins in the input buffer, after the padding.

        Responses that are created from here on do not answer the utterance before it.
        """
        self._speech_start, self._last_speech = self.moment(t, start_ms, reach_ms=START_TOLERANCE_MS), None

    def speech_stopped(self, t: float, end_ms: float | None) -> None:
        """``speech_stopped`` arrived; ``end_ms`` is its ``audio_end_ms``."""
        self._last_speech = Speech(self._speech_start, Moment(t, self._input_buffer, end_ms))
        self._speech_start = None

    def commit_sent(self, t: float) -> None:
        """``input_audio_buffer.commit`` was sent (push-to-talk): the utterance ends with the audio written so far."""
        self._speech_before_commit = self._last_speech
        self._last_speech = Speech(self._speech_start, Moment(t, self._input_buffer, self._input_buffer.appended_ms))
        self._speech_start = None

    def commit_refused(self) -> None:
        """The error ``input_audio_buffer_commit_empty`` arrived: the commit ended no utterance."""
        self._last_speech = self._speech_before_commit

    def committed(self, t: float) -> None:
        """``committed`` arrived. If no utterance is unanswered, another client sent the commit, and one ends at ``t``.

        The commit of an idle timeout ends no utterance.
        """
        if self.unanswered_speech is None and not self._next_commit_is_idle:
            self._last_speech = Speech(self._speech_start, Moment(t))
            self._speech_start = None
        self._next_commit_is_idle = False

    def idle_timeout(self) -> None:
        """``timeout_triggered`` arrived: the next response answers no utterance."""
        self._last_speech, self._next_commit_is_idle = None, True


@dataclass(slots=True, eq=False)
class _Utterance:
    begin: Moment
    earliest_begin: float  # seconds; the mapped time of `begin` may change until it is final
    end: Moment | None = None
    final: tuple[float, float] | None = None  # begin and end in seconds, once another utterance follows

    @property
    def spoken(self) -> tuple[float, float] | None:
        """Begin and end in seconds, as far as they are known; None while it goes on."""
        return self.final or (None if self.end is None else (self.begin.time, self.end.time))


class Utterances:
    """When the audio of each user item was captured.

    The spans are used to silence audio, so an inexact span is too long rather than too short.
    """

    def __init__(self) -> None:
        self._utterances: dict[str, _Utterance] = {}  # by item_id
        self._untold: dict[str, None] = {}  # ids of those that are to become run data
        self._buffer_emptied_at = 0.0

    def started(self, item_id: str | None, moment: Moment) -> None:
        """``speech_started`` arrived; the item's audio begins at ``moment``, with the padding before the speech."""
        if item_id is not None:
            earliest_begin = min(moment.time, moment.received_at - DETECTION_DELAY_S)
            self._remember(item_id, _Utterance(moment, earliest_begin))

    def stopped(self, item_id: str | None, moment: Moment) -> None:
        """``speech_stopped`` arrived; the utterance ends at ``moment``."""
        utterance = self._utterances.get(item_id or "")
        if utterance is not None:
            utterance.end = moment

    def committed(self, item_id: str | None, t: float) -> None:
        """The input buffer became the item.

        Without a ``speech_started`` of it, the item holds all audio since the buffer was last committed or cleared.
        """
        utterance = self._utterances.get(item_id or "")
        if utterance is None and item_id is not None:
            utterance = _Utterance(Moment(self._buffer_emptied_at), self._buffer_emptied_at)
            self._remember(item_id, utterance)
        if utterance is not None:
            utterance.end = utterance.end or Moment(t)
        self._buffer_emptied_at = t

    def cleared(self, t: float) -> None:
        """``input_audio_buffer.cleared`` arrived: the buffer is empty."""
        self._buffer_emptied_at = t

    def span(self, item_id: str) -> tuple[float, float] | None:
        """Start and end of the item's audio in seconds, with a margin; None for an unknown item.

        The end is infinite while the user speaks.
        """
        utterance = self._utterances.get(item_id)
        if utterance is None:
            return None
        begin = utterance.begin
        # Remembered, because the input buffer forgets old positions.
        utterance.earliest_begin = min(utterance.earliest_begin, begin.time)
        since, until = utterance.earliest_begin, math.inf
        if utterance.end is not None:
            until = max(utterance.end.received_at, utterance.end.time)
            if begin.buffer_ms is not None and utterance.end.buffer_ms is not None:
                # Audio sent faster than real time lies either before or after the moment it was sent.
                duration = (utterance.end.buffer_ms - begin.buffer_ms) / 1000
                since, until = min(since, until - duration), max(until, begin.time + duration)
        return since - SPAN_MARGIN_S, until + SPAN_MARGIN_S

    def spoken(self, item_id: str) -> tuple[float, float] | None:
        """From when to when the user spoke the item, in seconds; None if that is not known.

        The beginning includes what turn detection adds before it.
        """
        utterance = self._utterances.get(item_id)
        return None if utterance is None else utterance.spoken

    def detected(self, item_id: str) -> tuple[float, float] | None:
        """Start and end, in seconds, of an item that turn detection bounded and that was sent as fast as it was spoken.

        None for every other item: what else its audio holds is not known.
        """
        utterance = self._utterances.get(item_id)
        if utterance is None or utterance.end is None or utterance.spoken is None:
            return None
        begin_ms, end_ms = utterance.begin.buffer_ms, utterance.end.buffer_ms
        if begin_ms is None or end_ms is None:
            return None
        since, until = utterance.spoken
        return (since, until) if abs(until - since - (end_ms - begin_ms) / 1000) < SPAN_MARGIN_S else None

    def ended(self) -> list[tuple[str, float, float]]:
        """The item, begin and end of each utterance that is over and that :meth:`told` has not named, in seconds."""
        found = []
        for item_id in self._untold:
            utterance = self._utterances.get(item_id)
            if utterance is not None and utterance.spoken is not None:
                begin, end = utterance.spoken
                found.append((item_id, begin, max(begin, end)))
        return found

    def told(self, item_id: str) -> None:
        """The utterance has its run data."""
        self._untold.pop(item_id, None)

    def _remember(self, item_id: str, utterance: _Utterance) -> None:
        if self._utterances:
            latest = self._utterances[next(reversed(self._utterances))]
            latest.final = latest.spoken  # the input buffer forgets old positions
        self._utterances[item_id] = utterance
        self._untold[item_id] = None
        if len(self._utterances) > MAX_UTTERANCES:
            oldest = next(iter(self._utterances))
            del self._utterances[oldest]
            self._untold.pop(oldest, None)

"""What the user did, on the clock of the conversation: when they spoke, and what was done for the answer.

Pure. Times are seconds since the conversation opened. What is said of the user's speech is told in audio
written to the input buffer, and is mapped to time when it is asked for, because the chunks that follow tell
more exactly when it was captured.
"""

from __future__ import annotations

from dataclasses import dataclass

from langsmith_realtime.audio.written import Written

#: Tool calls that are remembered: those of one answer, and many more.
CALLS = 256


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of the user's: ``ms`` of the audio written, and when that was ``told``, or the latter alone."""

    told: float
    written: Written | None = None
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


class Turns:
    """Who is answered: the user's latest speech, until something was said or shown in answer to it."""

    def __init__(self) -> None:
        self.tools = ToolTimes()
        self._written = Written()
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
        self._written = Written(t)
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


class ToolTimes:
    """When tools were at work: from the announcement of a call to its answer."""

    def __init__(self) -> None:
        self._calls: dict[str, tuple[float, float | None]] = {}

    def announced(self, call_id: str, t: float) -> None:
        if call_id not in self._calls:
            self._calls[call_id] = t, None
            if len(self._calls) > CALLS:
                del self._calls[next(iter(self._calls))]

    def answered(self, call_id: str | None, t: float) -> None:
        """The first answer counts."""
        begin, end = self._calls.get(call_id or "", (None, None))
        if call_id is not None and begin is not None and end is None:
            self._calls[call_id] = begin, t

    def between(self, begin: float, end: float) -> float | None:
        """Seconds in which at least one call announced between these moments was at work; None without any."""
        spans = sorted(
            (announced, end if answered is None else min(answered, end))
            for announced, answered in self._calls.values()
            if begin <= announced < end
        )
        if not spans:
            return None
        total, reached = 0.0, begin
        for announced, answered in spans:
            total += max(0.0, answered - max(announced, reached))
            reached = max(reached, answered)
        return total

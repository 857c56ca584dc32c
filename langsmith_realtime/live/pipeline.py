"""What processes the inputs of a live conversation on the worker's thread: coalescing, journal, session."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from langsmith_realtime.core.protocol.audio_formats import bytes_per_second
from langsmith_realtime.core.protocol.inputs import Closed, Input, ServerFrame
from langsmith_realtime.journal.recovery import begin_in_background
from langsmith_realtime.journal.writer import JournalWriter, journal_writer
from langsmith_realtime.live.coalescing import JOINED_S, is_streamed, joined
from langsmith_realtime.live.process import Process
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns
from langsmith_realtime.trace.session import Session, build_session


class Pipeline:
    """The way of one conversation's inputs. A failure of one input costs only that input.

    Audio and deltas are joined twice: those that come at once, for the journal, which must not lose much in a crash;
    and those of a second, for the session, which costs more for each.

    Args:
        session: makes the runs and the recording.
        journal: writes the inputs before the session takes them; None without a journal.
        guard: counts and logs failures.
        written: is told when the journal has all inputs so far, until the conversation ends.
    """

    def __init__(
        self,
        session: Session,
        journal: JournalWriter | None,
        guard: Guard,
        written: Callable[[], None] = lambda: None,
    ) -> None:
        self._written = written
        self._session = session
        self._journal = journal
        self._guard = guard
        self._waiting: list[Input] = []  # audio and deltas that the session has not taken

    def take(self, inputs: list[Input], pause: Callable[[], None]) -> None:
        """Process inputs; call ``pause`` after each, so that other threads get the interpreter."""
        for given in self._joined(inputs):
            if not is_streamed(given):
                self._take_waiting()
            if isinstance(given, Closed):
                self._written = lambda: None  # the end belongs to the thread that finishes the recording
                self._guarded(self._silence_found, given)
            if self._journal is not None:
                self._guarded(self._journal.write, given)
            if is_streamed(given):
                self._waiting.append(given)
                if given.t > self._waiting[0].t + JOINED_S:
                    self._take_waiting()
            else:
                self._take(given)
            pause()
        if self._journal is not None:
            self._journal.flush()
        try:
            self._written()
        except Exception as error:
            self._guard.report("written", error)

    def _joined(self, inputs: list[Input]) -> Iterator[Input]:
        remaining = iter(inputs)
        for _ in inputs:  # each turn that fails has consumed at least one input
            try:
                yield from joined(remaining, self._bytes_per_second)
                return
            except Exception as error:
                self._guard.report("coalescing", error)

    def _take_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for given in self._joined(waiting):
            self._take(given)

    def _take(self, given: Input) -> None:
        self._guarded(self._session.take, given)
        if self._journal is not None:
            self._guarded(self._journal.taken, given)
        if isinstance(given, ServerFrame):
            self._guarded(self._silence_found, given)

    def _silence_found(self, given: Input) -> None:
        """Take the silences that the session finds as inputs of their own, so that a recovery finds them, too."""
        for silence in self._session.found_silences(given):
            if self._journal is not None:
                self._guarded(self._journal.write, silence)
            self._take(silence)

    def _guarded(self, function: Callable[[Input], None], given: Input) -> None:
        try:
            function(given)
        except BaseException as error:  # SystemExit, too, would end the thread that other conversations need
            self._guard.report(type(given).__name__, error)

    def _bytes_per_second(self, channel: int) -> float:
        return bytes_per_second(self._session.format(channel, fed=False))


def build_pipeline(options: Options, runs: ConversationRuns, process: Process, guard: Guard) -> Pipeline:
    """Make the pipeline of a conversation that begins, and look for conversations to recover if it has a journal."""
    parts = build_session(options, runs, process.sender, process.feedback, guard)
    written = (lambda: None) if parts.otel is None else parts.otel.written
    # Without LangSmith and without spans, a recovery would have nothing to do.
    is_recoverable = runs.client is not None or (parts.otel is not None and parts.otel.is_recoverable)
    if not options.journal or not is_recoverable:
        return Pipeline(parts.session, None, guard, written)
    begin_in_background(runs.client, interval_s=process.limits.recovery_interval_s, otel=options.otel)
    return Pipeline(parts.session, journal_writer(parts, options, runs, guard), guard, written)

"""What processes the inputs of a live conversation on the worker's thread: coalescing, journal, session."""

from __future__ import annotations

from collections.abc import Callable

from langsmith_realtime.core.protocol.audio_formats import bytes_per_second
from langsmith_realtime.core.protocol.inputs import Input
from langsmith_realtime.journal.recovery import begin_in_background
from langsmith_realtime.journal.writer import JournalWriter, journal_writer
from langsmith_realtime.live.coalescing import joined
from langsmith_realtime.live.process import Process
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns
from langsmith_realtime.trace.session import Session, build_session


class Pipeline:
    """The way of one conversation's inputs. A failure of one input costs only that input.

    Args:
        session: makes the runs and the recording.
        journal: writes the inputs before the session takes them; None without a journal.
        guard: counts and logs failures.
    """

    def __init__(self, session: Session, journal: JournalWriter | None, guard: Guard) -> None:
        self._session = session
        self._journal = journal
        self._guard = guard

    def take(self, inputs: list[Input], pause: Callable[[], None]) -> None:
        """Process inputs; call ``pause`` after each, so that other threads get the interpreter."""
        remaining = iter(inputs)
        for _ in inputs:  # each turn that fails has consumed at least one input
            try:
                for given in joined(remaining, self._bytes_per_second):
                    self._take(given)
                    pause()
                break
            except BaseException as error:  # SystemExit, too, would end the thread that other conversations need
                self._guard.report("coalescing", error)
        if self._journal is not None:
            self._journal.flush()

    def _take(self, given: Input) -> None:
        try:
            if self._journal is not None:
                self._journal.write(given)
            self._session.take(given)
            if self._journal is not None:
                self._journal.taken(given)
        except BaseException as error:  # as above
            self._guard.report(type(given).__name__, error)

    def _bytes_per_second(self, channel: int) -> float:
        return bytes_per_second(self._session.format(channel, fed=False))


def build_pipeline(options: Options, runs: ConversationRuns, process: Process, guard: Guard) -> Pipeline:
    """Make the pipeline of a conversation that begins, and look for conversations to recover if it has a journal."""
    parts = build_session(options, runs, process.sender, process.feedback, guard)
    if not options.journal:
        return Pipeline(parts.session, None, guard)
    begin_in_background(runs.root.client, interval_s=process.limits.recovery_interval_s)
    return Pipeline(parts.session, journal_writer(parts, options, runs, guard), guard)

"""Connects what processes a live conversation on the worker thread: coalescing, journal, coalescing, session.

Audio is coalesced twice: into short chunks for the journal, which must not lose much in a crash, and into longer ones
for the session, which costs more per chunk.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from langsmith_realtime.journal.recovery import begin_in_background
from langsmith_realtime.journal.writer import journaled
from langsmith_realtime.live.coalescing import Coalescer
from langsmith_realtime.live.process import Process
from langsmith_realtime.live.worker import Worker
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns
from langsmith_realtime.trace.session import Session, build_session


def build_pipeline(
    options: Options, runs: ConversationRuns, process: Process, worker: Worker, guard: Guard
) -> Coalescer:
    """Return the first stage, which gets the frames and the audio of the conversation.

    Without a journal there is one coalescing stage. With one, a recovery of earlier conversations begins in a thread.
    """
    assembled = build_session(options, runs, process.sender, process.feedback, guard)
    into_session = Coalescer(assembled.session)
    if not options.journal:
        return into_session
    begin_in_background(runs.root.client, interval_s=process.limits.recovery_interval_s)
    journal = journaled(
        replace(assembled, session=cast("Session", into_session)), options, runs, guard, worker.call_after_tick
    )
    return Coalescer(journal, worker.call_at_tick)

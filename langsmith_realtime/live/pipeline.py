"""Puts together what a live conversation's inputs pass on the worker's thread.

Audio is coalesced twice: into short chunks for the journal, and into longer ones for the session, which costs more per
chunk and may lag behind.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from langsmith_realtime.journal.recovery import begin_in_background
from langsmith_realtime.journal.writer import journaled
from langsmith_realtime.live.coalescing import Coalescing
from langsmith_realtime.live.process import Process
from langsmith_realtime.live.worker import Worker
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns
from langsmith_realtime.trace.session import Session, build_session


def build_pipeline(
    options: Options, family: ConversationRuns, process: Process, worker: Worker, guard: Guard
) -> Coalescing:
    """Make what takes a conversation's inputs on the worker's thread: coalescing, journal, coalescing, session."""
    assembled = build_session(options, family, process.sender, process.feedback, guard)
    into_session = Coalescing(assembled.session)
    if not options.journal:
        return into_session
    begin_in_background(family.root.client)
    journal = journaled(
        replace(assembled, session=cast("Session", into_session)), options, family, guard, worker.behind
    )
    return Coalescing(journal, worker.later)

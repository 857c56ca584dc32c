"""What a live conversation's frames and sound go through: gathered for the journal, written down, and gathered again.

The session is slower than the journal, and need not know everything at once: it gets larger pieces.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from langsmith_realtime.assembly import assemble
from langsmith_realtime.family import Family
from langsmith_realtime.gathered import Gathering
from langsmith_realtime.guard import Guard
from langsmith_realtime.holding import Holding
from langsmith_realtime.journaled import journaled
from langsmith_realtime.late import Late
from langsmith_realtime.options import Options
from langsmith_realtime.privacy import asks_the_application
from langsmith_realtime.process import Process
from langsmith_realtime.session import Session
from langsmith_realtime.worker import Worker


def chain(options: Options, family: Family, process: Process, worker: Worker, guard: Guard) -> Gathering:
    """What a new conversation's frames and sound are given to, on that worker's thread."""

    def make() -> Gathering:
        made = assemble(options, family, process.sender, process.feedback, guard)
        gathering = Gathering(made.session)
        if not options.journal:
            return gathering
        kept = journaled(replace(made, session=cast("Session", gathering)), options, family, guard, worker.behind)
        return Gathering(kept, worker.later)

    if options.keep is not None:
        family.holding = Holding(process.sender, options.keep, guard)
    if asks_the_application(family.root.client):
        return cast("Gathering", Late(make))
    return make()

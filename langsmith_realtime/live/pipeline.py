"""What a live conversation's frames and sound go through: gathered for the journal, written down, and gathered again.

The session is slower than the journal, and need not know everything at once: it gets larger pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar, cast

from langsmith_realtime.delivery.langsmith_client import asks_the_application
from langsmith_realtime.delivery.tail_sampling import HeldConversation
from langsmith_realtime.journal.writer import journaled
from langsmith_realtime.live.coalescing import Coalescing
from langsmith_realtime.live.process import Process
from langsmith_realtime.live.worker import Worker
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns
from langsmith_realtime.trace.session import Session, assemble


def build_pipeline(
    options: Options, family: ConversationRuns, process: Process, worker: Worker, guard: Guard
) -> Coalescing:
    """What a new conversation's frames and sound are given to, on that worker's thread."""

    def make() -> Coalescing:
        made = assemble(options, family, process.sender, process.feedback, guard)
        gathering = Coalescing(made.session)
        if not options.journal:
            return gathering
        kept = journaled(replace(made, session=cast("Session", gathering)), options, family, guard, worker.behind)
        return Coalescing(kept, worker.later)

    if options.keep is not None:
        family.holding = HeldConversation(process.sender, options.keep, guard)
    if asks_the_application(family.root.client):
        return cast("Coalescing", LazySession(make))
    return make()


S = TypeVar("S")


class LazySession(Generic[S]):
    """Has the methods of what ``make`` makes, which it does with the first of them that is called.

    The methods are asked for in one thread and called in another, in which making it may take its time.
    """

    def __init__(self, make: Callable[[], S]) -> None:
        self._make = make
        self._made: S | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def work(*arguments: Any, **more: Any) -> Any:
            if self._made is None:
                self._made = self._make()
            return getattr(self._made, name)(*arguments, **more)

        work.__name__ = name
        return work

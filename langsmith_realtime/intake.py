"""What one conversation's callers hand over to its worker: bounded, and what there is no room for is counted.

Everything here runs between the caller's own lines. Sound that is dropped leaves its length as silence, which comes
before anything else that is handed over.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from langsmith_realtime.events import APPEND
from langsmith_realtime.gaps import Gaps, Session, fill_before
from langsmith_realtime.guard import Guard
from langsmith_realtime.inbox import Inbox

#: What is done later, with arguments.
Work: TypeAlias = Callable[..., None]


class Intake:
    """In front of an inbox.

    Args:
        inbox: takes what there is room for.
        session: takes silence in the place of dropped sound, on the worker's thread.
        guard: hears what failed.
    """

    __slots__ = ("_guard", "_inbox", "_session", "dropped", "gaps")

    def __init__(self, inbox: Inbox, session: Session, guard: Guard) -> None:
        self._inbox = inbox
        self._session = session
        self._guard = guard
        self.gaps = Gaps()
        #: How much there was no room for.
        self.dropped = {"dropped_audio_chunks": 0, "dropped_events": 0}

    @property
    def is_crowded(self) -> bool:
        """Whether there is only room for what matters."""
        return self._inbox.load.is_crowded

    def insist(self, work: Work, *arguments: Any) -> None:
        """Have ``work(*arguments)`` done, however much waits."""
        self._behind_gaps(self._inbox.insist, work, arguments)

    def event(self, work: Work, *arguments: Any, light: bool = False) -> None:
        """The same, if there is room. Of ``light`` ones, what they say is said again, or hardly matters."""
        if (light and self.is_crowded) or not (
            self._behind_gaps(self._inbox.put, work, arguments)
            if self.gaps.waiting
            else self._inbox.put(work, *arguments)
        ):
            self.dropped["dropped_events"] += 1

    def audio(self, size: int, lost: Work, work: Work, *arguments: Any) -> None:
        """The same, for ``size`` bytes of sound, which are dropped earlier: then ``lost`` is told instead."""
        if self.gaps.waiting or not self._inbox.put_audio(size, work, *arguments):
            self._late_audio(size, lost, work, arguments)

    def chunk(self, work: Work, chunk: str, t: float, is_text: bool) -> None:
        """The same, for a chunk of the microphone, for which the inbox has a shorter way.

        ``work`` is what is done with it as an event, where there is something to be said before.
        """
        if self.gaps.waiting or not self._inbox.put_chunk(chunk, t, is_text):
            frame = chunk if is_text else {"type": APPEND, "audio": chunk}
            self._late_audio(len(chunk), self.gaps.sent, work, (frame, t))

    def _late_audio(self, size: int, lost: Work, work: Work, arguments: tuple[Any, ...]) -> None:
        """There is no room for it, or was none for what came before it."""
        put = partial(self._inbox.put_audio, size)
        if not self._inbox.load.takes_audio or not self._behind_gaps(put, work, arguments):
            self.dropped["dropped_audio_chunks"] += 1
            try:
                lost(*arguments)
            except Exception as error:
                self._guard.report("gaps", error)

    def _behind_gaps(self, put: Callable[..., bool], work: Work, arguments: tuple[Any, ...]) -> bool:
        """Silence takes the place of sound that was dropped, before anything else happens."""
        gaps = self.gaps.take()
        taken = put(fill_before, gaps, self._session, work, arguments)
        if not taken:
            self.gaps.give_back(gaps)
        return taken

"""Decides at its arrival which run an event becomes: the start of the run, and its turn.

This happens in the callers' threads, because the caller's next line may need the run as the parent of traced work.
"""

from __future__ import annotations

from contextlib import suppress

from langsmith_realtime.core.conversation.turns import TurnRule
from langsmith_realtime.core.protocol.events import Event, FrameError, parse
from langsmith_realtime.core.protocol.inputs import ROOT, Ref


class RunRefs:
    """The refs of one conversation's runs, in order of arrival; the caller holds a lock.

    Args:
        in_turns: whether runs stand below turns (``layout="turns"``), so that frames are parsed here.
    """

    def __init__(self, *, in_turns: bool) -> None:
        #: The latest event's run; the root's before the first event.
        self.latest = ROOT
        self._turn_rule = TurnRule() if in_turns else None
        self._latest_start = ROOT.start

    def parsed_if_needed(self, frame: object) -> object:
        """The frame, as an event if its turn depends on it. A frame that is no event stays as it is."""
        if self._turn_rule is not None:
            with suppress(FrameError):
                return parse(frame)
        return frame

    def of_event(self, t: float, frame: object) -> Ref:
        """The run of a frame that arrived at ``t``, in seconds; see :meth:`parsed_if_needed`."""
        turn = None
        if self._turn_rule is not None and isinstance(frame, Event):
            turn = self._turn_rule.place(frame, lambda: self._next_start(t))
        self.latest = Ref(self._next_start(t), turn)
        return self.latest

    def about(self, t: float, about: str | None = None) -> Ref:
        """The run of anything else that happened at ``t``.

        It stands below the turn of the response, the item or the call with the id ``about``, or else below the latest
        turn.
        """
        turn = None if self._turn_rule is None else self._turn_rule.turn_of(about)
        self.latest = Ref(self._next_start(t), turn)
        return self.latest

    def _next_start(self, t: float) -> int:
        """The next start in µs; starts strictly increase, because LangSmith orders runs by them."""
        self._latest_start = max(self._latest_start + 1, int(t * 1_000_000))
        return self._latest_start

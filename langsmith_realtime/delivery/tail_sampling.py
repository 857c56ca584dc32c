"""The runs of one conversation while nobody knows whether it is kept: in memory, and not without end.

It stands between who makes runs and who sends them. The caller's own runs below the conversation wait here too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from langsmith_realtime.delivery.operations import Operation, Shortage
from langsmith_realtime.options.keep import KeepRule
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, Guard, logger

#: Bytes of runs that one conversation holds; what a post or a patch of the caller's own runs counts for.
HELD_BYTES, CALL_BYTES = 50_000_000, 4_000
#: What is left of them when there was too much, so that it is not looked for with every run.
LEFT = 0.9


class Target(Protocol):
    """Where runs go."""

    def put(self, operation: Operation) -> None: ...


class Sending(Target, Protocol):
    """What sends in the end."""

    def aside(self, work: Callable[[], None]) -> None: ...


class HeldConversation:
    """Holds what is put until :meth:`keep` or :meth:`drop`; any thread may call anything.

    When there is too much, the oldest events that only say that they arrived are left out. When that is not
    enough, the conversation is kept: it is sent from then on as any other.
    """

    def __init__(self, target: Sending, rule: KeepRule, guard: Guard) -> None:
        self._target = target
        self._rule = rule
        self._guard = guard
        self._lock = threading.Lock()
        self._held: list[Operation | Callable[[], object]] = []
        self._size = 0
        self._verdict: bool | None = None
        self._making_room = self._asked = False
        #: It could not be held, and is kept.
        self.is_too_large = False

    def put(self, operation: Operation) -> None:
        """A run of the conversation's own."""
        if not self._take(operation, operation.size):
            self._target.put(operation)

    def hold(self, call: Callable[[], object]) -> bool:
        """A post or a patch of a run of the caller's; False when it is to be done right away."""
        return self._take(call, CALL_BYTES)

    def decide(self, known: dict[str, Any], end: Callable[[bool], None]) -> None:
        """The conversation has ended with these numbers: ask, aside, as the rule is the application's code.

        ``end`` hears whether it is kept, while what it puts still waits.
        """

        def ask() -> None:
            with self._lock:
                self._making_room = self._asked = True
            kept = self.is_too_large or self._is_wanted(known)
            end(kept)
            if kept:
                self.keep()
            else:
                self.drop()

        self._target.aside(ask)

    def keep(self) -> None:
        """Send all of it, in order, and what comes from now on."""
        while True:
            with self._lock:
                held, self._held = self._held, []
                if not held:
                    self._verdict = True
                    return
            for each in held:
                self._release(each)

    def drop(self) -> None:
        """Send nothing of it, and nothing that comes from now on."""
        with self._lock:
            self._verdict, self._held, self._size = False, [], 0

    def _is_wanted(self, known: dict[str, Any]) -> bool:
        try:
            return bool(self._rule(known))
        except CALLBACK_ERRORS as error:
            self._guard.report("keep", error)
            return True

    def _take(self, what: Operation | Callable[[], object], size: int) -> bool:
        with self._lock:
            if self._verdict is not None:
                return not self._verdict
            self._held.append(what)
            self._size += size
            full = self._size > HELD_BYTES and not self._making_room
            self._making_room |= full
        if full:
            self._target.aside(self._make_room)
        return True

    def _make_room(self) -> None:
        with self._lock:
            kept = []
            for each in self._held:
                spare = each.spare if isinstance(each, Operation) else None
                if self._size > LEFT * HELD_BYTES and spare is not None and spare(Shortage.LIMIT):
                    assert isinstance(each, Operation)
                    self._size -= each.size
                else:
                    kept.append(each)
            self._held = kept
            self._making_room = self._asked
            self.is_too_large = self._size > HELD_BYTES and not self._asked
        if self.is_too_large:
            logger.warning("a conversation is too large to be held until its end: it is kept")
            self.keep()

    def _release(self, each: Operation | Callable[[], object]) -> None:
        if isinstance(each, Operation):
            self._target.put(each)
            return
        try:
            each()
        except Exception as error:
            self._guard.report("keep", error)

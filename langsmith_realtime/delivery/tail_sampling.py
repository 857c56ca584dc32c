"""Holds the runs of a conversation in memory until ``keep=`` has decided whether the conversation is kept.

A :class:`HeldConversation` stands between the module that makes runs and the sender. It also holds the caller's own
runs below the conversation. Its memory is limited.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from langsmith_realtime.delivery.operations import MissingReason, Operation
from langsmith_realtime.options.keep import KeepRule
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, Guard, logger

#: The bytes that a ``post`` or ``patch`` of one of the caller's own runs counts for.
CALL_BYTES = 4_000
#: The share of ``held_bytes`` that is still used after runs were left out; so the next run does not cause another scan.
ROOM_MADE = 0.9


class OperationSink(Protocol):
    """Takes operations: a sender, or a :class:`HeldConversation`."""

    def put(self, operation: Operation) -> None: ...


class BackgroundSink(OperationSink, Protocol):
    """Takes operations, and runs functions in a thread of their own."""

    def run_apart(self, work: Callable[[], None]) -> None: ...


class HeldConversation:
    """Holds operations until :meth:`keep` or :meth:`drop`. Every method may be called from any thread.

    When the limit ``held_bytes`` is exceeded, the oldest runs that the trace can do without are left out. If that is
    not enough, the conversation is kept without asking the rule.

    Args:
        sink: takes the operations of a kept conversation.
        rule: the application's ``keep=``.
        guard: counts exceptions of the rule; a conversation whose rule raises is kept.
        limits: how many bytes of runs the conversation holds.
    """

    def __init__(self, sink: BackgroundSink, rule: KeepRule, guard: Guard, limits: Limits) -> None:
        self._limits = limits
        self._sink = sink
        self._rule = rule
        self._guard = guard
        self._lock = threading.Lock()
        self._held: list[Operation | Callable[[], object]] = []
        self._size = 0
        self._is_kept: bool | None = None
        self._is_making_room = self._is_deciding = False
        #: Whether the conversation exceeded the limit and is kept for that reason.
        self.is_too_large = False

    def put(self, operation: Operation) -> None:
        """Hold the operation; once the decision is made, pass it on or drop it."""
        if not self._hold(operation, operation.size):
            self._sink.put(operation)

    def hold_call(self, call: Callable[[], object]) -> bool:
        """Hold a ``post`` or ``patch`` of a run of the application's own, or drop it if the conversation was dropped.

        False if the conversation is kept already; then ``call`` is not held and must be made now.
        """
        return self._hold(call, CALL_BYTES)

    def decide(self, metadata: dict[str, Any], end: Callable[[bool], None]) -> None:
        """Ask the rule, in a thread of its own, because the rule is the application's code and may be slow.

        A conversation that is too large is kept without asking the rule.

        Args:
            metadata: the rule's argument: the root's metadata, with ``trace_id`` and, after a failure, ``error``.
            end: called with the decision, before :meth:`keep` or :meth:`drop`; may put more operations.
        """

        def ask() -> None:
            with self._lock:
                self._is_making_room = self._is_deciding = True
            is_kept = self.is_too_large or self._ask_rule(metadata)
            end(is_kept)
            if is_kept:
                self.keep()
            else:
                self.drop()

        self._sink.run_apart(ask)

    def keep(self) -> None:
        """Send everything that is held, in order, and from now on pass operations on at once."""
        while True:
            with self._lock:
                held, self._held = self._held, []
                if not held:
                    self._is_kept = True
                    return
            for item in held:
                self._release(item)

    def drop(self) -> None:
        """Drop everything that is held, and every operation from now on."""
        with self._lock:
            self._is_kept, self._held, self._size = False, [], 0

    def _ask_rule(self, metadata: dict[str, Any]) -> bool:
        try:
            return bool(self._rule(metadata))
        except CALLBACK_ERRORS as error:
            self._guard.report("keep", error)
            return True

    def _hold(self, item: Operation | Callable[[], object], size: int) -> bool:
        """Hold or drop the item; False if the conversation is kept and the item is to be sent now."""
        with self._lock:
            if self._is_kept is not None:
                return not self._is_kept
            self._held.append(item)
            self._size += size
            is_full = self._size > self._limits.held_bytes and not self._is_making_room
            self._is_making_room |= is_full
        if is_full:
            self._sink.run_apart(self._make_room)
        return True

    def _make_room(self) -> None:
        with self._lock:
            remaining = []
            for item in self._held:
                is_left_out = (
                    isinstance(item, Operation)
                    and self._size > ROOM_MADE * self._limits.held_bytes
                    and item.leave_out(MissingReason.LIMIT)
                )
                if isinstance(item, Operation) and is_left_out:
                    self._size -= item.size
                else:
                    remaining.append(item)
            self._held = remaining
            self._is_making_room = self._is_deciding
            self.is_too_large = self._size > self._limits.held_bytes and not self._is_deciding
        if self.is_too_large:
            logger.warning("a conversation is too large to be held until it ends; it is kept without asking keep=")
            self.keep()

    def _release(self, item: Operation | Callable[[], object]) -> None:
        if isinstance(item, Operation):
            self._sink.put(item)
            return
        try:
            item()
        except Exception as error:
            self._guard.report("keep", error)

"""The objects that all conversations of a process share: workers, senders, and the list of open conversations.

One worker serves most conversations. A second one serves those that call functions of the application (``redact``, or
masking functions of the LangSmith client), so that a slow function delays no other conversation.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from langsmith_realtime.live.worker import Worker
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.runtime import threads
from langsmith_realtime.runtime.forks import at_fork, holding_forks

if TYPE_CHECKING:
    from langsmith_realtime.delivery.feedback import FeedbackSender
    from langsmith_realtime.delivery.sender import Sender

#: Seconds that the process waits at its end without any progress of sending, and seconds that it waits at all.
EXIT_PATIENCE, EXIT_LIMIT = 5.0, 60.0


class Closable(Protocol):
    """A conversation in the list of open conversations."""

    def close(self) -> None:
        """End the conversation, because the process ends."""

    def abandon(self) -> None:
        """Stop tracing the conversation in a forked child; it goes on in the parent process."""


class Process:
    """Workers, senders and open conversations of a process. A thread starts when it gets its first work.

    Attributes:
        limits: limits of memory, time and size; the tests change them.
        open: open conversations by ``id()``.
        worker: worker of all conversations that call no function of the application.
        callback_worker: worker of the other conversations.
    """

    def __init__(self) -> None:
        self.limits = Limits()
        self._senders_lock = threading.Lock()
        self._senders: tuple[Sender, FeedbackSender] | None = None
        self.open: dict[int, Closable] = {}
        self.worker = Worker(self.limits)
        self.callback_worker = Worker(self.limits)

    @property
    def sender(self) -> Sender:
        """The sender of runs."""
        return self._get_senders()[0]

    @property
    def feedback(self) -> FeedbackSender:
        """The sender of feedback scores."""
        return self._get_senders()[1]

    def _get_senders(self) -> tuple[Sender, FeedbackSender]:
        # Imported here, on the worker thread, so that no caller's event loop waits for the imports.
        with holding_forks():
            from langsmith_realtime.delivery.feedback import FeedbackSender  # noqa: PLC0415
            from langsmith_realtime.delivery.sender import Sender  # noqa: PLC0415

        with self._senders_lock:
            if self._senders is None:
                self._senders = Sender(self.limits), FeedbackSender(self.limits)
            return self._senders

    def flush(self, timeout: float | None) -> bool:
        """Wait until everything recorded so far is processed and sent; return False if that failed or timed out.

        Args:
            timeout: seconds to wait; None for no limit. Sending that fails is tried once, then the result is False.
        """
        deadline = None if timeout is None else time.monotonic() + timeout

        def left_s() -> float | None:
            return None if deadline is None else max(0.0, deadline - time.monotonic())

        def send() -> bool:
            # In this order, because delivered runs may have feedback scores to send.
            sent = [sender.flush(left_s()) for sender in (self.sender, self.feedback)]
            return all(sent)

        caught_up, callbacks_caught_up = self.worker.catch_up(), self.callback_worker.catch_up()
        sent = caught_up.wait(left_s()) and send()
        if not self.callback_worker.is_running:
            return sent
        # Last, because a function of the application may hang.
        return callbacks_caught_up.wait(left_s()) and send() and sent

    def finish(self) -> None:
        """Close open conversations at the end of the process, and wait until they are sent.

        Gives up when a :meth:`flush` of at most :data:`EXIT_PATIENCE` seconds fails and nothing progressed meanwhile,
        or when one fails after :data:`EXIT_LIMIT` seconds.
        """
        for conversation in list(self.open.values()):
            conversation.close()
        if not (self.worker.is_running or self.callback_worker.is_running):
            return
        delivered, began = self._delivered, time.monotonic()
        while not self.flush(EXIT_PATIENCE) and (self._delivered > delivered or threads.is_progressing()):
            if time.monotonic() - began > EXIT_LIMIT:
                break
            delivered = self._delivered
        self.sender.give_up()

    @property
    def _delivered(self) -> int:
        return self.sender.delivered + self.feedback.delivered


_process = Process()


def process() -> Process:
    """Return the objects that all conversations of this process share."""
    return _process


def flush(timeout: float | None = None) -> bool:
    """Wait until every run recorded so far, of all conversations of this process, is sent to LangSmith.

    The OpenTelemetry providers that conversations used are flushed, too. Whether their exports succeeded is not told.

    An open conversation stays open; its transcript, metrics and recording are sent after it ends, and with ``keep``
    all of its runs. The call blocks its thread: in an event loop, use ``await asyncio.to_thread(flush, 10)``.

    Args:
        timeout: seconds to wait; None for no limit.

    Returns:
        True if LangSmith acknowledged all runs; False after the timeout, or if a run could not be delivered. A run that
        waits for a retry is tried once more, at once.
        Runs that go through the queue of a LangSmith client (replicas, OpenTelemetry, buffered processing) count as
        sent when that queue is flushed.

    Raises:
        TypeError: the timeout is not a number.
        ValueError: the timeout is negative or NaN.
    """
    if timeout is not None:
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout must be a number of seconds or None, got {type(timeout).__name__}")
        if not timeout >= 0:  # NaN, too
            raise ValueError(f"timeout must not be negative, got {timeout!r}")
    began = time.monotonic()
    is_sent = _process.flush(timeout)
    providers = sys.modules.get("langsmith_realtime.trace.otel.providers")  # an extra; only if a conversation used it
    if providers is None:
        return is_sent
    left_s = None if timeout is None else max(0.0, timeout - (time.monotonic() - began))
    return bool(providers.flush_providers(left_s)) and is_sent


def _start_anew_in_child() -> None:
    """Replace the shared objects after a fork: the child has copies of them, but not their threads."""
    global _process  # noqa: PLW0603 - one per process, and a fork begins a process
    for conversation in _process.open.values():
        conversation.abandon()
    _process = Process()


def _at_exit() -> None:
    _process.finish()
    _keep_sigint()


def _keep_sigint() -> None:
    """Let a process that an unhandled ``KeyboardInterrupt`` ends die of SIGINT, as it does without tracing.

    Python notes such an exception when it ends the program's source, and forgets it when any other source is run from a
    string. The imports of the worker do that, for example for dataclasses. So the exception is raised once more. In an
    interactive session ``sys.last_type`` may be that of an earlier line.
    """
    if getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1"):
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102 - only source from a string counts


at_fork(after_in_child=_start_anew_in_child)
# An atexit handler would run after LangSmith's threads have ended, and they would never send the runs. This private
# hook runs before; concurrent.futures uses it for its threads, too.
threading._register_atexit(_at_exit)  # type: ignore[attr-defined]  # noqa: SLF001

"""What a process traces with: the threads that work on conversations, those that send, and what is still open.

One worker for all conversations of the process, and one more for those in which functions of the application's have a
say: who waits for these is nobody else.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Protocol

from langsmith_realtime.live.worker import Worker
from langsmith_realtime.runtime import threads

if TYPE_CHECKING:
    from langsmith_realtime.delivery.feedback import FeedbackSender
    from langsmith_realtime.delivery.sender import Sender

#: How long the end of the process waits: for somebody who does not answer, and while sending goes well.
EXIT_PATIENCE, EXIT_LIMIT = 5.0, 60.0


class Closable(Protocol):
    """A conversation that is still open when the process ends."""

    def close(self) -> None: ...
    def abandon(self) -> None: ...


class Process:
    """What all conversations of a process share. Its threads begin when something is given to them."""

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._senders: tuple[Sender, FeedbackSender] | None = None
        self.open: dict[int, Closable] = {}
        self.worker = Worker()
        #: For whoever may keep it waiting.
        self.apart = Worker()

    @property
    def sender(self) -> Sender:
        """Sends runs."""
        return self._made_senders()[0]

    @property
    def feedback(self) -> FeedbackSender:
        """Sends feedback scores."""
        return self._made_senders()[1]

    def _made_senders(self) -> tuple[Sender, FeedbackSender]:
        # Imported here: the first to ask is the worker's thread, so that no caller's loop waits for the imports.
        from langsmith_realtime.delivery.feedback import FeedbackSender  # noqa: PLC0415
        from langsmith_realtime.delivery.sender import Sender  # noqa: PLC0415

        with self._making:
            if self._senders is None:
                self._senders = Sender(), FeedbackSender()
            return self._senders

    def flush(self, timeout: float | None) -> bool:
        """Wait until everything put so far was done and sent; False when it was not, or time ran out."""
        deadline = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            return None if deadline is None else max(0.0, deadline - time.monotonic())

        def send() -> bool:
            # What the first has delivered may give the second work.
            sent = [sender.flush(left()) for sender in (self.sender, self.feedback)]
            return all(sent)

        caught_up, caught_up_apart = self.worker.catch_up(), self.apart.catch_up()
        sent = caught_up.wait(left()) and send()
        if not self.apart.is_running:
            return sent
        # What is apart may hang: the others do not wait for that.
        return caught_up_apart.wait(left()) and send() and sent

    def finish(self) -> None:
        """The process ends: close what is open, and wait for it to be sent, but not for ever."""
        for conversation in list(self.open.values()):
            conversation.close()
        if not (self.worker.is_running or self.apart.is_running):
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
    """What this one traces with."""
    return _process


def flush(timeout: float | None = None) -> bool:
    """Wait until everything recorded so far was handed over and sent to LangSmith.

    Args:
        timeout: at most that many seconds; None waits as long as it takes.

    Returns:
        True when all of it was acknowledged, False when time ran out or something could not be delivered.
        What goes through a LangSmith client's own queue (replicas, OpenTelemetry, buffered processing)
        counts as sent when that queue was flushed.

    Raises:
        TypeError: the timeout is no number.
        ValueError: it is negative.
    """
    if timeout is not None:
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout is a number of seconds, not {type(timeout).__name__}")
        if timeout < 0:
            raise ValueError("timeout is negative")
    return _process.flush(timeout)


def _begin_again() -> None:
    """After a fork: the child has our state, but not our threads."""
    global _process  # noqa: PLW0603 - there is one per process, and this is where a process begins
    for conversation in _process.open.values():
        conversation.abandon()
    _process = Process()


def _at_exit() -> None:
    _process.finish()


os.register_at_fork(after_in_child=_begin_again)
# An ordinary atexit handler runs after LangSmith's own threads have ended, and what is handed over then is
# never sent. This one runs before; concurrent.futures ends its threads in the same way.
threading._register_atexit(_at_exit)  # type: ignore[attr-defined]  # noqa: SLF001

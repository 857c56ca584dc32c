"""The thread that works on conversations: what their callers recorded, one inbox after the other.

There is one for all conversations of the process, and one more for those in which functions of the application's have
a say: who waits for these is nobody else.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

from langsmith_realtime import progress, threads
from langsmith_realtime.breath import Breath
from langsmith_realtime.feedback import FeedbackSender
from langsmith_realtime.guard import Guard
from langsmith_realtime.inbox import Inbox, Load, TakeChunks, no_chunks
from langsmith_realtime.sender import Sender

#: How long the worker lets work gather between two looks, after which what waited for company is handed on and written
#: down, in seconds: waking up for each entry would make the caller's thread wait for ours. And how long that waits at
#: most, while there is other work.
TICK, LATEST_TICK = 0.08, 1.0
#: How long the end of the process waits: for somebody who does not answer, and while sending goes well.
EXIT_PATIENCE, EXIT_LIMIT = 5.0, 60.0


class Closable(Protocol):
    """A conversation that is still open when the process ends."""

    def close(self) -> None: ...
    def abandon(self) -> None: ...


class Worker:
    """A background thread, begun with the first inbox; one that is ``beside`` another sends by the same sender."""

    def __init__(self, beside: Worker | None = None) -> None:
        self.sender: Sender = beside.sender if beside else Sender()
        self.feedback: FeedbackSender = beside.feedback if beside else FeedbackSender()
        self.open: dict[int, Closable] = beside.open if beside else {}
        self._apart: Worker | None = None
        self._due: queue.SimpleQueue[Inbox] = queue.SimpleQueue()  # those in which something waits
        self._load = Load()
        self._awake = threading.Event()
        self._starting = threading.Lock()
        self._is_running = False
        self._waiting: set[Callable[[], None]] = set()
        self._behind: set[Callable[[], None]] = set()
        self._ticked = time.perf_counter()
        self._breath = Breath()

    @property
    def apart(self) -> Worker:
        """The one beside this for whoever may keep it waiting."""
        with self._starting:
            if self._apart is None:
                self._apart = Worker(self)
            return self._apart

    def inbox(self, guard: Guard, chunks: TakeChunks = no_chunks) -> Inbox:
        """A new one; what is put into it is done in order. ``guard`` hears what failed, ``chunks`` takes chunks."""
        if not self._is_running:
            self._start()
        return Inbox(self._load, self._due.put, guard, chunks)

    def later(self, work: Callable[[], None]) -> None:
        """Have it done once, with the next tick; for what may wait for company. From the worker alone."""
        self._waiting.add(work)

    def behind(self, work: Callable[[], None]) -> None:
        """The same, when all that may wait is done. From the worker alone."""
        self._behind.add(work)

    def catch_up(self) -> threading.Event:
        """Do all that was put so far; what is set then."""
        done = threading.Event()

        def caught_up() -> None:
            self._tick()
            done.set()

        if self._is_running:
            self.inbox(Guard()).insist(caught_up)
            self._awake.set()
        else:
            done.set()  # nothing was put
        return done

    def flush(self, timeout: float | None) -> bool:
        """Wait until everything put so far was done and sent; False when it was not, or time ran out."""
        deadline = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            return None if deadline is None else max(0.0, deadline - time.monotonic())

        def send() -> bool:
            # What the first has delivered may give the second work.
            sent = [sender.flush(left()) for sender in (self.sender, self.feedback)]
            return all(sent)

        caught_up = self.catch_up()
        caught_up_apart = None if self._apart is None else self._apart.catch_up()
        sent = caught_up.wait(left()) and send()
        if caught_up_apart is None:
            return sent
        # What is apart may hang: the others do not wait for that.
        return caught_up_apart.wait(left()) and send() and sent

    def finish(self) -> None:
        """The process ends: close what is open, and wait for it to be sent, but not for ever."""
        for conversation in list(self.open.values()):
            conversation.close()
        if not self._is_running and self._apart is None:
            return
        delivered, began = self._delivered, time.monotonic()
        while not self.flush(EXIT_PATIENCE) and (self._delivered > delivered or progress.comes_on()):
            if time.monotonic() - began > EXIT_LIMIT:
                break
            delivered = self._delivered
        self.sender.give_up()

    @property
    def _delivered(self) -> int:
        return self.sender.delivered + self.feedback.delivered

    def _start(self) -> None:
        with self._starting:
            if not self._is_running:
                self._is_running = threads.begin(self._work, "langsmith-realtime") is not None
                threads.be_prepared()

    def _work(self) -> None:
        while True:
            wait = self._ticked + TICK - time.perf_counter() if self._waiting or self._behind else None
            try:
                inbox = self._due.get(timeout=None if wait is None else max(0.0, wait))
            except queue.Empty:
                self._tick()
                continue
            self._breath.begin()
            while True:
                inbox.empty(self._between)
                try:
                    inbox = self._due.get_nowait()
                except queue.Empty:
                    self._load.nothing_waits()
                    break
            self._tick_after(TICK)
            del inbox  # or the last conversation would live as long as the thread idles
            self._awake.wait(TICK)
            self._awake.clear()

    def _between(self) -> None:
        self._tick_after(LATEST_TICK)
        self._breath.take()

    def _tick_after(self, seconds: float) -> None:
        if time.perf_counter() >= self._ticked + seconds:
            self._tick()

    def _tick(self) -> None:
        self._ticked = time.perf_counter()
        for works in ("_waiting", "_behind"):
            taken: set[Callable[[], None]] = getattr(self, works)
            setattr(self, works, set())
            for work in taken:
                _guarded(work)
                self._breath.take()  # there may be many conversations


def _guarded(work: Callable[[], None]) -> None:
    try:
        work()
    except BaseException as error:  # whatever it is: others wait for this thread
        Guard().report("journal", error)


_worker = Worker()


def worker() -> Worker:
    """The process's worker."""
    return _worker


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
    return _worker.flush(timeout)


def _begin_again() -> None:
    """After a fork: the child has our state, but not our threads."""
    global _worker  # noqa: PLW0603 - there is one per process, and this is where a process begins
    for conversation in _worker.open.values():
        conversation.abandon()
    _worker = Worker()


def _at_exit() -> None:
    _worker.finish()


os.register_at_fork(after_in_child=_begin_again)
# An ordinary atexit handler runs after LangSmith's own threads have ended, and what is handed over then is
# never sent. This one runs before; concurrent.futures ends its threads in the same way.
threading._register_atexit(_at_exit)  # type: ignore[attr-defined]  # noqa: SLF001

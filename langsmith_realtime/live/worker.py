"""A thread that works on conversations: what their callers recorded, one inbox after the other."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from langsmith_realtime.live.bounded_queue import BoundedQueue, QueueLoad, TakeChunks, no_chunks
from langsmith_realtime.runtime import threads
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.runtime.threads import Pauses

#: How long the worker lets work gather between two looks, after which what waited for company is handed on and written
#: down, in seconds: waking up for each entry would make the caller's thread wait for ours. And how long that waits at
#: most, while there is other work.
TICK, LATEST_TICK = 0.08, 1.0


class Worker:
    """A background thread, begun with the first inbox."""

    def __init__(self) -> None:
        self._due: queue.SimpleQueue[BoundedQueue] = queue.SimpleQueue()  # those in which something waits
        self._load = QueueLoad()
        self._awake = threading.Event()
        self._starting = threading.Lock()
        #: Whether its thread began.
        self.is_running = False
        self._waiting: set[Callable[[], None]] = set()
        self._behind: set[Callable[[], None]] = set()
        self._ticked = time.perf_counter()
        self._breath = Pauses()

    def inbox(self, guard: Guard, chunks: TakeChunks = no_chunks) -> BoundedQueue:
        """A new one; what is put into it is done in order. ``guard`` hears what failed, ``chunks`` takes chunks."""
        if not self.is_running:
            self._start()
        return BoundedQueue(self._load, self._due.put, guard, chunks)

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

        if self.is_running:
            self.inbox(Guard()).insist(caught_up)
            self._awake.set()
        else:
            done.set()  # nothing was put
        return done

    def _start(self) -> None:
        with self._starting:
            if not self.is_running:
                self.is_running = threads.start_thread(self._work, "langsmith-realtime") is not None
                threads.prepare_spare_thread()

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


S = TypeVar("S")


class LazySession(Generic[S]):
    """A session that is made on the worker's thread, by the first call of one of its methods.

    The caller's thread looks methods up before the session exists. So numpy, the audio code, the journal and the
    delivery are imported on the worker's thread, and the caller's loop does not wait for them.

    Args:
        make: makes the session.
    """

    def __init__(self, make: Callable[[], S]) -> None:
        self._make = make
        self._session: S | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if self._session is None:
                self._session = self._make()
            return getattr(self._session, name)(*arguments, **keywords)

        call.__name__ = name
        return call

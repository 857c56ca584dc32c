"""The worker thread, which processes the queues of many conversations one after the other."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from langsmith_realtime.live.bounded_queue import BoundedQueue, QueueLoad, TakeChunks, refuse_chunks
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.runtime import threads
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.runtime.threads import Pauses

#: Seconds that the worker sleeps between two rounds over its queues, so that entries gather: waking up for each entry
#: would slow down the caller's thread. At the end of a round there is a tick, which calls the functions of
#: :meth:`Worker.call_at_tick`. The second number is the longest time between two ticks while a round goes on.
TICK, LATEST_TICK = 0.08, 1.0


class Worker:
    """A background thread that processes queues. It starts with the first queue.

    Args:
        limits: how much may wait in the queues.
    """

    def __init__(self, limits: Limits) -> None:
        self._notified: queue.SimpleQueue[BoundedQueue] = queue.SimpleQueue()  # queues that have entries
        self._load = QueueLoad(limits)
        self._wake = threading.Event()
        self._start_lock = threading.Lock()
        #: Whether the thread was started.
        self.is_running = False
        self._at_tick: set[Callable[[], None]] = set()
        self._after_tick: set[Callable[[], None]] = set()
        self._last_tick = time.perf_counter()
        self._pauses = Pauses()

    def open_queue(self, guard: Guard, take_chunks: TakeChunks = refuse_chunks) -> BoundedQueue:
        """Return a new queue, whose entries this worker processes in order.

        Args:
            guard: gets the exceptions of the entries.
            take_chunks: processes microphone chunks.
        """
        if not self.is_running:
            self._start()
        return BoundedQueue(self._load, self._notified.put, guard, take_chunks)

    def call_at_tick(self, function: Callable[[], None]) -> None:
        """Call a function once, at the next tick. Only for code that runs on this worker's thread."""
        self._at_tick.add(function)

    def call_after_tick(self, function: Callable[[], None]) -> None:
        """Call a function once, after the functions of the next tick. Only for code on this worker's thread."""
        self._after_tick.add(function)

    def catch_up(self) -> threading.Event:
        """Return an event that is set when everything that callers have put so far is processed, a tick included.

        It is set already if the thread was never started.
        """
        done = threading.Event()

        def caught_up() -> None:
            self._tick()
            done.set()

        if self.is_running:
            self.open_queue(Guard()).put_always(caught_up)
            self._wake.set()
        else:
            done.set()  # no queue was opened
        return done

    def _start(self) -> None:
        with self._start_lock:
            if not self.is_running:
                self.is_running = threads.start_thread(self._run, "langsmith-realtime") is not None
                threads.prepare_spare_thread()

    def _run(self) -> None:
        while True:
            wait_s = self._last_tick + TICK - time.perf_counter() if self._at_tick or self._after_tick else None
            try:
                waiting = self._notified.get(timeout=None if wait_s is None else max(0.0, wait_s))
            except queue.Empty:
                self._tick()
                continue
            self._pauses.begin()
            while True:
                waiting.drain(self._after_call)
                try:
                    waiting = self._notified.get_nowait()
                except queue.Empty:
                    self._load.reset()
                    break
            self._tick_if_due(TICK)
            del waiting  # otherwise an idle thread would keep the last conversation alive
            self._wake.wait(TICK)
            self._wake.clear()

    def _after_call(self) -> None:
        self._tick_if_due(LATEST_TICK)
        self._pauses.take()

    def _tick_if_due(self, seconds: float) -> None:
        if time.perf_counter() >= self._last_tick + seconds:
            self._tick()

    def _tick(self) -> None:
        self._last_tick = time.perf_counter()
        for attribute in ("_at_tick", "_after_tick"):
            functions: set[Callable[[], None]] = getattr(self, attribute)
            setattr(self, attribute, set())
            for function in functions:
                _call_guarded(function)
                self._pauses.take()  # there may be one function for each of many conversations


def _call_guarded(function: Callable[[], None]) -> None:
    try:
        function()
    except BaseException as error:  # SystemExit, too, would end the thread that other conversations need
        Guard().report("journal", error)


S = TypeVar("S")


class LazySession(Generic[S]):
    """A session that is made on the worker thread, by the first call of one of its methods.

    The caller's thread only looks methods up, before the session exists. So numpy, the audio code, the journal and the
    delivery are imported on the worker thread, and the caller's event loop does not wait for them.

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

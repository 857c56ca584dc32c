"""The worker thread, which processes the queues of many conversations one after the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from langsmith_realtime.core.protocol.inputs import Input
from langsmith_realtime.live.bounded_queue import BoundedQueue, QueueLoad
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.runtime import threads
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.runtime.threads import Pauses

#: Seconds that the worker sleeps between two rounds over its queues, so that inputs gather: waking up for each input
#: would slow down the caller's thread.
TICK = 0.08

#: Processes inputs, and calls its second argument after each, so that other threads get the interpreter.
Take = Callable[[list[Input], Callable[[], None]], None]


class Worker:
    """A background thread that processes queues. It starts with the first queue.

    Args:
        limits: how much may wait in the queues.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._load = QueueLoad(limits)
        self._wake = threading.Event()
        self._start_lock = threading.Lock()
        #: Whether the thread was started.
        self.is_running = False
        self._pauses = Pauses()

    def open_queue(self, take: Take) -> BoundedQueue:
        """Return a new queue, whose inputs this worker gives to ``take``, in order."""
        if not self.is_running:
            self._start()

        def process(ready: BoundedQueue) -> None:
            for inputs in ready.batches(self._limits.batch_inputs):
                try:
                    take(inputs, self._pauses.take)
                except BaseException as error:  # SystemExit, too, would end the thread that other conversations need
                    Guard().report("worker", error)

        return BoundedQueue(self._load, lambda ready: self._work.put(lambda: process(ready)))

    def catch_up(self) -> threading.Event:
        """Return an event that is set when everything that callers have put so far is processed."""
        done = threading.Event()
        if self.is_running:
            self._work.put(done.set)
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
            work = self._work.get()
            self._pauses.begin()
            while True:
                try:
                    work()
                except BaseException as error:  # SystemExit, too, would end the thread that other conversations need
                    Guard().report("worker", error)
                try:
                    work = self._work.get_nowait()
                except queue.Empty:
                    self._load.reset()
                    break
            del work  # otherwise an idle thread would keep the last conversation alive
            self._wake.wait(TICK)
            self._wake.clear()

"""Sends runs to LangSmith in batches, retries until they arrive or are refused, and reports a verdict for each.

A batch goes through :func:`~langsmith_realtime.delivery.batches.send_batch` in the sender's own thread, because
LangSmith's queue reports nothing about single runs, and because many runs in one request cost a fraction of single
ones. Clients with replicas, OpenTelemetry or buffered processing are served through LangSmith's own queue instead.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from weakref import WeakSet

from langsmith import Client

from langsmith_realtime.delivery.batches import CONFLICT, NO_ROUTE, destination_of, send_batch, split_batch
from langsmith_realtime.delivery.langsmith_client.transport import (
    flush_client,
    needs_own_queue,
    send_through_own_queue,
)
from langsmith_realtime.delivery.operations import MissingReason, Operation, Verdict
from langsmith_realtime.delivery.retry_queue import RetryQueue
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.runtime import threads
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, format_without_message, logger

#: Seconds without work after which a destination's thread ends.
IDLE_S = 30.0

#: HTTP statuses that one bad run causes for its whole request, and the one for a request that is too large. Any other
#: status (a wrong key, a rate limit, a server error) would be the answer to each run alone, too.
BAD_RUN_STATUSES, TOO_LARGE = (400, 409, 422), 413


class Sender:
    """Sends operations in one daemon thread for each destination.

    The thread starts with the first operation, and ends after :data:`IDLE_S` seconds without work. If the server does
    not answer or accepts nothing now (wrong key, rate limit, server error), operations are retried at growing
    intervals, up to ``longest_retry_s``, as long as the process lives. An operation that the server refuses for good is
    not retried.

    Args:
        limits: sizes of requests, waiting runs and retries.
    """

    #: The name of the threads.
    name = "langsmith-realtime-sender"

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._queues: dict[object, RetryQueue[Operation]] = {}
        self._changed = threading.Condition()
        self._preparing = 0  # functions in :meth:`run_apart` that have not returned
        self._flushing = 0  # calls of :meth:`flush` that wait
        self._own_queue_clients: WeakSet[Client] = WeakSet()
        #: Operations that were not delivered, since the process began.
        self.failed = 0
        self._failed_reported = 0  # the part of ``failed`` that a flush has reported
        #: Operations that were delivered, since the process began.
        self.delivered = 0

    def put(self, operation: Operation) -> None:
        """Queue an operation; abandon it if its destination's queue is overfull.

        If the queue is full, operations that their traces can do without are left out, this one included.
        """
        destination = destination_of(operation.run)
        with self._changed:
            queue = self._queues.get(destination)
            if queue is not None and queue.is_full:
                self.failed += len(queue.make_room(_leave_out))
            if queue is not None and (queue.is_overfull or (queue.is_full and _leave_out(operation))):
                self.failed += 1
            else:
                if queue is None:
                    queue = self._queues[destination] = RetryQueue(lambda operation: operation.size, self._limits)
                queue.put(operation)
                if not queue.has_thread:
                    queue.has_thread = self._start(destination, queue)
                # The thread waits only for the first run and for a full batch.
                if len(queue.waiting) in (1, self._limits.request_runs):
                    self._changed.notify_all()
                return
        _report([operation], Verdict.ABANDONED)

    def _start(self, destination: object, queue: RetryQueue[Operation]) -> bool:
        """Start the destination's thread; False if the process ends and no thread is available."""

        def work() -> None:
            self._work(destination, queue, IDLE_S)

        def work_at_exit() -> None:
            self._work(destination, queue, 0.0)  # other destinations wait for this thread

        return threads.start_thread(work, self.name) is not None or threads.run_at_exit(work_at_exit)

    def run_apart(self, work: Callable[[], None]) -> None:
        """Run ``work``, which takes long and then puts operations, in a thread of its own; :meth:`flush` waits for it.

        When the process ends and starts no more threads, the calling thread runs ``work``.
        """

        def run() -> None:
            try:
                work()
            except BaseException:  # no caller could handle it
                logger.warning("preparing data for LangSmith failed", exc_info=True)
                with self._changed:
                    self.failed += 1
            finally:
                with self._changed:
                    self._preparing -= 1
                    self._changed.notify_all()

        with self._changed:
            self._preparing += 1
        if threads.start_thread(run, f"{self.name}-apart") is None:  # the process ends, and starts no threads any more
            run()

    def flush(self, timeout: float | None) -> bool:
        """Wait until everything that was put is sent, then until the own queues of clients are.

        Operations that wait for a retry are tried once, at once; if that fails, the wait for them ends.

        Args:
            timeout: seconds; None waits without a limit.

        Returns:
            False if time ran out, operations still wait, or operations were lost or refused since the last flush. The
            clients' own queues do not count.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            for queue in self._queues.values():
                queue.known_failed = 0
            self._flushing += 1
            self._changed.notify_all()
            idle = self._changed.wait_for(lambda: not self._preparing and not self._unresolved(), timeout)
            self._flushing -= 1
            waiting = any(queue.waiting for queue in self._queues.values())
            delivered = self.failed == self._failed_reported and not waiting
            self._failed_reported = self.failed
        for client in list(self._own_queue_clients):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            flush_client(client, left)
        return idle and delivered

    def give_up(self) -> None:
        """Abandon all operations that wait or are under way; a request under way may still arrive."""
        with self._changed:
            queues, self._queues = self._queues, {}
            abandoned = [operation for queue in queues.values() for operation in queue.abandon()]
            self._failed_reported = self.failed
            self._changed.notify_all()
        _report(abandoned, Verdict.ABANDONED)

    def _unresolved(self) -> int:
        return sum(queue.unresolved for queue in self._queues.values())

    def _work(self, destination: object, queue: RetryQueue[Operation], idle_s: float) -> None:
        """Send the queue's batches until it has been empty for ``idle_s`` seconds, or is given up."""
        while True:
            batch = self._next_batch(destination, queue, idle_s)
            if not batch:
                return
            retry: list[Operation] = []
            try:
                retry = self._send(batch)
            except BaseException as error:  # whatever it is: the thread must go on
                logger.warning("sending %d runs to LangSmith failed\n%s", len(batch), format_without_message(error))
                self._report(batch, delivered=False)
            finally:
                with self._changed:
                    if retry and not queue.is_retrying:
                        logger.warning("LangSmith accepts no runs; sending is retried as long as this process lives")
                    queue.finish_batch(retry, time.monotonic())
                    self._changed.notify_all()
            del batch, retry  # otherwise the last conversation stays in memory while the thread waits

    def _next_batch(self, destination: object, queue: RetryQueue[Operation], idle_s: float) -> list[Operation]:
        """Wait for the next batch and return it; empty when the queue is not needed any more."""
        with self._changed:
            if not self._changed.wait_for(lambda: queue.waiting or self._queues.get(destination) is not queue, idle_s):
                del self._queues[destination]
                return []
            while queue.retry_at is not None and not (self._flushing and queue.unresolved):
                left = queue.retry_at - time.monotonic()
                if left <= 0 or self._queues.get(destination) is not queue:
                    break
                self._changed.wait(left)
            # A full batch costs less for each run, so wait for more runs unless a flush waits.
            limits = self._limits
            self._changed.wait_for(
                lambda: self._flushing or len(queue.waiting) >= limits.request_runs, limits.request_wait_s
            )
            if self._queues.get(destination) is not queue or not queue.waiting:
                return []
            return queue.take(lambda waiting: split_batch(waiting, limits))

    def _send(self, batch: list[Operation]) -> list[Operation]:
        """Send a batch and report its verdicts; return the operations to retry, which the server did not accept now."""
        client = batch[0].run.client
        if needs_own_queue(client, batch[0].run):
            self._own_queue_clients.add(client)
            for operation in batch:
                self._send_through_own_queue(operation)
            return []
        try:
            status = send_batch(client, batch)
        except CALLBACK_ERRORS as error:
            if len(batch) == 1:
                raise
            # A run could not be serialised or masked; the others can still be sent.
            logger.debug("%d runs could not be sent together\n%s", len(batch), format_without_message(error))
            return self._send_parts(batch, 1)
        if status is not None and (200 <= status < 300 or (status == CONFLICT and len(batch) == 1)):
            self._report(batch, delivered=True)
        elif len(batch) > 1 and status in BAD_RUN_STATUSES:
            return self._send_parts(batch, 1)
        elif len(batch) > 1 and status == TOO_LARGE:
            return self._send_parts(batch, len(batch) // 2)
        elif batch[0].attachments and status in (TOO_LARGE, NO_ROUTE, *BAD_RUN_STATUSES):
            operation, refusal = batch[0], int(status)
            self.run_apart(lambda: self._replace(operation, refusal))
        elif status in (TOO_LARGE, *BAD_RUN_STATUSES):
            self._report(batch, delivered=False)
        else:
            return batch
        return []

    def _send_parts(self, batch: list[Operation], size: int) -> list[Operation]:
        """Send a batch in parts of ``size`` operations; return the operations to retry."""
        for first in range(0, len(batch), size):
            part = batch[first : first + size]
            try:
                retry = self._send(part)
            except CALLBACK_ERRORS as error:
                logger.warning("sending a run to LangSmith failed\n%s", format_without_message(error))
                self._report(part, delivered=False)
                continue
            if retry:  # the server accepts nothing now, so the following parts would fail, too
                return retry + batch[first + size :]
        return []

    def _send_through_own_queue(self, operation: Operation) -> None:
        try:
            send_through_own_queue(operation)
        except CALLBACK_ERRORS as error:
            logger.warning("sending a run to LangSmith failed\n%s", format_without_message(error))
            self._report([operation], delivered=False)
        else:
            self._report([operation], delivered=True)

    def _report(self, batch: Sequence[Operation], *, delivered: bool) -> None:
        """Count the verdict of a batch, and call ``on_verdict`` and ``on_batch_verdict`` of its operations."""
        with self._changed:
            if delivered:
                self.delivered += len(batch)
            else:
                self.failed += len(batch)
        _report(batch, Verdict.DELIVERED if delivered else Verdict.REFUSED)

    def _replace(self, operation: Operation, status: int) -> None:
        """Send something smaller than an operation whose attachments were refused, if its owner has it."""
        replacement = None if operation.owner is None else operation.owner.replacement(operation, status)
        if replacement is None:
            self._report([operation], delivered=False)
            return
        logger.warning("LangSmith refused the recording (HTTP %d); the trace is sent without that file", status)
        self.put(replacement)


def _report(operations: Sequence[Operation], verdict: Verdict) -> None:
    """Tell the owners what became of the operations."""
    for owner in {operation.owner for operation in operations if operation.owner is not None}:
        owner.settled([(operation, verdict) for operation in operations if operation.owner is owner])


def _leave_out(operation: Operation) -> bool:
    return operation.leave_out(MissingReason.OVERLOAD)

"""Runs on their way to LangSmith: batched, tried again until they arrive, and acknowledged one by one.

Runs go through :meth:`langsmith.Client.multipart_ingest`, which masks, samples and retries as LangSmith
does and lets a file be streamed; many in one request cost a fraction of one each. Where a client asks for
what only its own queue does (replicas, OpenTelemetry, buffered processing), they go through that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from weakref import WeakSet

from langsmith import Client
from langsmith.run_trees import RunTree

from langsmith_realtime.delivery.langsmith_client.masking import asks_the_application
from langsmith_realtime.delivery.langsmith_client.multipart import multipart_ingest
from langsmith_realtime.delivery.langsmith_client.sampling import decided, is_left_out
from langsmith_realtime.delivery.langsmith_client.transport import (
    answers,
    endpoint_count,
    flush_client,
    hand_over,
    sends_on_its_own,
    streaming_attachments,
)
from langsmith_realtime.delivery.operations import Operation, Shortage, given_fields, row
from langsmith_realtime.delivery.retry_queue import RetryQueue
from langsmith_realtime.runtime import threads
from langsmith_realtime.runtime.guard import ANYTHING, logger, unquoted

#: How long the first run of a batch waits for company, in seconds: a request costs as much as 15 runs.
LINGER = 1.0
BATCH_RUNS = 100
#: Far below the 20 MB a request may have.
BATCH_BYTES = 4_000_000

#: Answers that a request gets because of what one of its runs is like, and because of its size. Others
#: (a wrong key, a rate limit, a server in trouble) would be the same for each run alone.
ONE_IS_BAD, TOO_LARGE = (400, 409, 422), 413
#: It is there already; of many, one of them.
CONFLICT = 409
#: How long a thread waits for more before it ends, in seconds.
IDLE = 30.0


class Sender:
    """Sends, in a thread for each destination that begins with its first operation and never holds the process.

    What nobody takes is tried again, less and less often, as long as the process lives; what the server
    refuses for good is not.
    """

    name = "langsmith-realtime-sender"

    def __init__(self) -> None:
        self._lanes: dict[object, RetryQueue[Operation]] = {}
        self._changed = threading.Condition()
        self._beside = 0  # works that will put something
        self._hurry = 0
        self._clients: WeakSet[Client] = WeakSet()  # those that send on their own
        #: Operations that were not acknowledged, since the process began.
        self.failed = 0
        self._told = 0  # of these, by a flush
        self.delivered = 0

    def put(self, operation: Operation) -> None:
        destination = _destination(operation.run)
        with self._changed:
            lane = self._lanes.get(destination)
            if lane is not None and lane.is_full:
                self.failed += len(lane.make_room(_is_spared))
            if lane is not None and (lane.is_overfull or (lane.is_full and _is_spared(operation))):
                self.failed += 1
            else:
                if lane is None:
                    lane = self._lanes[destination] = RetryQueue(lambda operation: operation.size)
                lane.put(operation)
                if not lane.is_served:
                    lane.is_served = self._start(destination, lane)
                if len(lane.waiting) in (1, BATCH_RUNS):  # nobody waits for those in between
                    self._changed.notify_all()
                return
        _leave(operation)

    def _start(self, destination: object, lane: RetryQueue[Operation]) -> bool:
        """Have a thread send what comes; False where there is none to be had now."""

        def work() -> None:
            self._work(destination, lane, IDLE)

        def work_at_the_end() -> None:
            self._work(destination, lane, 0.0)  # others wait for the same thread

        return threads.start_thread(work, self.name) is not None or threads.run_at_exit(work_at_the_end)

    def aside(self, work: Callable[[], None]) -> None:
        """Do what takes long before it puts something, in a thread of its own; :meth:`flush` waits for it."""

        def do() -> None:
            try:
                work()
            except BaseException:  # as in the thread that sends
                logger.warning("preparing something for LangSmith failed", exc_info=True)
                with self._changed:
                    self.failed += 1
            finally:
                with self._changed:
                    self._beside -= 1
                    self._changed.notify_all()

        with self._changed:
            self._beside += 1
        if threads.start_thread(do, f"{self.name}-aside") is None:  # at the very end of a process
            do()

    def flush(self, timeout: float | None) -> bool:
        """Wait until all that was put is sent; False when time ran out, or something was not delivered.

        What nobody took so far is tried once more. What was refused for good is told once.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            for lane in self._lanes.values():
                lane.told = 0
            self._hurry += 1
            self._changed.notify_all()
            idle = self._changed.wait_for(lambda: not self._beside and not self._untold(), timeout)
            self._hurry -= 1
            delivered = self.failed == self._told and not any(lane.waiting for lane in self._lanes.values())
            self._told = self.failed
        for client in list(self._clients):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            flush_client(client, left)
        return idle and delivered

    def give_up(self) -> None:
        """Send no more of what was put; what became of the last request under way may never be known."""
        with self._changed:
            lanes, self._lanes = self._lanes, {}
            left = [operation for lane in lanes.values() for operation in lane.empty()]
            self._told = self.failed
            self._changed.notify_all()
        for operation in left:
            _leave(operation)

    def _untold(self) -> int:
        return sum(lane.untold for lane in self._lanes.values())

    def _work(self, destination: object, lane: RetryQueue[Operation], idle: float) -> None:
        """Send what comes, until nothing did for ``idle`` seconds."""
        while True:
            batch = self._next(destination, lane, idle)
            if not batch:
                return
            again: list[Operation] = []
            try:
                again = self._send(batch)
            except BaseException as error:  # whatever it is: others wait for this thread
                logger.warning("sending %d runs to LangSmith failed\n%s", len(batch), unquoted(error))
                self._verdict(batch, delivered=False)
            finally:
                with self._changed:
                    if again and not lane.in_trouble:
                        logger.warning("LangSmith takes nothing now; it is tried again as long as this process lives")
                    lane.landed(again, time.monotonic())
                    self._changed.notify_all()
            del batch, again  # or the last conversation would live as long as the thread waits

    def _next(self, destination: object, lane: RetryQueue[Operation], idle: float) -> list[Operation]:
        """What is to be sent now; nothing when the lane is not needed any more."""
        with self._changed:
            if not self._changed.wait_for(lambda: lane.waiting or self._lanes.get(destination) is not lane, idle):
                del self._lanes[destination]
                return []
            while lane.again_at is not None and not (self._hurry and lane.untold):
                left = lane.again_at - time.monotonic()
                if left <= 0 or self._lanes.get(destination) is not lane:
                    break
                self._changed.wait(left)
            # Company makes a run cheaper: wait for it, unless somebody waits for us.
            self._changed.wait_for(lambda: self._hurry or len(lane.waiting) >= BATCH_RUNS, LINGER)
            if self._lanes.get(destination) is not lane or not lane.waiting:
                return []
            return lane.take(_first_batch)

    def _send(self, batch: list[Operation]) -> list[Operation]:
        """Send them; what is to be tried again, as nobody took or refused it."""
        client = batch[0].run.client
        if sends_on_its_own(client, batch[0].run):
            self._clients.add(client)
            for operation in batch:
                self._hand_over(operation)
            return []
        try:
            status = _ingest(client, batch)
        except ANYTHING as error:
            if len(batch) == 1:
                raise
            # One run could not even be written down, as what the user masks it with failed.
            logger.debug("%d runs could not be sent together\n%s", len(batch), unquoted(error))
            return self._send_parts(batch, 1)
        if status is not None and (200 <= status < 300 or (status == CONFLICT and len(batch) == 1)):
            self._verdict(batch, delivered=True)
        elif len(batch) > 1 and status in ONE_IS_BAD:
            # One bad run fails its whole request, and a conflict may have: each on its own.
            return self._send_parts(batch, 1)
        elif len(batch) > 1 and status == TOO_LARGE:
            return self._send_parts(batch, len(batch) // 2)
        elif batch[0].refused is not None and status in (TOO_LARGE, *ONE_IS_BAD):
            assert status is not None
            refused, said = batch[0].refused, status
            logger.warning("LangSmith refused the recording (HTTP %d); the trace is sent without that file", said)
            self.aside(lambda: self.put(refused(said)))
        elif status in (TOO_LARGE, *ONE_IS_BAD):
            self._verdict(batch, delivered=False)
        else:
            return batch
        return []

    def _send_parts(self, batch: list[Operation], size: int) -> list[Operation]:
        for first in range(0, len(batch), size):
            part = batch[first : first + size]
            try:
                again = self._send(part)
            except ANYTHING as error:
                logger.warning("sending a run to LangSmith failed\n%s", unquoted(error))
                self._verdict(part, delivered=False)
                continue
            if again:  # the rest would fare no better
                return again + batch[first + size :]
        return []

    def _hand_over(self, operation: Operation) -> None:
        try:
            hand_over(operation)
        except ANYTHING as error:
            logger.warning("sending a run to LangSmith failed\n%s", unquoted(error))
            self._verdict([operation], delivered=False)
        else:
            self._verdict([operation], delivered=True)

    def _verdict(self, batch: Sequence[Operation], *, delivered: bool) -> None:
        with self._changed:
            if delivered:
                self.delivered += len(batch)
            else:
                self.failed += len(batch)
        for operation in batch:
            if operation.done is not None:
                operation.done(delivered)
        for noted in {operation.noted for operation in batch}:  # in most batches it is the same
            if noted is not None:
                noted()


def _leave(operation: Operation) -> None:
    if operation.left is not None:
        operation.left()


def _is_spared(operation: Operation) -> bool:
    return operation.spare is not None and operation.spare(Shortage.OVERLOAD)


def _destination(run: RunTree) -> object:
    """What is the same for runs that may wait for each other.

    A client that masks with the user's own code, or sends with a queue of its own, may take its time.
    """
    client = run.client
    alone = sends_on_its_own(client, run) or asks_the_application(client)
    workspace, key = getattr(client, "workspace_id", None), getattr(client, "api_key", None)
    return (client.api_url, workspace, key, id(client) if alone else None)


def _first_batch(waiting: list[Operation]) -> tuple[list[Operation], list[Operation]]:
    """As many operations from the front as one request may carry, and the rest; a recording goes alone."""
    count, size = 1, waiting[0].size
    while count < min(len(waiting), BATCH_RUNS) and not waiting[0].attachments:
        following = waiting[count]
        size += following.size
        if following.attachments or size > BATCH_BYTES or following.run.client is not waiting[0].run.client:
            break
        if bool(following.run.replicas) != bool(waiting[0].run.replicas):
            break
        count += 1
    return waiting[:count], waiting[count:]


def _ingest(client: Client, batch: list[Operation]) -> int | None:
    """Send in this thread; the HTTP status of the last attempt, None when nobody answered.

    Of several endpoints it is the status of one that did not take it, as long as there is such.
    """
    streamed = streaming_attachments() if any(operation.attachments for operation in batch) else nullcontext()
    with answers(client) as statuses, streamed:
        multipart_ingest(
            client,
            create=[decided(row(operation), client) for operation in batch if not operation.update],
            update=[row(operation) for operation in batch if operation.update],
            given={name for operation in batch for name in given_fields(operation.run)},
        )
    if not statuses and is_left_out(batch[0].run):
        return 202
    if len(statuses) < endpoint_count(client):
        return None
    return next((status for status in statuses.values() if not 200 <= status < 300), 202)

"""Runs on their way to LangSmith: one thread that batches them, and knows what arrived.

Runs go through :meth:`langsmith.Client.multipart_ingest`, which masks, samples and retries as LangSmith
does and lets a file be streamed; many in one request cost a fraction of one each. Where a client asks for
what only its own queue does (replicas, OpenTelemetry, buffered processing), they go through that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakSet

from langsmith import Client
from langsmith import client as langsmith_client
from langsmith.run_trees import RunTree

from langsmith_realtime.guard import logger
from langsmith_realtime.ingest import multipart_ingest

#: How long the first run of a batch waits for company, in seconds.
LINGER = 0.1
BATCH_RUNS = 50
#: Far below the 20 MB a request may have.
BATCH_BYTES = 4_000_000

#: Answers that a request gets because of what one of its runs is like, and because of its size. Others
#: (a wrong key, a rate limit, a server in trouble) would be the same for each run alone.
ONE_IS_BAD, TOO_LARGE = (400, 409, 422), 413

#: What LangSmith's client calls the largest request that it does not stream, in bytes.
_INLINE = "_MULTIPART_INLINE_MAX_BYTES"

_heard = threading.local()
_listening: WeakSet[Client] = WeakSet()


@dataclass(frozen=True, slots=True)
class Operation:
    """One create, or the one update, of a run.

    ``size`` is roughly its bytes; ``done`` hears the verdict. ``refused`` makes what is sent instead when the
    server refuses it with that HTTP status because of an attachment; that may take seconds.
    """

    run: RunTree
    update: bool = False
    attachments: dict[str, tuple[str, Path]] = field(default_factory=dict)
    size: int = 1000
    done: Callable[[bool], None] | None = None
    refused: Callable[[int], Operation] | None = None


class Sender:
    """The thread that sends. It begins with the first operation and never holds the process."""

    name = "langsmith-realtime-sender"

    def __init__(self) -> None:
        self._waiting: list[Operation] = []
        self._changed = threading.Condition()
        self._busy = False
        self._beside = 0  # works that will put something
        self._hurry = 0
        self._thread: threading.Thread | None = None
        self._clients: WeakSet[Client] = WeakSet()  # those that send on their own
        #: Operations that were not acknowledged, since the process began.
        self.failed = 0
        self._told = 0  # of these, by a flush
        self.delivered = 0

    def put(self, operation: Operation) -> None:
        with self._changed:
            self._waiting.append(operation)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def aside(self, work: Callable[[], None]) -> None:
        """Do what takes long before it puts something, in a thread of its own; :meth:`flush` waits for it."""

        def do() -> None:
            try:
                work()
            except Exception:
                logger.warning("preparing something for LangSmith failed", exc_info=True)
                with self._changed:
                    self.failed += 1
            finally:
                with self._changed:
                    self._beside -= 1
                    self._changed.notify_all()

        with self._changed:
            self._beside += 1
        try:
            threading.Thread(target=do, name=f"{self.name}-aside", daemon=True).start()
        except RuntimeError:  # no more threads, as at the very end of a process
            do()

    def flush(self, timeout: float | None) -> bool:
        """Wait until all that was put is sent; False when time ran out, or something was not delivered.

        What was not delivered is told once.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._hurry += 1
            self._changed.notify_all()
            idle = self._changed.wait_for(lambda: not self._waiting and not self._busy and not self._beside, timeout)
            self._hurry -= 1
            delivered = self.failed == self._told
            self._told = self.failed
        for client in list(self._clients):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            _flush_client(client, left)
        return idle and delivered

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                # Company makes a run cheaper: wait for it, unless somebody waits for us.
                self._changed.wait_for(lambda: self._hurry or len(self._waiting) >= BATCH_RUNS, LINGER)
                batch, self._waiting = _first_batch(self._waiting)
                self._busy = True
            try:
                self._send(batch)
            except Exception:
                logger.warning("sending %d runs to LangSmith failed", len(batch), exc_info=True)
                self._verdict(batch, delivered=False)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _send(self, batch: list[Operation]) -> None:
        client = batch[0].run.client
        if _has_own_ways(client, batch[0].run):
            self._clients.add(client)
            self._send_each(batch, _handed_over)
            return
        try:
            statuses = _ingest(client, batch)
        except Exception:
            if len(batch) == 1:
                raise
            # One run could not even be written down, as what the user masks it with failed.
            logger.debug("%d runs could not be sent together", len(batch), exc_info=True)
            self._send_each(batch, _ingested)
            return
        if _acknowledged(statuses):
            self._verdict(batch, delivered=True)
        elif len(batch) > 1 and statuses and statuses[-1] in ONE_IS_BAD:
            # One bad run fails its whole request, and a conflict may have: each on its own.
            self._send_each(batch, _ingested)
        elif len(batch) > 1 and statuses and statuses[-1] == TOO_LARGE:
            middle = len(batch) // 2
            self._send(batch[:middle])
            self._send(batch[middle:])
        elif batch[0].refused is not None and statuses and statuses[-1] in (TOO_LARGE, *ONE_IS_BAD):
            refused, status = batch[0].refused, statuses[-1]
            logger.warning("LangSmith refused the recording (HTTP %d); the trace is sent without that file", status)
            self.aside(lambda: self.put(refused(status)))
        else:
            self._verdict(batch, delivered=False)

    def _send_each(self, batch: list[Operation], send: Callable[[Operation], bool]) -> None:
        for operation in batch:
            try:
                delivered = send(operation)
            except Exception:
                logger.warning("sending a run to LangSmith failed", exc_info=True)
                delivered = False
            self._verdict([operation], delivered=delivered)

    def _verdict(self, batch: Sequence[Operation], *, delivered: bool) -> None:
        with self._changed:
            if delivered:
                self.delivered += len(batch)
            else:
                self.failed += len(batch)
        for operation in batch:
            _tell(operation, delivered=delivered)


def _tell(operation: Operation, *, delivered: bool) -> None:
    if operation.done is not None:
        operation.done(delivered)


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


def _acknowledged(statuses: list[int]) -> bool:
    # 409: it is there already.
    return bool(statuses) and (200 <= statuses[-1] < 300 or statuses[-1] == 409)


def _ingest(client: Client, batch: list[Operation]) -> list[int]:
    """Send in this thread; the HTTP status of every attempt, none when nobody answered."""
    if client not in _listening:
        client.session.hooks["response"].append(_note_status)
        _listening.add(client)
    _heard.statuses = []
    with _streamed() if any(operation.attachments for operation in batch) else nullcontext():
        multipart_ingest(
            client,
            create=[row(operation) for operation in batch if not operation.update],
            update=[row(operation) for operation in batch if operation.update],
        )
    statuses: list[int] = _heard.statuses
    del _heard.statuses
    sampled_out = not statuses and not _sampled(client, batch[0].run)
    return [202] if sampled_out else statuses


@contextmanager
def _streamed() -> Iterator[None]:
    """While a file is sent: LangSmith's client reads a request of up to 20 MB whole, and holds it twice.

    Clients that do not let themselves be told otherwise do so still. Others that send meanwhile stream too,
    which changes nothing of what they send.
    """
    limit = getattr(langsmith_client, _INLINE, None)
    if limit is None:
        yield
        return
    setattr(langsmith_client, _INLINE, 0)
    try:
        yield
    finally:
        setattr(langsmith_client, _INLINE, limit)


def _ingested(operation: Operation) -> bool:
    return _acknowledged(_ingest(operation.run.client, [operation]))


def _note_status(response: Any, *_: Any, **__: Any) -> None:
    statuses = getattr(_heard, "statuses", None)
    if statuses is not None and not response.request.path_url.endswith("/info"):
        statuses.append(response.status_code)


def _sampled(client: Client, run: RunTree) -> bool:
    """Whether LangSmith's sampling lets this trace through; what it does not is not sent, and not lost."""
    keep = getattr(client, "_filter_for_sampling", None)
    if getattr(client, "tracing_sample_rate", None) is None or keep is None:
        return True
    return bool(keep([{"id": run.id, "trace_id": run.trace_id}]))


def row(operation: Operation) -> dict[str, Any]:
    """A run as LangSmith's ingestion takes it."""
    run = operation.run
    fields: dict[str, Any] = {
        "id": run.id,
        "trace_id": run.trace_id,
        "parent_run_id": run.parent_run_id,
        "dotted_order": run.dotted_order,
        "name": run.name,
        "run_type": run.run_type,
        "start_time": run.start_time,
        "end_time": run.end_time,
        "inputs": run.inputs,
        "outputs": run.outputs,
        "error": run.error,
        "extra": {**run.extra, "metadata": dict(run.extra["metadata"])},  # the client changes it
        "tags": run.tags,
        "events": run.events,
        "session_name": run.session_name,
        "session_id": run.session_id,
        "address": getattr(run, "address", None),
        "attachments": operation.attachments,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _has_own_ways(client: Client, run: RunTree) -> bool:
    return bool(
        run.replicas or getattr(client, "otel_exporter", None) or getattr(client, "_process_buffered_run_ops", None)
    )


def _handed_over(operation: Operation) -> bool:
    run = operation.run
    if not operation.update:
        run.post()
        return True
    # RunTree.patch takes no paths, so the file is read whole here.
    attachments: dict[str, Any] = {}
    for name, (mime, path) in operation.attachments.items():
        attachments[name] = (mime, path.read_bytes())
    run.attachments = attachments
    run.patch(exclude_inputs=False)
    return True


def _flush_client(client: Client, timeout: float | None) -> None:
    try:
        client.flush(timeout=timeout)
    except TypeError:  # langsmith before flush(timeout=)
        client.flush()

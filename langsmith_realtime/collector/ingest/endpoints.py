"""The write endpoints: parse a request into a batch, check the batch, store it, and answer."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from langsmith_realtime.collector.ingest.bodies import drain, read_parts, read_whole
from langsmith_realtime.collector.ingest.parts import PartReader, json_batch, json_create, json_feedback, json_update
from langsmith_realtime.collector.rules import Batch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langsmith_realtime.collector.records import RequestLog
    from langsmith_realtime.collector.storage.store import Store


@dataclass(frozen=True)
class Limits:
    """Sizes above which the collector refuses a request.

    Attributes:
        run_bytes: Largest size of one create or update of a run without its attachments, in bytes. LangSmith publishes
            no limit; the default is the ``size_limit_bytes`` of LangSmith's ``GET /info``.
        body_bytes: Largest size of a request's body before decompression, in bytes; None for no limit, because
            LangSmith accepts recordings far larger than ``run_bytes``.
        trace_runs: Largest number of runs in one trace.
    """

    run_bytes: int = 20_971_520
    body_bytes: int | None = None
    trace_runs: int = 25_000

    @property
    def json_bytes(self) -> int:
        """Largest size of a JSON body after decompression, in bytes: ``run_bytes`` and a quarter more."""
        return self.run_bytes * 5 // 4


@dataclass(frozen=True)
class Fault:
    """An answer to one write request that ``Collector.respond_with`` has set.

    Attributes:
        status: HTTP status of the answer. 0 closes the connection without an answer; any 2xx answers as usual.
        delay: Seconds before the request is parsed, stored and answered.
        stored: Whether the collector stores the request's runs although the status is not 2xx.
    """

    status: int
    delay: float = 0.0
    stored: bool = False

    @property
    def succeeds(self) -> bool:
        """Whether the status is 2xx, so that the collector stores the runs and answers as usual."""
        return 200 <= self.status < 300


class WriteEndpoints:
    """The endpoints that store runs and feedback.

    Attributes:
        faults: Answers to the next write requests, one for each; with no fault left, the collector answers as usual.
        closing: Set when the collector stops, so that no answer is delayed any longer.
        limits: Sizes above which requests are refused.

    Args:
        store: Receives accepted batches.
        request_log: Receives the broken rules of accepted batches.
        limits: Sizes above which requests are refused.
    """

    def __init__(self, store: Store, request_log: RequestLog, limits: Limits) -> None:
        self.faults: deque[Fault] = deque()
        self.closing = asyncio.Event()
        self._store = store
        self._request_log = request_log
        self.limits = limits

    async def multipart(self, request: Request) -> Response:
        """``POST /runs/multipart``: creates, updates, attachments and feedback."""

        async def read() -> Batch:
            reader = PartReader(self._store.incoming)
            try:
                await read_parts(request, reader, self.limits.body_bytes)
                return reader.finish()
            except BaseException:
                reader.discard()
                raise

        return await self._answer(request, read)

    async def batch(self, request: Request) -> Response:
        """``POST /runs/batch``: creates and updates, without attachments."""
        return await self._answer_json(request, json_batch)

    async def create(self, request: Request) -> Response:
        """``POST /runs``: one create."""
        return await self._answer_json(request, json_create)

    async def update(self, request: Request) -> Response:
        """``PATCH /runs/{run_id}``: one update."""
        run_id = request.path_params["run_id"]
        return await self._answer_json(request, lambda body: json_update(body, run_id, self._store.run(run_id)))

    async def feedback(self, request: Request) -> Response:
        """``POST /feedback``: one feedback."""
        return await self._answer_json(request, json_feedback)

    async def _answer_json(self, request: Request, parse: Callable[[bytes], Batch]) -> Response:
        async def read() -> Batch:
            return parse(await read_whole(request, self.limits.json_bytes, self.limits.body_bytes))

        return await self._answer(request, read)

    async def _answer(self, request: Request, read: Callable[[], Awaitable[Batch]]) -> Response:
        fault = self.faults.popleft() if self.faults else Fault(202)
        if fault.delay:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.closing.wait(), fault.delay)
        if fault.succeeds or fault.stored:
            self._store_batch(request, await read())
        elif fault.status:
            await drain(request.stream())
        if fault.succeeds:
            return JSONResponse({"message": "Runs batch ingested"}, 202)
        if not fault.status:
            raise ClientDisconnect  # for this exception, AccessMiddleware closes the connection
        return JSONResponse({"error": HTTPStatus(fault.status).phrase}, fault.status)

    def _store_batch(self, request: Request, batch: Batch) -> None:
        try:
            request.scope["exchange"].operations = len(batch.operations) + len(batch.feedback)
            batch.check(self.limits.run_bytes)
            self._store.apply(batch)
            self._request_log.violations += batch.violations
        finally:
            batch.discard()

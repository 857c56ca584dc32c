"""The write half of the API: bodies become batches, batches are checked, stored and answered."""

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
    from langsmith_realtime.collector.store import Store


@dataclass(frozen=True)
class Limits:
    """Sizes above which LangSmith refuses.

    Attributes:
        run_bytes: Of one run's fields, attachments apart. LangSmith publishes no number; this is the
            ``size_limit_bytes`` that ``/info`` announces by default.
        body_bytes: Of a whole body on the wire; None for no limit, since recordings far above
            ``run_bytes`` are taken.
        trace_runs: Runs in one trace.
    """

    run_bytes: int = 20_971_520
    body_bytes: int | None = None
    trace_runs: int = 25_000

    @property
    def json_bytes(self) -> int:
        """Of a body that is one JSON text: room for the largest run and what surrounds it."""
        return self.run_bytes * 5 // 4


@dataclass(frozen=True)
class Fault:
    """What to answer a write instead of the truth.

    Attributes:
        status: The answer; 0 drops the connection, a 2xx stands for the true answer.
        delay: Seconds before it.
        stored: Whether the request is carried out before a false answer.
    """

    status: int
    delay: float = 0.0
    stored: bool = False

    @property
    def truthful(self) -> bool:
        """Whether the true answer is given."""
        return 200 <= self.status < 300


class WriteEndpoints:
    """Endpoints that store something.

    Args:
        store: Where it goes.
        journal: Where violations are noted.
        limits: See :class:`Limits`.
    """

    def __init__(self, store: Store, journal: RequestLog, limits: Limits) -> None:
        self.faults: deque[Fault] = deque()
        self.closing = asyncio.Event()
        self._store = store
        self._journal = journal
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
        """``POST /feedback``: one piece of feedback, which is also the answer."""
        return await self._answer_json(request, json_feedback)

    async def _answer_json(self, request: Request, make: Callable[[bytes], Batch]) -> Response:
        async def read() -> Batch:
            return make(await read_whole(request, self.limits.json_bytes, self.limits.body_bytes))

        return await self._answer(request, read)

    async def _answer(self, request: Request, read: Callable[[], Awaitable[Batch]]) -> Response:
        fault = self.faults.popleft() if self.faults else Fault(202)
        if fault.delay:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.closing.wait(), fault.delay)
        if fault.truthful or fault.stored:
            self._take(request, await read())
        elif fault.status:
            await drain(request.stream())
        if fault.truthful:
            return JSONResponse({"message": "Runs batch ingested"}, 202)
        if not fault.status:
            raise ClientDisconnect  # as if the other side had: the gate makes it true
        return JSONResponse({"error": HTTPStatus(fault.status).phrase}, fault.status)

    def _take(self, request: Request, batch: Batch) -> None:
        try:
            request.scope["exchange"].operations = len(batch.operations) + len(batch.feedback)
            batch.check(self.limits.run_bytes)
            self._store.apply(batch)
            self._journal.violations += batch.violations
        finally:
            batch.discard()

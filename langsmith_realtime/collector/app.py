"""Puts the collector's endpoints at LangSmith's paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from langsmith_realtime.collector.read.attachments import Attachments
from langsmith_realtime.collector.read.endpoints import ReadEndpoints
from langsmith_realtime.collector.rules import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Scope

    from langsmith_realtime.collector.ingest.endpoints import WriteEndpoints
    from langsmith_realtime.collector.records import RequestLog
    from langsmith_realtime.collector.store import Store
import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from langsmith_realtime.collector import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from langsmith_realtime.collector.records import RequestLog

VERSION: Final = "0.16.14"
"""The LangSmith release that is answered for; from 0.18 on clients would ask to resolve agent addresses."""


def build(
    store: Store, journal: RequestLog, writes: WriteEndpoints, api_key: str | None, drop: Callable[[Scope], None]
) -> ASGIApp:
    """Return the collector's ASGI application.

    Args:
        store: Where runs are kept.
        journal: Where requests and violations are noted.
        writes: The endpoints that store.
        api_key: The key to demand; None takes any.
        drop: Cuts the connection that a request came on.
    """
    attachments = Attachments(store)
    queries = ReadEndpoints(store, attachments.link)

    async def info(_: Request) -> Response:
        return JSONResponse(
            {
                "version": VERSION,
                "batch_ingest_config": {
                    "use_multipart_endpoint": True,
                    "scale_up_qsize_trigger": 1000,
                    "scale_up_nthreads_limit": 16,
                    "scale_down_nempty_trigger": 4,
                    "size_limit": 100,
                    "size_limit_bytes": writes.limits.run_bytes,
                },
                "instance_flags": {"zstd_compression_enabled": True},
            }
        )

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        journal.violations.append(error.violation())
        # The two halves of LangSmith's API name the reason differently.
        key = "error" if request.url.path.endswith("/runs/multipart") else "detail"
        return JSONResponse({key: error.message}, error.status)

    async def lost(request: Request, _: Exception) -> Response:
        request.scope["exchange"].lost = True
        return Response(status_code=499)  # the gate keeps it back and notes 0

    async def http_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"detail": error.detail}, error.status_code)

    v1 = [
        Route("/info", info),
        Route("/runs/multipart", writes.multipart, methods=["POST"]),
        Route("/runs/batch", writes.batch, methods=["POST"]),
        Route("/runs/query", queries.v1_runs, methods=["POST"]),
        Route("/runs", writes.create, methods=["POST"]),
        Route("/runs/{run_id}", writes.update, methods=["PATCH"]),
        Route("/runs/{run_id}", queries.v1_run),
        Route("/sessions", queries.sessions),
        Route("/sessions/{session_id}", queries.session),
        Route("/feedback", writes.feedback, methods=["POST"]),
        Route("/feedback", queries.feedback),
    ]
    v2 = [
        Route("/runs/query", queries.v2_runs, methods=["POST"]),
        Route("/runs/{run_id}", queries.v2_run),
        Route("/threads/query", queries.threads, methods=["POST"]),
        Route("/threads/{thread_id:path}/traces", queries.thread_traces),
        Route("/traces/query", queries.traces, methods=["POST"]),
        Route("/traces/{trace_id}/runs", queries.trace_runs),
    ]
    app = Starlette(
        routes=[
            Route("/attachments/{run_id}/{name}", attachments.serve, name="attachment"),
            Mount("/api/v2", routes=v2),
            Mount("/api/v1", routes=v1),
            *v1,
        ],
        exception_handlers={Refused: refused, ClientDisconnect: lost, HTTPException: http_error},
    )
    return Gate(app, journal, api_key, drop)


_KEYLESS: Final = ("/info", "/api/v1/info", "/attachments/")  # attachments carry a signature instead


@dataclass
class Exchange:
    """One request while it is being answered.

    Attributes:
        bytes: Of its body, as received so far.
        operations: Creates, updates and feedback it holds.
        lost: Whether its connection ends before the answer.
    """

    bytes: int = 0
    operations: int = 0
    lost: bool = False


class Gate:
    """Lets through what comes from this machine, not from a foreign web page, and with the right key.

    Args:
        app: What answers the rest.
        journal: Where requests and violations are noted.
        api_key: The key to demand in ``x-api-key``; None takes any. Only a digest of it is kept.
        drop: Cuts the connection that a request came on.
    """

    def __init__(self, app: ASGIApp, journal: RequestLog, api_key: str | None, drop: Callable[[Scope], None]) -> None:
        self._app = app
        self._journal = journal
        self._drop = drop
        self._salt = secrets.token_bytes()
        self._key = None if api_key is None else self._digest(api_key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = scope["exchange"] = Exchange()

        async def counted() -> Message:
            message = await receive()
            exchange.bytes += len(message.get("body", b""))
            return message

        async def noted(message: Message) -> None:
            # Noted before the answer leaves: whoever sees it finds the request in the journal.
            if message["type"] == "http.response.start":
                self._note(scope, message["status"])
                if exchange.lost:
                    self._drop(scope)
                    await asyncio.sleep(0)  # the connection learns of it in the loop's next turn
            if not exchange.lost:
                await send(message)

        await (self._refusal(scope) or self._app)(scope, counted, noted)

    def _note(self, scope: Scope, status: int) -> None:
        exchange: Exchange = scope["exchange"]
        seen = 0 if exchange.lost else status
        request = records.Request(scope["method"], scope["path"], seen, exchange.operations, exchange.bytes)
        self._journal.note(request)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        port = scope["server"][1]
        here = {f"127.0.0.1:{port}", f"localhost:{port}"}
        if headers.get("host") not in here:
            return JSONResponse({"detail": "Host not allowed"}, 421)
        if "origin" in headers and headers["origin"].removeprefix("http://") not in here:
            return JSONResponse({"detail": "Origin not allowed"}, 403)
        if self._key is None or scope["path"].startswith(_KEYLESS):
            return None
        sent = headers.get("x-api-key", "")
        if not sent:
            return self._refuse(Refused("api-key-missing", "Invalid token"), "detail")
        if not hmac.compare_digest(self._digest(sent), self._key):
            return self._refuse(Refused("api-key-wrong", "Forbidden"), "error")
        return None

    def _refuse(self, refused: Refused, key: str) -> Response:
        self._journal.violations.append(refused.violation())
        return JSONResponse({key: refused.message}, refused.status)

    def _digest(self, api_key: str) -> bytes:
        return hashlib.blake2b(api_key.encode(), key=self._salt).digest()

"""The collector's ASGI application: routes at LangSmith's paths, behind checks of host, origin and API key.

The outermost layer also logs every request before its answer is sent.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from langsmith_realtime.collector import records
from langsmith_realtime.collector.datasets.endpoints import DatasetEndpoints
from langsmith_realtime.collector.not_served import no_endpoint
from langsmith_realtime.collector.page.access import DATA, PAGE, Access, foreign_site
from langsmith_realtime.collector.page.endpoints import PageEndpoints
from langsmith_realtime.collector.read.attachments import Attachments
from langsmith_realtime.collector.read.endpoints import ReadEndpoints
from langsmith_realtime.collector.read.feedback import FeedbackEndpoints
from langsmith_realtime.collector.read.projects import ProjectEndpoints
from langsmith_realtime.collector.read.threads import ThreadEndpoints
from langsmith_realtime.collector.rules import Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from langsmith_realtime.collector.addresses import Addresses
    from langsmith_realtime.collector.ingest.endpoints import WriteEndpoints
    from langsmith_realtime.collector.page.changes import Changes
    from langsmith_realtime.collector.page.sound import Sounds
    from langsmith_realtime.collector.records import RequestLog
    from langsmith_realtime.collector.storage.store import Store

VERSION: Final = "0.16.14"
"""The LangSmith release in the answer to ``GET /info``; from 0.18 on, clients would ask to resolve agent addresses."""


def build(
    store: Store,
    request_log: RequestLog,
    write_endpoints: WriteEndpoints,
    sounds: Sounds,
    page_access: Access,
    *,
    addresses: Addresses,
    page_changes: Changes,
    state: Path | None,
    abort_connection: Callable[[Scope], None],
) -> ASGIApp:
    """Return the collector's ASGI application.

    Args:
        store: Holds the runs that the read endpoints return.
        request_log: Receives every request and every broken rule.
        write_endpoints: The endpoints that store runs and feedback.
        sounds: Decodes recordings for the page.
        page_access: Knows the key that requests must carry, and the page's cookie.
        addresses: Where the collector answers.
        page_changes: Wakes open pages.
        state: Folder of running conversations on this machine, whose waveforms the page shows; None without one.
        abort_connection: Closes the TCP connection of a request without an answer.
    """
    attachments = Attachments(store)
    read_endpoints = ReadEndpoints(store, attachments.link)

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
                    "size_limit_bytes": write_endpoints.limits.run_bytes,
                },
                "instance_flags": {"zstd_compression_enabled": True, "dataset_examples_multipart_enabled": True},
            }
        )

    async def answer_refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        request_log.violations.append(error.violation())
        # LangSmith's multipart endpoint names the reason "error", its other endpoints "detail".
        key = "error" if request.url.path.endswith("/runs/multipart") else "detail"
        return JSONResponse({key: error.message}, error.status)

    async def answer_disconnected(request: Request, _: Exception) -> Response:
        request.scope["exchange"].disconnected = True
        return Response(status_code=499)  # never sent: AccessMiddleware drops it and logs status 0

    async def answer_http_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"detail": error.detail}, error.status_code)

    projects, feedback, threads = ProjectEndpoints(store), FeedbackEndpoints(store), ThreadEndpoints(store)
    datasets = DatasetEndpoints(store, attachments.link)
    v1 = [
        Route("/info", info),
        Route("/runs/multipart", write_endpoints.multipart, methods=["POST"]),
        Route("/runs/batch", write_endpoints.batch, methods=["POST"]),
        Route("/runs/query", read_endpoints.v1_runs, methods=["POST"]),
        Route("/runs/stats", read_endpoints.v1_stats, methods=["POST"]),
        Route("/runs", write_endpoints.create, methods=["POST"]),
        Route("/runs/{run_id}", write_endpoints.update, methods=["PATCH"]),
        Route("/runs/{run_id}", read_endpoints.v1_run),
        Route("/sessions", projects.listed),
        Route("/sessions", projects.create, methods=["POST"]),
        *_project_routes(projects),
        Route("/feedback", write_endpoints.feedback, methods=["POST"]),
        Route("/feedback", feedback.listed),
        Route("/feedback/tokens", feedback.tokens),
        Route("/feedback/tokens", feedback.create_tokens, methods=["POST"]),
        Route("/feedback/tokens/{token}", feedback.use_token, methods=["GET", "POST"]),
        Route("/feedback/{feedback_id}", feedback.one),
        Route("/feedback/{feedback_id}", feedback.update, methods=["PATCH"]),
        Route("/feedback/{feedback_id}", feedback.delete, methods=["DELETE"]),
        Route("/datasets", datasets.listed),
        Route("/datasets", datasets.create, methods=["POST"]),
        Route("/datasets/{dataset_id}", datasets.one),
        Route("/datasets/{dataset_id}", datasets.change, methods=["PATCH"]),
        Route("/datasets/{dataset_id}", datasets.delete, methods=["DELETE"]),
        Route("/datasets/{dataset_id}/splits", datasets.splits),
        Route("/examples", datasets.examples),
        Route("/examples", datasets.create_example, methods=["POST"]),
        Route("/examples", datasets.delete_examples, methods=["DELETE"]),
        Route("/examples/bulk", datasets.create_examples, methods=["POST"]),
        Route("/examples/{example_id}", datasets.example),
        Route("/examples/{example_id}", datasets.change_example, methods=["PATCH"]),
        Route("/examples/{example_id}", datasets.delete_example, methods=["DELETE"]),
        Route("/platform/datasets/examples/delete", datasets.delete_examples, methods=["POST"]),
        Route("/platform/datasets/{dataset_id}/examples", datasets.upload, methods=["POST", "PATCH"]),
        Route("/{path:path}", no_endpoint, methods=_METHODS),
    ]
    v2 = [
        Route("/runs/query", read_endpoints.v2_runs, methods=["POST"]),
        Route("/runs/{run_id}", read_endpoints.v2_run),
        Route("/runs/{run_id}/url", read_endpoints.run_url),
        Route("/threads/query", threads.threads, methods=["POST"]),
        Route("/threads/stats", threads.all_stats, methods=["POST"]),
        Route("/threads/{thread_id:path}/traces", threads.traces),
        Route("/threads/{thread_id:path}/stats", threads.stats),
        Route("/traces/query", read_endpoints.traces, methods=["POST"]),
        Route("/traces/{trace_id}/runs", read_endpoints.trace_runs),
        Route("/sessions", projects.v2_listed),
        Route("/sessions", projects.create, methods=["POST"]),
        *_project_routes(projects),
        Route("/datasets", datasets.v2_listed),
        Route("/{path:path}", no_endpoint, methods=_METHODS),
    ]
    app = Starlette(
        routes=[
            *PageEndpoints(store, sounds, page_access, page_changes, link=attachments.link, state=state).routes(),
            Route("/attachments/{run_id}/{name}", attachments.serve, name="attachment"),
            Route("/o/{tenant_id}/projects/p/{project_id}/r/{run_id}", read_endpoints.show),  # the link of a run
            Route("/o/{tenant_id}/projects/p/{project_id}", read_endpoints.show_project),
            # LangSmith's clients take an endpoint with and without /api and /api/v1, and some versions ask at /v2.
            *(Mount(prefix, routes=v2) for prefix in ("/api/v2", "/v2")),
            *(Mount(prefix, routes=v1) for prefix in ("/api/v1", "/v1", "/api", "")),
        ],
        exception_handlers={
            Refused: answer_refused,
            ClientDisconnect: answer_disconnected,
            HTTPException: answer_http_error,
        },
    )
    return AccessMiddleware(app, request_log, page_access, addresses, abort_connection)


def _project_routes(projects: ProjectEndpoints) -> list[Route]:
    return [
        Route("/sessions/{session_id}", projects.one),
        Route("/sessions/{session_id}", projects.update, methods=["PATCH"]),
        Route("/sessions/{session_id}", projects.delete, methods=["DELETE"]),
    ]


_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
#: Links of attachments and feedback tokens carry a secret of their own; the link of a run only redirects to the page.
_WITHOUT_KEY: Final = re.compile(r"(/api)?(/v1)?/(info|feedback/tokens/[^/]+)|/attachments/.*|/o/.*")


@dataclass
class Exchange:
    """The state of one request until its answer is sent.

    Attributes:
        bytes: Size of the request's body received so far, before decompression.
        operations: Number of creates, updates and feedback in the request.
        disconnected: Whether the connection ends without an answer.
    """

    bytes: int = 0
    operations: int = 0
    disconnected: bool = False


class AccessMiddleware:
    """Refuses requests with a foreign Host or Origin header or without the API key, and logs every request.

    ``/info``, signed attachment URLs and the files of the page need no API key; the page's data takes its cookie, too.

    Args:
        app: The ASGI application that answers accepted requests.
        request_log: Receives every request, and a violation for each missing or wrong key.
        page_access: Knows the key demanded in the header ``x-api-key``, and the page's cookie.
        addresses: Where the collector answers.
        abort_connection: Closes the TCP connection of a request without an answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        request_log: RequestLog,
        page_access: Access,
        addresses: Addresses,
        abort_connection: Callable[[Scope], None],
    ) -> None:
        self._app = app
        self._page_access = page_access
        self._request_log = request_log
        self._abort_connection = abort_connection
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, answer and log one request."""
        exchange = scope["exchange"] = Exchange()

        async def receive_and_count() -> Message:
            message = await receive()
            exchange.bytes += len(message.get("body", b""))
            return message

        async def log_and_send(message: Message) -> None:
            # Logged before the answer is sent, so that a client that has its answer finds its request in the log.
            if message["type"] == "http.response.start":
                self._log(scope, message["status"])
                if exchange.disconnected:
                    self._abort_connection(scope)
                    await asyncio.sleep(0)  # asyncio reports the closed connection in the loop's next iteration
            if not exchange.disconnected:
                await send(message)

        await (self._refusal(scope) or self._app)(scope, receive_and_count, log_and_send)

    def _log(self, scope: Scope, status: int) -> None:
        exchange: Exchange = scope["exchange"]
        sent_status = 0 if exchange.disconnected else status
        self._request_log.add(
            records.Request(scope["method"], scope["path"], sent_status, exchange.operations, exchange.bytes)
        )

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if refusal := self._addresses.refusal(headers, scope["server"][1]):
            status, detail = refusal
            return JSONResponse({"detail": detail}, status)
        path = scope["path"]
        if site := foreign_site(path, headers):
            return JSONResponse({"detail": f"Sec-Fetch-Site not allowed: it must be same-origin, got {site!r}"}, 403)
        if not self._page_access.needs_key or _WITHOUT_KEY.fullmatch(path):
            return None
        if path.startswith(PAGE) and (not path.startswith(DATA) or self._page_access.allows(headers)):
            return None  # the page's own files have no data
        sent_key = headers.get("x-api-key", "")
        remedy = "set LANGSMITH_API_KEY to the key that the collector was started with"
        if not sent_key:
            missing = Refused("api-key-missing", f"Invalid token: the request has no x-api-key header; {remedy}")
            return self._refuse(missing, "detail")
        if not self._page_access.is_key(sent_key):
            wrong = Refused("api-key-wrong", f"Forbidden: the x-api-key header has another key; {remedy}")
            return self._refuse(wrong, "error")
        return None

    def _refuse(self, refused: Refused, key: str) -> Response:
        self._request_log.violations.append(refused.violation())
        return JSONResponse({key: refused.message}, refused.status)

"""Puts the collector's endpoints at LangSmith's paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from langsmith_realtime.collector.attachments import Attachments
from langsmith_realtime.collector.gate import Gate
from langsmith_realtime.collector.queries import Queries
from langsmith_realtime.collector.rules import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Scope

    from langsmith_realtime.collector.journal import Journal
    from langsmith_realtime.collector.store import Store
    from langsmith_realtime.collector.writes import Writes

VERSION: Final = "0.16.14"
"""The LangSmith release that is answered for; from 0.18 on clients would ask to resolve agent addresses."""


def build(
    store: Store, journal: Journal, writes: Writes, api_key: str | None, drop: Callable[[Scope], None]
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
    queries = Queries(store, attachments.link)

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

"""Answers to requests that LangSmith serves and the collector does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request


def not_served(sentence: str) -> Response:
    """Return the answer 501, with a sentence. LangSmith's clients do not repeat the request."""
    return JSONResponse({"detail": sentence}, 501, {"x-should-retry": "false"})


async def no_endpoint(request: Request) -> Response:
    """Answer any request that no endpoint takes."""
    what = f"{request.method} {request.url.path}"
    return not_served(
        f"The collector does not serve {what}. It stores and returns runs, threads, projects, feedback, datasets and "
        "examples; use LangSmith for everything else"
    )

"""Attachments over HTTP, behind signed links: LangSmith's client fetches them without its key."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from langsmith_realtime.collector.store import Store

_HEADERS = {
    # A recording must not become a page with this server's origin.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
}


class Attachments:
    """Makes links and serves what they lead to. Links hold until the collector stops.

    Args:
        store: Where the files are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._secret = secrets.token_bytes()

    def link(self, request: Request, run_id: str, name: str) -> str:
        """Return the URL of an attachment, on the host the request asked."""
        url = request.url_for("attachment", run_id=run_id, name=name)
        return str(url.include_query_params(signature=self._signature(run_id, name)))

    async def serve(self, request: Request) -> Response:
        """``GET /attachments/{run_id}/{name}?signature=…``, with ranges."""
        run_id, name = request.path_params["run_id"], request.path_params["name"]
        if not hmac.compare_digest(request.query_params.get("signature", ""), self._signature(run_id, name)):
            raise HTTPException(403, "Signature does not match")
        run = self._store.run(run_id)
        if run is None or name not in run.attachments:
            raise HTTPException(404, "Attachment not found")
        attachment = run.attachments[name]
        return FileResponse(attachment.path, media_type=attachment.mime_type, headers=_HEADERS)

    def _signature(self, run_id: str, name: str) -> str:
        return hmac.digest(self._secret, f"{run_id}/{name}".encode(), hashlib.sha256).hex()

"""Serves attachments at signed URLs, because LangSmith's client downloads attachments without an API key."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from langsmith_realtime.collector.storage.store import Store

_HEADERS = {
    # So that a browser does not run an attachment as a page with this server's origin.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
}


class Attachments:
    """Makes signed URLs for attachments, and serves the files. A URL is valid as long as the attachment is stored.

    Args:
        store: Holds the attachments, and the key of the signatures.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key = store.documents.signing_key()

    def link(self, request: Request, run_id: str, name: str) -> str:
        """Return the signed URL of a run's or an example's attachment, with the request's host."""
        url = request.url_for("attachment", run_id=run_id, name=name)
        return str(url.include_query_params(signature=self._signature(run_id, name)))

    async def serve(self, request: Request) -> Response:
        """``GET /attachments/{run_id}/{name}?signature=…``; supports the ``Range`` header."""
        run_id, name = request.path_params["run_id"], request.path_params["name"]
        given = request.query_params.get("signature", "")
        if not hmac.compare_digest(given.encode(), self._signature(run_id, name).encode()):
            raise HTTPException(
                403, "The signature is not valid; read the run or the example again for the URL of its attachment"
            )
        attachment = self._store.attachments(run_id).get(name)
        if attachment is None:
            raise HTTPException(404, f"Attachment not found: {run_id} has no attachment {name!r}")
        return FileResponse(attachment.path, media_type=attachment.mime_type, headers=_HEADERS)

    def _signature(self, run_id: str, name: str) -> str:
        return hmac.digest(self._key, f"attachment:{run_id}/{name}".encode(), hashlib.sha256).hex()

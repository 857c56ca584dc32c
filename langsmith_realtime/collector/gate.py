"""The outermost layer: who may ask, and a note of what was asked."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from langsmith_realtime.collector import records
from langsmith_realtime.collector.rules import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from langsmith_realtime.collector.journal import Journal

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

    def __init__(self, app: ASGIApp, journal: Journal, api_key: str | None, drop: Callable[[Scope], None]) -> None:
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

"""The server to which a WebSocket of the package websockets is connected, and whether it is Azure's."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs


def server_of(websocket: Any) -> tuple[str, int] | None:
    """The host and the port that the connection was opened with; None if the socket does not tell them."""
    protocol = getattr(websocket, "protocol", None)
    uri = getattr(protocol, "uri", None) or getattr(protocol, "wsuri", None)  # the latter before websockets 14
    host, port = getattr(uri, "host", None), getattr(uri, "port", None)
    return (host, port) if isinstance(host, str) and isinstance(port, int) else None


def is_azure(host: str, query: str) -> bool:
    """Whether a connection goes to Azure: by the name of the host, or by the API version that Azure demands in a query.

    The latter finds Azure behind a gateway.
    """
    return host.endswith((".azure.com", ".azure.us", ".azure.cn")) or "api-version" in parse_qs(query)

"""The address of the server to which a WebSocket of the package websockets is connected."""

from __future__ import annotations

from typing import Any


def server_of(websocket: Any) -> tuple[str, int] | None:
    """The host and the port that the connection was opened with; None if the socket does not tell them."""
    protocol = getattr(websocket, "protocol", None)
    uri = getattr(protocol, "uri", None) or getattr(protocol, "wsuri", None)  # the latter before websockets 14
    host, port = getattr(uri, "host", None), getattr(uri, "port", None)
    return (host, port) if isinstance(host, str) and isinstance(port, int) else None

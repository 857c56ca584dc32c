"""How a connection was closed: the code, the reason and the side that closed it.

Reads the close frames that the websockets package keeps. Pure.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.payloads.scrubbing import scrub_message

#: Close code of a server that goes away, or that ends a session at its maximum duration.
GOING_AWAY = 1001
#: Close code that stands for a connection that broke without a close frame; it is never sent.
ABNORMAL = 1006
#: How many exceptions are followed from one to its cause, or into a group.
_DEPTH = 8


class Closing(NamedTuple):
    """How a connection was closed. A field that is not known is None.

    Attributes:
        code: the close code of the side that closed first; 1006 if the connection broke.
        reason: its reason.
        by: ``server``, ``client``, or ``network`` if the connection broke.
    """

    code: int | None = None
    reason: str | None = None
    by: str | None = None

    @property
    def error(self) -> Failure | None:
        """The error of a conversation that the server ended by going away (1001); None for any other closing.

        The websockets package counts 1001 as an ordinary end. It is one for a client that leaves, not for a server.
        """
        if self.by != "server" or self.code != GOING_AWAY:
            return None
        what = f"the server closed the connection: {self.code}"
        return Failure(f"{what} {self.reason}" if self.reason else what, what)


def closing_of(error: object, depth: int = 0) -> Closing | None:
    """How the connection was closed that raised an exception; None if it is no ``ConnectionClosed`` of websockets.

    The exception may be in a group, or the cause of another one.
    """
    if not isinstance(error, BaseException) or depth > _DEPTH:
        return None
    if hasattr(error, "rcvd") and hasattr(error, "sent"):
        return closing_of_frames(error.rcvd, error.sent, getattr(error, "rcvd_then_sent", None))
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else (error.__cause__,)
    return next((found for each in inner if (found := closing_of(each, depth + 1)) is not None), None)


def closing_of_socket(websocket: Any) -> Closing | None:
    """How the connection was closed; while it is open, the application is the one that ends it.

    None if the socket does not tell.
    """
    protocol = getattr(websocket, "protocol", None)
    if protocol is None:
        return None
    received, sent = getattr(protocol, "close_rcvd", None), getattr(protocol, "close_sent", None)
    if received is None and sent is None and getattr(getattr(protocol, "state", None), "name", "") != "CLOSED":
        return Closing(by="client")
    return closing_of_frames(received, sent, getattr(protocol, "close_rcvd_then_sent", None))


def closing_of_frames(received: Any, sent: Any, received_then_sent: object) -> Closing:
    """How a connection was closed, from the close frames received and sent (None: no frame)."""
    if received is None and sent is None:
        return Closing(ABNORMAL, None, "network")
    by_server = sent is None or (received is not None and bool(received_then_sent))
    frame = received if by_server else sent
    return Closing(int(frame.code), scrub_message(str(frame.reason)) or None, "server" if by_server else "client")

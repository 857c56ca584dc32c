"""At which addresses a collector answers: the check of the Host and Origin headers against other sites."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.datastructures import Headers

_LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost")


class Addresses:
    """The addresses of one collector.

    A collector on loopback answers at 127.0.0.1, at localhost and at its host, with its port. Any other collector
    answers at every IP address and at the names of this machine, with any port, because a container or a proxy may
    publish another one. A web page of another site cannot fake its Host header, and a domain that its owner lets
    resolve to this machine is neither.

    Args:
        host: The name or address that the collector listens at.
    """

    def __init__(self, host: str) -> None:
        self.is_loopback = is_loopback(host)
        self._names = {*_LOOPBACK_NAMES, host.lower()}
        if not self.is_loopback:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def refusal(self, headers: Headers, port: int) -> tuple[int, str] | None:
        """Return the HTTP status and the sentence for a request from elsewhere; None for a request to be answered.

        Args:
            headers: The request's headers.
            port: The port that the collector listens at.
        """
        host, origin = headers.get("host"), headers.get("origin")
        own = " or ".join(f"{name}:{port}" for name in _LOOPBACK_NAMES)
        if not self.is_loopback:
            own += ", an IP address, or a name of the collector's machine"
        if not self._is_own(host or "", port):
            return 421, f"Host not allowed: it must be {own}, got {host!r}"
        if origin is None:
            return None
        scheme, _, address = origin.partition("://")
        if scheme not in (("http",) if self.is_loopback else ("http", "https")) or not self._is_own(address, port):
            return 403, f"Origin not allowed: it must be http:// and {own}, got {origin!r}"
        return None

    def _is_own(self, address: str, port: int) -> bool:
        name, colon, number = address.rpartition(":")
        if not colon or name.startswith("[") != name.endswith("]"):  # no port, or an IPv6 address without one
            name, number = address, ""
        if self.is_loopback and number != str(port):
            return False
        name = name.strip("[]").lower()
        return name in self._names or (not self.is_loopback and _is_ip(name))


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host; any name but localhost counts as reachable by others."""
    return host.lower() == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True

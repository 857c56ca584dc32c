"""Mends the web addresses of runs that LangSmith's client builds for a server on this machine."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from langsmith import Client

from langsmith_realtime.core.payloads.scrubbing import public_url


def openable(url: str, client: Client) -> str:
    """The address of a run with the host and port of the client's endpoint, if the client lost them.

    For an endpoint on this machine, the client's addresses begin with ``http://localhost``, without the port. An
    address from the server or from ``Client(web_url=...)`` stays.
    """
    parts = urlsplit(url)
    if parts.netloc != "localhost" or getattr(client, "_web_url", None):
        return url
    endpoint = urlsplit(public_url(str(client.api_url)))
    prefix = endpoint.path.rstrip("/").removesuffix("/v1").removesuffix("/api")
    return urlunsplit((endpoint.scheme, endpoint.netloc, prefix + parts.path, parts.query, ""))

"""Who may see the page and use the API: requests with the collector's key, or with the cookie made from it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.requests import Request
    from starlette.responses import Response

#: Where the page and its data are.
PAGE: Final = "/view"
DATA: Final = "/view/api/"
#: Requests for the data of a conversation may only come from the page itself.
_SAME_SITE: Final = ("/view/api/", "/attachments/")
_COOKIE: Final = "langsmith-realtime-view"


class Access:
    """Checks the key of requests, and opens the page in a browser, which cannot send the key in a header.

    The key itself (``?token=``) or a one-time code (``?code=``) in the page's address becomes a cookie, which stays
    valid when the collector restarts with the same folder and the same key. Only digests of the key are kept.

    Args:
        key: The key that the collector demands; None if it demands none.
        signing_key: The store's key.
    """

    def __init__(self, key: str | None, signing_key: bytes) -> None:
        self._signing_key = signing_key
        self._digest = None if key is None else self._signed("key", key)
        self._session = "" if key is None else self._signed("session", key)
        self._codes: set[str] = set()

    @property
    def needs_key(self) -> bool:
        """Whether requests must carry a key."""
        return self._digest is not None

    def is_key(self, given: str) -> bool:
        """Return whether this is the key, in a time that does not depend on it."""
        return self._digest is not None and hmac.compare_digest(self._signed("key", given), self._digest)

    def code(self) -> str | None:
        """Return a code that opens the page once; None if the page needs none."""
        if not self.needs_key:
            return None
        code = secrets.token_urlsafe()
        self._codes.add(code)
        return code

    def redeem(self, request: Request, response: Response) -> None:
        """Set the cookie on a response if the request's address has the key, or a code that was not used yet."""
        code = request.query_params.get("code", "")
        if code in self._codes or self.is_key(request.query_params.get("token", "")):
            self._codes.discard(code)
            response.set_cookie(_COOKIE, self._session, path=PAGE, httponly=True, samesite="strict")

    def allows(self, headers: Headers) -> bool:
        """Return whether a request has the cookie."""
        cookies = [each.strip() for each in headers.get("cookie", "").split(";")]
        wanted = f"{_COOKIE}={self._session}"
        return self.needs_key and any(hmac.compare_digest(each.encode(), wanted.encode()) for each in cookies)

    def _signed(self, purpose: str, key: str) -> str:
        return hmac.digest(self._signing_key, f"{purpose}:{key}".encode(), hashlib.sha256).hex()


def foreign_site(path: str, headers: Headers) -> str | None:
    """Return the site that a request for data comes from, if a browser says that it is another one; else None."""
    site = headers.get("sec-fetch-site", "none")
    return site if path.startswith(_SAME_SITE) and site not in ("none", "same-origin") else None

"""Who may see the page: the address check of the collector, and a cookie where the collector demands a key."""

from __future__ import annotations

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
    """Opens the page in a browser that cannot send the API key: a one-time code becomes a cookie.

    Args:
        needs_code: Whether the collector demands a key.
    """

    def __init__(self, *, needs_code: bool) -> None:
        self._needs_code = needs_code
        self._session = secrets.token_urlsafe()
        self._codes: set[str] = set()

    def code(self) -> str | None:
        """Return a code that opens the page once; None if the page needs none."""
        if not self._needs_code:
            return None
        code = secrets.token_urlsafe()
        self._codes.add(code)
        return code

    def redeem(self, request: Request, response: Response) -> None:
        """Set the cookie on a response if the request has a code that was not used yet."""
        code = request.query_params.get("code", "")
        if code in self._codes:
            self._codes.remove(code)
            response.set_cookie(_COOKIE, self._session, path=PAGE, httponly=True, samesite="strict")

    def allows(self, headers: Headers) -> bool:
        """Return whether a request has the cookie."""
        cookies = [each.strip() for each in headers.get("cookie", "").split(";")]
        wanted = f"{_COOKIE}={self._session}"
        return any(hmac.compare_digest(each.encode(), wanted.encode()) for each in cookies)


def foreign_site(path: str, headers: Headers) -> str | None:
    """Return the site that a request for data comes from, if a browser says that it is another one; else None."""
    site = headers.get("sec-fetch-site", "none")
    return site if path.startswith(_SAME_SITE) and site not in ("none", "same-origin") else None

"""What was asked of the collector, and which rules were broken."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from langsmith_realtime.collector.records import Request, Violation

_KEPT = 100_000


class Journal:
    """The newest requests and violations, in order.

    Args:
        changed: Called after every request, from the server's thread.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.requests: deque[Request] = deque(maxlen=_KEPT)
        self.violations: deque[Violation] = deque(maxlen=_KEPT)
        self._changed = changed

    def note(self, request: Request) -> None:
        """Add a request; whatever it stored is stored by now."""
        self.requests.append(request)
        self._changed()

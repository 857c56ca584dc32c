"""The one place where our own failures end: tracing never raises into the conversation.

The first failure of a kind is logged with its traceback, the rest are counted; the root run says how
many there were.
"""

from __future__ import annotations

import logging
from collections import deque

logger = logging.getLogger("langsmith_realtime")

#: The latest failures of the process, for tests that want none.
failures: deque[BaseException] = deque(maxlen=100)
_logged: set[tuple[str, type[BaseException]]] = set()


class Guard:
    """Counts what went wrong in one conversation's tracing."""

    def __init__(self) -> None:
        self.count = 0

    def report(self, where: str, error: BaseException) -> None:
        """Take note of an exception that must not reach the caller."""
        self.count += 1
        failures.append(error)
        kind = (where, type(error))
        if kind not in _logged:
            _logged.add(kind)
            logger.warning(
                "tracing failed in %s; your conversation goes on, its trace may lack something", where, exc_info=error
            )

"""The one place where our own failures end: tracing never raises into the conversation.

The first failure of a kind is logged with its traceback, the rest are counted; the root run says how
many there were.
"""

from __future__ import annotations

import logging
import traceback
from asyncio import CancelledError
from collections import deque
from contextlib import suppress

logger = logging.getLogger("langsmith_realtime")

#: What functions of the application's may raise that we call; what else there is, is for the main thread.
ANYTHING = (Exception, SystemExit, CancelledError)
#: The latest failures of the process, for tests that want none.
failures: deque[BaseException] = deque(maxlen=100)
_logged: set[tuple[str, type[BaseException]]] = set()


def _handle(record: logging.LogRecord) -> None:
    with suppress(*ANYTHING):  # filters are the application's, and logging lets them raise
        logging.Logger.handle(logger, record)


logger.handle = _handle  # type: ignore[method-assign]


class Guard:
    """Counts what went wrong in one conversation's tracing."""

    def __init__(self) -> None:
        self.count = 0
        #: Whether the log may say what an exception says, which may be what somebody said.
        self.quotes = True

    def report(self, where: str, error: BaseException) -> None:
        """Take note of an exception that must not reach the caller."""
        self.count += 1
        failures.append(error)
        kind = (where, type(error))
        if kind not in _logged:
            _logged.add(kind)
            said = "tracing failed in %s; your conversation goes on, its trace may lack something"
            if self.quotes:
                logger.warning(said, where, exc_info=error)
            else:
                logger.warning(f"{said}\n%s", where, unquoted(error))


def unquoted(error: BaseException) -> str:
    """Where an exception comes from and of which kind it is; what it says may be what somebody said."""
    return "".join(traceback.format_tb(error.__traceback__)) + _kind(error)


def _kind(error: BaseException) -> str:
    """What of an exception quotes nobody; our own say what they are about."""
    ours = type(error).__module__.partition(".")[0] == __name__.partition(".")[0]
    return f"{type(error).__name__}: {error}" if ours else type(error).__name__

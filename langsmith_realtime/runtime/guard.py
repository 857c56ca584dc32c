"""Failures of the tracing end here: none is raised into the conversation.

The first failure of a kind in the process is logged with its traceback. All failures of a conversation are counted, and
its root run's metadata has the count.
"""

from __future__ import annotations

import logging
import traceback
from asyncio import CancelledError
from collections import deque
from contextlib import suppress

logger = logging.getLogger("langsmith_realtime")

#: Exceptions of the application's callbacks that are caught. KeyboardInterrupt and GeneratorExit still propagate.
CALLBACK_ERRORS = (Exception, SystemExit, CancelledError)
#: The process's latest failures; tests assert that there are none.
failures: deque[BaseException] = deque(maxlen=100)
_logged: set[tuple[str, type[BaseException]]] = set()


def _handle(record: logging.LogRecord) -> None:
    with suppress(*CALLBACK_ERRORS):  # logging lets exceptions of the application's filters propagate
        logging.Logger.handle(logger, record)


logger.handle = _handle  # type: ignore[method-assign]


class Guard:
    """Counts and logs the failures of one conversation's tracing."""

    def __init__(self) -> None:
        self.count = 0
        #: Whether the log may contain the messages of exceptions, which may quote the conversation.
        self.logs_messages = True

    def report(self, where: str, error: BaseException) -> None:
        """Count a failure, and log it if it is the process's first of its type at ``where``."""
        self.count += 1
        failures.append(error)
        kind = (where, type(error))
        if kind not in _logged:
            _logged.add(kind)
            message = "tracing failed in %s; the conversation goes on, its trace may be incomplete"
            if self.logs_messages:
                logger.warning(message, where, exc_info=error)
            else:
                logger.warning(f"{message}\n%s", where, format_without_message(error))


def format_without_message(error: BaseException) -> str:
    """The exception's traceback and type, without its message, which may quote the conversation.

    The messages of this package's own exceptions quote nothing and stay.
    """
    return "".join(traceback.format_tb(error.__traceback__)) + _type_and_own_message(error)


def _type_and_own_message(error: BaseException) -> str:
    # The package's own messages quote nothing.
    is_own = type(error).__module__.partition(".")[0] == __name__.partition(".")[0]
    return f"{type(error).__name__}: {error}" if is_own else type(error).__name__

"""Keeps log messages and native output of libraries off the terminal."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class LangSmithLog(logging.Handler):
    """Receives the log of LangSmith's client instead of the terminal, and notices a refused API key."""

    def __init__(self) -> None:
        super().__init__()
        self._key_refused = False

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        self._key_refused = self._key_refused or "401" in message or "403" in message

    @property
    def key_refused(self) -> bool:
        """Whether a message reported status 401 or 403."""
        return self._key_refused


@contextmanager
def langsmith_log_captured() -> Iterator[LangSmithLog]:
    """Captures the log of LangSmith's client, which repeats an error for every request."""
    loggers = [logging.getLogger(name) for name in ("langsmith", "langsmith_realtime")]
    log = LangSmithLog()
    for logger in loggers:
        logger.addHandler(log)
        logger.propagate = False
    try:
        yield log
    finally:
        # After a refused key the client tries again when the process ends, and would log the error again.
        if not log.key_refused:
            for logger in loggers:
                logger.removeHandler(log)
                logger.propagate = True


@contextmanager
def native_stderr_discarded() -> Iterator[None]:
    """Discards output of C libraries (ALSA, PortAudio) to file descriptor 2. `sys.stderr` still reaches the user."""
    sys.stderr.flush()
    before, original = sys.stderr, os.dup(2)
    with open(os.devnull, "wb") as null:  # noqa: PTH123  os.devnull is a name, not a path, on Windows
        os.dup2(null.fileno(), 2)
    redirected = os.fdopen(os.dup(original), "w", encoding=before.encoding, errors="backslashreplace", buffering=1)
    sys.stderr = redirected
    try:
        yield
    finally:
        if sys.stderr is redirected:
            sys.stderr = before
        redirected.close()
        os.dup2(original, 2)
        os.close(original)

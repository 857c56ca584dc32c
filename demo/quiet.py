"""Keeps libraries from writing over the terminal."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Reports(logging.Handler):
    """What LangSmith's client reports, kept from the terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._refused = False

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        self._refused = self._refused or "401" in said or "403" in said

    @property
    def key_refused(self) -> bool:
        """Whether one of them said that the key was."""
        return self._refused


@contextmanager
def langsmith_silenced() -> Iterator[Reports]:
    """Takes the reports of LangSmith's client, which repeat for every request."""
    loggers = [logging.getLogger(name) for name in ("langsmith", "langsmith_realtime")]
    reports = Reports()
    for logger in loggers:
        logger.addHandler(reports)
        logger.propagate = False
    try:
        yield reports
    finally:
        # With a refused key all is tried once more when the process ends, and would be reported again.
        if not reports.key_refused:
            for logger in loggers:
                logger.removeHandler(reports)
                logger.propagate = True


@contextmanager
def native_stderr_silenced() -> Iterator[None]:
    """Drops what C libraries (ALSA, PortAudio) print to file descriptor 2; `sys.stderr` goes on working."""
    sys.stderr.flush()
    before, original = sys.stderr, os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  os.devnull is a name, not a path, on Windows
        os.dup2(nowhere.fileno(), 2)
    ours = os.fdopen(os.dup(original), "w", encoding=before.encoding, errors="backslashreplace", buffering=1)
    sys.stderr = ours
    try:
        yield
    finally:
        if sys.stderr is ours:
            sys.stderr = before
        ours.close()
        os.dup2(original, 2)
        os.close(original)

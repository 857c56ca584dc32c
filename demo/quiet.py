"""Keeps audio libraries from writing over the terminal."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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

"""What stays on disk is limited: by age and by bytes, the oldest first, never what somebody works on."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from langsmith_realtime.journal.file import NAMES, is_free
from langsmith_realtime.runtime.files import bytes_on_disk
from langsmith_realtime.runtime.guard import logger

#: Days and bytes, and the environment variables that say otherwise.
KEEP_DAYS, KEEP_BYTES = 30.0, 2_000_000_000
DAYS_VARIABLE, BYTES_VARIABLE = "LANGSMITH_REALTIME_KEEP_DAYS", "LANGSMITH_REALTIME_KEEP_BYTES"
#: A folder may be without its journal for so long while it is made, in seconds.
NEW_S = 60.0


@dataclass(frozen=True, slots=True)
class _Folder:
    path: Path
    modified: float  # seconds since the epoch
    size: int  # bytes on disk


def folders(directory: Path) -> list[Path]:
    """The conversations' folders, the oldest first: their names are ids that begin with their time."""
    try:
        found = [path for path in directory.iterdir() if _is_ours(path)]
    except OSError:
        return []
    return sorted(found)


def tidy(directory: Path, *, now: float | None = None) -> list[Path]:
    """Remove the folders that are older than the limit, and the oldest of those that take more than it allows.

    Args:
        directory: see :func:`~langsmith_realtime.journal.file.state_directory`.
        now: seconds since the epoch.

    Returns:
        The folders that are gone.
    """
    now = time.time() if now is None else now
    oldest = now - _limit(DAYS_VARIABLE, KEEP_DAYS) * 86_400
    allowed = _limit(BYTES_VARIABLE, KEEP_BYTES)
    known = sorted(_measured(directory), key=lambda folder: folder.modified)
    total = sum(folder.size for folder in known)
    removed = []
    for folder in known:
        if folder.modified >= oldest and total <= allowed:
            break
        if folder.modified > now - NEW_S or not is_free(folder.path) or not _holds_only_ours(folder.path):
            continue
        shutil.rmtree(folder.path, ignore_errors=True)
        total -= folder.size
        removed.append(folder.path)
        logger.warning("%s was removed: more, or for longer, is not kept", folder.path)
    return removed


def _measured(directory: Path) -> Iterator[_Folder]:
    for path in folders(directory):
        with suppress(OSError):  # completed, and gone, in the meantime
            found = [each.stat() for each in path.iterdir()] or [path.stat()]
            # Recordings are sparse: what counts is what they take.
            yield _Folder(path, max(each.st_mtime for each in found), sum(map(bytes_on_disk, found)))


def _is_ours(path: Path) -> bool:
    try:
        UUID(path.name)
    except ValueError:
        return False
    return path.is_dir() and not path.is_symlink()


def _holds_only_ours(folder: Path) -> bool:
    """Whether removing the folder takes nothing along that somebody else put there."""
    return all(path.name.startswith((*NAMES, f"{folder.name}.")) for path in folder.iterdir())


def _limit(variable: str, default: float) -> float:
    given = os.environ.get(variable)
    try:
        limit = default if given is None else float(given)
    except ValueError:
        limit = -1
    if not limit >= 0:
        logger.warning("%s is a number that is not negative, and not %r; %g is taken", variable, given, default)
        return default
    return limit

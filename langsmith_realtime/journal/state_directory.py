"""The state directory: where it is, which conversations' folders it has, and how long they stay."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from langsmith_realtime.journal.folder import NAMES, is_free
from langsmith_realtime.runtime.files import bytes_on_disk
from langsmith_realtime.runtime.guard import logger

#: How long folders stay, in days, and how much they may take together, in bytes, unless the variables say otherwise.
KEEP_DAYS, KEEP_BYTES = 30.0, 2_000_000_000
DAYS_VARIABLE, BYTES_VARIABLE = "LANGSMITH_REALTIME_KEEP_DAYS", "LANGSMITH_REALTIME_KEEP_BYTES"
#: Seconds in which a folder is new: its journal may not be locked yet.
NEW_S = 60.0


@dataclass(frozen=True, slots=True)
class _Folder:
    path: Path
    #: Seconds since the epoch.
    modified: float
    #: Bytes on disk.
    size: int


def state_directory() -> Path:
    """The folder of all journals: ``LANGSMITH_REALTIME_DIR``, or a folder of the platform for state.

    Raises:
        OSError: The home directory is unknown.
    """
    given = os.environ.get("LANGSMITH_REALTIME_DIR")
    try:
        if given:
            return Path(given).expanduser().absolute()
        if sys.platform == "darwin":
            base = Path.home() / "Library" / "Application Support"
        elif sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        else:
            configured = os.environ.get("XDG_STATE_HOME", "")
            # The XDG specification says to ignore relative paths.
            base = Path(configured) if configured.startswith("/") else Path.home() / ".local" / "state"
    except RuntimeError as error:  # the user has no home, or does not exist
        raise OSError(f"{error} Set LANGSMITH_REALTIME_DIR") from None
    return base / "langsmith-realtime"


def folders(directory: Path) -> list[Path]:
    """The conversations' folders in the state directory, the oldest first: run ids sort by time. Empty without one."""
    try:
        return sorted(path for path in directory.iterdir() if _is_conversation(path))
    except OSError:
        return []


def tidy(directory: Path, *, now: float | None = None) -> list[Path]:
    """Remove folders that are older than the limit, and the oldest ones while all together are larger than the limit.

    Folders that a process has locked, those changed within :data:`NEW_S` seconds, and those with other files in them
    stay.

    Args:
        directory: The state directory.
        now: Seconds since the epoch; by default the current time.

    Returns:
        The removed folders.
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
        logger.warning(
            "%s was removed: journals exceed the limits of %s and %s", folder.path, DAYS_VARIABLE, BYTES_VARIABLE
        )
    return removed


def _measured(directory: Path) -> Iterator[_Folder]:
    for path in folders(directory):
        with suppress(OSError):  # another process removed it in the meantime
            found = [each.stat() for each in path.iterdir()] or [path.stat()]
            yield _Folder(path, max(each.st_mtime for each in found), sum(map(bytes_on_disk, found)))


def _is_conversation(path: Path) -> bool:
    try:
        UUID(path.name)
    except ValueError:
        return False
    return path.is_dir() and not path.is_symlink()


def _holds_only_ours(folder: Path) -> bool:
    """Whether all files in the folder are a journal's or a recording's."""
    return all(path.name.startswith((*NAMES, f"{folder.name}.")) for path in folder.iterdir())


def _limit(variable: str, default: float) -> float:
    given = os.environ.get(variable)
    try:
        limit = default if given is None else float(given)
    except ValueError:
        limit = -1
    if not limit >= 0:
        logger.warning("%s must be a number ≥ 0, got %r; using %g", variable, given, default)
        return default
    return limit

"""Files, where operating systems differ: locks, access by position, symbolic links, and bytes on disk.

Windows lacks ``fcntl``, ``os.pread``, ``os.pwrite`` and ``O_NOFOLLOW``, opens files in text mode by default and refuses
to rename or remove an open file. File modes mean nothing there; other users cannot read a user's folders anyway.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

#: Flag of :func:`open_private`: raise where the path is a symbolic link; 0 on Windows, where making one takes a
#: privilege.
NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_BINARY: int = getattr(os, "O_BINARY", 0)

try:
    import fcntl
except ImportError:
    import msvcrt

    #: The byte whose lock stands for the file's. Windows lets no other open file read a locked byte, so it lies behind
    #: the end of any journal; the C runtime takes no position beyond 2 GiB. Libraries for locks take the first bytes,
    #: so each conversation would need a second open file that is only locked.
    _LOCKED_BYTE = 2**31 - 2

    def _lock(file: int) -> None:
        os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]

else:

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # type: ignore[attr-defined, unused-ignore]


def try_lock(file: int) -> bool:
    """Lock an open file that may be written; False where it is open elsewhere and locked there.

    The lock ends when the file is closed, or with the process, however that ends. A process that is forked must close
    its copy of the file, which keeps the parent's lock otherwise.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        _lock(file)
    except (BlockingIOError, PermissionError):
        return False
    return True


def open_private(path: str | Path, flags: int) -> int:
    """Open a file of bytes with ``os.open``'s flags; return its descriptor. A new file only its owner may read."""
    return os.open(path, flags | _BINARY, 0o600)


def create_private(path: str | Path) -> None:
    """Make an empty file that only its owner may read.

    Raises:
        FileExistsError: the path exists.
    """
    os.close(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def read_at(file: int, count: int, position: int) -> bytes:
    """Read at most ``count`` bytes from that position on; from one thread at a time."""
    pread = getattr(os, "pread", None)
    if pread is not None:
        found: bytes = pread(file, count, position)
        return found
    os.lseek(file, position, os.SEEK_SET)
    return os.read(file, count)


def write_at(file: int, data: bytes | memoryview, position: int) -> int:
    """Write at that position, from one thread at a time; returns how many bytes were written, which may be fewer."""
    pwrite = getattr(os, "pwrite", None)
    if pwrite is not None:
        written: int = pwrite(file, data, position)
        return written
    os.lseek(file, position, os.SEEK_SET)
    return os.write(file, data)


def bytes_on_disk(status: os.stat_result) -> int:
    """The bytes that a file takes on disk: less than its size where it is sparse; its size where nothing says so."""
    blocks = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else int(blocks) * 512


def retry_while_open(change: Callable[[], object], seconds: float = 0.2) -> None:
    """Call ``change``, which renames or removes a file, again while it raises PermissionError.

    Windows refuses the change while another process has the file open, usually for a moment.

    Raises:
        OSError: the change is impossible, or still refused after ``seconds``.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            change()
            return
        except PermissionError:
            if time.monotonic() > end:
                raise
        time.sleep(0.005)

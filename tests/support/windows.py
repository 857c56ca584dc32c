"""Makes a process on Linux meet what it would meet on Windows, as far as files and processes go.

Import it, in a process of its own, before anything else: the package must find out by itself what it can use.

- ``fcntl`` cannot be imported. ``msvcrt`` can; its locks are the kernel's, so they end with the process.
- ``os`` lacks ``fork``, ``register_at_fork``, ``pread``, ``pwrite`` and ``O_NOFOLLOW``.
- A file that this process has open can neither be renamed nor removed.
- No other open file may read or write a locked byte: one that a file has is refused.
- Files of the state directory must be opened in binary mode (``O_BINARY``).
"""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess  # noqa: F401 - it takes the platform for Windows once there is an msvcrt
import sys
import types
from pathlib import Path
from typing import Any

_fcntl: Any = fcntl
_flock, _exclusive = _fcntl.flock, _fcntl.LOCK_EX | _fcntl.LOCK_NB
_open, _rename, _replace, _unlink = os.open, os.rename, os.replace, os.unlink
#: A flag that no file is opened with on Linux.
_BINARY = 1 << 30
_STATE = os.environ["LANGSMITH_REALTIME_DIR"]


def _locking(file: int, mode: int, count: int) -> None:
    assert (mode, count) == (_NON_BLOCKING, 1)
    assert os.lseek(file, 0, os.SEEK_CUR) >= os.fstat(file).st_size, "a locked byte of the file cannot be read"
    try:
        _flock(file, _exclusive)
    except BlockingIOError:
        raise PermissionError(errno.EACCES, "Permission denied") from None


def _opened_in_binary_mode(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
    if str(path).startswith(_STATE):
        assert flags & _BINARY, f"{path} is opened in text mode"
    return _open(path, flags & ~_BINARY, *arguments, **named)


def _refuse_if_open(path: Any) -> None:
    wanted = os.path.realpath(path)
    for file in Path("/proc/self/fd").iterdir():
        try:
            is_open = str(file.readlink()) == wanted
        except OSError:
            continue
        if is_open:
            raise PermissionError(errno.EACCES, "The process cannot access the file because it is being used", path)


def _unlinked(path: Any, *arguments: Any, **named: Any) -> None:
    _refuse_if_open(path)
    _unlink(path, *arguments, **named)


def _renamed(path: Any, target: Any, *arguments: Any, **named: Any) -> None:
    _refuse_if_open(path)
    if os.path.exists(target):  # noqa: PTH110
        raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists", path)
    _rename(path, target, *arguments, **named)


def _replaced(path: Any, target: Any, *arguments: Any, **named: Any) -> None:
    _refuse_if_open(path)
    _refuse_if_open(target)
    _replace(path, target, *arguments, **named)


_NON_BLOCKING = 2
_msvcrt: Any = types.ModuleType("msvcrt")
_msvcrt.LK_NBLCK, _msvcrt.locking = _NON_BLOCKING, _locking
sys.modules["msvcrt"] = _msvcrt
sys.modules["fcntl"] = None  # type: ignore[assignment]  # importing it raises ImportError
for _name in ("fork", "register_at_fork", "pread", "pwrite", "O_NOFOLLOW"):
    delattr(os, _name)
_os: Any = os
_os.O_BINARY, _os.open = _BINARY, _opened_in_binary_mode
_os.unlink = _os.remove = _unlinked
_os.rename, _os.replace = _renamed, _replaced

"""Forks, limits and measurements of processes, for tests; Windows lacks them, and tests that need them are skipped."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if sys.platform != "win32":
    import resource
    import signal

#: For tests of file modes, of sparse files, and of signals that end a process.
unix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes, sparse files and signals")
#: Seconds after which a forked child is ended by a signal, which fails its test.
CHILD_ENDS_S = 60


def fork() -> int:
    """Returns 0 in the forked child, and the child's process id in the parent. A signal ends a child that hangs."""
    if sys.platform == "win32":
        pytest.skip("Windows cannot fork")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons warn about forks while threads run
            child = os.fork()
        if child == 0:
            signal.alarm(CHILD_ENDS_S)
        return child


def exit_code(child: int) -> int:
    """Waits for a forked child; returns its exit code, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Limits files to so many bytes inside the block; longer writes fail as on a full disk."""
    if sys.platform == "win32":
        pytest.skip("Windows does not limit the size of files")
    else:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def peak_memory() -> int:
    """Returns the process's peak memory: in kilobytes on Linux, in bytes on macOS."""
    if sys.platform == "win32":
        pytest.skip("Windows has no getrusage")
    else:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def open_files() -> int:
    """Returns the number of files that the process has open."""
    folder = Path("/dev/fd")
    if not folder.exists():
        pytest.skip("Windows does not list the files that a process has open")
    return len(list(folder.iterdir()))


def priority() -> int:
    """Returns the process's niceness."""
    if sys.platform == "win32":
        return 0
    else:  # noqa: RET505 - types of both platforms are checked
        return os.getpriority(os.PRIO_PROCESS, 0)


def set_priority(process: int, niceness: int) -> None:
    """Sets a process's niceness, except on Windows, which has none; process 0 is this one."""
    if sys.platform != "win32":
        os.setpriority(os.PRIO_PROCESS, process, niceness)

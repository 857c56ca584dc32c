"""What tests need of the operating system that Windows does not have: forks, limits and figures of a process."""

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
#: Seconds after which a forked child ends, so that one that waits for ever fails its test.
CHILD_ENDS_S = 30


def fork() -> int:
    """Fork: 0 in the child, which ends by itself after a while, and the child's id in the parent."""
    if sys.platform == "win32":
        pytest.skip("Windows cannot fork")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons warn of forks while threads run
            child = os.fork()
        if child == 0:
            signal.alarm(CHILD_ENDS_S)
        return child


def exit_code(child: int) -> int:
    """Wait for a forked child; 0 if it succeeded, the negative number of the signal if one ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Inside, the system refuses to make a file larger than so many bytes, as it does on a full disk."""
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
    """The most memory that this process has taken: kilobytes on Linux, bytes on macOS."""
    if sys.platform == "win32":
        pytest.skip("Windows has no getrusage")
    else:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def open_files() -> int:
    """How many files this process has open."""
    folder = Path("/dev/fd")
    if not folder.exists():
        pytest.skip("Windows does not list the files that a process has open")
    return len(list(folder.iterdir()))


def priority() -> int:
    """This process's niceness."""
    if sys.platform == "win32":
        return 0
    else:  # noqa: RET505 - types of both platforms are checked
        return os.getpriority(os.PRIO_PROCESS, 0)


def set_priority(process: int, niceness: int) -> None:
    """Give a process that niceness; 0 is this process. Windows has none."""
    if sys.platform != "win32":
        os.setpriority(os.PRIO_PROCESS, process, niceness)

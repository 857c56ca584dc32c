"""Hooks that run when the process forks: the only caller of ``os.register_at_fork``, which Windows does not have.

A forked child has copies of all locks and files, but only one thread. What another thread has half done stays half done
in the child for ever, so a fork waits for work of that kind.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

#: Seconds that a fork waits at most.
PATIENCE = 10.0

#: Held in the blocks that a fork waits for, and while the process forks.
_lock = threading.RLock()


def at_fork(
    *,
    before: Callable[[], object] | None = None,
    after_in_parent: Callable[[], object] | None = None,
    after_in_child: Callable[[], object] | None = None,
) -> None:
    """Register the hooks, for the rest of the process, where processes can fork.

    A hook that is registered while another one waits for a fork may run without its ``before``.
    """
    register = getattr(os, "register_at_fork", None)
    if register is None:
        return
    hooks = {"before": before, "after_in_parent": after_in_parent, "after_in_child": after_in_child}
    register(**{when: hook for when, hook in hooks.items() if hook is not None})


@contextmanager
def holding_forks() -> Iterator[None]:
    """Let a fork of the process by another thread wait until the block ends, at most :data:`PATIENCE` seconds.

    For opening locked files, and for imports on threads of the package: a child could never import a module that was
    half imported, because nobody there releases the module's lock.
    """
    with _lock:
        yield


def _wait() -> None:
    _lock.acquire(timeout=PATIENCE)


def _go_on() -> None:
    with suppress(RuntimeError):  # the block outlasted the wait
        _lock.release()


def _reset_in_child() -> None:
    global _lock  # noqa: PLW0603 - one per process, and a fork begins a process
    _lock = threading.RLock()


at_fork(before=_wait, after_in_parent=_go_on, after_in_child=_reset_in_child)

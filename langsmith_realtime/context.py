"""The run that traced work of the caller nests under: LangSmith's own context variable, and our pin.

LangSmith holds a context's parent by weak reference, so a run that nobody else keeps would vanish under
a task started while it was current. Our own variable keeps it as long as the captured context lives.
Context is never restored by token: a block may be left in another task than it was entered in.
"""

from __future__ import annotations

import weakref
from contextvars import ContextVar

from langsmith import run_helpers
from langsmith.run_helpers import get_current_run_tree
from langsmith.run_trees import RunTree

_PARENT: ContextVar[weakref.ref[RunTree] | None] = run_helpers._PARENT_RUN_TREE_REF  # noqa: SLF001
_PIN: ContextVar[RunTree | None] = ContextVar("langsmith_realtime_parent", default=None)

__all__ = ["get_current_run_tree", "pinned", "set_parent"]


def set_parent(run: RunTree | None) -> None:
    """Traced work in this context nests under ``run`` from now on."""
    _PIN.set(run)
    _PARENT.set(None if run is None else weakref.ref(run))


def pinned() -> RunTree | None:
    """The run that :func:`set_parent` set last in this context."""
    return _PIN.get()

"""The run that the caller's traced work nests under, kept in LangSmith's own context variable.

LangSmith's variable holds a weak reference to the current run. A run that nothing else holds would disappear under a
task that was started while the run was current. LangSmith only calls the value of the variable, so a
:class:`ParentReference` can take its place: it holds the run as long as any captured context lives, and can be pointed
at another run in all contexts that hold it.

The variable is never reset with a token, because a block may be left in another task than the one that entered it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol

from langsmith import run_helpers
from langsmith.run_helpers import get_current_run_tree
from langsmith.run_trees import RunTree

_PARENT: ContextVar[Any] = run_helpers._PARENT_RUN_TREE_REF  # noqa: SLF001

__all__ = ["ParentReference", "current_parent_reference", "get_current_run_tree", "set_parent", "set_parent_reference"]


class LazyRun(Protocol):
    """Something whose run tree is built when it is first asked for."""

    @property
    def run(self) -> RunTree: ...


class ParentReference:
    """A strong reference to a run, called like the weak reference that LangSmith uses."""

    __slots__ = ("parent",)

    def __init__(self, parent: RunTree | LazyRun) -> None:
        self.parent = parent

    def __call__(self) -> RunTree:
        parent = self.parent
        return parent if isinstance(parent, RunTree) else parent.run


def set_parent(run: RunTree | None) -> None:
    """Make ``run`` the parent of traced work in the current context; None for no parent."""
    _PARENT.set(None if run is None else ParentReference(run))


def set_parent_reference(reference: ParentReference) -> None:
    """Make the run of ``reference``, now and whenever it changes, the parent of traced work in the current context."""
    _PARENT.set(reference)


def current_parent_reference() -> ParentReference | None:
    """The context's :class:`ParentReference`; None if the variable has none, or LangSmith has set it since."""
    reference = _PARENT.get()
    return reference if type(reference) is ParentReference else None

"""The run that traced work of the caller nests under: LangSmith's own context variable, with a pin of ours in it.

LangSmith holds a context's parent by weak reference, so a run that nobody else keeps would vanish under a task
started while it was current. It only calls what its variable holds; ours keeps the run as long as a captured context
lives, and can be given another one in every context that has it.
Context is never restored by token: a block may be left in another task than it was entered in.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from langsmith import run_helpers
from langsmith.run_helpers import get_current_run_tree
from langsmith.run_trees import RunTree

_PARENT: ContextVar[Any] = run_helpers._PARENT_RUN_TREE_REF  # noqa: SLF001

__all__ = ["Pin", "current_pin", "get_current_run_tree", "set_parent", "set_pin"]


class Pin:
    """Stands for a run, as LangSmith's weak references do."""

    __slots__ = ("run",)

    def __init__(self, run: RunTree) -> None:
        self.run = run

    def __call__(self) -> RunTree:
        return self.run


def set_parent(run: RunTree | None) -> None:
    """Traced work in this context nests under ``run`` from now on."""
    _PARENT.set(None if run is None else Pin(run))


def set_pin(pin: Pin) -> None:
    """Traced work in this context nests under what the pin stands for."""
    _PARENT.set(pin)


def current_pin() -> Pin | None:
    """The pin in this context; None where there is none, or LangSmith has put something else there."""
    pin = _PARENT.get()
    return pin if type(pin) is Pin else None

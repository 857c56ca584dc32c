"""A session that is made by who works on it, not by who opens the conversation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

S = TypeVar("S")


class Late(Generic[S]):
    """Has the methods of what ``make`` makes, which it does with the first of them that is called.

    The methods are asked for in one thread and called in another, in which making it may take its time.
    """

    def __init__(self, make: Callable[[], S]) -> None:
        self._make = make
        self._made: S | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def work(*arguments: Any, **more: Any) -> Any:
            if self._made is None:
                self._made = self._make()
            return getattr(self._made, name)(*arguments, **more)

        work.__name__ = name
        return work

"""Taps on methods of single objects, which leave the classes of those objects alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Taps:
    """Attributes on instances that shadow the methods of their classes, and what they replaced."""

    def __init__(self) -> None:
        self._set: list[tuple[Any, str, Any, Any]] = []

    def set(self, target: Any, name: str, tap: Callable[..., Any]) -> bool:
        """Let ``tap`` take the calls of a method; its first argument is the method.

        Returns:
            Whether the method is tapped. It is not if there is none, or if ``target`` takes no attributes.
        """
        original = getattr(target, name, None)
        attributes = getattr(target, "__dict__", None)
        if original is None or attributes is None:
            return False

        def tapped(*arguments: Any, **keywords: Any) -> Any:
            return tap(original, *arguments, **keywords)

        self._set.append((attributes, name, tapped, attributes.get(name)))
        attributes[name] = tapped
        return True

    def remove(self) -> None:
        """Restore all methods, unless other code has replaced them since."""
        for attributes, name, tapped, before in reversed(self._set):
            if attributes.get(name) is tapped:
                del attributes[name]
                if before is not None:
                    attributes[name] = before
        self._set = []

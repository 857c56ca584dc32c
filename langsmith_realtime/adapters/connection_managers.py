"""Patches openai's connection managers, so that a connection of a traced client is traced where it is opened.

The classes are patched, because ``async with`` looks up the methods on the class. A manager whose client is not traced
works as before. The import hook imports this module, so it imports nothing of openai and langsmith itself.
"""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from langsmith_realtime.adapters.no_code.import_hook import automatic_options
from langsmith_realtime.runtime.guard import Guard

#: Attribute of a traced client with how its connections are traced.
SETTINGS = "_langsmith_realtime_settings"
#: Attribute of a manager with the trace of the connection in its block.
BLOCK = "_langsmith_realtime_block"


class _Process:
    """What holds for the whole process.

    Attributes:
        is_patched: whether the classes are patched.
    """

    is_patched = False


_lock = threading.Lock()


def patch(realtime: ModuleType) -> None:
    """Patch the connection managers in openai's realtime module, once."""
    with _lock:
        if _Process.is_patched:
            return
        _Process.is_patched = True
        for kind, entering, leaving, way in (
            (realtime.AsyncRealtimeConnectionManager, "__aenter__", "__aexit__", _AsyncWay),
            (realtime.RealtimeConnectionManager, "__enter__", "__exit__", _Way),
        ):
            # enter is the same function, but only a block tells where the connection's life ends.
            setattr(kind, entering, way.entering(getattr(kind, entering), in_block=True))
            kind.enter = way.entering(kind.enter, in_block=False)
            setattr(kind, leaving, way.leaving(getattr(kind, leaving)))


def arguments_of(manager: Any) -> dict[str, Any]:
    """The arguments of the ``connect`` that made a manager, without those that were left out."""
    return {
        name: value
        for name, value in _private(manager).items()
        if name not in _NO_ARGUMENTS and value is not None and type(value).__name__ not in ("Omit", "NotGiven")
    }


class _AsyncWay:
    @staticmethod
    def entering(original: Callable[[Any], Awaitable[Any]], *, in_block: bool) -> Callable[[Any], Awaitable[Any]]:
        @functools.wraps(original)
        async def enter(manager: Any) -> Any:
            opening = _opening(manager)
            if opening is None:
                return await original(manager)
            with opening.headers_on(manager):
                connection = await original(manager)
            opening.begin(connection, manager if in_block else None)
            return connection

        return enter

    @staticmethod
    def leaving(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(original)
        async def leave(manager: Any, kind: Any, error: Any, traceback: Any) -> Any:
            _leave_block(manager, kind, error, traceback)
            return await original(manager, kind, error, traceback)

        return leave


class _Way:
    @staticmethod
    def entering(original: Callable[[Any], Any], *, in_block: bool) -> Callable[[Any], Any]:
        @functools.wraps(original)
        def enter(manager: Any) -> Any:
            opening = _opening(manager)
            if opening is None:
                return original(manager)
            with opening.headers_on(manager):
                connection = original(manager)
            opening.begin(connection, manager if in_block else None)
            return connection

        return enter

    @staticmethod
    def leaving(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def leave(manager: Any, kind: Any, error: Any, traceback: Any) -> Any:
            _leave_block(manager, kind, error, traceback)
            return original(manager, kind, error, traceback)

        return leave


def _leave_block(manager: Any, kind: Any, error: Any, traceback: Any) -> None:
    tracing = vars(manager).pop(BLOCK, None)
    if tracing is None:
        return
    try:
        tracing.end(kind, error, traceback)
        tracing.restore_parent()
    except Exception as failure:
        Guard().report("leaving a connection", failure)


#: What a manager has beside the arguments of ``connect``.
_NO_ARGUMENTS = {"client", "connection", "send_queue", "event_handler_registry"}


def _private(manager: Any) -> dict[str, Any]:
    """The attributes of a manager that its class names with two underscores, without these."""
    names = (f"_{kind.__name__}__" for kind in type(manager).__mro__)
    prefixes = tuple(name for name in names if "RealtimeConnectionManager" in name)
    return {
        name.removeprefix(prefix): value
        for name, value in vars(manager).items()
        for prefix in prefixes
        if name.startswith(prefix)
    }


def _opening(manager: Any) -> Any:
    """How to trace the connection that a manager opens now; None if it is not traced."""
    try:
        settings = vars(_private(manager)["client"]).get(SETTINGS)
        if settings is None and automatic_options() is None:
            return None
        return importlib.import_module("langsmith_realtime.adapters.wrapped_client").opening_of(manager, settings)
    except Exception as error:
        Guard().report("entering a connection", error)
        return None

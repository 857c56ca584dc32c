"""Traces every realtime session of the Agents SDK in a process that is traced without code.

A session is traced from where it is entered to where it is closed, by ``wrap_realtime_session``. Both are methods that
the application calls on the session, so the class is patched.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import FrameType
from typing import Any

from langsmith_realtime.runtime.guard import logger

_MARK = "_langsmith_realtime_session"
#: Modules whose wrappers enter a session that they trace.
_WRAPPERS = ("langsmith_realtime.adapters.agents_sdk", "langsmith.integrations.openai_realtime")
#: Frames between a wrapper and the method that enters the session.
_DEPTH = 4


def patch(kind: Any) -> None:
    """Patch the class of the sessions."""
    entering, closing, leaving = kind.__aenter__, kind.close, kind.__aexit__

    @functools.wraps(entering)
    async def enter(session: Any) -> Any:
        tracing = None if _MARK in vars(session) or _is_wrapped() else _tracing_of(session)
        if tracing is None:
            return await entering(session)
        vars(session)[_MARK] = tracing
        try:
            return await tracing.__aenter__()
        except BaseException:
            vars(session).pop(_MARK, None)
            raise

    @functools.wraps(closing)
    async def close(session: Any) -> None:
        tracing = vars(session).pop(_MARK, None)
        await (closing(session) if tracing is None else tracing.__aexit__(None, None, None))

    @functools.wraps(leaving)
    async def leave(session: Any, kind: Any, error: Any, traceback: Any) -> Any:
        tracing = vars(session).pop(_MARK, None)
        if tracing is None:
            return await leaving(session, kind, error, traceback)
        return await tracing.__aexit__(kind, error, traceback)

    kind.__aenter__, kind.close, kind.__aexit__ = enter, close, leave


def _tracing_of(session: Any) -> Any:
    """The context manager that traces a session; None if there is none, which is logged."""
    try:
        return importlib.import_module(_WRAPPERS[0]).wrap_realtime_session(session)
    except Exception as error:
        logger.warning("this session of the Agents SDK is not traced: %s: %s", type(error).__name__, error)
        return None


def _is_wrapped() -> bool:
    """Whether a wrapper of the application's enters the session, which then is traced already."""
    caller: FrameType | None = sys._getframe(2)  # noqa: SLF001 - the caller of the patched method
    for _ in range(_DEPTH):
        if caller is None:
            return False
        if str(caller.f_globals.get("__name__")).startswith(_WRAPPERS):
            return True
        caller = caller.f_back
    return False

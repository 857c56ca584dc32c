"""Traces every realtime session of the Agents SDK in a process that is traced without code.

A session is traced from where it is entered to where it is closed, as ``wrap_realtime_session`` does it. Both are
methods that the application calls on the session, so the class is patched.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import FrameType
from typing import Any

from langsmith_realtime.runtime.guard import logger

#: Attribute of a session with its trace, from where it is entered to where it is closed.
TRACING = "_langsmith_realtime_session"
#: Attribute of a session that the application has a tracer listen to.
_LISTENED = "_langsmith_realtime"
#: Modules whose wrappers enter a session that they trace.
_WRAPPERS = ("langsmith_realtime.adapters.agents_sdk", "langsmith.integrations.openai_realtime")
#: Frames between a wrapper and the method that enters the session.
_DEPTH = 4


def patch(kind: Any) -> None:
    """Patch the class of the sessions."""
    entering, closing, leaving = kind.__aenter__, kind.close, kind.__aexit__

    @functools.wraps(entering)
    async def enter(session: Any) -> Any:
        is_traced = TRACING in vars(session) or _LISTENED in vars(session) or _is_wrapped()
        tracing = None if is_traced else _tracing_of(session)
        if tracing is None:
            return await entering(session)
        vars(session)[TRACING] = tracing
        try:
            return await tracing.__aenter__()
        except BaseException:
            vars(session).pop(TRACING, None)
            raise

    @functools.wraps(closing)
    async def close(session: Any) -> None:
        tracing = vars(session).pop(TRACING, None)
        await (closing(session) if tracing is None else tracing.__aexit__(None, None, None))

    @functools.wraps(leaving)
    async def leave(session: Any, kind: Any, error: Any, traceback: Any) -> Any:
        tracing = vars(session).pop(TRACING, None)
        if tracing is None:
            return await leaving(session, kind, error, traceback)
        return await tracing.__aexit__(kind, error, traceback)

    kind.__aenter__, kind.close, kind.__aexit__ = enter, close, leave


def _tracing_of(session: Any) -> Any:
    """The context manager that traces a session; None if there is none, which is logged."""
    try:
        return importlib.import_module(_WRAPPERS[0]).AutomaticTracing(session)
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

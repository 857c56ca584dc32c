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

from langsmith_realtime.adapters.no_code.import_hook import automatic_options
from langsmith_realtime.runtime.guard import logger

#: Attribute of a session with its trace, from where it is entered to where it is closed.
TRACING = "_langsmith_realtime_session"
#: Attribute of a session that the application has a tracer listen to.
_LISTENED = "_langsmith_realtime"
#: Attribute of the class that is patched.
_PATCHED = "_langsmith_realtime_patched"
#: Modules whose wrappers enter a session that they trace: this package's, and LangSmith's.
_WRAPPERS = ("langsmith_realtime.adapters.agents_sdk", "langsmith.integrations.openai_realtime")
#: Frames between a wrapper and the method that enters the session.
_DEPTH = 4


def patch(kind: Any) -> None:
    """Patch the class of the sessions, once."""
    if _PATCHED in vars(kind):
        return
    setattr(kind, _PATCHED, True)
    entering, closing, leaving = kind.__aenter__, kind.close, kind.__aexit__

    @functools.wraps(entering)
    async def enter(session: Any) -> Any:
        options = None if {TRACING, _LISTENED} & vars(session).keys() else automatic_options()
        tracing = None if options is None or _is_wrapped(options) else _tracing_of(session, options)
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


def _tracing_of(session: Any, options: dict[str, Any]) -> Any:
    """The context manager that traces a session; None if there is none, which is logged."""
    try:
        return importlib.import_module(_WRAPPERS[0]).AutomaticTracing(session, options)
    except Exception as error:
        logger.warning("this session of the Agents SDK is not traced: %s: %s", type(error).__name__, error)
        return None


def _is_wrapped(options: dict[str, Any]) -> bool:
    """Whether a wrapper of the application's enters the session, so that its trace would be a second one.

    LangSmith's own wrapper makes none in OpenTelemetry.
    """
    wrappers = _WRAPPERS if options.get("langsmith", True) else _WRAPPERS[:1]
    caller: FrameType | None = sys._getframe(2)  # noqa: SLF001 - the caller of the patched method
    for _ in range(_DEPTH):
        if caller is None:
            return False
        if str(caller.f_globals.get("__name__")).startswith(wrappers):
            return True
        caller = caller.f_back
    return False

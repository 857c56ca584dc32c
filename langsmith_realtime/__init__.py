"""Trace OpenAI Realtime voice conversations in LangSmith.

::

    from langsmith_realtime import wrap_realtime

    async with client.realtime.connect(model="gpt-realtime") as raw, wrap_realtime(raw) as connection:
        async for event in connection:
            ...
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langsmith_realtime.adapters.agents_sdk import wrap_realtime_session
    from langsmith_realtime.adapters.openai_client import wrap_realtime
    from langsmith_realtime.adapters.session_tracer import SessionTracer
    from langsmith_realtime.adapters.wrapped_client import wrap_openai_realtime
    from langsmith_realtime.cli.notebook import show
    from langsmith_realtime.core.protocol.prices import Price
    from langsmith_realtime.delivery.langsmith_client.headers import trace_headers
    from langsmith_realtime.live.process import flush
    from langsmith_realtime.options.keep import Keep
    from langsmith_realtime.options.otel import Otel
    from langsmith_realtime.options.recording import Recording
    from langsmith_realtime.trace.pii.redactor import pii
    from langsmith_realtime.trace.run_trees.root_run import __version__

__all__ = [
    "Keep",
    "Otel",
    "Price",
    "Recording",
    "SessionTracer",
    "__version__",
    "flush",
    "pii",
    "show",
    "trace_headers",
    "wrap_openai_realtime",
    "wrap_realtime",
    "wrap_realtime_session",
]

#: The module of each public name. A module is imported when one of its names is first used, so that the command's help
#: and the test server need neither langsmith nor openai.
_MODULES = {
    "Keep": "options.keep",
    "Otel": "options.otel",
    "Price": "core.protocol.prices",
    "Recording": "options.recording",
    "SessionTracer": "adapters.session_tracer",
    "__version__": "trace.run_trees.root_run",
    "flush": "live.process",
    "pii": "trace.pii.redactor",
    "show": "cli.notebook",
    "trace_headers": "delivery.langsmith_client.headers",
    "wrap_openai_realtime": "adapters.wrapped_client",
    "wrap_realtime": "adapters.openai_client",
    "wrap_realtime_session": "adapters.agents_sdk",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

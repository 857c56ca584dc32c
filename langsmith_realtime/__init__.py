"""Trace OpenAI Realtime voice conversations in LangSmith.

::

    from langsmith_realtime import wrap_realtime

    async with client.realtime.connect(model="gpt-realtime") as raw, wrap_realtime(raw) as connection:
        async for event in connection:
            ...
"""

from __future__ import annotations

from langsmith_realtime.adapters.openai_client import wrap_realtime
from langsmith_realtime.adapters.session_tracer import SessionTracer
from langsmith_realtime.core.protocol.prices import Price
from langsmith_realtime.live.process import flush
from langsmith_realtime.options.keep import Keep
from langsmith_realtime.options.recording import Recording
from langsmith_realtime.trace.run_trees.root_run import __version__

__all__ = ["Keep", "Price", "Recording", "SessionTracer", "__version__", "flush", "wrap_realtime"]

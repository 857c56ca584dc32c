"""Trace OpenAI Realtime voice conversations in LangSmith.

::

    from langsmith_realtime import wrap_realtime

    async with client.realtime.connect(model="gpt-realtime") as raw, wrap_realtime(raw) as connection:
        async for event in connection:
            ...
"""

from __future__ import annotations

from langsmith_realtime.audio.recording import Recording
from langsmith_realtime.keep import Keep
from langsmith_realtime.prices import Price
from langsmith_realtime.process import flush
from langsmith_realtime.tracer import SessionTracer
from langsmith_realtime.version import __version__
from langsmith_realtime.wrap import wrap_realtime

__all__ = ["Keep", "Price", "Recording", "SessionTracer", "__version__", "flush", "wrap_realtime"]

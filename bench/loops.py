"""The same conversation handled by the plain loop and by each way of tracing it, in a process of its own.

``python -m bench.loops WAY TURNS`` prints one JSON object; :mod:`bench` runs it for every way.
"""

from __future__ import annotations

import asyncio
import base64
import json
import resource
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, cast

from langsmith import run_trees
from langsmith.integrations.openai_realtime import wrap_realtime as langsmith_wrap
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.exceptions import ConnectionClosedOK
from websockets.frames import Close

from bench.conversation import Conversation, conversation
from langsmith_realtime import flush, wrap_realtime

Block = Callable[[AsyncRealtimeConnection], AbstractAsyncContextManager[Any]]

WAYS: dict[str, Block] = {
    "plain": nullcontext,
    "off": lambda raw: wrap_realtime(raw, enabled=False),
    "langsmith": langsmith_wrap,
    "ours": lambda raw: wrap_realtime(raw, enabled=True),
}


class MemorySocket:
    """A websocket whose frames are in memory, so that only the loop itself is measured."""

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = iter(frames)

    async def recv(self, decode: bool = False) -> bytes:  # noqa: ARG002 - websockets' own signature
        await asyncio.sleep(0)
        frame = next(self._frames, None)
        if frame is None:
            raise ConnectionClosedOK(Close(1000, ""), Close(1000, ""), rcvd_then_sent=True)
        return frame

    async def send(self, data: str) -> None:
        """Gone."""


class Stalls:
    """The longest time the event loop did not come round, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            self.longest = max(self.longest, now - before)
            before = now


async def talk(way: str, heard: Conversation) -> dict[str, float]:
    """One conversation; the CPU seconds of this thread, and the longest stall, from before the block to after it."""
    connection = AsyncRealtimeConnection(cast("Any", MemorySocket(heard.frames)))
    chunk = base64.b64decode(heard.chunk)
    feeds = way == "langsmith"  # it records only what it is fed
    stalls = Stalls()
    watching = asyncio.create_task(stalls.watch())
    began = time.thread_time()
    due = 0.0
    async with WAYS[way](connection) as traced:
        event: Any
        async for event in traced or connection:
            due += heard.chunks_per_frame
            while due >= 1:
                due -= 1
                await connection.input_audio_buffer.append(audio=heard.chunk)
                if feeds:
                    traced.record_user_audio(chunk)
            if event.type == "response.output_audio.delta":
                pcm = base64.b64decode(event.delta)  # every client decodes it, to play it
                if feeds:
                    traced.record_agent_audio(pcm)
    spent = time.thread_time() - began
    watching.cancel()
    return {"loop_cpu": spent, "stall": stalls.longest}


def measure(way: str, turns: int) -> dict[str, float]:
    """What one way costs."""
    heard = conversation(turns)
    run_trees.get_cached_client()  # made once a process; not what is measured
    asyncio.run(talk(way, conversation(1)))  # imports, first connection
    flush(60)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    result = asyncio.run(talk(way, heard))
    flush(120)
    run_trees.get_cached_client().flush()
    result["process_cpu"] = time.process_time() - began
    result["memory_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / (
        1024 if sys.platform != "darwin" else 1024**2
    )
    result["events"] = len(heard.frames)
    return result


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))

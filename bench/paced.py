"""Many conversations at once in one event loop, each at real speed, in a process of its own.

``python -m bench.paced WAY FILE COUNT`` says when it is ready, begins when it is told a line, and prints one JSON
object; :mod:`bench` runs it.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from langsmith import run_trees
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.exceptions import ConnectionClosedOK
from websockets.frames import Close

from bench.conversation import microphone, timed_frames, wire
from bench.loops import Stalls
from bench.memory import PeakMemory
from bench.ways import WAYS, flush_all

#: Of a server with many calls, which gathers a little more than a microphone does.
CHUNK_MS = 100


class PacedSocket:
    """A websocket whose frames arrive when they are due; tells how late they were taken."""

    def __init__(self, arriving: Iterator[tuple[float, bytes]], began: float) -> None:
        self._arriving = arriving
        self._began = began
        self.latest_by = 0.0

    async def recv(self, decode: bool = False) -> bytes:  # noqa: ARG002 - websockets' own signature
        at, frame = next(self._arriving, (0.0, None))
        if frame is None:
            raise ConnectionClosedOK(Close(1000, ""), Close(1000, ""), rcvd_then_sent=True)
        await asyncio.sleep(self._began + at - time.monotonic())
        self.latest_by = max(self.latest_by, time.monotonic() - self._began - at)
        return frame

    async def send(self, data: str) -> None:
        """Gone."""


async def converse(way: str, path: Path, began: float) -> tuple[int, float]:
    """One conversation; its events, and by how much the latest of them was late, in seconds."""
    await asyncio.sleep(began - time.monotonic())
    socket = PacedSocket(timed_frames(path), began)
    connection = AsyncRealtimeConnection(cast("Any", socket))
    chunk = microphone(CHUNK_MS)
    append = json.dumps({"type": "input_audio_buffer.append", "audio": wire(chunk)})
    events = 0
    async with WAYS[way](connection) as traced:
        feeds = traced if way == "langsmith" else None

        async def speak() -> None:
            for index in range(1, 1_000_000):
                await asyncio.sleep(began + index * CHUNK_MS / 1000 - time.monotonic())
                await connection.send_raw(append)
                if feeds is not None:
                    feeds.record_user_audio(chunk)

        speaking = asyncio.create_task(speak())
        observe = getattr(traced, "observe", None)
        event: Any
        async for event in traced if hasattr(traced, "__aiter__") else connection:
            events += 1
            if observe is not None:
                observe(event)
            if event.type == "response.output_audio.delta":
                pcm = base64.b64decode(event.delta)
                if feeds is not None:
                    feeds.record_agent_audio(pcm)
        speaking.cancel()
    return events, socket.latest_by


async def converse_all(way: str, path: Path, count: int) -> dict[str, float]:
    """So many conversations, begun one after another within a second."""
    stalls = Stalls()
    watching = asyncio.create_task(stalls.watch(0.001))
    await asyncio.sleep(0)
    cpu, began = time.thread_time(), time.monotonic()
    ended = await asyncio.gather(*(converse(way, path, began + index / count) for index in range(count)))
    result = {
        "loop_s": time.thread_time() - cpu,
        "wall_s": time.monotonic() - began,
        "events": sum(events for events, _ in ended),
        "late_ms": max(late for _, late in ended) * 1e3,
    }
    await asyncio.sleep(0.002)
    result["stall_ms"] = stalls.longest * 1e3
    watching.cancel()
    return result


def measure(way: str, path: Path, count: int) -> dict[str, float]:
    """What one way costs at real speed."""
    run_trees.get_cached_client()
    asyncio.run(converse_all(way, path.with_name("warm-up"), 1))
    flush_all()
    gc.collect()
    print("ready", flush=True)
    sys.stdin.readline()
    memory = PeakMemory()
    began = time.process_time()
    result = asyncio.run(converse_all(way, path, count))
    flush_all()
    result["process_s"] = time.process_time() - began
    result["memory_mb"] = memory.added_mb()
    return result


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))

"""Measures many conversations at once in one event loop, at real speed, in a subprocess.

``python -m bench.measuring.real_speed WAY FILE COUNT`` prints "ready", starts on a line from stdin, and prints one JSON
object. :mod:`bench` runs it.
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

from bench.conversation import base64_text, microphone_chunk, timed_frames
from bench.measuring.memory import PeakMemory
from bench.measuring.stalls import Stalls
from bench.ways import WAYS, flush_all

#: Milliseconds in one chunk of microphone audio, as a server with many calls sends them.
CHUNK_MS = 100


class RealSpeedSocket:
    """A websocket whose frames arrive when they are due. ``largest_delay_s`` is the largest delay of a read."""

    def __init__(self, arriving: Iterator[tuple[float, bytes]], began: float) -> None:
        self._arriving = arriving
        self._began = began
        self.largest_delay_s = 0.0

    async def recv(self, decode: bool = False) -> bytes:  # noqa: ARG002 - websockets' own signature
        at, frame = next(self._arriving, (0.0, None))
        if frame is None:
            raise ConnectionClosedOK(Close(1000, ""), Close(1000, ""), rcvd_then_sent=True)
        await asyncio.sleep(self._began + at - time.monotonic())
        self.largest_delay_s = max(self.largest_delay_s, time.monotonic() - self._began - at)
        return frame

    async def send(self, data: str) -> None:
        """Discards the data."""


async def run_conversation(way: str, path: Path, began: float) -> tuple[int, float]:
    """Runs one conversation. Returns its number of events and the largest delay of an event, in seconds."""
    await asyncio.sleep(began - time.monotonic())
    socket = RealSpeedSocket(timed_frames(path), began)
    connection = AsyncRealtimeConnection(cast("Any", socket))
    chunk = microphone_chunk(CHUNK_MS)
    append = json.dumps({"type": "input_audio_buffer.append", "audio": base64_text(chunk)})
    events = 0
    async with WAYS[way](connection) as traced:
        recorder = traced if way == "langsmith" else None  # it records only the audio that the application passes in

        async def send_microphone() -> None:
            for index in range(1, 1_000_000):
                await asyncio.sleep(began + index * CHUNK_MS / 1000 - time.monotonic())
                await connection.send_raw(append)
                if recorder is not None:
                    recorder.record_user_audio(chunk)

        sending = asyncio.create_task(send_microphone())
        observe = getattr(traced, "observe", None)
        event: Any
        async for event in traced if hasattr(traced, "__aiter__") else connection:
            events += 1
            if observe is not None:
                observe(event)
            if event.type == "response.output_audio.delta":
                pcm = base64.b64decode(event.delta)
                if recorder is not None:
                    recorder.record_agent_audio(pcm)
        sending.cancel()
    return events, socket.largest_delay_s


async def run_conversations(way: str, path: Path, count: int) -> dict[str, float]:
    """Runs `count` conversations at once, started one after another within a second.

    ``loop_s`` is CPU time of the loop's thread, ``wall_s`` the duration, ``late_ms`` the largest delay of an event.
    """
    stalls = Stalls()
    watching = asyncio.create_task(stalls.watch(0.001))
    await asyncio.sleep(0)
    cpu, began = time.thread_time(), time.monotonic()
    ended = await asyncio.gather(*(run_conversation(way, path, began + index / count) for index in range(count)))
    result = {
        "loop_s": time.thread_time() - cpu,
        "wall_s": time.monotonic() - began,
        "events": sum(events for events, _ in ended),
        "late_ms": max(delay_s for _, delay_s in ended) * 1e3,
    }
    await asyncio.sleep(0.002)
    result["stall_ms"] = stalls.longest * 1e3
    watching.cancel()
    return result


def measure(way: str, path: Path, count: int) -> dict[str, float]:
    """Measures one way, after a warm-up.

    To the result of `run_conversations` it adds ``process_s``, the CPU time of all threads, and ``memory_mb``.
    """
    run_trees.get_cached_client()
    asyncio.run(run_conversations(way, path.with_name("warm-up"), 1))
    flush_all()
    gc.collect()
    print("ready", flush=True)
    sys.stdin.readline()
    memory = PeakMemory()
    began = time.process_time()
    result = asyncio.run(run_conversations(way, path, count))
    flush_all()
    result["process_s"] = time.process_time() - began
    result["memory_mb"] = memory.added_mb()
    return result


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))

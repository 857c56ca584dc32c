"""One conversation, handled in one of the ways, in a process of its own.

Its time passes as it does when people talk, but is not waited for: the loop has no pause in which what goes on
beside it would not disturb it.

``python -m bench.loops WAY FILE`` prints one JSON object; :mod:`bench` runs it for every way.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from langsmith import run_trees
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from typing_extensions import Self
from websockets.exceptions import ConnectionClosedOK
from websockets.frames import Close

from bench.conversation import microphone, timed_frames, wire
from bench.memory import PeakMemory
from bench.ways import WAYS, flush_all

#: What openai's own microphone example sends at a time.
CHUNK_MS = 20


class ConversationTime:
    """``time.monotonic`` for everybody in the process, which goes on when it is told to as well."""

    def __init__(self) -> None:
        self._real = time.monotonic
        self._ahead = 0.0
        self._began = self._real()

    def __enter__(self) -> Self:
        time.monotonic = self._now
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        time.monotonic = self._real

    def _now(self) -> float:
        return self._real() + self._ahead

    @property
    def elapsed(self) -> float:
        return self._now() - self._began

    def go_on(self, seconds: float) -> None:
        self._ahead += seconds


class MemorySocket:
    """A websocket without a network, so that only the loop itself is measured; ``next_at`` is when a frame is due."""

    def __init__(self, arriving: Iterator[tuple[float, bytes]]) -> None:
        self._arriving = arriving
        self._next = next(arriving, None)

    @property
    def next_at(self) -> float:
        return 0.0 if self._next is None else self._next[0]

    async def recv(self, decode: bool = False) -> bytes:  # noqa: ARG002 - websockets' own signature
        await asyncio.sleep(0)
        if self._next is None:
            raise ConnectionClosedOK(Close(1000, ""), Close(1000, ""), rcvd_then_sent=True)
        _, frame = self._next
        self._next = next(self._arriving, None)
        return frame

    async def send(self, data: str) -> None:  # noqa: ARG002
        await asyncio.sleep(0)


class Stalls:
    """The longest time the event loop did not come round, in seconds.

    As far as this process worked in that time: what others take of the machine is not counted.
    """

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self, every: float = 0.0) -> None:
        before, worked = time.perf_counter(), time.process_time()
        while True:
            await asyncio.sleep(every)
            now, work = time.perf_counter(), time.process_time()
            self.longest = max(self.longest, min(now - before - every, work - worked))
            before, worked = now, work


async def talk(way: str, path: Path, passing: ConversationTime) -> dict[str, float]:
    """One conversation: this thread's CPU for each kind of work, and the longest stall, with opening and closing."""
    socket = MemorySocket(timed_frames(path))
    connection = AsyncRealtimeConnection(cast("Any", socket))
    chunk = microphone(CHUNK_MS)
    sent = wire(chunk)
    stalls = Stalls()
    watching = asyncio.create_task(stalls.watch())
    await asyncio.sleep(0)
    spent: Counter[str] = Counter()
    count: Counter[str] = Counter()
    clock = time.thread_time_ns
    began = before = clock()
    async with WAYS[way](connection) as traced:
        observe = getattr(traced, "observe", None)
        feeds = traced if way == "langsmith" else None  # it records only what it is fed
        event: Any
        async for event in traced if hasattr(traced, "__aiter__") else connection:
            kind = "delta" if event.type.endswith(".delta") else "other"
            if observe is not None:
                observe(event)
            if event.type == "response.output_audio.delta":
                pcm = base64.b64decode(event.delta)  # every client decodes it, to play it
                if feeds is not None:
                    feeds.record_agent_audio(pcm)
            now = clock()
            spent[kind] += now - before
            count[kind] += 1
            while passing.elapsed < socket.next_at:
                passing.go_on(CHUNK_MS / 1000)
                await connection.input_audio_buffer.append(audio=sent)
                if feeds is not None:
                    feeds.record_user_audio(chunk)
                count["append"] += 1
            before = clock()
            spent["append"] += before - now
    total = clock() - began
    await asyncio.sleep(0)  # so that closing counts
    watching.cancel()
    result = {f"{kind}_us": spent[kind] / count[kind] / 1e3 for kind in count}
    result.update({f"{kind}s": count[kind] for kind in count})
    return {**result, "loop_s": total / 1e9, "stall_ms": stalls.longest * 1e3}


def measure(way: str, path: Path) -> dict[str, float]:
    """What one way costs."""
    run_trees.get_cached_client()  # made once a process; not what is measured
    with ConversationTime() as passing:
        asyncio.run(talk(way, path.with_name("warm-up"), passing))  # imports, first connection
    flush_all()
    gc.collect()  # all begin alike
    memory = PeakMemory()
    began = time.process_time()
    with ConversationTime() as passing:
        result = asyncio.run(talk(way, path, passing))
    flush_all()
    result["process_s"] = time.process_time() - began
    result["memory_mb"] = memory.added_mb()
    return result


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))

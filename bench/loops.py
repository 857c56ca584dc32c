"""One conversation, handled in one of the ways, in a process of its own.

Its time passes as it does when people talk, but is not waited for. The loop works for ``BUSY`` of the time, as that of
a server with many conversations does; at 1 it has no pause in which what goes on beside it would not disturb it.

``python -m bench.loops WAY FILE BUSY`` says when it is ready, begins when it is told a line, and prints one JSON
object; :mod:`bench` runs it for every way.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import importlib
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
#: How long the loop works before it waits, in seconds.
WORK_S = 0.02
#: How often it is looked at while it may wait, in seconds.
WATCH_S = 0.001
#: When nobody asked what time it is for so long, in seconds, the process was stopped.
STOPPED_S = 0.15


class ConversationTime:
    """``time.monotonic`` for everybody in the process, which goes on when it is told to as well.

    Whoever tells it works for ``busy`` of the real time, and waits in between. The time in which the process is
    stopped, because it is another's turn, does not pass.
    """

    def __init__(self, busy: float) -> None:
        self._real = time.monotonic
        self.busy = busy
        self._ahead = 0.0
        self._began = self._resumed = self._asked = self._real()

    def __enter__(self) -> Self:
        time.monotonic = self._now
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        time.monotonic = self._real

    def _now(self) -> float:
        now = self._real()
        stopped = now - self._asked
        self._asked = now
        if stopped > STOPPED_S:
            self._ahead -= stopped
            self._resumed += stopped
        return now + self._ahead

    @property
    def elapsed(self) -> float:
        return self._now() - self._began

    async def until(self, seconds: float) -> None:
        """The conversation has lasted so long."""
        self._ahead += max(0.0, seconds - self.elapsed)
        worked = self._real() - self._resumed
        if self.busy < 1 and worked >= WORK_S:
            await asyncio.sleep(worked / self.busy - worked)
            self._resumed = self._real()


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
    """One conversation: this thread's CPU for each kind of work, and the longest stall, with opening and closing.

    What waiting costs is not counted: it is the same for all, and more than what is measured.
    """
    socket = MemorySocket(timed_frames(path))
    connection = AsyncRealtimeConnection(cast("Any", socket))
    chunk = microphone(CHUNK_MS)
    sent = wire(chunk)
    stalls = Stalls()
    watching = asyncio.create_task(stalls.watch(WATCH_S if passing.busy < 1 else 0.0))
    await asyncio.sleep(0)
    spent: Counter[str] = Counter()
    count: Counter[str] = Counter()
    clock = time.thread_time_ns
    before = clock()
    async with WAYS[way](connection) as traced:
        observe = getattr(traced, "observe", None)
        feeds = traced if way == "langsmith" else None  # it records only what it is fed
        now = clock()
        spent["open"], before = now - before, now
        spoken = passing.elapsed  # seconds: nobody records before there is a connection
        event: Any
        async for event in traced if hasattr(traced, "__aiter__") else connection:
            kind = "delta" if event.type.endswith(".delta") else "other"
            if observe is not None:
                observe(event)
            if event.type == "response.output_audio.delta":
                pcm = base64.b64decode(event.delta)  # every client decodes it, to play it
                if feeds is not None:
                    feeds.record_agent_audio(pcm)
            spent[kind] += clock() - before
            count[kind] += 1
            while passing.elapsed < socket.next_at:
                spoken += CHUNK_MS / 1000
                await passing.until(min(spoken, socket.next_at))
                before = clock()
                await connection.input_audio_buffer.append(audio=sent)
                if feeds is not None:
                    feeds.record_user_audio(chunk)
                spent["append"] += clock() - before
                count["append"] += 1
            before = clock()
    spent["close"] = clock() - before
    await asyncio.sleep(0 if passing.busy == 1 else 2 * WATCH_S)  # so that closing counts
    watching.cancel()
    result = {f"{kind}_us": spent[kind] / count[kind] / 1e3 for kind in count}
    result.update({f"{kind}s": count[kind] for kind in count})
    return {**result, "loop_s": sum(spent.values()) / 1e9, "stall_ms": stalls.longest * 1e3}


def measure(way: str, path: Path, busy: float) -> dict[str, float]:
    """What one way costs."""
    run_trees.get_cached_client()  # made once a process; not what is measured
    if way == "langsmith":
        importlib.import_module("langsmith.integrations.openai_realtime")  # it keeps the clock that it finds
    with ConversationTime(busy) as passing:
        asyncio.run(talk(way, path.with_name("warm-up"), passing))  # imports, first connection
    flush_all()
    gc.collect()  # all begin alike
    print("ready", flush=True)
    sys.stdin.readline()
    memory = PeakMemory()
    began, here = time.process_time(), time.thread_time()
    with ConversationTime(busy) as passing:
        result = asyncio.run(talk(way, path, passing))
    here = time.thread_time() - here
    flush_all()
    result["process_s"] = result["loop_s"] + time.process_time() - began - here  # the other threads
    result["memory_mb"] = memory.added_mb()
    return result


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))))

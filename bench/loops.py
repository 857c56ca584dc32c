"""One conversation, handled in one of the ways, beside the same one that is not traced; in a process of its own.

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
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, cast

from langsmith import run_trees
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.exceptions import ConnectionClosedOK
from websockets.frames import Close

from bench.conversation import microphone, timed_frames, wire
from bench.memory import PeakMemory
from bench.passing import ConversationTime, Relay
from bench.ways import WAYS, flush_all

#: What openai's own microphone example sends at a time.
CHUNK_MS = 20
#: How often it is looked at while it may wait, in seconds.
WATCH_S = 0.001
#: Seconds of the conversation after which it is the other's turn.
SLICE_S = 5.0
#: Who has which place in turn.
UNTRACED, TRACED = 0, 1


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
        self._begins = True

    def begin(self) -> None:
        """From now on; what the loop did not come round for so far was another's doing."""
        self._begins = True

    async def watch(self, every: float = 0.0) -> None:
        before, worked = time.perf_counter(), time.process_time()
        while True:
            await asyncio.sleep(every)
            now, work = time.perf_counter(), time.process_time()
            if not self._begins:
                self.longest = max(self.longest, min(now - before - every, work - worked))
            self._begins = False
            before, worked = now, work


@dataclass
class Talked:
    """What a conversation cost: this thread's CPU in ns for each kind of work, of every slice; and the rest of it.

    What waiting costs is not counted: it is the same for all, and more than what is measured.
    """

    slices: list[Counter[str]]
    count: Counter[str]
    open_close_ns: int
    stall_ms: float


async def talk(way: str, path: Path, passing: ConversationTime, relay: Relay, place: int) -> Talked:
    """One conversation, in slices."""
    with passing.held():
        await relay.first_turn(place)
    socket = MemorySocket(timed_frames(path))
    connection = AsyncRealtimeConnection(cast("Any", socket))
    chunk = microphone(CHUNK_MS)
    sent = wire(chunk)
    stalls = Stalls()
    every = WATCH_S if passing.busy < 1 else 0.0
    watching = asyncio.create_task(stalls.watch(every))
    await asyncio.sleep(0)
    spent: Counter[str] = Counter()
    slices = [spent]
    count: Counter[str] = Counter()
    clock = time.thread_time_ns
    before = clock()
    async with WAYS[way](connection) as traced:
        observe = getattr(traced, "observe", None)
        feeds = traced if way == "langsmith" else None  # it records only what it is fed
        now = clock()
        open_close, before = now - before, now
        spoken = passing.elapsed  # seconds: nobody records before there is a connection
        turn_ends = spoken + SLICE_S
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
            if passing.elapsed >= turn_ends:
                turn_ends += SLICE_S
                watching.cancel()
                with passing.held():
                    await relay.pass_on(place)
                spent = Counter()
                slices.append(spent)
                stalls.begin()
                watching = asyncio.create_task(stalls.watch(every))
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
    open_close += clock() - before
    await asyncio.sleep(0 if passing.busy == 1 else 2 * WATCH_S)  # so that closing counts
    watching.cancel()
    relay.leave(place)
    return Talked(slices, count, open_close, stalls.longest * 1e3)


async def both(way: str, path: Path, busy: float) -> dict[str, float]:
    """What is traced in that way, and what is not, each a slice at a time; the latter's numbers are ``plain_…``."""
    relay, beside = Relay(), ConversationTime(busy)
    asyncio.get_running_loop().time = time.monotonic  # type: ignore[method-assign]  # the real one
    with ConversationTime(busy) as passing:
        traced, plain = await asyncio.gather(
            talk(way, path, passing, relay, TRACED), talk("plain", path, beside, relay, UNTRACED)
        )
    result: dict[str, float] = {f"{kind}s": count for kind, count in traced.count.items()}
    result.update({f"plain_{kind}s": count for kind, count in plain.count.items()})
    result.update(stall_ms=traced.stall_ms, plain_stall_ms=plain.stall_ms)
    result["plain_loop_s"] = plain.open_close_ns / 1e9
    result["loop_s"] = traced.open_close_ns / 1e9
    for kind, count in plain.count.items():
        pairs = [(one[kind], other[kind]) for one, other in zip(plain.slices, traced.slices, strict=False)]
        each = _steady([one for one, _ in pairs]) * len(plain.slices)
        added = _steady([other - one for one, other in pairs]) * len(plain.slices)
        for key, spent in ((f"plain_{kind}", each), (kind, each + added)):
            result[f"{key}_us"] = spent / count / 1e3
            result[key.replace(kind, "loop_s")] += spent / 1e9
    return result


def _steady(values: list[int]) -> float:
    """The mean of the middle half: what else the machine does comes in bursts."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    return mean(ordered[cut : len(ordered) - cut])


def measure(way: str, path: Path, busy: float) -> dict[str, float]:
    """What one way costs."""
    run_trees.get_cached_client()  # made once a process; not what is measured
    if way == "langsmith":
        importlib.import_module("langsmith.integrations.openai_realtime")  # it keeps the clock that it finds
    asyncio.run(both(way, path.with_name("warm-up"), busy))  # imports, first connection
    flush_all()
    gc.collect()  # all begin alike
    print("ready", flush=True)
    sys.stdin.readline()
    memory = PeakMemory()
    began, here = time.process_time(), time.thread_time()
    result = asyncio.run(both(way, path, busy))
    here = time.thread_time() - here
    flush_all()
    result["background_s"] = time.process_time() - began - here
    result["memory_mb"] = memory.added_mb()
    return result


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))))

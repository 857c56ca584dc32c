"""Measures one way to trace a conversation, interleaved with the same conversation untraced, in a subprocess.

Both conversations run on simulated time. Their event loop is busy for a share ``BUSY`` of real time, as in a server
with many conversations; at 1 it never pauses, so the background threads have to compete with it.

``python -m bench.measuring.interleaved WAY FILE BUSY`` prints "ready", starts on a line from stdin, and prints one JSON
object. :mod:`bench` runs it for each way.
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

from bench.conversation import base64_text, microphone_chunk, timed_frames
from bench.measuring.memory import PeakMemory
from bench.measuring.simulated_time import Alternation, SimulatedTime
from bench.measuring.stalls import Stalls
from bench.ways import WAYS, flush_all

#: Milliseconds in one chunk of microphone audio, as in openai's own microphone example.
CHUNK_MS = 20
#: How often the loop is expected to iterate while it pauses, in seconds.
WATCH_S = 0.001
#: Simulated seconds of a conversation's turn in the alternation.
SLICE_S = 5.0
#: The conversations' numbers in the alternation.
UNTRACED, TRACED = 0, 1


class MemorySocket:
    """A websocket without a network, so that only the loop is measured. ``next_at`` is when the next frame is due."""

    def __init__(self, arriving: Iterator[tuple[float, bytes]]) -> None:
        self._arriving = arriving
        self._next = next(arriving, None)

    @property
    def next_at(self) -> float:
        """Seconds of conversation at which the next frame is due; 0 after the last one."""
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


@dataclass
class Cost:
    """The cost of one conversation: CPU time of the event loop's thread, and the longest stall of the loop.

    ``slices`` is the CPU time in ns for each kind of work (``delta``, ``other``, ``append``), one counter for each
    slice. ``count`` is how often each kind of work was done. CPU time spent on waiting is left out: it is equal for all
    ways, and exceeds the cost of tracing.
    """

    slices: list[Counter[str]]
    count: Counter[str]
    open_close_ns: int
    stall_ms: float


async def run_conversation(way: str, path: Path, clock: SimulatedTime, alternation: Alternation, number: int) -> Cost:
    """Runs one conversation in slices, traced in the given way. `path` is its file of frames."""
    with clock.paused():
        await alternation.wait_for_first_turn(number)
    socket = MemorySocket(timed_frames(path))
    connection = AsyncRealtimeConnection(cast("Any", socket))
    chunk = microphone_chunk(CHUNK_MS)
    chunk_text = base64_text(chunk)
    stalls = Stalls()
    every = WATCH_S if clock.busy < 1 else 0.0
    watching = asyncio.create_task(stalls.watch(every))
    await asyncio.sleep(0)
    spent: Counter[str] = Counter()
    slices = [spent]
    count: Counter[str] = Counter()
    cpu_ns = time.thread_time_ns
    before = cpu_ns()
    async with WAYS[way](connection) as traced:
        observe = getattr(traced, "observe", None)
        recorder = traced if way == "langsmith" else None  # it records only the audio that the application passes in
        now = cpu_ns()
        open_close, before = now - before, now
        captured_s = clock.elapsed  # capturing begins when the connection is open
        slice_ends = captured_s + SLICE_S
        event: Any
        async for event in traced if hasattr(traced, "__aiter__") else connection:
            kind = "delta" if event.type.endswith(".delta") else "other"
            if observe is not None:
                observe(event)
            if event.type == "response.output_audio.delta":
                pcm = base64.b64decode(event.delta)  # as every application does, to play the audio
                if recorder is not None:
                    recorder.record_agent_audio(pcm)
            spent[kind] += cpu_ns() - before
            count[kind] += 1
            if clock.elapsed >= slice_ends:
                slice_ends += SLICE_S
                watching.cancel()
                with clock.paused():
                    await alternation.hand_over(number)
                spent = Counter()
                slices.append(spent)
                stalls.skip()
                watching = asyncio.create_task(stalls.watch(every))
            while clock.elapsed < socket.next_at:
                captured_s += CHUNK_MS / 1000
                await clock.advance_to(min(captured_s, socket.next_at))
                before = cpu_ns()
                await connection.input_audio_buffer.append(audio=chunk_text)
                if recorder is not None:
                    recorder.record_user_audio(chunk)
                spent["append"] += cpu_ns() - before
                count["append"] += 1
            before = cpu_ns()
    open_close += cpu_ns() - before
    await asyncio.sleep(0 if clock.busy == 1 else 2 * WATCH_S)  # so that a stall at closing is seen
    watching.cancel()
    alternation.finish(number)
    return Cost(slices, count, open_close, stalls.longest * 1e3)


async def run_pair(way: str, path: Path, busy: float) -> dict[str, float]:
    """Runs the conversation traced and untraced, interleaved. Keys of the untraced conversation start with ``plain_``.

    ``…_us`` is CPU time in µs for one delta, other event or chunk; ``loop_s`` is all CPU time of the loop's thread.
    """
    alternation, untraced_clock = Alternation(), SimulatedTime(busy)
    asyncio.get_running_loop().time = time.monotonic  # type: ignore[method-assign]  # the real one
    with SimulatedTime(busy) as clock:
        traced, plain = await asyncio.gather(
            run_conversation(way, path, clock, alternation, TRACED),
            run_conversation("plain", path, untraced_clock, alternation, UNTRACED),
        )
    result: dict[str, float] = {f"{kind}s": count for kind, count in traced.count.items()}
    result.update({f"plain_{kind}s": count for kind, count in plain.count.items()})
    result.update(stall_ms=traced.stall_ms, plain_stall_ms=plain.stall_ms)
    result["plain_loop_s"] = plain.open_close_ns / 1e9
    result["loop_s"] = traced.open_close_ns / 1e9
    for kind, count in plain.count.items():
        pairs = [(one[kind], other[kind]) for one, other in zip(plain.slices, traced.slices, strict=False)]
        untraced_ns = _interquartile_mean([one for one, _ in pairs]) * len(plain.slices)
        added_ns = _interquartile_mean([other - one for one, other in pairs]) * len(plain.slices)
        for key, spent in ((f"plain_{kind}", untraced_ns), (kind, untraced_ns + added_ns)):
            result[f"{key}_us"] = spent / count / 1e3
            result[key.replace(kind, "loop_s")] += spent / 1e9
    return result


def _interquartile_mean(values: list[int]) -> float:
    """Returns the mean of the middle half, because other work of the machine comes in bursts."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    return mean(ordered[cut : len(ordered) - cut])


def measure(way: str, path: Path, busy: float) -> dict[str, float]:
    """Measures one way, after a warm-up.

    To the result of `run_pair` it adds ``background_s``, the CPU time of the other threads, and ``memory_mb``.
    """
    run_trees.get_cached_client()  # created once for each process, so its cost is left out
    if way == "langsmith":
        importlib.import_module("langsmith.integrations.openai_realtime")  # it binds time.monotonic when imported
    asyncio.run(run_pair(way, path.with_name("warm-up"), busy))  # imports, first connection
    flush_all()
    gc.collect()  # so that every way starts without garbage
    print("ready", flush=True)
    sys.stdin.readline()
    memory = PeakMemory()
    process_before, thread_before = time.process_time(), time.thread_time()
    result = asyncio.run(run_pair(way, path, busy))
    thread_s = time.thread_time() - thread_before
    flush_all()
    result["background_s"] = time.process_time() - process_before - thread_s
    result["memory_mb"] = memory.added_mb()
    return result


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))))

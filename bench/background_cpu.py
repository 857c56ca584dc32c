"""Measures the CPU time of tracing's background threads while the caller's thread does nothing.

``python -m bench.background_cpu`` holds the worker back during a conversation, and then lets it work alone. It prints
the CPU time of each thread, which is the least that tracing can cost. It needs Linux, where the CPU time of another
thread can be read.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from langsmith import run_trees

from bench import conversation
from bench.measuring.counting_collector import CountingCollector
from bench.measuring.interleaved import TRACED, run_conversation
from bench.measuring.simulated_time import Alternation, SimulatedTime
from bench.ways import flush_all
from langsmith_realtime.core.protocol.inputs import Opened
from langsmith_realtime.live.process import process

#: The name of each background thread, and the name that is printed.
THREADS = {
    "langsmith-realtime": "worker",
    "langsmith-realtime-sender": "sender",
    "langsmith-realtime-encoder": "encoder",
}


def measure(folder: Path, turns: int, rounds: int = 1) -> dict[str, float]:
    """Returns CPU seconds by thread, of the round that took least, after one round to warm up.

    It sets LangSmith's environment variables of the process.
    """
    conversation.write_frames(folder / "conversation", turns)
    with CountingCollector() as collector:
        os.environ.update(
            LANGSMITH_ENDPOINT=collector.url,
            LANGSMITH_API_KEY="local",
            LANGSMITH_TRACING="true",
            LANGSMITH_REALTIME_DIR=str(folder / "journals"),
        )
        run_trees.get_cached_client()
        _run_round(folder / "conversation")
        return min((_run_round(folder / "conversation") for _ in range(rounds)), key=lambda cpu: sum(cpu.values()))


def _run_round(path: Path) -> dict[str, float]:
    may_work = threading.Event()

    def wait(*_: object) -> None:
        may_work.wait()

    # Blocks the worker, so that the conversation's inputs wait behind it
    process().worker.open_queue(wait).put_always(Opened())
    with SimulatedTime(1) as clock:
        asyncio.run(_run_traced(path, clock))
    before = _cpu_s()
    may_work.set()
    flush_all()
    return {name: seconds - before.get(name, 0.0) for name, seconds in _cpu_s().items()}


async def _run_traced(path: Path, clock: SimulatedTime) -> None:
    asyncio.get_running_loop().time = time.monotonic  # type: ignore[method-assign]
    alternation = Alternation()
    alternation.finish(1 - TRACED)  # there is no untraced conversation
    await run_conversation("ours", path, clock, alternation, TRACED)


def _cpu_s() -> dict[str, float]:
    """Returns the CPU seconds of each background thread that is alive, since its start."""
    spent: dict[str, float] = {}
    for thread in threading.enumerate():
        # Elsewhere a thread cannot read another thread's clock.
        if sys.platform == "linux" and thread.name in THREADS and thread.ident is not None:
            spent[THREADS[thread.name]] = time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.background_cpu", description=__doc__)
    parser.add_argument("--turns", type=int, default=40, help="spoken turns of 5 s each (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the fastest counts (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        spent = measure(Path(folder), options.turns, options.rounds)
    for name, seconds in spent.items():
        print(f"{name:8} {seconds:.3f} s")
    print(f"{'total':8} {sum(spent.values()):.3f} s of CPU for {options.turns} turns")


if __name__ == "__main__":
    main()

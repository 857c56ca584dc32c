"""What tracing does in its own threads, with nobody beside them: the least that it can cost.

``python -m bench.alone`` has a conversation wait for the worker as a whole, in the way of ``make bench``, and then lets
it work while the caller's loop does nothing. It prints the CPU that each thread took. On Linux: elsewhere nobody tells
what a thread took.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import threading
import time
from pathlib import Path

from langsmith import run_trees

from bench import conversation
from bench.collecting import Counting
from bench.loops import TRACED, talk
from bench.passing import ConversationTime, Relay
from bench.ways import flush_all
from langsmith_realtime.live.process import process
from langsmith_realtime.runtime.guard import Guard

#: Names of our threads, as they are printed.
THREADS = {
    "langsmith-realtime": "worker",
    "langsmith-realtime-sender": "sender",
    "langsmith-realtime-encoder": "encoder",
}


def measured(folder: Path, turns: int, rounds: int = 1) -> dict[str, float]:
    """Seconds of CPU by thread: of so many rounds after one to warm up, the one that took least.

    It changes LangSmith's settings of the process.
    """
    conversation.make(folder / "talk", turns)
    with Counting() as counting:
        os.environ.update(
            LANGSMITH_ENDPOINT=counting.url,
            LANGSMITH_API_KEY="local",
            LANGSMITH_TRACING="true",
            LANGSMITH_REALTIME_DIR=str(folder / "journals"),
        )
        run_trees.get_cached_client()
        _round(folder / "talk")
        return min((_round(folder / "talk") for _ in range(rounds)), key=lambda spent: sum(spent.values()))


def _round(path: Path) -> dict[str, float]:
    goes_on = threading.Event()

    def wait() -> None:
        goes_on.wait()

    process().worker.open_queue(Guard()).put_always(wait)  # for all that comes now
    with ConversationTime(1) as passing:
        asyncio.run(_talk(path, passing))
    before = _cpu()
    goes_on.set()
    flush_all()
    return {name: seconds - before.get(name, 0.0) for name, seconds in _cpu().items()}


async def _talk(path: Path, passing: ConversationTime) -> None:
    asyncio.get_running_loop().time = time.monotonic  # type: ignore[method-assign]
    relay = Relay()
    relay.leave(1 - TRACED)  # nobody talks beside it
    await talk("ours", path, passing, relay, TRACED)


def _cpu() -> dict[str, float]:
    """Seconds that our threads took so far; of those that are there."""
    spent = {}
    for thread in threading.enumerate():
        if thread.name in THREADS and thread.ident is not None:
            spent[THREADS[thread.name]] = time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.alone", description=__doc__)
    parser.add_argument("--turns", type=int, default=40, help="spoken turns of 5 s each (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the best counts (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        spent = measured(Path(folder), options.turns, options.rounds)
    for name, seconds in spent.items():
        print(f"{name:8} {seconds:.3f} s")
    print(f"{'in all':8} {sum(spent.values()):.3f} s of CPU for {options.turns} turns, with nobody beside")


if __name__ == "__main__":
    main()

"""Many conversations for a long time in one process, which afterwards has what it had before, and no more.

``python -m bench.soak`` holds 200 of them at once for 10 minutes at real speed, a fifth as tasks of one event loop
through ``wrap_realtime``, whose reading of events costs more than all else here, and the others through
``SessionTracer`` in a few threads, all with sound in both directions. Exits with 1 when something is left of them, or
was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import os
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path

from bench.collecting import Counting
from bench.conversation import TURN_S, make, microphone, timed_frames, wire
from bench.paced import CHUNK_MS, converse
from langsmith_realtime import SessionTracer, flush

PACKAGE = "langsmith_realtime"
#: Servers that may be in this process, too.
BESIDE = (f"{PACKAGE}.collector", f"{PACKAGE}.testing")
#: What libraries may keep for the next time, in MB, and in Python's own pieces of memory.
KEPT_MB, KEPT_BLOCKS = 16.0, 100_000
#: What a cache of ours may hold, in kB.
KEPT_KB = 64.0
#: Threads that hold conversations; one more does in an event loop.
THREADS = 4
#: How long threads that have nothing to do may wait for more before they end, in seconds.
IDLE_S = 60.0
#: Of a warm-up: as many as long conversations need to have begun all that they ever do, a minute's.
WARM_UP_TURNS = 12


@dataclass(frozen=True)
class Talked:
    """How many events conversations had, and by how much the latest was late, in seconds."""

    events: int
    late_s: float


@dataclass(frozen=True)
class Footprint:
    """What a process has: memory that is in use in MB, threads, open files, objects of our classes by name.

    ``allocated_kb`` is what our modules have allocated; 0 unless :mod:`tracemalloc` traces. ``blocks`` is how many
    small pieces of memory Python uses; it keeps what many of them took for later, which is no memory in use.
    """

    memory_mb: float
    allocated_kb: float
    threads: int
    files: int
    objects: Counter[str]
    blocks: int = 0

    @classmethod
    def now(cls) -> Footprint:
        gc.collect()
        _give_back()
        objects: Counter[str] = Counter()
        for each in gc.get_objects():
            module, name = str(type(each).__module__), type(each).__qualname__
            if module.startswith(PACKAGE) and not module.startswith(BESIDE):
                objects[name] += 1
        threads, files = threading.active_count(), open_files()
        return cls(in_use_mb(), _allocated_kb(), threads, files, objects, sys.getallocatedblocks())

    def grown_to(self, later: Footprint) -> list[str]:
        """What there is more of, in words."""
        more = [f"{count} {name}" for name, count in (later.objects - self.objects).items()]
        if later.threads > self.threads:
            more.append(f"{later.threads - self.threads} threads")
        if later.files > self.files:
            more.append(f"{later.files - self.files} open files")
        if later.memory_mb > self.memory_mb + KEPT_MB:
            more.append(f"{later.memory_mb - self.memory_mb:.0f} MB")
        if later.blocks > self.blocks + KEPT_BLOCKS:
            more.append(f"{later.blocks - self.blocks} blocks of memory")
        if later.allocated_kb > self.allocated_kb + KEPT_KB:
            more.append(f"{later.allocated_kb - self.allocated_kb:.0f} kB in our modules")
        return more


def memory_mb() -> float:
    """What of the process is in memory now; 0 where that is not known."""
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text("utf-8").split()[1]) if statm.exists() else 0
    if sys.platform == "win32":
        return 0.0
    else:  # noqa: RET505 - types of both platforms are checked
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class _Malloc(ctypes.Structure):
    """What ``mallinfo2`` of glibc tells."""

    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in _names]


def in_use_mb() -> float:
    """What the C library's callers use of the memory; what the process has of it, where that is not known."""
    asked = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if asked is None:
        return memory_mb()
    asked.restype = _Malloc
    told = asked()
    return float(told.uordblks + told.hblkhd) / 1e6


def _give_back() -> None:
    """Have the C library return what is free, which glibc keeps for later: what is left then is in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def _allocated_kb() -> float:
    if not tracemalloc.is_tracing():
        return 0.0
    patterns = {f"*/{PACKAGE}/*": True, **{f"*/{name.replace('.', '/')}/*": False for name in BESIDE}}
    filters = [tracemalloc.Filter(inclusive, pattern) for pattern, inclusive in patterns.items()]
    snapshot = tracemalloc.take_snapshot().filter_traces(filters)
    return sum(trace.size for trace in snapshot.traces) / 1e3


def talk(path: Path, began: float) -> Iterator[float]:
    """One conversation over a socket of one's own; yields when it goes on."""
    chunk_s = CHUNK_MS / 1000
    append = json.dumps({"type": "input_audio_buffer.append", "audio": wire(microphone(CHUNK_MS))})
    next_chunk = chunk_s
    with SessionTracer(enabled=True) as tracer:
        for at, frame in timed_frames(path):
            while next_chunk < at:
                yield began + next_chunk
                tracer.client_event(append)
                next_chunk += chunk_s
            yield began + at
            tracer.server_event(frame)


def talk_all(path: Path, starts: list[float]) -> Talked:
    """Those that begin then, one thread's."""
    talking = [talk(path, start) for start in starts]
    contexts = [copy_context() for _ in starts]  # or they would nest in one another
    due = [(start, index) for index, start in enumerate(starts)]
    late = 0.0
    while due:
        moment, index = heappop(due)
        _until(moment)
        late = max(late, time.monotonic() - moment)
        following = contexts[index].run(next, talking[index], None)
        if following is not None:
            heappush(due, (following, index))
    return Talked(len(starts) * sum(1 for _ in timed_frames(path)), late)


def _until(moment: float) -> None:
    left = moment - time.monotonic()
    if left > 0:  # who is late does not wait in line for having slept
        time.sleep(left)


async def _converse_all(path: Path, starts: list[float]) -> Talked:
    """As many conversations through ``wrap_realtime``, in this event loop."""
    ended = await asyncio.gather(*(converse("ours", path, start) for start in starts))
    return Talked(sum(events for events, _ in ended), max((late for _, late in ended), default=0.0))


def hold(path: Path, conversations: int) -> Talked:
    """Have that conversation so many times at once, begun within a second, and delivered.

    Raises:
        RuntimeError: not everything was delivered.
    """
    began = time.monotonic()
    starts = [began + index / conversations for index in range(conversations)]
    with ThreadPoolExecutor(THREADS) as pool:
        in_threads = [pool.submit(talk_all, path, starts[first :: THREADS + 1]) for first in range(THREADS)]
        talked = [asyncio.run(_converse_all(path, starts[THREADS :: THREADS + 1]))]
        talked += [each.result() for each in in_threads]
    if not flush(600):
        raise RuntimeError("not everything was delivered")
    return Talked(sum(each.events for each in talked), max(each.late_s for each in talked))


def soak(folder: Path, conversations: int, turns: int) -> tuple[Footprint, Footprint, Talked]:
    """What the process has before and after so many conversations of that many turns."""
    warm_up, path = folder / "warm-up", folder / "conversation"
    make(warm_up, min(turns, WARM_UP_TURNS))
    make(path, turns)
    hold(warm_up, conversations)  # imports, caches, connections
    before = Footprint.now()
    talked = hold(path, conversations)
    until = time.monotonic() + IDLE_S
    while threading.active_count() > before.threads and time.monotonic() < until:
        time.sleep(0.1)
    return before, Footprint.now(), talked


@contextmanager
def _watched(every_s: float) -> Iterator[None]:
    """Print now and then what the process has."""
    ended, began = threading.Event(), time.monotonic()

    def watch() -> None:
        while not ended.wait(every_s):
            passed = time.monotonic() - began
            print(f"{passed:6.0f} s {memory_mb():7.0f} MB {threading.active_count():5} threads {open_files():5} files")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--conversations", type=int, default=200, help="at once (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=10.0, help="each of them (default: %(default)s)")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two looks (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    turns = max(1, round(chosen.minutes * 60 / TURN_S))
    with tempfile.TemporaryDirectory(prefix="soak-") as name, Counting() as collector:
        os.environ.update(
            LANGSMITH_ENDPOINT=collector.url, LANGSMITH_API_KEY="soak", LANGSMITH_REALTIME_DIR=f"{name}/state"
        )
        with _watched(chosen.every):
            before, after, talked = soak(Path(name), chosen.conversations, turns)
        sent = collector.counted()
        left = [path for path in Path(name, "state").rglob("*") if path.is_file()]
    for said, has in (("before", before), ("after", after)):
        used = f"{has.memory_mb:7.1f} MB {has.blocks} blocks in use"
        print(f"{said:>8} {used} {has.threads:5} threads {has.files:5} files")
    print(f"the latest event was {talked.late_s:.1f} s late")
    print(f"{talked.events} events, {sent['operations']:.0f} operations in {sent['requests']:.0f} requests")
    more = before.grown_to(after)
    if left:
        more.append(f"{len(left)} files on disk")
    if sent["refused"]:
        more.append(f"{sent['refused']:.0f} requests refused")
    print("left of them: " + (", ".join(more) or "nothing"))
    return 1 if more else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

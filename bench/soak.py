"""Holds many conversations at once in one process, and reports resources that the process did not release.

``python -m bench.soak`` holds 200 conversations at once for 10 minutes at real speed, with audio in both directions. A
fifth of them are tasks of one event loop that use ``wrap_realtime``; the others use ``SessionTracer`` in a few threads,
which saves the cost of openai's event parsing. The exit code is 1 if a resource leaked or a request was refused.
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

from bench.conversation import TURN_S, base64_text, microphone_chunk, timed_frames, write_frames
from bench.measuring.counting_collector import CountingCollector
from bench.measuring.real_speed import CHUNK_MS, run_conversation
from langsmith_realtime import SessionTracer, flush

PACKAGE = "langsmith_realtime"
#: Subpackages that are not counted: servers that tests run in this process.
NOT_COUNTED = (f"{PACKAGE}.collector", f"{PACKAGE}.testing")
#: Growth that is no leak, because libraries cache memory: in MB, and in blocks of Python's allocator.
ALLOWED_MB, ALLOWED_BLOCKS = 16.0, 100_000
#: Growth of memory allocated by this package that is no leak, because of its caches, in kB.
ALLOWED_KB = 64.0
#: Threads that hold conversations through `SessionTracer`; the main thread runs the event loop.
THREADS = 4
#: The longest wait for idle threads to end, in seconds.
THREADS_END_S = 60.0
#: Turns of the warm-up, a minute of conversation, in which everything that a long one does happens once.
WARM_UP_TURNS = 12


@dataclass(frozen=True)
class EventStats:
    """The number of events of all conversations, and the largest delay of an event, in seconds."""

    events: int
    largest_delay_s: float


@dataclass(frozen=True)
class ResourceUsage:
    """The resources of the process: memory in use in MB, threads, open files, and objects of this package by class.

    ``allocated_kb`` is memory allocated by this package, or 0 unless :mod:`tracemalloc` is tracing. ``blocks`` is the
    number of blocks in use in Python's allocator, which keeps the memory of freed blocks.
    """

    memory_mb: float
    allocated_kb: float
    threads: int
    files: int
    objects: Counter[str]
    blocks: int = 0

    @classmethod
    def now(cls) -> ResourceUsage:
        """Measures the usage after a garbage collection."""
        gc.collect()
        _release_free_memory()
        objects: Counter[str] = Counter()
        for instance in gc.get_objects():
            module, name = str(type(instance).__module__), type(instance).__qualname__
            if module.startswith(PACKAGE) and not module.startswith(NOT_COUNTED):
                objects[name] += 1
        threads, files = threading.active_count(), open_files()
        return cls(in_use_mb(), _allocated_kb(), threads, files, objects, sys.getallocatedblocks())

    def growth_to(self, later: ResourceUsage) -> list[str]:
        """Returns a text for each resource of which `later` has more, beyond the allowed growth."""
        growth = [f"{count} {name}" for name, count in (later.objects - self.objects).items()]
        if later.threads > self.threads:
            growth.append(f"{later.threads - self.threads} threads")
        if later.files > self.files:
            growth.append(f"{later.files - self.files} open files")
        if later.memory_mb > self.memory_mb + ALLOWED_MB:
            growth.append(f"{later.memory_mb - self.memory_mb:.0f} MB")
        if later.blocks > self.blocks + ALLOWED_BLOCKS:
            growth.append(f"{later.blocks - self.blocks} blocks of memory")
        if later.allocated_kb > self.allocated_kb + ALLOWED_KB:
            growth.append(f"{later.allocated_kb - self.allocated_kb:.0f} kB allocated by this package")
        return growth


def memory_mb() -> float:
    """Returns the resident memory of the process in MB, or 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text("utf-8").split()[1]) if statm.exists() else 0
    if sys.platform == "win32":
        return 0.0
    else:  # noqa: RET505 - types of both platforms are checked
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class _MallocInfo(ctypes.Structure):
    """The result of glibc's ``mallinfo2``."""

    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in _names]


def in_use_mb() -> float:
    """Returns the memory allocated through the C library in MB, or the resident memory where it cannot tell."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        return memory_mb()
    mallinfo2.restype = _MallocInfo
    info = mallinfo2()
    return float(info.uordblks + info.hblkhd) / 1e6


def _release_free_memory() -> None:
    """Returns freed memory to the system, which glibc otherwise keeps."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def open_files() -> int:
    """Returns the number of open file descriptors of the process."""
    return sum(1 for _ in Path("/dev/fd").iterdir())


def _allocated_kb() -> float:
    if not tracemalloc.is_tracing():
        return 0.0
    patterns = {f"*/{PACKAGE}/*": True, **{f"*/{name.replace('.', '/')}/*": False for name in NOT_COUNTED}}
    filters = [tracemalloc.Filter(inclusive, pattern) for pattern, inclusive in patterns.items()]
    snapshot = tracemalloc.take_snapshot().filter_traces(filters)
    return sum(trace.size for trace in snapshot.traces) / 1e3


def conversation_steps(path: Path, began: float) -> Iterator[float]:
    """Runs one conversation through `SessionTracer`. Yields the time of its next step, as ``time.monotonic()``."""
    chunk_s = CHUNK_MS / 1000
    append = json.dumps({"type": "input_audio_buffer.append", "audio": base64_text(microphone_chunk(CHUNK_MS))})
    next_chunk = chunk_s
    with SessionTracer(enabled=True) as tracer:
        for at, frame in timed_frames(path):
            while next_chunk < at:
                yield began + next_chunk
                tracer.client_event(append)
                next_chunk += chunk_s
            yield began + at
            tracer.server_event(frame)


def run_in_thread(path: Path, starts: list[float]) -> EventStats:
    """Runs the conversations of one thread, which begin at `starts`."""
    conversations = [conversation_steps(path, start) for start in starts]
    contexts = [copy_context() for _ in starts]  # or the traces would nest in one another
    due = [(start, index) for index, start in enumerate(starts)]
    largest_delay_s = 0.0
    while due:
        at, index = heappop(due)
        _sleep_until(at)
        largest_delay_s = max(largest_delay_s, time.monotonic() - at)
        next_step = contexts[index].run(next, conversations[index], None)
        if next_step is not None:
            heappush(due, (next_step, index))
    return EventStats(len(starts) * sum(1 for _ in timed_frames(path)), largest_delay_s)


def _sleep_until(at: float) -> None:
    remaining = at - time.monotonic()
    if remaining > 0:  # sleep(0) would give up the GIL of a thread that is late
        time.sleep(remaining)


async def _run_in_event_loop(path: Path, starts: list[float]) -> EventStats:
    """Runs conversations through ``wrap_realtime`` in this event loop, which begin at `starts`."""
    ended = await asyncio.gather(*(run_conversation("ours", path, start) for start in starts))
    return EventStats(sum(events for events, _ in ended), max((delay_s for _, delay_s in ended), default=0.0))


def run_conversations(path: Path, count: int) -> EventStats:
    """Runs the conversation `count` times at once, started within a second, and flushes their traces.

    Raises:
        RuntimeError: a trace was not sent within 10 minutes.
    """
    began = time.monotonic()
    starts = [began + index / count for index in range(count)]
    with ThreadPoolExecutor(THREADS) as pool:
        in_threads = [pool.submit(run_in_thread, path, starts[first :: THREADS + 1]) for first in range(THREADS)]
        stats = [asyncio.run(_run_in_event_loop(path, starts[THREADS :: THREADS + 1]))]
        stats += [future.result() for future in in_threads]
    if not flush(600):
        raise RuntimeError("not every trace was sent within 10 minutes")
    return EventStats(sum(part.events for part in stats), max(part.largest_delay_s for part in stats))


def soak(folder: Path, conversations: int, turns: int) -> tuple[ResourceUsage, ResourceUsage, EventStats]:
    """Returns the resources before and after the conversations, each of `turns` turns, and their event statistics."""
    warm_up, path = folder / "warm-up", folder / "conversation"
    write_frames(warm_up, min(turns, WARM_UP_TURNS))
    write_frames(path, turns)
    run_conversations(warm_up, conversations)  # imports, caches, connections
    before = ResourceUsage.now()
    stats = run_conversations(path, conversations)
    until = time.monotonic() + THREADS_END_S
    while threading.active_count() > before.threads and time.monotonic() < until:
        time.sleep(0.1)
    return before, ResourceUsage.now(), stats


@contextmanager
def _progress_printed(every_s: float) -> Iterator[None]:
    """Prints memory, threads and open files every `every_s` seconds."""
    ended, began = threading.Event(), time.monotonic()

    def print_progress() -> None:
        while not ended.wait(every_s):
            usage = f"{memory_mb():7.0f} MB {threading.active_count():5} threads {open_files():5} open files"
            print(f"{time.monotonic() - began:6.0f} s {usage}")

    thread = threading.Thread(target=print_progress, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def main(arguments: list[str]) -> int:
    """Runs the soak. Returns the exit code: 1 if a resource leaked or a request was refused."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--conversations", type=int, default=200, help="conversations at once (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of a conversation (default: %(default)s)")
    parser.add_argument(
        "--every",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="interval at which memory, threads and open files are printed (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    turns = max(1, round(options.minutes * 60 / TURN_S))
    with tempfile.TemporaryDirectory(prefix="soak-") as name, CountingCollector() as collector:
        os.environ.update(
            LANGSMITH_ENDPOINT=collector.url, LANGSMITH_API_KEY="soak", LANGSMITH_REALTIME_DIR=f"{name}/state"
        )
        with _progress_printed(options.every):
            before, after, stats = soak(Path(name), options.conversations, turns)
        sent = collector.take_counts()
        journals = [path for path in Path(name, "state").rglob("*") if path.is_file()]
    for label, usage in (("before", before), ("after", after)):
        memory = f"{usage.memory_mb:7.1f} MB, {usage.blocks} blocks"
        print(f"{label:>8} {memory} {usage.threads:5} threads {usage.files:5} open files")
    print(f"largest delay of an event: {stats.largest_delay_s:.1f} s")
    print(f"{stats.events} events, {sent['operations']:.0f} operations in {sent['requests']:.0f} requests")
    faults = before.growth_to(after)
    if journals:
        faults.append(f"{len(journals)} files on disk")
    if sent["refused"]:
        faults.append(f"{sent['refused']:.0f} requests refused")
    print("leaked or refused: " + (", ".join(faults) or "nothing"))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Compares tracing with LangSmith's own integration and with the plain loop, on the same frames, in one run."""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench import accuracy, conversation, report
from bench.alternating import Process, take_turns
from bench.collecting import Counting
from bench.neighbours import Neighbours
from bench.report import Results
from bench.ways import WAYS

#: Ways that trace, whose growth is of interest.
GROWING = ("plain", "langsmith", "ours")
#: Turns of each of many conversations at once.
PACED_TURNS = 2


class Bench:
    """Measures ways in processes of their own, each against a collector of its own."""

    def __init__(self, folder: Path, busy: float) -> None:
        self._busy = busy
        self._folder = folder
        conversation.make(folder / "warm-up", 1)

    def conversation(self, turns: int) -> Path:
        path = self._folder / f"turns-{turns}"
        if not path.exists():
            conversation.make(path, turns)
        return path

    def alternating(self, ways: list[str], turns: int, repeat: int) -> Results:
        """Every way, in turns; as often as wished."""
        path = self.conversation(turns)
        rounds = []
        for _ in range(repeat):
            with ExitStack() as stack:
                stack.enter_context(Neighbours())
                started = {way: self._started(stack, "bench.loops", way, path, self._busy) for way in ways}
                take_turns([process for process, _ in started.values()])
                rounds.append({way: _result(*of_it) for way, of_it in started.items()})
        return {way: _middle([results[way] for results in rounds]) for way in ways}

    def at_once(self, count: int) -> Results:
        path = self.conversation(PACED_TURNS)
        results = {}
        for way in GROWING:
            with ExitStack() as stack:
                process, counting = self._started(stack, "bench.paced", way, path, count)
                process.begin()
                results[way] = _result(process, counting)
        return results

    def _started(self, stack: ExitStack, module: str, way: str, path: Path, more: object) -> tuple[Process, Counting]:
        counting = stack.enter_context(Counting())
        environment = {
            "LANGSMITH_ENDPOINT": counting.url,
            "LANGSMITH_API_KEY": "local",
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_REALTIME_DIR": str(self._folder / "journals"),  # nobody else's conversations are recovered
        }
        process = Process([module, way, str(path), str(more)], environment)
        stack.callback(process.kill)
        counting.counted()  # the warm-up
        return process, counting


def _result(process: Process, counting: Counting) -> dict[str, float]:
    """What a process measured, and what of it reached its collector."""
    return {**json.loads(process.said()), **counting.counted()}


def _middle(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each number."""
    return {key: median(run[key] for run in runs) for key in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--turns", type=int, default=100, help="spoken turns of 5 s each (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="runs, of which the median counts (default: %(default)s)")
    parser.add_argument(
        "--busy", type=float, default=0.5, help="for what part of the time the loop works (default: %(default)s)"
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="(default: all)")
    parser.add_argument("--short", action="store_true", help="only the one comparison, not how it grows")
    parser.add_argument("--full", action="store_true", help="also 1,000 turns, and 500 conversations at once")
    options = parser.parse_args()
    ways = list(dict.fromkeys(["plain", *options.ways]))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(Path(folder), options.busy)
        main_results = bench.alternating(ways, options.turns, options.repeat)
        print(report.comparison(main_results, options.turns, options.repeat), flush=True)
        if options.short:
            return
        turns = [10, *([1000] if options.full else [])]
        by_turns = {count: bench.alternating([w for w in GROWING if w in ways], count, 1) for count in turns}
        by_turns[options.turns] = main_results
        print(report.growth_with_turns(by_turns), flush=True)
        counts = [1, 10, 100, *([500] if options.full else [])]
        print(report.growth_with_conversations({count: bench.at_once(count) for count in counts}), flush=True)
    print()
    accuracy.on_simulated_time()


if __name__ == "__main__":
    main()

"""Compares tracing with LangSmith's own integration and with the plain loop, on the same frames, in one run."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import accuracy, conversation, report
from bench.collecting import Counting
from bench.neighbours import Neighbours
from bench.report import Results
from bench.ways import WAYS

#: Ways that trace, whose growth is of interest.
GROWING = ("plain", "langsmith", "ours")
#: Turns of each of many conversations at once.
PACED_TURNS = 2


class Bench:
    """Measures ways in processes of their own, against one collector."""

    def __init__(self, counting: Counting, folder: Path, busy: float) -> None:
        self._counting = counting
        self._busy = busy
        self._folder = folder
        conversation.make(folder / "warm-up", 1)

    def conversation(self, turns: int) -> Path:
        path = self._folder / f"turns-{turns}"
        if not path.exists():
            conversation.make(path, turns)
        return path

    def measure(self, module: str, way: str, path: Path, *more: object) -> dict[str, float]:
        """One run, and what of it reached the collector; the warm-up with its one turn is in there too."""
        environment = {
            **os.environ,
            "LANGSMITH_ENDPOINT": self._counting.url,
            "LANGSMITH_API_KEY": "local",
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_REALTIME_DIR": str(self._folder / "journals"),  # nobody else's conversations are recovered
        }
        command = [sys.executable, "-m", module, way, str(path), *map(str, more)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return {**json.loads(done.stdout), **self._counting.counted()}

    def alternating(self, ways: list[str], turns: int, repeat: int) -> Results:
        """Every way, one after another, as often as wished: what disturbs one then disturbs all."""
        path = self.conversation(turns)
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        with Neighbours():
            for _ in range(repeat):
                for way in ways:
                    runs[way].append(self.measure("bench.loops", way, path, self._busy))
        return {way: _best(measured) for way, measured in runs.items()}

    def at_once(self, count: int) -> Results:
        path = self.conversation(PACED_TURNS)
        return {way: self.measure("bench.paced", way, path, count) for way in GROWING}


def _best(runs: list[dict[str, float]]) -> dict[str, float]:
    """The least of each number: what else the machine does can only add to it."""
    return {key: min(run[key] for run in runs) for key in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--turns", type=int, default=100, help="spoken turns of 5 s each (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="runs, of which the best counts (default: %(default)s)")
    parser.add_argument(
        "--busy", type=float, default=0.5, help="for what part of the time the loop works (default: %(default)s)"
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="(default: all)")
    parser.add_argument("--short", action="store_true", help="only the one comparison, not how it grows")
    parser.add_argument("--full", action="store_true", help="also 1,000 turns, and 500 conversations at once")
    options = parser.parse_args()
    ways = list(dict.fromkeys(["plain", *options.ways]))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Counting() as counting:
        bench = Bench(counting, Path(folder), options.busy)
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

"""Compares tracing with LangSmith's own integration and with the plain loop, on the same frames, in one run."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench import accuracy, conversation, report
from bench.collecting import Counting
from bench.neighbours import Neighbours
from bench.report import Results
from bench.ways import WAYS

#: Ways whose growth is of interest.
GROWING = ("langsmith", "ours")
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

    def compared(self, ways: list[str], turns: int, repeat: int) -> Results:
        """Every way beside the plain loop, as often as wished."""
        path = self.conversation(turns)
        with Neighbours():
            rounds = [[self._measured("bench.loops", way, path, self._busy) for way in ways] for _ in range(repeat)]
        return {way: _middle(list(runs)) for way, runs in zip(ways, zip(*rounds, strict=True), strict=True)}

    def at_once(self, count: int) -> Results:
        path = self.conversation(PACED_TURNS)
        return {way: self._measured("bench.paced", way, path, count) for way in ("plain", *GROWING)}

    def _measured(self, module: str, way: str, path: Path, more: object) -> dict[str, float]:
        """What a process measured, and what of it reached its collector after it was warm."""
        with Counting() as counting:
            environment = {
                **os.environ,
                "LANGSMITH_ENDPOINT": counting.url,
                "LANGSMITH_API_KEY": "local",
                "LANGSMITH_TRACING": "true",
                "LANGSMITH_REALTIME_DIR": str(self._folder / "journals"),  # nobody else's conversations are recovered
            }
            command = [sys.executable, "-m", module, way, str(path), str(more)]
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            process.stdout.readline()  # it is ready
            counting.counted()
            said, _ = process.communicate("\n")
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, command)
            return {**json.loads(said), **counting.counted()}


def _middle(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each number."""
    return {key: median(run[key] for run in runs) for key in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--turns", type=int, default=100, help="spoken turns of 5 s each (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=2, help="runs, of which the median counts (default: %(default)s)")
    parser.add_argument(
        "--busy", type=float, default=0.5, help="for what part of the time the loop works (default: %(default)s)"
    )
    ways = [way for way in WAYS if way != "plain"]  # which is beside each of them
    parser.add_argument("--ways", nargs="+", choices=ways, default=ways, help="(default: all)")
    parser.add_argument("--short", action="store_true", help="only the one comparison, not how it grows")
    parser.add_argument("--full", action="store_true", help="also 1,000 turns, and 500 conversations at once")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(Path(folder), options.busy)
        main_results = bench.compared(options.ways, options.turns, options.repeat)
        print(report.comparison(main_results, options.turns, options.repeat), flush=True)
        if options.short:
            return
        turns = [10, *([1000] if options.full else [])]
        by_turns = {count: bench.compared([way for way in GROWING if way in options.ways], count, 1) for count in turns}
        by_turns[options.turns] = main_results
        print(report.growth_with_turns(by_turns), flush=True)
        counts = [1, 10, 100, *([500] if options.full else [])]
        print(report.growth_with_conversations({count: bench.at_once(count) for count in counts}), flush=True)
    print()
    accuracy.on_simulated_time()


if __name__ == "__main__":
    main()

"""Measures the cost of tracing a conversation, in several ways, each beside the same conversation untraced."""

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
from bench.measuring.busy_processors import BusyProcessors
from bench.measuring.counting_collector import CountingCollector
from bench.report import Results
from bench.ways import WAYS

#: The ways whose cost is measured by length and by number of conversations.
SCALED_WAYS = ("langsmith", "ours")
#: Turns of each conversation when many run at once.
REAL_SPEED_TURNS = 2


class Bench:
    """Measures each way in a subprocess with a collector of its own. `busy` is the loop's share of busy time."""

    def __init__(self, folder: Path, busy: float) -> None:
        self._busy = busy
        self._folder = folder
        conversation.write_frames(folder / "warm-up", 1)

    def frames_file(self, turns: int) -> Path:
        """Returns the file with the frames of a conversation, and writes it if it is missing."""
        path = self._folder / f"turns-{turns}"
        if not path.exists():
            conversation.write_frames(path, turns)
        return path

    def compare(self, ways: list[str], turns: int, repeat: int) -> Results:
        """Measures each way against the untraced conversation. Returns the medians of `repeat` rounds."""
        path = self.frames_file(turns)
        with BusyProcessors():
            rounds = [
                [self._measure("bench.measuring.interleaved", way, path, self._busy) for way in ways]
                for _ in range(repeat)
            ]
        return {way: _medians(list(runs)) for way, runs in zip(ways, zip(*rounds, strict=True), strict=True)}

    def run_at_once(self, count: int) -> Results:
        """Measures `count` conversations at once, at real speed, for each of the scaled ways and untraced."""
        path = self.frames_file(REAL_SPEED_TURNS)
        ways = ("plain", *SCALED_WAYS)
        return {way: self._measure("bench.measuring.real_speed", way, path, count) for way in ways}

    def _measure(self, module: str, way: str, path: Path, argument: object) -> dict[str, float]:
        """Returns a subprocess's result, with the counts of its collector since the warm-up."""
        with CountingCollector() as collector:
            environment = {
                **os.environ,
                "LANGSMITH_ENDPOINT": collector.url,
                "LANGSMITH_API_KEY": "local",
                "LANGSMITH_TRACING": "true",
                "LANGSMITH_REALTIME_DIR": str(self._folder / "journals"),  # so that no earlier journal is recovered
            }
            command = [sys.executable, "-m", module, way, str(path), str(argument)]
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            process.stdout.readline()  # "ready": the warm-up is over
            collector.take_counts()
            output, _ = process.communicate("\n")
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, command)
            return {**json.loads(output), **collector.take_counts()}


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: median(run[key] for run in runs) for key in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"{__doc__} Prints Markdown tables: the comparison, the cost by length of the conversation, the "
        "cost of many conversations at once, and the accuracy of recordings.",
    )
    parser.add_argument(
        "--turns", type=int, default=100, help="spoken turns of the conversation, 5 s each (default: %(default)s)"
    )
    parser.add_argument(
        "--repeat", type=int, default=2, help="rounds of the comparison; the median counts (default: %(default)s)"
    )
    parser.add_argument(
        "--busy",
        type=float,
        default=0.5,
        help="share of the time in which the event loop is busy, from 0 to 1 (default: %(default)s)",
    )
    ways = [way for way in WAYS if way != "plain"]  # each of them is measured against "plain"
    parser.add_argument(
        "--ways",
        nargs="+",
        choices=ways,
        default=ways,
        help="ways to trace: this package switched off, by hand as in LangSmith's guide, LangSmith's integration, "
        "this package, and with OpenTelemetry (default: all)",
    )
    parser.add_argument("--short", action="store_true", help="print only the comparison")
    parser.add_argument("--full", action="store_true", help="also measure 1,000 turns, and 500 conversations at once")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(Path(folder), options.busy)
        main_results = bench.compare(options.ways, options.turns, options.repeat)
        print(report.comparison(main_results, options.turns, options.repeat), flush=True)
        if options.short:
            return
        turns = [10, *([1000] if options.full else [])]
        scaled_ways = [way for way in SCALED_WAYS if way in options.ways]
        by_turns = {count: bench.compare(scaled_ways, count, 1) for count in turns}
        by_turns[options.turns] = main_results
        print(report.cost_by_turns(by_turns), flush=True)
        counts = [1, 10, 100, *([500] if options.full else [])]
        print(report.cost_by_conversations({count: bench.run_at_once(count) for count in counts}), flush=True)
    print()
    accuracy.print_simulated()


if __name__ == "__main__":
    main()

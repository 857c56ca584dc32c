"""Compares tracing with LangSmith's own integration and with the plain loop, on the same frames, in one run."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from statistics import median

from bench.loops import WAYS
from langsmith_realtime.collector import Collector


def run(way: str, turns: int, endpoint: str) -> dict[str, float]:
    """Measure one way in a process of its own."""
    environment = {
        **os.environ,
        "LANGSMITH_ENDPOINT": endpoint,
        "LANGSMITH_API_KEY": "local",
        "LANGSMITH_TRACING": "true",
    }
    command = [sys.executable, "-m", "bench.loops", way, str(turns)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=60, help="spoken turns of about 5 s each (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="runs, of which the median counts (default: %(default)s)")
    options = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    with Collector() as collector:
        for way in WAYS:
            runs = [run(way, options.turns, collector.url) for _ in range(options.repeat)]
            results[way] = {key: median(result[key] for result in runs) for key in runs[0]}
    events = results["plain"]["events"]
    print(f"{options.turns} turns, {events:.0f} events, median of {options.repeat} runs\n")
    print(f"{'':12}{'loop µs/event':>15}{'added':>9}{'process s':>12}{'stall ms':>11}{'memory MB':>11}")
    plain = results["plain"]
    for way, result in results.items():
        loop = result["loop_cpu"] / events * 1e6
        added = (result["loop_cpu"] - plain["loop_cpu"]) / events * 1e6
        print(
            f"{way:12}{loop:15.1f}{added:9.1f}{result['process_cpu']:12.2f}"
            f"{result['stall'] * 1e3:11.1f}{result['memory_mb']:11.1f}"
        )
    theirs, ours = results["langsmith"], results["ours"]
    print("\nours / LangSmith's integration:")
    for name, key in (("CPU added to the loop", "loop_cpu"), ("process CPU added", "process_cpu")):
        print(f"  {name:24}{(ours[key] - plain[key]) / (theirs[key] - plain[key]):.2f}")
    print(f"  {'longest stall':24}{ours['stall'] / theirs['stall']:.2f}")
    print(f"  {'memory added':24}{ours['memory_mb'] / max(theirs['memory_mb'], 0.1):.2f}")
    print("\nours / plain loop:")
    print(f"  {'CPU of the loop':24}{ours['loop_cpu'] / plain['loop_cpu']:.2f}")
    print(f"  {'switched off':24}{results['off']['loop_cpu'] / plain['loop_cpu']:.2f}")


if __name__ == "__main__":
    main()

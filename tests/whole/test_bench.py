"""The benchmark: every way handles equal events, and its whole trace reaches the collector."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import report
from bench.__main__ import Bench
from tests import ROOT

pytestmark = [pytest.mark.newest, pytest.mark.nocover, pytest.mark.soak]  # LangSmith's integration


def test_every_way_handles_the_same_events_as_the_untraced_conversation_and_sends_its_trace(tmp_path: Path) -> None:
    results = Bench(tmp_path, busy=0.5).compare(["langsmith", "ours"], turns=2, repeat=1)
    theirs, ours = results["langsmith"], results["ours"]
    assert len({(way[f"{by}deltas"], way[f"{by}others"]) for way in (theirs, ours) for by in ("", "plain_")}) == 1
    assert ours["runs"] == ours["others"] + 1 + 2  # the root, and two responses of the model
    assert ours["operations"] == ours["runs"] + 1
    assert 0 < theirs["runs"] < ours["runs"]
    recording = 7 * 24_000 * 4  # bytes of 7 s in stereo
    assert ours["sent_bytes"] > recording
    assert theirs["sent_bytes"] > 0.1 * recording  # it is compressed
    assert "CPU added to the process" in report.comparison(results, turns=2, repeat=1)
    assert "kB sent per turn" in report.cost_by_turns({2: results})


def test_background_cpu_prints_the_cpu_time_of_each_background_thread() -> None:
    command = [sys.executable, "-m", "bench.background_cpu", "--turns", "1", "--rounds", "1"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    spent = dict(re.findall(r"(?m)^(worker|sender|encoder|total) +([0-9.]+) s", output))
    assert set(spent) == {"worker", "sender", "total"}  # a short recording needs no encoder
    assert all(float(seconds) > 0 for seconds in spent.values())


def test_the_bench_of_opentelemetry_prints_what_spans_records_and_measurements_cost() -> None:
    both = "from bench import otel_records, otel_spans; otel_spans.main(); otel_records.main()"
    command = [sys.executable, "-c", both, "--turns", "1", "--rounds", "1"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    costs = [float(cost) for cost in re.findall(r"(?m) ([0-9.]+) µs \(", output)]
    assert len(costs) == 8 + 7
    assert all(cost > 0 for cost in costs)


def test_startup_prints_what_the_pth_file_costs() -> None:
    output = subprocess.run(
        [sys.executable, "-m", "bench.startup"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert re.fullmatch(r"the line of the \.pth file: [0-9.]+ µs\n", output)

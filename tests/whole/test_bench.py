"""The benchmark measures what it says: every way handles the same conversation, and all of it arrives."""

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


def test_every_way_handles_the_same_conversation_beside_one_that_is_not_traced(tmp_path: Path) -> None:
    results = Bench(tmp_path, busy=0.5).compared(["langsmith", "ours"], turns=2, repeat=1)
    theirs, ours = results["langsmith"], results["ours"]
    assert len({(way[f"{by}deltas"], way[f"{by}others"]) for way in (theirs, ours) for by in ("", "plain_")}) == 1
    assert ours["runs"] == ours["others"] + 1 + 2  # the root, and two responses of the model
    assert ours["operations"] == ours["runs"] + 1
    assert 0 < theirs["runs"] < ours["runs"]
    sound = 7 * 24_000 * 4  # the last events come after 7 s; in stereo
    assert ours["sent_bytes"] > sound
    assert theirs["sent_bytes"] > 0.1 * sound  # the recording is there, compressed
    assert "CPU added to the process" in report.comparison(results, turns=2, repeat=1)
    assert "kB sent per turn" in report.growth_with_turns({2: results})


def test_what_goes_on_beside_a_loop_is_measured_alone() -> None:
    command = [sys.executable, "-m", "bench.alone", "--turns", "1", "--rounds", "1"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    spent = dict(re.findall(r"(?m)^(worker|sender|encoder|in all) +([0-9.]+) s", said))
    assert set(spent) == {"worker", "sender", "in all"}  # a short recording needs no encoder
    assert all(float(seconds) > 0 for seconds in spent.values())

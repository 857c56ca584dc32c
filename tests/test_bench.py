"""The benchmark measures what it says: every way handles the same conversation, and all of it arrives."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import report
from bench.__main__ import Bench

pytestmark = pytest.mark.newest  # LangSmith's integration


def test_ways_that_take_turns_handle_the_same_conversation(tmp_path: Path) -> None:
    results = Bench(tmp_path, busy=0.5).alternating(["plain", "langsmith", "ours"], turns=2, repeat=1)
    assert len({(result["deltas"], result["others"]) for result in results.values()}) == 1
    plain, theirs, ours = (results[way] for way in ("plain", "langsmith", "ours"))
    assert plain["operations"] == 0
    assert ours["runs"] == plain["others"] + 1 + 2  # the root, and two responses of the model
    assert ours["operations"] == ours["runs"] + 1
    assert 0 < theirs["runs"] < ours["runs"]
    sound = 7 * 24_000 * 4  # the last events come after 7 s; in stereo
    assert ours["sent_bytes"] > sound
    assert theirs["sent_bytes"] > 0.1 * sound  # the recording is there, compressed
    table = report.comparison(results, turns=2, repeat=1)
    assert "CPU added to the process" in table

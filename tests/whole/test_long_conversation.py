"""Long conversations on simulated time: the recording stays aligned, and memory does not grow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from tests.support.audio.long_conversation import placement_errors_ms, record_conversation
from tests.support.processes import peak_memory

pytestmark = [pytest.mark.newest, pytest.mark.nocover]

MAX_ERROR_MS = 20.0
MAX_ADDED_MB = 20.0


def test_ten_minutes_with_a_drifting_microphone_stay_aligned(tmp_path: Path) -> None:
    errors = placement_errors_ms(600, tmp_path / "conversation.wav")
    assert (len(errors[USER]), len(errors[AGENT])) == (600, 60)
    assert max(map(abs, errors[USER])) <= MAX_ERROR_MS
    assert max(map(abs, errors[AGENT])) <= MAX_ERROR_MS


@pytest.mark.parametrize("hours", [0.5, pytest.param(3.0, marks=pytest.mark.soak)])
def test_hours_add_less_than_20_mb_of_memory(tmp_path: Path, hours: float) -> None:
    code = f"from tests.whole.test_long_conversation import report; report({hours})"
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert float(done.stdout) <= MAX_ADDED_MB


def report(hours: float) -> None:
    """Prints by how many MB a conversation of `hours` hours exceeds the peak memory of a short one."""
    folder = Path(sys.argv[1])
    record_conversation(1 / 30, folder)
    before = peak_memory()
    record_conversation(hours, folder)
    print((peak_memory() - before) / 1024)

"""A recording compared with an independent recording of the devices, both made at once."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from langsmith_realtime.collector import Collector
from tests.support.audio.ground_truth import STALLED_FACTOR, Truth, measure
from tests.support.audio.machine_stalls import best_take
from tests.support.audio.pulseaudio import ROOM, look_for_devices_again, pulseaudio, raise_priority
from tests.support.conversations import tracing_to
from tests.support.processes import priority, set_priority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = [
    pytest.mark.newest,
    pytest.mark.devices,
    pytest.mark.timeout(400),
]  # in real time


@pytest.fixture
def high_priority() -> Iterator[None]:
    """Raises the priority of this process, which is the program under test."""
    before = priority()
    raise_priority(0)
    yield
    set_priority(0, before)


@pytest.mark.usefixtures("high_priority")
@pytest.mark.parametrize("timed", [False, True], ids=["playback model", "timed tap"])
def test_the_recording_agrees_with_a_recording_of_the_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, timed: bool
) -> None:
    with Collector() as collector, pulseaudio(ROOM) as devices, tracing_to(collector, monkeypatch):
        monkeypatch.setenv("PULSE_SERVER", devices.environment["PULSE_SERVER"])
        look_for_devices_again()
        folders = (tmp_path / str(number) for number in count())

        def hold() -> Truth:
            truth = measure(next(folders), devices, timed=timed)
            print(f"\n{'timed tap' if timed else 'playback model'}: {truth}")
            return truth

        take = best_take(hold, lambda truth: truth.error_ratio(timed=timed))
    assert take.error_ratio <= (STALLED_FACTOR if take.starved else 1), take


RIGHT = Truth([0.0], [0.0], [[0.0] * 4], [[-20.0] * 2], [0.0] * 6)


@pytest.mark.parametrize(
    "wrong",
    [
        replace(RIGHT, cut_in_program=[300.0], cut_in_room=[300.0]),
        replace(RIGHT, agent=[[-20.0, 180.0]]),
        replace(RIGHT, agent=[[80.0] * 2], fed=[0.0] * 4 + [100.0] * 2),
        replace(RIGHT, agent=[[]]),
    ],
    ids=["cut speech kept", "200 ms missing", "100 ms late", "nothing heard"],
)
def test_a_wrong_recording_is_detected_even_on_a_starved_machine(wrong: Truth) -> None:
    assert RIGHT.error_ratio(timed=True) <= 1
    assert wrong.error_ratio(timed=True) > STALLED_FACTOR
    assert str(wrong)

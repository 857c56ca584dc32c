"""Our recording beside an independent one of what was said and played, both made of real devices at once."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from langsmith_realtime.collector import Collector
from tests.support.audio.machine_stalls import best_take
from tests.support.audio.pulseaudio import ROOM, look_for_devices_again, pulseaudio
from tests.support.conversations import tracing_to

if TYPE_CHECKING:
    from pathlib import Path

from tests.support.audio.ground_truth import STARVED, Truth, measure

pytestmark = [pytest.mark.newest, pytest.mark.devices, pytest.mark.timeout(400)]  # in real time, once is enough


@pytest.mark.usefixtures("_first")
@pytest.mark.parametrize("timed", [False, True], ids=["playback model", "timed tap"])
def test_what_we_recorded_is_what_was_said_and_heard(
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

        take = best_take(hold, lambda truth: truth.wrong(timed=timed))
    assert take.wrong <= (STARVED if take.starved else 1), take


RIGHT = Truth([0.0], [0.0], [[0.0] * 4], [[-20.0] * 2], [0.0] * 6)


@pytest.mark.parametrize(
    "wrong",
    [
        replace(RIGHT, cut_in_program=[300.0], cut_in_room=[300.0]),
        replace(RIGHT, agent=[[-20.0, 180.0]]),
        replace(RIGHT, agent=[[80.0] * 2], kept=[0.0] * 4 + [100.0] * 2),
        replace(RIGHT, agent=[[]]),
    ],
    ids=["cut speech kept", "200 ms missing", "100 ms late", "nothing heard"],
)
def test_a_recording_that_is_wrong_would_be_noticed_on_a_starved_machine_too(wrong: Truth) -> None:
    assert RIGHT.wrong(timed=True) <= 1
    assert wrong.wrong(timed=True) > STARVED
    assert str(wrong)

"""The sound card, on real devices of a private PulseAudio daemon, and its clock."""

from __future__ import annotations

import sys
import threading
import time
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from demo.choice import choose
from demo.devices import DeviceError
from demo.playback import Part
from demo.soundcard import NoSoundCardError, SoundCard
from demo.speech import line
from demo.streamclock import SPEAKER_SETTLED_AFTER_BLOCKS, SpeakerClock
from demo.virtual import VirtualDevices
from tests.support.audio.pulseaudio import PulseAudio, pulseaudio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
from tests.support.audio.pulseaudio import look_for_devices_again


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseAudio]:
    with pulseaudio() as running:
        monkeypatch.setenv("PULSE_SERVER", running.environment["PULSE_SERVER"])
        look_for_devices_again()
        yield running


@pytest.fixture
def no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_SERVER", "unix:/nowhere")
    look_for_devices_again()


class Ears:
    """Keeps what the devices report."""

    def __init__(self) -> None:
        self.said: list[tuple[bytes, float]] = []
        self.heard: list[tuple[bytes, float]] = []
        self.errors: list[str] = []
        self.something = threading.Condition()

    def microphone(self, pcm: bytes, at: float) -> None:
        self._keep(self.said, (pcm, at))

    def speaker(self, pcm: bytes, at: float) -> None:
        self._keep(self.heard, (pcm, at))

    def lost(self, error: DeviceError) -> None:
        self._keep(self.errors, str(error))

    def _keep(self, where: list[Any], what: Any) -> None:
        with self.something:
            where.append(what)
            self.something.notify_all()

    def wait(self, where: list[Any], count: int) -> None:
        with self.something:
            assert self.something.wait_for(lambda: len(where) >= count, 5), f"only {len(where)} of {count}"


@pytest.mark.devices
def test_hears_the_microphone_and_plays_to_the_speaker(daemon: PulseAudio) -> None:
    ears, reply = Ears(), line("agent-paris").pcm  # more than is waited for: there is something left to cut
    began = time.monotonic()
    with SoundCard() as card:
        card.start(ears)
        card.play(Part("item", 0), reply)
        ears.wait(ears.heard, 50)
        ears.wait(ears.said, 50)
        cut = card.flush()
    assert b"".join(pcm for pcm, _ in ears.heard) == reply[: sum(len(p) for p, _ in ears.heard)]
    assert [c.heard_ms for c in cut] == [20 * len(ears.heard)]
    assert {len(pcm) for pcm, _ in ears.said} == {960}
    for reported in (ears.said, ears.heard):
        times = [at for _, at in reported]
        assert abs(times[0] - began) < 2
        assert np.median([later - earlier for earlier, later in pairwise(times)]) == pytest.approx(0.02, abs=0.001)
    assert ears.errors == []  # closing is no loss


@pytest.mark.devices
def test_a_lost_device_is_told_with_the_remedy(daemon: PulseAudio) -> None:
    ears = Ears()
    with SoundCard() as card:
        card.start(ears)
        ears.wait(ears.said, 1)
        daemon.kill()
        ears.wait(ears.errors, 2)
    assert sorted(ears.errors) == [
        "The microphone was lost: reconnect it and start again.",
        "The speaker was lost: reconnect it and start again.",
    ]


@pytest.mark.devices
def test_a_sound_card_that_went_before_it_was_opened_is_told_with_the_remedy(daemon: PulseAudio) -> None:
    card = SoundCard()
    daemon.kill()
    with pytest.raises(DeviceError, match="close other programs that use it"):
        card.start(Ears())


def test_without_a_sound_card_the_recorded_user_talks(no_devices: None) -> None:
    with pytest.raises(NoSoundCardError, match="connect one"):
        SoundCard()
    devices = choose(speak=False)
    assert isinstance(devices, VirtualDevices)
    assert "No microphone and speaker here" in str(devices.notice)


@pytest.mark.devices
def test_a_sound_card_is_used_where_there_is_one(daemon: PulseAudio) -> None:
    devices = choose(speak=False)
    assert isinstance(devices, SoundCard)
    assert "headphones" in str(devices.notice)
    assert isinstance(choose(speak=True), VirtualDevices)


@pytest.mark.parametrize(
    ("failure", "remedy"),
    [("OSError('PortAudio library not found')", "libportaudio2"), ("ImportError('no sounddevice')", "pip install")],
)
def test_where_there_is_sound_a_missing_library_is_told_with_the_remedy(
    failure: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sounddevice.py").write_text(f"raise {failure}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setenv("PULSE_SERVER", "unix:/somewhere")
    with pytest.raises(DeviceError, match=remedy):
        choose(speak=False)


def times(*, adc: float = 0.0, dac: float = 0.0, now: float) -> SimpleNamespace:
    return SimpleNamespace(inputBufferAdcTime=adc, outputBufferDacTime=dac, currentTime=now)


@pytest.mark.devices
def test_the_speaker_reports_only_what_it_played_and_fills_up_with_silence(daemon: PulseAudio) -> None:
    # PortAudio calls from threads that no Python tool follows, so its part is taken here once.
    card = SoundCard()
    ears = Ears()
    card.start(ears)
    card.close()
    card._listener = ears
    ears.said.clear()
    block = bytearray(b"x" * 8)
    card._played = SpeakerClock()
    speak, hear = card._speak(), card._hear()
    fine = SimpleNamespace(output_underflow=False)
    card.play(Part("item", 0), b"abcd")
    before = time.monotonic()
    speak(block, 4, times(dac=100.5, now=100.0), fine)
    assert block == b"abcd\0\0\0\0"
    for _ in range(SPEAKER_SETTLED_AFTER_BLOCKS):
        speak(block, 4, times(dac=100.5, now=100.0), fine)
        assert block == bytes(8)
    hear(b"wxyz", 2, times(adc=99.9, now=100.0), None)
    after = time.monotonic()
    assert [pcm for pcm, _ in ears.heard] == [b"abcd"]
    assert before + 0.5 <= ears.heard[0][1] <= after + 0.5
    assert [pcm for pcm, _ in ears.said] == [b"wxyz"]
    assert before - 0.1 - 1e-6 <= ears.said[0][1] <= after - 0.1
    card._listener = None
    speak(block, 4, times(dac=100.5, now=100.0), fine)
    hear(b"wxyz", 2, times(adc=99.9, now=100.0), None)
    card._ended("speaker")
    assert len(ears.said) == len(ears.heard) == 1

"""The sound card, with virtual devices of a private PulseAudio daemon."""

from __future__ import annotations

import sys
import threading
import time
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from demo.devices.choice import choose_devices
from demo.devices.interface import DeviceError
from demo.devices.playback_queue import ContentPart
from demo.devices.sound_card import NoSoundCardError, SoundCard
from demo.devices.stream_clock import SPEAKER_SETTLED_AFTER_BLOCKS, SpeakerClock
from demo.devices.virtual import VirtualDevices
from demo.speech import line
from tests.support.audio.pulseaudio import PulseAudio, look_for_devices_again, pulseaudio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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


class StoringListener:
    """Stores the audio and the errors that the devices report."""

    def __init__(self) -> None:
        self.captured: list[tuple[bytes, float]] = []
        self.played: list[tuple[bytes, float]] = []
        self.errors: list[str] = []
        self._changed = threading.Condition()

    def microphone_audio(self, pcm: bytes, at: float) -> None:
        self._store(self.captured, (pcm, at))

    def speaker_audio(self, pcm: bytes, at: float) -> None:
        self._store(self.played, (pcm, at))

    def device_lost(self, error: DeviceError) -> None:
        self._store(self.errors, str(error))

    def _store(self, entries: list[Any], entry: Any) -> None:
        with self._changed:
            entries.append(entry)
            self._changed.notify_all()

    def wait(self, entries: list[Any], count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(entries) >= count, 5), f"only {len(entries)} of {count}"


@pytest.mark.devices
def test_the_sound_card_captures_the_microphone_and_plays_to_the_speaker(daemon: PulseAudio) -> None:
    listener = StoringListener()
    reply = line("agent-paris").pcm  # longer than the test waits, so that some of it is cut
    began = time.monotonic()
    with SoundCard() as card:
        card.start(listener)
        card.play(ContentPart("item", 0), reply)
        listener.wait(listener.played, 50)
        listener.wait(listener.captured, 50)
        cut = card.flush()
    assert b"".join(pcm for pcm, _ in listener.played) == reply[: sum(len(p) for p, _ in listener.played)]
    assert [c.played_ms for c in cut] == [20 * len(listener.played)]
    assert {len(pcm) for pcm, _ in listener.captured} == {960}
    for reported in (listener.captured, listener.played):
        times = [at for _, at in reported]
        assert abs(times[0] - began) < 2
        assert np.median([later - earlier for earlier, later in pairwise(times)]) == pytest.approx(0.02, abs=0.001)
    assert listener.errors == []  # closing reports no lost device


@pytest.mark.devices
def test_a_lost_device_is_reported_with_the_remedy(daemon: PulseAudio) -> None:
    listener = StoringListener()
    with SoundCard() as card:
        card.start(listener)
        listener.wait(listener.captured, 1)
        daemon.kill()
        listener.wait(listener.errors, 2)
    assert sorted(listener.errors) == [
        "The microphone was lost: reconnect it and start again.",
        "The speaker was lost: reconnect it and start again.",
    ]


@pytest.mark.devices
def test_a_sound_card_that_cannot_be_opened_is_reported_with_the_remedy(daemon: PulseAudio) -> None:
    card = SoundCard()
    daemon.kill()
    with pytest.raises(DeviceError, match="close other programs that use it"):
        card.start(StoringListener())


def test_without_a_sound_card_the_bundled_user_speaks(no_devices: None) -> None:
    with pytest.raises(NoSoundCardError, match="connect one"):
        SoundCard()
    devices = choose_devices(speak=False)
    assert isinstance(devices, VirtualDevices)
    assert "the bundled user speaks instead" in str(devices.notice)


@pytest.mark.devices
def test_a_sound_card_is_used_if_the_machine_has_one(daemon: PulseAudio) -> None:
    devices = choose_devices(speak=False)
    assert isinstance(devices, SoundCard)
    assert "headphones" in str(devices.notice)
    assert isinstance(choose_devices(speak=True), VirtualDevices)


@pytest.mark.parametrize(
    ("failure", "remedy"),
    [("OSError('PortAudio library not found')", "libportaudio2"), ("ImportError('no sounddevice')", "pip install")],
)
def test_on_a_machine_with_sound_a_missing_library_is_reported_with_the_remedy(
    failure: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sounddevice.py").write_text(f"raise {failure}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setenv("PULSE_SERVER", "unix:/somewhere")
    with pytest.raises(DeviceError, match=remedy):
        choose_devices(speak=False)


def times(*, adc: float = 0.0, dac: float = 0.0, now: float) -> SimpleNamespace:
    return SimpleNamespace(inputBufferAdcTime=adc, outputBufferDacTime=dac, currentTime=now)


@pytest.mark.devices
def test_the_speaker_reports_played_audio_only_and_fills_up_with_silence(daemon: PulseAudio) -> None:
    # The test calls the callbacks itself: coverage does not see PortAudio's threads.
    card = SoundCard()
    listener = StoringListener()
    card.start(listener)
    card.close()
    card._listener = listener
    listener.captured.clear()
    block = bytearray(b"x" * 8)
    card._speaker_clock = SpeakerClock()
    output_callback, input_callback = card._output_callback(), card._input_callback()
    no_underflow = SimpleNamespace(output_underflow=False)
    card.play(ContentPart("item", 0), b"abcd")
    before = time.monotonic()
    output_callback(block, 4, times(dac=100.5, now=100.0), no_underflow)
    assert block == b"abcd\0\0\0\0"
    for _ in range(SPEAKER_SETTLED_AFTER_BLOCKS):
        output_callback(block, 4, times(dac=100.5, now=100.0), no_underflow)
        assert block == bytes(8)
    input_callback(b"wxyz", 2, times(adc=99.9, now=100.0), None)
    after = time.monotonic()
    assert [pcm for pcm, _ in listener.played] == [b"abcd"]
    # The blocks come at once instead of in their own time, so the clock places the first one earlier.
    earlier_s = SPEAKER_SETTLED_AFTER_BLOCKS * 4 / 24_000
    assert before + 0.5 - earlier_s <= listener.played[0][1] <= after + 0.5
    assert [pcm for pcm, _ in listener.captured] == [b"wxyz"]
    assert before - 0.1 - 1e-6 <= listener.captured[0][1] <= after - 0.1
    card._listener = None
    output_callback(block, 4, times(dac=100.5, now=100.0), no_underflow)
    input_callback(b"wxyz", 2, times(adc=99.9, now=100.0), None)
    card._stream_ended("speaker")
    assert len(listener.captured) == len(listener.played) == 1

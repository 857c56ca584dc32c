"""Runs a private PulseAudio daemon with a virtual microphone and speaker, on a machine without sound hardware.

`record_monitor` records the audio that programs play; programs capture the audio that `speak` plays. The daemon uses no
D-Bus and no shared state, and is stopped by its process id.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
import tempfile
import time
from ctypes.util import find_library
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.processes import set_priority

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

NEEDED = {"pulseaudio": "pulseaudio", "pactl": "pulseaudio-utils", "paplay": "pulseaudio-utils"}
READY_WITHIN_S = 10.0
RATE = 24_000

# norewinds: without it, the first audio is up to 0.8 s late.
CONFIGURATION = """\
load-module module-null-sink sink_name=spk rate=48000 channels=2 norewinds=1
load-module module-null-sink sink_name=micin rate=48000 channels=1 norewinds=1
load-module module-remap-source master=micin.monitor source_name=mic
set-default-sink spk
set-default-source mic
load-module module-native-protocol-unix auth-anonymous=1 socket={socket}
"""
# Microphone and speaker are the left and the right channel of one device, so that a recording of it holds both on one
# clock.
ROOM = """\
load-module module-null-sink sink_name=room rate=48000 channels=2 norewinds=1
load-module module-remap-sink sink_name=spk master=room channels=1 channel_map=mono master_channel_map=front-right \
remix=no
load-module module-remap-sink sink_name=micin master=room channels=1 channel_map=mono master_channel_map=front-left \
remix=no
load-module module-remap-source master=room.monitor source_name=mic channels=1 channel_map=mono \
master_channel_map=front-left remix=no
set-default-sink spk
set-default-source mic
load-module module-native-protocol-unix auth-anonymous=1 socket={socket}
"""
FLAGS = [
    "--daemonize=no",
    "--exit-idle-time=-1",
    "--use-pid-file=no",
    "--disable-shm=yes",
    "--realtime=no",
    "--high-priority=no",
    # The default resampler removes the highest frequencies, so that hissing sounds would not correlate with themselves.
    "--resample-method=speex-float-10",
]


class PulseAudio:
    """A running daemon: `environment` makes a child process use its devices, `folder` holds its files."""

    def __init__(self, folder: Path, devices: str = CONFIGURATION) -> None:
        self.folder = folder
        socket = folder / "pulse.sock"
        configuration = folder / "daemon.pa"
        configuration.write_text(devices.format(socket=socket), encoding="utf-8")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("DBUS_", "PULSE_"))}
        self.environment |= {
            "PULSE_SERVER": f"unix:{socket}",
            "PULSE_COOKIE": str(folder / "cookie"),
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
        }
        # To a file: a daemon that inherits stdout keeps its reader from ending.
        with (folder / "daemon.log").open("wb") as log:
            self._daemon = subprocess.Popen(
                ["pulseaudio", "-n", "-F", str(configuration), *FLAGS],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        raise_priority(self._daemon.pid)
        try:
            self._await_microphone()
        except BaseException:
            self.kill()
            raise

    def _await_microphone(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            sources = subprocess.run(
                ["pactl", "list", "short", "sources"], env=self.environment, capture_output=True, check=False
            )
            if b"\tmic\t" in sources.stdout:
                return
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                log = (self.folder / "daemon.log").read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"PulseAudio did not start:\n{log}")
            time.sleep(0.02)

    def speak(self, path: Path) -> subprocess.Popen[bytes]:
        """Starts to play a file into the virtual microphone. Returns the process, for which the caller must wait."""
        # With the default buffer, a busy machine loses 20 ms of audio now and then.
        player = subprocess.Popen(["paplay", "-d", "micin", "--latency-msec=500", str(path)], env=self.environment)
        raise_priority(player.pid)
        return player

    @contextlib.contextmanager
    def record_monitor(self, path: Path) -> Iterator[None]:
        """Records the speaker inside the block: PCM16 mono, 24 kHz, without a header (see `read_pcm`)."""
        # A small buffer, so that the file can be read while it grows.
        with self._record("spk.monitor", path, "--latency-msec=20", "--channels=1"):
            yield

    @contextlib.contextmanager
    def record_room(self, path: Path) -> Iterator[None]:
        """Records microphone and speaker of the `ROOM` inside the block: PCM16 stereo, 24 kHz, without a header."""
        # A virtual device produces audio one block early, which a program cannot learn, because delays in ALSA are not
        # negative. The block is as small as the smallest buffer of a client; smaller ones underrun sooner.
        with self._record("room.monitor", path, "--latency-msec=10", "--channels=2"):
            yield

    @contextlib.contextmanager
    def _record(self, source: str, path: Path, *options: str) -> Iterator[None]:
        command = ["parec", "-d", source, f"--rate={RATE}", "--format=s16le", "--raw", *options]
        with path.open("wb") as file, subprocess.Popen(command, env=self.environment, stdout=file) as recorder:
            raise_priority(recorder.pid)
            try:
                yield
            finally:
                recorder.terminate()

    def kill(self) -> None:
        """Removes the devices, as if they were unplugged. Further calls do nothing."""
        self._daemon.kill()
        self._daemon.wait()


def raise_priority(process: int) -> None:
    """Raises the priority of a process that must keep time with a sound card, if the system permits it."""
    with contextlib.suppress(PermissionError):
        set_priority(process, -15)


def read_pcm(path: Path) -> npt.NDArray[np.int16]:
    """Returns the samples of a file that `record_monitor` or `record_room` wrote; those of a stereo file alternate."""
    return np.frombuffer(path.read_bytes()[: path.stat().st_size // 2 * 2], "<i2")


@contextlib.contextmanager
def pulseaudio(devices: str = CONFIGURATION) -> Iterator[PulseAudio]:
    """Runs a daemon inside the block. Without PulseAudio, skips the test, or fails it if `CI` is set."""
    missing = {package for command, package in NEEDED.items() if shutil.which(command) is None}
    if find_library("portaudio") is None:
        missing.add("libportaudio2")
    if missing:
        reason = f"needs the system packages: {' '.join(sorted(missing))}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # Not in pytest's folders: the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        daemon = PulseAudio(Path(folder), devices)
        try:
            yield daemon
        finally:
            daemon.kill()


def look_for_devices_again() -> None:
    """Makes PortAudio list the devices again, which it otherwise does once per process."""
    try:
        sounddevice = importlib.import_module("sounddevice")
    except OSError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    sounddevice._terminate()
    sounddevice._initialize()

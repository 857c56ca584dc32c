"""A private PulseAudio daemon with a virtual microphone and speaker: real audio devices on a machine without any.

What programs play is heard with `record_monitor`; what `speak` plays is what programs hear from the microphone.
The daemon is this test's own: no D-Bus, no shared state, stopped by its process id.
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

# norewinds: without it the first audio comes up to 0.8 s late.
CONFIGURATION = """\
load-module module-null-sink sink_name=spk rate=48000 channels=2 norewinds=1
load-module module-null-sink sink_name=micin rate=48000 channels=1 norewinds=1
load-module module-remap-source master=micin.monitor source_name=mic
set-default-sink spk
set-default-source mic
load-module module-native-protocol-unix auth-anonymous=1 socket={socket}
"""
# Both devices are channels of one: what one recording of it holds on the left (the microphone) and on the right (the
# speaker) was heard at the same time, whatever becomes of it elsewhere.
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
    # The usual resampler takes away the highest tones, so that hissing sounds would not correlate with themselves.
    "--resample-method=speex-float-10",
]


class PulseAudio:
    """A running daemon. `environment` makes a child process use its devices; `folder` is where it lives."""

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
        # To a file: a daemon that inherits stdout holds whoever reads it.
        with (folder / "daemon.log").open("wb") as log:
            self._daemon = subprocess.Popen(
                ["pulseaudio", "-n", "-F", str(configuration), *FLAGS],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        go_first(self._daemon.pid)
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
        """Starts playing a sound file into the virtual microphone; the caller waits for the returned process."""
        # A large buffer: with the default, 20 ms of it go missing now and then on a busy machine.
        player = subprocess.Popen(["paplay", "-d", "micin", "--latency-msec=500", str(path)], env=self.environment)
        go_first(player.pid)
        return player

    @contextlib.contextmanager
    def record_monitor(self, path: Path) -> Iterator[None]:
        """Writes what the speaker plays to `path` while inside: PCM16 mono, 24 kHz, no header (`read_pcm`)."""
        # A small buffer, so that the file can be followed while it grows.
        with self._record("spk.monitor", path, "--latency-msec=20", "--channels=1"):
            yield

    @contextlib.contextmanager
    def record_room(self, path: Path) -> Iterator[None]:
        """Writes what is said and played in the `ROOM`: PCM16 stereo, 24 kHz, no header (`read_pcm`)."""
        # A virtual device makes its sound a block before its time, and its block is the smallest that anybody wants: a
        # microphone cannot be told that, as to ALSA a delay cannot be negative. Smaller ones starve sooner.
        with self._record("room.monitor", path, "--latency-msec=10", "--channels=2"):
            yield

    @contextlib.contextmanager
    def _record(self, source: str, path: Path, *options: str) -> Iterator[None]:
        command = ["parec", "-d", source, f"--rate={RATE}", "--format=s16le", "--raw", *options]
        with path.open("wb") as file, subprocess.Popen(command, env=self.environment, stdout=file) as recorder:
            go_first(recorder.pid)
            try:
                yield
            finally:
                recorder.terminate()

    def kill(self) -> None:
        """Takes the devices away, as if they were unplugged. Harmless when repeated."""
        self._daemon.kill()
        self._daemon.wait()


def go_first(process: int) -> None:
    """What keeps time with a sound card runs before everything else, as on any desktop. Where that is permitted."""
    with contextlib.suppress(PermissionError):
        set_priority(process, -15)


def read_pcm(path: Path) -> npt.NDArray[np.int16]:
    """The samples of a file that `record_monitor` wrote."""
    return np.frombuffer(path.read_bytes()[: path.stat().st_size // 2 * 2], "<i2")


@contextlib.contextmanager
def pulseaudio(devices: str = CONFIGURATION) -> Iterator[PulseAudio]:
    """A daemon that lives inside the block. Skips the test where PulseAudio is not installed, fails there under CI."""
    missing = {package for command, package in NEEDED.items() if shutil.which(command) is None}
    if find_library("portaudio") is None:
        missing.add("libportaudio2")
    if missing:
        reason = f"needs the system packages: {' '.join(sorted(missing))}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # A path of its own: a socket's path has at most 107 bytes, which pytest's folders may exceed.
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        daemon = PulseAudio(Path(folder), devices)
        try:
            yield daemon
        finally:
            daemon.kill()


def look_for_devices_again() -> None:
    """Make PortAudio list the devices again: it lists them once per process."""
    try:
        sounddevice = importlib.import_module("sounddevice")
    except OSError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    sounddevice._terminate()
    sounddevice._initialize()

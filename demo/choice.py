"""Which microphone and speaker to use: the machine's, or the virtual ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from demo.devices import DeviceError, Devices
from demo.soundcard import NoSoundCardError, SoundCard
from demo.virtual import VirtualDevices


def choose(*, speak: bool) -> Devices:
    """The virtual pair when asked for, or where there is no sound card; its notice then says so.

    Raises `DeviceError` where there is one that cannot be used.
    """
    if speak:
        return VirtualDevices()
    try:
        return SoundCard()
    except DeviceError as error:
        # Without the PortAudio library nobody can ask for devices, but where there are none it is not missed.
        if not isinstance(error, NoSoundCardError) and _has_sound():
            raise
        devices = VirtualDevices()
        devices.notice = "No microphone and speaker here: the bundled user talks instead, in real time and inaudibly."
        return devices


def _has_sound() -> bool:
    return sys.platform != "linux" or Path("/dev/snd").exists() or "PULSE_SERVER" in os.environ

"""Chooses between the machine's microphone and speaker and the virtual ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from demo.devices.interface import DeviceError, Devices
from demo.devices.sound_card import NoSoundCardError, SoundCard
from demo.devices.virtual import VirtualDevices


def choose_devices(*, speak: bool) -> Devices:
    """Returns the virtual devices if `speak` is set or the machine has no sound card, else the sound card.

    Raises:
        DeviceError: the machine has a sound card that cannot be used.
    """
    if speak:
        return VirtualDevices()
    try:
        return SoundCard()
    except DeviceError as error:
        # A missing PortAudio library matters only on a machine that has a sound card.
        if not isinstance(error, NoSoundCardError) and _has_sound():
            raise
        devices = VirtualDevices()
        devices.notice = (
            "No microphone or no speaker was found: the bundled user speaks instead, in real time and without sound "
            "output."
        )
        return devices


def _has_sound() -> bool:
    return sys.platform != "linux" or Path("/dev/snd").exists() or "PULSE_SERVER" in os.environ

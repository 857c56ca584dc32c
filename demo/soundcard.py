"""The machine's own microphone and speaker, through PortAudio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demo.devices import BLOCK_FRAMES, DeviceError, Devices, Listener
from demo.playback import BYTES_PER_FRAME, RATE
from demo.streamclock import MicrophoneClock, SpeakerClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

LATENCY_S = 0.1  # by default half of it, within which a busy machine may not get round to calling us


class NoSoundCardError(DeviceError):
    """This machine has no microphone or no speaker."""


class SoundCard(Devices):
    """Two streams, one in and one out: one full-duplex stream is unreliable over ALSA."""

    notice = "Use headphones: without them the agent hears itself and takes it for you."

    def __init__(self) -> None:
        """Raises `DeviceError` without the PortAudio library, `NoSoundCardError` without devices."""
        super().__init__()
        self._sounddevice = _import_sounddevice()
        self._listener: Listener | None = None
        self._streams: list[Any] = []
        self._played = SpeakerClock()
        try:
            for kind in ("input", "output"):
                self._sounddevice.query_devices(kind=kind)
        except (self._sounddevice.PortAudioError, ValueError) as error:
            raise NoSoundCardError(
                "This machine has no microphone or no speaker: connect one, or run with --speak."
            ) from error

    def start(self, listener: Listener) -> None:
        self._listener = listener
        options = {
            "samplerate": RATE,
            "channels": 1,
            "dtype": "int16",
            "blocksize": BLOCK_FRAMES,
            "latency": LATENCY_S,
        }
        try:
            self._streams = [
                self._sounddevice.RawInputStream(
                    callback=self._hear(), finished_callback=lambda: self._ended("microphone"), **options
                ),
                self._sounddevice.RawOutputStream(
                    callback=self._speak(), finished_callback=lambda: self._ended("speaker"), **options
                ),
            ]
            for stream in self._streams:
                stream.start()
        except self._sounddevice.PortAudioError as error:
            self.close()
            raise DeviceError(
                f"The sound card cannot be opened at 24 kHz ({error}): close other programs that use it, "
                "choose other default devices, or run with --speak."
            ) from error

    def close(self) -> None:
        listener, self._listener = self._listener, None
        for stream in self._streams:
            stream.close(ignore_errors=True)
        self._streams = []
        _report(self._played.rest(), listener)

    def _hear(self) -> Callable[..., None]:
        clock = MicrophoneClock()

        def callback(data: Any, frames: int, times: Any, _flags: Any) -> None:
            at = clock.time_of(times.inputBufferAdcTime, times.currentTime, frames)
            if self._listener is not None:
                self._listener.microphone(bytes(data), at)

        return callback

    def _speak(self) -> Callable[..., None]:
        def callback(data: Any, frames: int, times: Any, flags: Any) -> None:
            pcm = self._queue.take(frames)
            data[:] = pcm.ljust(frames * BYTES_PER_FRAME, b"\0")
            device_time, now = times.outputBufferDacTime, times.currentTime
            known = self._played.played(pcm, frames, device_time, now, ran_dry=flags.output_underflow)
            _report(known, self._listener)

        return callback

    def _ended(self, device: str) -> None:
        """PortAudio raises nothing when a device goes away: its stream just ends."""
        if self._listener is not None:
            self._listener.lost(DeviceError(f"The {device} was lost: reconnect it and start again."))


def _report(heard: Iterable[tuple[bytes, float]], listener: Listener | None) -> None:
    for pcm, at in heard:
        if pcm and listener is not None:
            listener.speaker(pcm, at)


def _import_sounddevice() -> ModuleType:
    try:
        import sounddevice  # noqa: PLC0415  where the PortAudio library is missing, importing it fails
    except ImportError as error:
        raise DeviceError(
            "The demo needs the sounddevice package: install it with `pip install 'langsmith-realtime[demo]'`, "
            "or run with --speak."
        ) from error
    except OSError as error:
        raise DeviceError(
            "The PortAudio library is missing: install it (Debian, Ubuntu: `apt install libportaudio2`; "
            "macOS: `brew install portaudio`), or run with --speak."
        ) from error
    assert sounddevice is not None
    return sounddevice  # type: ignore[no-any-return]

"""The machine's microphone and speaker, through PortAudio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demo.devices.interface import BLOCK_FRAMES, DeviceError, Devices, Listener
from demo.devices.playback_queue import BYTES_PER_FRAME, RATE
from demo.devices.stream_clock import MicrophoneClock, SpeakerClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

#: Twice PortAudio's default, within which a busy machine may call the callbacks too late.
LATENCY_S = 0.1


class NoSoundCardError(DeviceError):
    """The machine has no microphone or no speaker."""


class SoundCard(Devices):
    """The default input and output device, in two streams: one full-duplex stream is unreliable over ALSA."""

    notice = "Use headphones: without them the microphone picks up the agent, and the agent interrupts itself."

    def __init__(self) -> None:
        """Looks for the default devices without opening them.

        Raises:
            NoSoundCardError: there is no input or no output device.
            DeviceError: the PortAudio library or the sounddevice package is missing.
        """
        super().__init__()
        self._sounddevice = _import_sounddevice()
        self._listener: Listener | None = None
        self._streams: list[Any] = []
        self._speaker_clock = SpeakerClock()
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
                    callback=self._input_callback(),
                    finished_callback=lambda: self._stream_ended("microphone"),
                    **options,
                ),
                self._sounddevice.RawOutputStream(
                    callback=self._output_callback(), finished_callback=lambda: self._stream_ended("speaker"), **options
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
        _report(self._speaker_clock.flush(), listener)

    def _input_callback(self) -> Callable[..., None]:
        clock = MicrophoneClock()

        def callback(data: Any, frames: int, times: Any, _flags: Any) -> None:
            at = clock.block_time(times.inputBufferAdcTime, times.currentTime, frames)
            if self._listener is not None:
                self._listener.microphone_audio(bytes(data), at)

        return callback

    def _output_callback(self) -> Callable[..., None]:
        def callback(data: Any, frames: int, times: Any, flags: Any) -> None:
            pcm = self._queue.take(frames)
            data[:] = pcm.ljust(frames * BYTES_PER_FRAME, b"\0")
            device_time, current_time = times.outputBufferDacTime, times.currentTime
            blocks = self._speaker_clock.add_block(
                pcm, frames, device_time, current_time, underflow=flags.output_underflow
            )
            _report(blocks, self._listener)

        return callback

    def _stream_ended(self, device: str) -> None:
        """Reports a lost device. PortAudio raises no error in that case: the stream ends."""
        if self._listener is not None:
            self._listener.device_lost(DeviceError(f"The {device} was lost: reconnect it and start again."))


def _report(blocks: Iterable[tuple[bytes, float]], listener: Listener | None) -> None:
    for pcm, at in blocks:
        if pcm and listener is not None:
            listener.speaker_audio(pcm, at)


def _import_sounddevice() -> ModuleType:
    try:
        import sounddevice  # noqa: PLC0415  the import fails without the PortAudio library
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

"""The interface between the conversation and a microphone with a speaker, real or virtual."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from demo.devices.playback_queue import ContentPart, PlaybackQueue, Truncation

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

#: Frames that a device reads or plays at a time; 20 ms at 24 kHz.
BLOCK_FRAMES = 480


class DeviceError(Exception):
    """A device cannot be opened or was lost. The message tells the user what to do."""


class Listener(Protocol):
    """Receives every block of audio. The devices' threads call it, so its methods must neither block nor raise.

    Audio is PCM16 mono at 24 kHz. `at` is the time of a block's first frame, in seconds of `time.monotonic()`.
    """

    def microphone_audio(self, pcm: bytes, at: float) -> None:
        """Receives a block that the microphone captured at `at`."""

    def speaker_audio(self, pcm: bytes, at: float) -> None:
        """Receives a block that the speaker plays at `at`. Silence is not reported."""

    def device_lost(self, error: DeviceError) -> None:
        """A device was lost. No audio follows from it."""


class Devices(ABC):
    """A microphone, and a speaker with its playback queue. Leaving the context closes both."""

    #: A sentence for the user, shown before the conversation starts.
    notice: str | None = None
    #: Seconds after which a conversation ends unless `--seconds` says otherwise; None for no limit.
    time_limit_s: float | None = None

    def __init__(self) -> None:
        self._queue = PlaybackQueue()

    @abstractmethod
    def start(self, listener: Listener) -> None:
        """Starts to capture and to play.

        Raises:
            DeviceError: a device cannot be opened.
        """

    @abstractmethod
    def close(self) -> None:
        """Stops both devices; the listener is not called afterwards. Can be called more than once."""

    def play(self, part: ContentPart, pcm: bytes) -> None:
        """Queues audio of a reply (see `PlaybackQueue.put`)."""
        self._queue.put(part, pcm)

    def flush(self) -> list[Truncation]:
        """Drops the audio that was not played yet, and returns where each part was cut (see `PlaybackQueue.flush`)."""
        return self._queue.flush()

    @property
    def speaker_idle(self) -> bool:
        """Whether the speaker has taken all queued audio."""
        return self._queue.empty

    def agent_finished(self) -> None:  # noqa: B027  only the virtual user needs to know
        """The agent's reply is complete, and the agent waits for the user. The speaker may still be playing."""

    @property
    def user_left(self) -> bool:
        """Whether the user has ended the conversation. A person does that with Ctrl-C instead."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

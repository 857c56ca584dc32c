"""What the conversation asks of a microphone and a speaker, whether they are real or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from demo.playback import Cut, Part, PlayQueue

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

BLOCK_FRAMES = 480  # 20 ms


class DeviceError(Exception):
    """A device cannot be opened or went away. Its text is a sentence for the user, with the remedy."""


class Listener(Protocol):
    """Is told of every block, from the devices' own threads: it must neither block nor raise.

    Audio is PCM16 mono at 24 kHz; times are `time.monotonic()` seconds of a block's first frame.
    """

    def microphone(self, pcm: bytes, at: float) -> None:
        """What was said, and when it reached the microphone."""

    def speaker(self, pcm: bytes, at: float) -> None:
        """What is heard from the speaker, and when. Silence is not reported."""

    def lost(self, error: DeviceError) -> None:
        """A device went away; nothing follows."""


class Devices(ABC):
    """A microphone and a speaker with its play queue. Leaving the context closes both."""

    notice: str | None = None  # what the user should know before talking
    longest_s: float | None = None  # when a conversation ends at the latest, unless the user says otherwise

    def __init__(self) -> None:
        self._queue = PlayQueue()

    @abstractmethod
    def start(self, listener: Listener) -> None:
        """Begins to listen and to play. Raises `DeviceError`."""

    @abstractmethod
    def close(self) -> None:
        """Stops both; the listener is told nothing afterwards. Harmless when repeated."""

    def play(self, part: Part, pcm: bytes) -> None:
        """Queues a reply's audio (see `PlayQueue.put`)."""
        self._queue.put(part, pcm)

    def flush(self) -> list[Cut]:
        """Silences the speaker at once and says which parts were cut (see `PlayQueue.flush`)."""
        return self._queue.flush()

    @property
    def quiet(self) -> bool:
        """Whether the speaker has played all it was given."""
        return self._queue.empty

    def turn_over(self) -> None:  # noqa: B027  only a user who is not a person needs to be told
        """The agent has said all it wants to say and waits for the user."""

    @property
    def finished(self) -> bool:
        """Whether the user has left. A person says so with Ctrl-C."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

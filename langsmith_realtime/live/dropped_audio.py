"""Sound that was dropped, as the silence it leaves: a chunk that is not kept is still as long as it was.

Pure. While too much waits only lengths are remembered; the silence takes the chunks' places in front of
what is recorded next. Times are seconds since the conversation opened.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from langsmith_realtime.core.protocol.audio_formats import AGENT, SILENT, USER, Format
from langsmith_realtime.core.protocol.events import FrameError, parse
from langsmith_realtime.trace.run_trees.nesting import ParentRun

#: Chunks that came within so many seconds, and that many bytes, become one.
TOGETHER_S, TOGETHER_BYTES = 0.5, 200_000


@dataclass(slots=True)
class Gap:
    """``size`` bytes of one channel's sound that came at ``t`` or, of the user's, until then.

    ``frame`` is the event they came in, without them and all that is not needed; None when they were fed.
    """

    channel: int
    t: float
    size: int
    frame: dict[str, Any] | None
    began: float


class DroppedAudio:
    """The sound that one conversation lost, until it is handed over. Any thread may call anything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: What is to be handed over.
        self.waiting: list[Gap] = []

    def sent(self, frame: object, t: float) -> None:
        """An ``input_audio_buffer.append`` was dropped."""
        with suppress(FrameError):  # it would have been none, and has no length
            body = parse(frame).body
            self._add(Gap(USER, t, _decoded(body.get("audio")), {"type": body["type"]}, t))

    def received(self, frame: object, t: float, *_: object) -> None:
        """A ``response.output_audio.delta`` was dropped."""
        with suppress(FrameError):  # as above
            body = parse(frame).body
            size = _decoded(body.get("delta"))
            self._add(Gap(AGENT, t, size, {key: value for key, value in body.items() if key in _PLACE}, t))

    def user_fed(self, pcm: bytes, t: float, at: float | None) -> None:
        """Sound of the user's that the application fed was dropped; where it knows its time, nothing moves without."""
        if at is None:
            self._add(Gap(USER, t, len(pcm), None, t))

    def agent_fed(self, pcm: bytes, t: float, at: float | None) -> None:
        """The same, for the agent's."""
        if at is None:
            self._add(Gap(AGENT, t, len(pcm), None, t))

    def played(self, item_id: str, ms: float, t: float, at: float) -> None:
        """What was told of the playback was dropped: that is no sound, and leaves no silence."""

    def take(self) -> list[Gap]:
        """What is to be handed over."""
        with self._lock:
            gaps, self.waiting = self.waiting, []
        return gaps

    def give_back(self, gaps: list[Gap]) -> None:
        """They could not be handed over."""
        with self._lock:
            self.waiting = [*gaps, *self.waiting]

    def _add(self, gap: Gap) -> None:
        if not gap.size:
            return
        with self._lock:
            last = next((known for known in reversed(self.waiting[-2:]) if known.channel == gap.channel), None)
            if (
                last is not None
                and last.frame == gap.frame
                and gap.t - last.began <= TOGETHER_S
                and last.size + gap.size <= TOGETHER_BYTES
            ):
                last.size += gap.size
                # The user's chunk ended when it was sent, the agent's begins when it arrived.
                last.t = gap.t if gap.channel == USER else last.t
            else:
                self.waiting.append(gap)


#: What of a delta says where its sound belongs.
_PLACE = ("type", "response_id", "item_id", "output_index", "content_index")


class Session(Protocol):
    """What takes frames and sound, as the worker's side of a conversation does."""

    def server_frame(self, frame: object, t: float, ref: ParentRun | None, agent_speaking: bool | None) -> None: ...
    def client_frame(self, frame: object, t: float) -> None: ...
    def user_audio(self, pcm: bytes, t: float, at: float | None) -> None: ...
    def agent_audio(self, pcm: bytes, t: float, at: float | None) -> None: ...
    def format(self, channel: int, *, fed: bool) -> Format: ...


def fill_before(gaps: list[Gap], session: Session, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Have silence take the place of the sound, and then do what came after it."""
    try:
        _fill(gaps, session)
    finally:
        work(*arguments)


def _fill(gaps: list[Gap], session: Session) -> None:
    for gap in sorted(gaps, key=lambda gap: gap.t):
        encoding = session.format(gap.channel, fed=gap.frame is None).encoding
        silence = SILENT[encoding] * gap.size
        if gap.frame is None:
            (session.user_audio if gap.channel == USER else session.agent_audio)(silence, gap.t, None)
        elif gap.channel == USER:
            session.client_frame({**gap.frame, "audio": base64.b64encode(silence).decode()}, gap.t)
        else:
            session.server_frame({**gap.frame, "delta": base64.b64encode(silence).decode()}, gap.t, None, None)


def _decoded(payload: object) -> int:
    """How many bytes the base64 stands for."""
    if not isinstance(payload, str):
        return 0
    return len(payload) * 3 // 4 - payload[-2:].count("=")

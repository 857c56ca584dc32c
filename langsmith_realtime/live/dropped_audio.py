"""Replaces audio that was dropped under load by silence of equal length, so that later audio keeps its place.

While the queue is full, only the lengths of the dropped chunks are kept. The silence is written before the next entry
that the conversation puts into the queue.

Times are seconds since the conversation opened. The module reads no clock and does no I/O.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from langsmith_realtime.core.protocol.audio_formats import AGENT, SILENT_BYTE, USER, Format
from langsmith_realtime.core.protocol.events import FrameError, parse
from langsmith_realtime.trace.run_trees.nesting import ParentRun

#: Dropped chunks of one channel become one gap up to this length, in seconds between arrivals and in bytes.
MAX_GAP_S, MAX_GAP_BYTES = 0.5, 200_000


@dataclass(slots=True)
class Gap:
    """Dropped audio of one channel.

    Attributes:
        channel: ``USER`` or ``AGENT``.
        t: when the user's last chunk was sent, or when the agent's first chunk arrived.
        size: number of bytes in the encoding of the channel.
        frame: fields of the dropped event that say where its audio belongs; None for audio fed by the application.
        first_t: when the first chunk was sent or arrived.
    """

    channel: int
    t: float
    size: int
    frame: dict[str, Any] | None
    first_t: float


class DroppedAudio:
    """The gaps of one conversation that wait to be filled with silence. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.gaps: list[Gap] = []

    def add_append(self, frame: object, t: float) -> None:
        """Note that an ``input_audio_buffer.append`` event was dropped."""
        with suppress(FrameError):  # a malformed frame has no audio
            body = parse(frame).body
            self._add(Gap(USER, t, _decoded_size(body.get("audio")), {"type": body["type"]}, t))

    def add_delta(self, frame: object, t: float, *_: object) -> None:
        """Note that a ``response.output_audio.delta`` event was dropped."""
        with suppress(FrameError):  # a malformed frame has no audio
            body = parse(frame).body
            size = _decoded_size(body.get("delta"))
            self._add(Gap(AGENT, t, size, {key: value for key, value in body.items() if key in _PLACE_FIELDS}, t))

    def add_user_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        """Note that a chunk of ``record_user_audio`` was dropped; a chunk with a time needs no silence."""
        if at is None:
            self._add(Gap(USER, t, len(pcm), None, t))

    def add_agent_audio(self, pcm: bytes, t: float, at: float | None) -> None:
        """Note that a chunk of ``record_agent_audio`` was dropped; a chunk with a time needs no silence."""
        if at is None:
            self._add(Gap(AGENT, t, len(pcm), None, t))

    def ignore_playback(self, item_id: str, ms: float, t: float, at: float) -> None:
        """Do nothing: a playback position that was dropped is no audio and leaves no gap."""

    def take(self) -> list[Gap]:
        """Return the gaps and forget them."""
        with self._lock:
            gaps, self.gaps = self.gaps, []
        return gaps

    def put_back(self, gaps: list[Gap]) -> None:
        """Put gaps that :meth:`take` returned in front of the others: there was no room for their silence."""
        with self._lock:
            self.gaps = [*gaps, *self.gaps]

    def _add(self, gap: Gap) -> None:
        if not gap.size:
            return
        with self._lock:
            last = next((known for known in reversed(self.gaps[-2:]) if known.channel == gap.channel), None)
            if (
                last is not None
                and last.frame == gap.frame
                and gap.t - last.first_t <= MAX_GAP_S
                and last.size + gap.size <= MAX_GAP_BYTES
            ):
                last.size += gap.size
                # The user's chunk ended when it was sent, the agent's begins when it arrived.
                last.t = gap.t if gap.channel == USER else last.t
            else:
                self.gaps.append(gap)


#: Fields of an audio delta that say where its audio belongs.
_PLACE_FIELDS = ("type", "response_id", "item_id", "output_index", "content_index")


class Session(Protocol):
    """The inputs of a conversation on the worker thread through which silence is written."""

    def server_frame(self, frame: object, t: float, ref: ParentRun | None, agent_speaking: bool | None) -> None: ...
    def client_frame(self, frame: object, t: float) -> None: ...
    def user_audio(self, pcm: bytes, t: float, at: float | None) -> None: ...
    def agent_audio(self, pcm: bytes, t: float, at: float | None) -> None: ...
    def format(self, channel: int, *, fed: bool) -> Format: ...


def call_after_silence(
    gaps: list[Gap], session: Session, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    """Write the silence of the gaps to the session, then call ``function(*arguments)``, also if the writing raises."""
    try:
        _write_silence(gaps, session)
    finally:
        function(*arguments)


def _write_silence(gaps: list[Gap], session: Session) -> None:
    for gap in sorted(gaps, key=lambda gap: gap.t):
        encoding = session.format(gap.channel, fed=gap.frame is None).encoding
        silence = SILENT_BYTE[encoding] * gap.size
        if gap.frame is None:
            (session.user_audio if gap.channel == USER else session.agent_audio)(silence, gap.t, None)
        elif gap.channel == USER:
            session.client_frame({**gap.frame, "audio": base64.b64encode(silence).decode()}, gap.t)
        else:
            session.server_frame({**gap.frame, "delta": base64.b64encode(silence).decode()}, gap.t, None, None)


def _decoded_size(payload: object) -> int:
    """Return how many bytes a base64 text encodes, 0 for a value that is no text."""
    if not isinstance(payload, str):
        return 0
    return len(payload) * 3 // 4 - payload[-2:].count("=")

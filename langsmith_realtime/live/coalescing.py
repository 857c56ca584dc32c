"""Joins consecutive microphone chunks, and consecutive deltas, before the journal and the session process them.

Processing costs per chunk, not per byte, and a microphone sends 50 chunks a second.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from pybase64 import b64decode

from langsmith_realtime.core.audio.user.microphone import Microphone
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER, AudioBytes, Format
from langsmith_realtime.core.protocol.events import APPEND, Event, FrameError, parse
from langsmith_realtime.live.bounded_queue import Chunk
from langsmith_realtime.recording.silencing import Span

_DELTA = "response.output_audio.delta"
#: Deltas whose texts are joined by concatenation.
_TEXT_DELTAS = frozenset(
    {
        "response.output_audio_transcript.delta",
        "response.output_text.delta",
        "response.function_call_arguments.delta",
        "conversation.item.input_audio_transcription.delta",
    }
)
#: Prefixes of server events that apply to the microphone audio sent before them.
_MICROPHONE_EVENTS = ("input_audio_buffer.", "session.")


class Coalescer:
    """Passes frames and audio on to a session; consecutive microphone chunks and consecutive deltas as one.

    Microphone chunks: a chunk was captured when it was sent or earlier, never later. So the chunk with the earliest
    origin (time sent minus the length of the audio up to its end) dates all of them. A chunk whose origin is more than
    :attr:`PAUSE_S` seconds later follows a pause and starts a new group.

    Deltas: an audio delta continues the previous ones of its item and content part if it arrives before their audio
    would end, played from the arrival of the first. Consecutive text deltas of one content part continue each other.

    Order: other calls are passed on after everything received before them. Microphone chunks and deltas do not wait for
    each other, and a server event that does not concern the microphone may overtake microphone audio by up to
    :attr:`MAX_DELAY_S`, which is less than :class:`~langsmith_realtime.core.audio.tracks.Tracks` tolerates.

    Args:
        session: receives frames, and audio decoded from base64; audio that is not valid base64 stays as it is.
        schedule: runs a function once at the worker's next tick. Without it, frames wait for later frames.
    """

    #: Length of the audio joined into one chunk, in seconds.
    JOINED_S = 1.0
    #: Longest time that a frame may wait, in seconds of the conversation.
    MAX_DELAY_S = 1.1
    #: Delay of a chunk, in seconds, from which it may follow a pause. The recording ignores smaller delays.
    PAUSE_S = Microphone.MIN_PAUSE_S

    def __init__(self, session: Any, schedule: Callable[[Callable[[], None]], None] | None = None) -> None:
        self._session = session
        self._schedule = schedule
        self._is_flush_scheduled = False
        # Microphone chunks that wait to be joined
        self._chunks: list[str | AudioBytes] = []
        self._bytes_per_s = 0.0
        self._chunks_s = 0.0  # their length
        self._origin = 0.0  # latest possible begin of the first one
        # Deltas that wait to be joined
        self._deltas: list[_Delta] = []
        self._last_delta: dict[str, _Delta] = {}  # by event type

    def format(self, channel: int, *, fed: bool) -> Format:
        """Return the session's format of a channel. Waiting frames go on waiting: only events change it."""
        audio_format: Format = self._session.format(channel, fed=fed)
        return audio_format

    def silenced_spans(self, channel: int) -> list[Span]:
        """Return the session's silenced spans of a channel. Waiting frames go on waiting."""
        spans: list[Span] = self._session.silenced_spans(channel)
        return spans

    def microphone_chunks(self, chunks: Iterator[Chunk]) -> None:
        """Join microphone chunks to the earlier ones. After an exception, call it again with the rest of them."""
        for sent, t, is_text in chunks:
            audio = _audio_in_text(sent) if is_text else sent
            size = _decoded_size(audio) if audio else 0
            if audio and size:
                self._add_chunk(audio, size, t)
            else:
                self.client_frame(sent if is_text else {"type": APPEND, "audio": sent}, t)

    def microphone(self, audio: AudioBytes, t: float) -> None:
        """Join decoded microphone audio, whose last chunk was sent at ``t``, to the chunks before it."""
        self._add_chunk(audio, len(audio), t)

    def client_frame(self, frame: object, t: float) -> None:
        """Join a microphone chunk to those before it, or pass on another event; the frame was sent at ``t``."""
        chunk = _chunk_audio(frame)
        size = 0 if chunk is None else _decoded_size(chunk)
        if chunk is None or not size:
            self._flush()
            self._session.client_frame(frame, t)
        else:
            self._add_chunk(chunk, size, t)

    def server_frame(self, frame: object, t: float, ref: Any, agent_speaking: bool | None) -> None:
        """Join a delta to those before it, or pass on another event; the frame arrived at ``t``."""
        try:
            event = parse(frame)
        except FrameError:
            event = None
        if self._chunks and t > self._origin + self.MAX_DELAY_S:
            self._flush_chunks()
        if event is not None and event.is_delta:
            if self._deltas and t > self._deltas[0].t + self.JOINED_S:
                self._flush_deltas()
            self._add_delta(event, t)
            if not self._is_flush_scheduled:
                self._schedule_flush()
            return
        if event is None or event.kind.startswith(_MICROPHONE_EVENTS):
            self._flush_chunks()
        self._flush_deltas()
        self._session.server_frame(frame if event is None else event.body, t, ref, agent_speaking)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        if not callable(found):
            return found

        @wraps(found)
        def flush_and_call(*arguments: Any, **keywords: Any) -> Any:
            self._flush()
            return found(*arguments, **keywords)

        self.__dict__[name] = flush_and_call
        return flush_and_call

    def _add_chunk(self, chunk: str | AudioBytes, size: int, t: float) -> None:
        """Add a microphone chunk of ``size`` decoded bytes."""
        if self._deltas and t > self._deltas[0].t + self.JOINED_S:
            self._flush_deltas()
        if not self._chunks:
            self._bytes_per_s = self._bytes_per_second(USER)
        seconds = size / self._bytes_per_s
        origin = t - seconds - self._chunks_s
        if self._chunks and origin > self._origin + self.PAUSE_S:
            self._flush_chunks()
            origin = t - seconds
        if not self._chunks or origin < self._origin:
            self._origin = origin
        self._chunks.append(chunk)
        self._chunks_s += seconds
        if self._chunks_s >= self.JOINED_S:
            self._flush_chunks()
        elif not self._is_flush_scheduled:
            self._schedule_flush()

    def _add_delta(self, event: Event, t: float) -> None:
        delta = _Delta(event.body, t)
        piece = event.body.get("delta")
        is_audio = event.kind == _DELTA
        if not isinstance(piece, (str, AudioBytes)) or not (is_audio or event.kind in _TEXT_DELTAS):
            self._deltas.append(delta)
            return
        last = self._last_delta.get(event.kind)
        if last is None or t > last.t + last.seconds or not last.is_continued_by(delta):
            last = self._last_delta[event.kind] = delta
            self._deltas.append(delta)
        last.pieces.append(piece)
        last.is_audio = is_audio
        last.seconds += _decoded_size(piece) / self._bytes_per_second(AGENT) if is_audio else math.inf

    def _bytes_per_second(self, channel: int) -> float:
        audio_format: Format = self._session.format(channel, fed=False)
        return float(audio_format.rate * audio_format.bytes_per_frame)

    def _schedule_flush(self) -> None:
        if self._schedule is not None:
            self._is_flush_scheduled = True
            self._schedule(self._run_scheduled_flush)

    def _run_scheduled_flush(self) -> None:
        self._is_flush_scheduled = False
        self._flush()

    def _flush(self) -> None:
        self._flush_chunks()
        self._flush_deltas()

    def _flush_chunks(self) -> None:
        if not self._chunks:
            return
        chunks, t = self._chunks, self._origin + self._chunks_s
        self._chunks, self._chunks_s = [], 0.0
        audio = _decode_joined(chunks)
        if audio is not None:
            self._session.microphone(AudioBytes(audio), t)
            return
        for chunk in chunks:  # one is not valid base64, and the session reports it alone
            self._session.client_frame({"type": APPEND, "audio": chunk}, t)

    def _flush_deltas(self) -> None:
        if not self._deltas:
            return
        deltas, self._deltas, self._last_delta = self._deltas, [], {}
        for delta in deltas:
            for body in delta.bodies():
                self._session.server_frame(body, delta.t, None, None)


@dataclass(slots=True)
class _Delta:
    """A delta event, and the payloads of the deltas that continue it.

    Attributes:
        body: the first event.
        t: when the first event arrived, in seconds since the conversation opened.
        pieces: payloads of the first event and of those that continue it.
        seconds: time after ``t`` during which a delta may continue it: the length of its audio, or infinity for text.
        is_audio: whether the payloads are audio.
    """

    body: dict[str, Any]
    t: float
    pieces: list[str | AudioBytes] = field(default_factory=list)
    seconds: float = 0.0
    is_audio: bool = False

    def is_continued_by(self, other: _Delta) -> bool:
        """Whether the other delta has the type, the response, the item and the content part of this one."""
        mine, others = self.body, other.body
        return (
            mine.get("item_id") == others.get("item_id")
            and mine.get("response_id") == others.get("response_id")
            and mine.get("content_index") == others.get("content_index")
            and mine["type"] == others["type"]
        )

    def bodies(self) -> Iterator[dict[str, Any]]:
        """Yield one event with the joined payload, or one event for each payload if one is not valid base64."""
        if not self.pieces:
            yield self.body
        elif not self.is_audio:
            yield {**self.body, "delta": "".join(map(str, self.pieces))}
        else:
            audio = _decode_joined(self.pieces)
            for piece in self.pieces if audio is None else [AudioBytes(audio)]:
                yield {**self.body, "delta": piece}


def _chunk_audio(frame: object) -> str | AudioBytes | None:
    """Return the audio of an ``input_audio_buffer.append`` event; None for other frames, or if it has more fields."""
    if type(frame) is dict:
        body = frame
    else:
        try:
            body = parse(frame).body
        except FrameError:
            return None
    if len(body) != 2 or body.get("type") != APPEND:
        return None
    chunk = body.get("audio")
    return chunk if isinstance(chunk, (str, AudioBytes)) else None


#: JSON text before and after the audio of an append event, with and without spaces between its tokens.
_BEFORE = (f'{{"type":"{APPEND}","audio":"', f'{{"type": "{APPEND}", "audio": "')
_AFTER = '"}'


def _audio_in_text(text: str) -> str | None:
    """Return the base64 audio in an append event's JSON text; None if only a JSON parser can find it."""
    for before in _BEFORE:
        if text.startswith(before) and text.endswith(_AFTER):
            audio = text[len(before) : -len(_AFTER)]
            return None if '"' in audio or "\\" in audio else audio
    return None


def _decoded_size(chunk: str | AudioBytes) -> int:
    """Return the number of bytes that a chunk has after base64 decoding."""
    if isinstance(chunk, AudioBytes):
        return len(chunk)
    size = len(chunk) * 3 // 4
    return size if chunk[-1:] != "=" else size - 1 - chunk.endswith("==")


def _decode_joined(chunks: Sequence[object]) -> bytes | None:
    """Decode chunks from base64 and join them; return None if a chunk cannot be decoded."""
    try:
        if set(map(type, chunks)) == {str} and not any(length % 4 for length in set(map(len, chunks))):  # type: ignore[arg-type]
            text = "".join(chunks)  # type: ignore[arg-type]
            if "=" not in text[:-2]:
                return b64decode(text, validate=True)  # one call for all chunks is faster
        return b"".join(
            chunk.data if isinstance(chunk, AudioBytes) else b64decode(chunk, validate=True)  # type: ignore[arg-type]
            for chunk in chunks
        )
    except (binascii.Error, ValueError, TypeError):
        return None

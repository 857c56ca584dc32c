"""Sound, made fewer before anything is done with it: each piece costs the same, however short it is."""

from __future__ import annotations

import binascii
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from pybase64 import b64decode

from langsmith_realtime.core.audio.user.microphone import Microphone
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER, Format, Sound
from langsmith_realtime.core.protocol.events import APPEND, Event, FrameError, parse
from langsmith_realtime.live.bounded_queue import Chunk
from langsmith_realtime.recording.silencing import Span

_DELTA = "response.output_audio.delta"
#: Deltas of text, which is whole when one's is put behind the other's.
_TEXTS = frozenset(
    {
        "response.output_audio_transcript.delta",
        "response.output_text.delta",
        "response.function_call_arguments.delta",
        "conversation.item.input_audio_transcription.delta",
    }
)
#: How the events begin that say something of the microphone's sound, as it was then.
_OF_THE_MICROPHONE = ("input_audio_buffer.", "session.")


class Coalescing:
    """Stands in front of a session, and hands on pieces of sound that go on from one another as one, decoded.

    A chunk of the microphone was captured when it was handed over, or earlier. Of several, the one that came
    soonest for what was before it tells the most: together they are as if handed over as soon as that, and
    nothing is lost that the recording goes by. One that comes more than :attr:`LATE` seconds later may follow
    a pause, and begins anew. A delta of the agent's that comes before the one before it can have been played is
    played right after it, whenever it came; deltas of text are one from the beginning.

    Whatever else happens to the session happens after what came before it. But the microphone and the agent's
    deltas do not wait for each other, and what an event says that is not about the microphone may overtake that:
    by :attr:`LONGEST` seconds, which :class:`~langsmith_realtime.core.audio.tracks.Tracks` counts on.

    Args:
        session: what takes frames and sound.
        later: has work done soon, if nothing may wait longer than that.
    """

    #: Seconds of sound that become one piece.
    SPAN = 1.0
    #: The longest that a frame may wait, in seconds of the conversation.
    LONGEST = 1.1
    #: What is no pause to who places it is none here.
    LATE = Microphone.SLACK

    def __init__(self, session: Any, later: Callable[[Callable[[], None]], None] | None = None) -> None:
        self._session = session
        self._later = later
        self._is_watched = False  # somebody was asked to look
        self._chunks: list[str | Sound] = []  # of the microphone
        self._rate = 0.0  # of those, in bytes per second
        self._sent = 0.0  # seconds of them
        self._origin = 0.0  # when the first of them began at the latest
        self._deltas: list[_Delta] = []
        self._open: dict[str, _Delta] = {}  # of those, the last of each kind that others may go on from

    def format(self, channel: int, *, fed: bool) -> Format:
        """As the session's, which only events change."""
        form: Format = self._session.format(channel, fed=fed)
        return form

    def silenced_spans(self, channel: int) -> list[Span]:
        """As the session's."""
        spans: list[Span] = self._session.silenced_spans(channel)
        return spans

    def chunks(self, sent: Iterator[Chunk]) -> None:
        """Chunks of the microphone, one after the other; after a failure, call again with the same iterator."""
        for as_sent, t, is_text in sent:
            audio = _written_in(as_sent) if is_text else as_sent
            size = _bytes(audio) if audio else 0
            if audio and size:
                self._gather(audio, size, t)
            else:
                self.client_frame(as_sent if is_text else {"type": APPEND, "audio": as_sent}, t)

    def microphone(self, sound: Sound, t: float) -> None:
        """The same, decoded."""
        self._gather(sound, len(sound), t)

    def client_frame(self, frame: object, t: float) -> None:
        chunk = _chunk(frame)
        size = 0 if chunk is None else _bytes(chunk)
        if chunk is None or not size:
            self._hand_on()
            self._session.client_frame(frame, t)
        else:
            self._gather(chunk, size, t)

    def server_frame(self, frame: object, t: float, ref: Any, agent_speaking: bool | None) -> None:
        try:
            event = parse(frame)
        except FrameError:
            event = None
        if self._chunks and t > self._origin + self.LONGEST:
            self._hand_on_chunks()
        if event is not None and event.is_delta:
            if self._deltas and t > self._deltas[0].t + self.SPAN:
                self._hand_on_deltas()
            self._delta(event, t)
            if not self._is_watched:
                self._watch()
            return
        if event is None or event.kind.startswith(_OF_THE_MICROPHONE):
            self._hand_on_chunks()
        self._hand_on_deltas()
        self._session.server_frame(frame if event is None else event.body, t, ref, agent_speaking)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        if not callable(found):
            return found

        @wraps(found)
        def after_what_came_before(*arguments: Any, **more: Any) -> Any:
            self._hand_on()
            return found(*arguments, **more)

        self.__dict__[name] = after_what_came_before
        return after_what_came_before

    def _gather(self, chunk: str | Sound, size: int, t: float) -> None:
        """Add a chunk of the microphone, of so many bytes when it is decoded."""
        if self._deltas and t > self._deltas[0].t + self.SPAN:
            self._hand_on_deltas()
        if not self._chunks:
            self._rate = self._bytes_per_second(USER)
        seconds = size / self._rate
        origin = t - seconds - self._sent
        if self._chunks and origin > self._origin + self.LATE:
            self._hand_on_chunks()
            origin = t - seconds
        if not self._chunks or origin < self._origin:
            self._origin = origin
        self._chunks.append(chunk)
        self._sent += seconds
        if self._sent >= self.SPAN:
            self._hand_on_chunks()
        elif not self._is_watched:
            self._watch()

    def _delta(self, event: Event, t: float) -> None:
        delta = _Delta(event.body, t)
        piece = event.body.get("delta")
        is_sound = event.kind == _DELTA
        if not isinstance(piece, (str, Sound)) or not (is_sound or event.kind in _TEXTS):
            self._deltas.append(delta)
            return
        last = self._open.get(event.kind)
        if last is None or t > last.t + last.seconds or not last.goes_on_with(delta):
            last = self._open[event.kind] = delta
            self._deltas.append(delta)
        last.pieces.append(piece)
        last.is_sound = is_sound
        last.seconds += _bytes(piece) / self._bytes_per_second(AGENT) if is_sound else math.inf

    def _bytes_per_second(self, channel: int) -> float:
        form: Format = self._session.format(channel, fed=False)
        return float(form.rate * form.bytes_per_frame)

    def _watch(self) -> None:
        if self._later is not None:
            self._is_watched = True
            self._later(self._look)

    def _look(self) -> None:
        self._is_watched = False
        self._hand_on()

    def _hand_on(self) -> None:
        self._hand_on_chunks()
        self._hand_on_deltas()

    def _hand_on_chunks(self) -> None:
        if not self._chunks:
            return
        chunks, t = self._chunks, self._origin + self._sent
        self._chunks, self._sent = [], 0.0
        sound = _decoded(chunks)
        if sound is not None:
            self._session.microphone(Sound(sound), t)
            return
        for audio in chunks:  # what is no base64 is not together, either
            self._session.client_frame({"type": APPEND, "audio": audio}, t)

    def _hand_on_deltas(self) -> None:
        if not self._deltas:
            return
        deltas, self._deltas, self._open = self._deltas, [], {}
        for delta in deltas:
            for body in delta.bodies():
                self._session.server_frame(body, delta.t, None, None)


@dataclass(slots=True)
class _Delta:
    """A delta's frame and when it came (seconds), with what those carry that go on from it, and for how many seconds
    such may come."""

    body: dict[str, Any]
    t: float
    pieces: list[str | Sound] = field(default_factory=list)
    seconds: float = 0.0
    is_sound: bool = False

    def goes_on_with(self, other: _Delta) -> bool:
        """Whether that one belongs to the same piece of speech."""
        mine, its = self.body, other.body
        return (
            mine.get("item_id") == its.get("item_id")
            and mine.get("response_id") == its.get("response_id")
            and mine.get("content_index") == its.get("content_index")
            and mine["type"] == its["type"]
        )

    def bodies(self) -> Iterator[dict[str, Any]]:
        """The frame, with all of it; or as many as there are where their sound is none."""
        if not self.pieces:
            yield self.body
        elif not self.is_sound:
            yield {**self.body, "delta": "".join(map(str, self.pieces))}
        else:
            sound = _decoded(self.pieces)
            for piece in self.pieces if sound is None else [Sound(sound)]:
                yield {**self.body, "delta": piece}


def _chunk(frame: object) -> str | Sound | None:
    """What a chunk of the microphone carries; None for a frame that is none, or says more."""
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
    return chunk if isinstance(chunk, (str, Sound)) else None


#: How the text of a chunk begins, as JSON's common writers write it, and how it ends.
_BEFORE = (f'{{"type":"{APPEND}","audio":"', f'{{"type": "{APPEND}", "audio": "')
_AFTER = '"}'


def _written_in(text: str) -> str | None:
    """What the JSON text of a chunk carries, where that can be told without reading all of it."""
    for before in _BEFORE:
        if text.startswith(before) and text.endswith(_AFTER):
            audio = text[len(before) : -len(_AFTER)]
            return None if '"' in audio or "\\" in audio else audio
    return None


def _bytes(chunk: str | Sound) -> int:
    """How many bytes it stands for."""
    if isinstance(chunk, Sound):
        return len(chunk)
    size = len(chunk) * 3 // 4
    return size if chunk[-1:] != "=" else size - 1 - chunk.endswith("==")


def _decoded(chunks: Sequence[object]) -> bytes | None:
    """What base64 stands for, or was decoded before, one after the other; None when one of them is neither."""
    try:
        if set(map(type, chunks)) == {str} and not any(length % 4 for length in set(map(len, chunks))):  # type: ignore[arg-type]
            text = "".join(chunks)  # type: ignore[arg-type]
            if "=" not in text[:-2]:
                return b64decode(text, validate=True)  # at once, which is faster
        return b"".join(
            chunk.data if isinstance(chunk, Sound) else b64decode(chunk, validate=True)  # type: ignore[arg-type]
            for chunk in chunks
        )
    except (binascii.Error, ValueError, TypeError):
        return None

"""Sound, made fewer before anything is done with it: each piece costs the same, however short it is."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from pybase64 import b64decode

from langsmith_realtime.audio.formats import Format, Sound
from langsmith_realtime.audio.silences import Span
from langsmith_realtime.audio.tracks import AGENT, USER
from langsmith_realtime.events import Event, FrameError, parse

_APPEND, _DELTA = "input_audio_buffer.append", "response.output_audio.delta"


class Gathering:
    """Stands in front of a session, and hands on pieces of sound that go on from one another as one, decoded.

    A chunk of the microphone was captured when it was handed over, or earlier. Of several, the one that came
    soonest for what was before it tells the most: together they are as if handed over as soon as that, and
    nothing is lost that the recording goes by. One that comes more than :attr:`LATE` seconds later may follow
    a pause, and begins anew. A delta of the agent's that comes before the one before it can have been played is
    played right after it, whenever it came.

    Whatever else happens to the session happens after what came before it, but for other deltas, which may
    overtake each other by :attr:`SPAN` seconds.

    Args:
        session: what takes frames and sound.
        seconds: the microphone's sound that may wait for what comes next.
        later: has work done some time after :attr:`SPAN` seconds, if nothing may wait longer than that.
    """

    SPAN = 0.1
    LATE = 0.005

    def __init__(self, session: Any, seconds: float, later: Callable[[Callable[[], None]], None] | None = None) -> None:
        self._session = session
        self._seconds = seconds
        self._later = later
        self._watched: object = None  # the first of what waited when somebody was asked to look
        self._chunks: list[str | bytes] = []  # of the microphone
        self._rate = 0.0  # of those, in bytes per second
        self._sent = 0.0  # seconds of them
        self._origin = 0.0  # when the first of them began at the latest
        self._deltas: list[_Delta] = []
        self._speaking: _Delta | None = None  # the last of them that has sound

    def format(self, channel: int, *, fed: bool) -> Format:
        """As the session's, which only events change."""
        form: Format = self._session.format(channel, fed=fed)
        return form

    def silent(self, channel: int) -> list[Span]:
        """As the session's."""
        spans: list[Span] = self._session.silent(channel)
        return spans

    def client_frame(self, frame: object, t: float) -> None:
        chunk = _chunk(frame)
        size = 0 if chunk is None else _bytes(chunk)
        if chunk is None or not size:
            self._hand_on()
            self._session.client_frame(frame, t)
            return
        if self._deltas and t > self._deltas[0].t + self.SPAN:
            self._hand_on()
        if not self._chunks:
            self._rate = self._bytes_per_second(USER)
        seconds = size / self._rate
        origin = t - seconds - self._sent
        if self._chunks and origin > self._origin + self.LATE:
            self._hand_on()
            origin = t - seconds
        if not self._chunks or origin < self._origin:
            self._origin = origin
        self._chunks.append(chunk)
        self._sent += seconds
        if self._sent >= self._seconds:
            self._hand_on()
        elif self._watched is None:
            self._watch()

    def server_frame(self, frame: object, t: float, ref: Any, agent_speaking: bool | None) -> None:
        try:
            event = parse(frame)
        except FrameError:
            event = None
        if event is None or not event.is_delta:
            self._hand_on()
            self._session.server_frame(frame if event is None else event.body, t, ref, agent_speaking)
            return
        began = self._deltas[0].t if self._deltas else self._origin + self._sent if self._chunks else t
        if t > began + self.SPAN:
            self._hand_on()
        self._delta(event, t)
        if self._watched is None:
            self._watch()

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

    def _delta(self, event: Event, t: float) -> None:
        sound = _decoded([event.body.get("delta")]) if event.kind == _DELTA else None
        delta = _Delta(event.body, t)
        if sound is None:
            self._deltas.append(delta)
            return
        last = self._speaking
        if last is None or t > last.t + last.seconds or not last.goes_on_with(delta):
            last = self._speaking = delta
            self._deltas.append(delta)
        last.sounds.append(sound)
        last.seconds += len(sound) / self._bytes_per_second(AGENT)

    def _bytes_per_second(self, channel: int) -> float:
        form: Format = self._session.format(channel, fed=False)
        return float(form.rate * form.bytes_per_frame)

    @property
    def _first(self) -> object:
        """The first of what waits, to know it again; None when nothing does."""
        return self._chunks[0] if self._chunks else self._deltas[0] if self._deltas else None

    def _watch(self) -> None:
        if self._later is not None:
            self._watched = self._first
            self._later(self._look)

    def _look(self) -> None:
        watched, self._watched = self._watched, None
        if watched is self._first:
            self._hand_on()
        elif self._first is not None:
            self._watch()

    def _hand_on(self) -> None:
        if self._chunks:
            chunks, t = self._chunks, self._origin + self._sent
            self._chunks, self._sent = [], 0.0
            sound = _decoded(chunks)
            # What is no base64 is not together, either.
            for audio in chunks if sound is None else [Sound(sound)]:
                self._session.client_frame({"type": _APPEND, "audio": audio}, t)
        if self._deltas:
            deltas, self._deltas, self._speaking = self._deltas, [], None
            for delta in deltas:
                self._session.server_frame(delta.joined(), delta.t, None, None)


@dataclass(slots=True)
class _Delta:
    """A delta's frame and when it came (seconds), with the sound of those that go on from it, and its seconds."""

    body: dict[str, Any]
    t: float
    sounds: list[bytes] = field(default_factory=list)
    seconds: float = 0.0

    def goes_on_with(self, other: _Delta) -> bool:
        """Whether that one belongs to the same piece of speech."""
        mine, its = self.body, other.body
        return (
            mine.get("item_id") == its.get("item_id")
            and mine.get("response_id") == its.get("response_id")
            and mine.get("content_index") == its.get("content_index")
            and mine["type"] == its["type"]
        )

    def joined(self) -> dict[str, Any]:
        return {**self.body, "delta": Sound(b"".join(self.sounds))} if self.sounds else self.body


def _chunk(frame: object) -> str | bytes | None:
    """What a chunk of the microphone carries; None for a frame that is none, or says more."""
    if type(frame) is dict:
        body = frame
    else:
        try:
            body = parse(frame).body
        except FrameError:
            return None
    if len(body) != 2 or body.get("type") != _APPEND:
        return None
    chunk = body.get("audio")
    return chunk if isinstance(chunk, (str, Sound)) else None


def _bytes(chunk: str | bytes) -> int:
    """How many bytes it stands for."""
    if isinstance(chunk, bytes):
        return len(chunk)
    return len(chunk) * 3 // 4 - (chunk.endswith("=") + chunk.endswith("=="))


def _decoded(chunks: Sequence[object]) -> bytes | None:
    """What base64 stands for, or was decoded before, one after the other; None when one of them is neither."""
    whole = all(isinstance(chunk, str) and not len(chunk) % 4 and not chunk.endswith("=") for chunk in chunks[:-1])
    try:
        if whole and isinstance(chunks[-1], str):  # at once, which is faster
            return b64decode("".join(chunks), validate=True)  # type: ignore[arg-type]
        return b"".join(
            chunk if isinstance(chunk, Sound) else b64decode(chunk, validate=True)  # type: ignore[arg-type]
            for chunk in chunks
        )
    except (binascii.Error, ValueError, TypeError):
        return None

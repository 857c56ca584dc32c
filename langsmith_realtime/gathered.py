"""The microphone's chunks, made fewer before anything is done with them: each costs the same, however short it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from pybase64 import b64decode, b64encode_as_string

from langsmith_realtime.audio.formats import Format
from langsmith_realtime.events import FrameError, parse

_APPEND = "input_audio_buffer.append"


class Gathering:
    """Stands in front of a session, and hands on chunks that go on from one another as one.

    A chunk was captured when it was handed over, or earlier. Of several, the one that came soonest for what was
    before it tells the most: together they are as if handed over as soon as that, and nothing is lost that the
    recording goes by. One that comes more than :attr:`LATE` seconds later may follow a pause, and begins anew.

    Whatever else happens to the session happens after what was sent before it. At most :attr:`SECONDS` of
    sound wait for what comes next.
    """

    SECONDS = 0.1
    LATE = 0.005

    def __init__(self, session: Any, format: Callable[[], Format]) -> None:  # noqa: A002 - the field's own word
        self._session = session
        self._format = format
        self._parts: list[bytes] = []
        self._seconds = 0.0
        self._origin = 0.0  # when the first of them began at the latest

    def client_frame(self, frame: object, t: float) -> None:
        sound = _sound(frame)
        if sound is None:
            self._hand_on()
            self._session.client_frame(frame, t)
            return
        form = self._format()
        seconds = len(sound) / (form.rate * form.bytes_per_frame)
        origin = t - seconds - self._seconds
        if self._parts and origin > self._origin + self.LATE:
            self._hand_on()
            origin = t - seconds
        self._origin = min(origin, self._origin) if self._parts else origin
        self._parts.append(sound)
        self._seconds += seconds
        if self._seconds >= self.SECONDS:
            self._hand_on()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        if not callable(found):
            return found

        @wraps(found)
        def after_what_was_sent(*arguments: Any, **more: Any) -> Any:
            self._hand_on()
            return found(*arguments, **more)

        self.__dict__[name] = after_what_was_sent
        return after_what_was_sent

    def _hand_on(self) -> None:
        if self._parts:
            audio, t = b64encode_as_string(b"".join(self._parts)), self._origin + self._seconds
            self._parts, self._seconds = [], 0.0
            self._session.client_frame({"type": _APPEND, "audio": audio}, t)


def _sound(frame: object) -> bytes | None:
    """What a chunk sounds like; None for a frame that is none, or says more."""
    try:
        body = parse(frame).body
        if body.keys() != {"type", "audio"} or body["type"] != _APPEND or not isinstance(body["audio"], str):
            return None
        return b64decode(body["audio"], validate=True)
    except (FrameError, ValueError):
        return None

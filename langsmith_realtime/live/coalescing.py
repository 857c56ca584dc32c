"""Joins consecutive microphone chunks, and consecutive deltas: a list of inputs becomes a shorter list.

Processing costs per input, not per byte, and a microphone sends 50 chunks a second. Frames are parsed here, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from langsmith_realtime.core.audio.decoding import decode_base64
from langsmith_realtime.core.audio.user.microphone import Microphone
from langsmith_realtime.core.payloads.json_values import json_frame
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.core.protocol.events import TEXT_DELTAS, Event, FrameError, parse
from langsmith_realtime.core.protocol.inputs import Audio, ClientFrame, Input, MalformedFrame, ServerFrame
from langsmith_realtime.live.bounded_queue import carried_audio, decoded_size

#: Length of the audio that is joined, in seconds; the first delta of a text waits as long for later ones.
JOINED_S = 1.0
#: Delay of a chunk, in seconds, from which it may follow a pause. The recording ignores smaller delays.
PAUSE_S = Microphone.MIN_PAUSE_S
#: How far chunks that are joined may run ahead of real time, in seconds. Sound that comes faster than it was spoken was
#: captured when each chunk was sent, as far as anybody knows, so later chunks must not move the earlier ones.
MAX_AHEAD_S = 0.05
#: Longest time that a microphone chunk waits for others while deltas arrive, in seconds of the conversation.
MAX_DELAY_S = 1.1
#: Deltas whose texts are joined.
_JOINED_TEXTS = TEXT_DELTAS | {"response.function_call_arguments.delta"}

#: Returns the bytes of one second of a channel's audio in events.
BytesPerSecond = Callable[[int], float]


def joined(inputs: Iterable[Input], bytes_per_second: BytesPerSecond) -> Iterator[Input]:
    """Yield the inputs, parsed, and shorter by those that could be joined to an earlier one.

    Microphone chunks and deltas do not wait for each other; every other input is yielded after all before it, and
    before any after it is looked at. So the format may change with it.
    """
    streams = _Streams(bytes_per_second)
    for given in map(parsed, inputs):
        if not is_streamed(given):
            yield from streams.take()
            yield given
        else:
            yield from streams.add(given)
    yield from streams.take()


def parsed(given: Input) -> Input:
    """The input with its frame parsed: as an event, as audio if it carries audio, or as a malformed frame."""
    if not isinstance(given, (ServerFrame, ClientFrame)) or type(given.frame) is Event:
        return given
    try:
        event = parse(given.frame)
    except FrameError as error:
        run = given.run if isinstance(given, ServerFrame) else None
        return MalformedFrame(json_frame(given.frame), str(error), given.t, run)
    audio = carried_audio(given, event)
    return replace(given, frame=event) if audio is None else audio


def is_streamed(given: Input) -> bool:
    """Whether many such inputs follow each other: a chunk of an event's audio, or a delta."""
    if isinstance(given, Audio):
        return given.event is not None
    return isinstance(given, ServerFrame) and isinstance(given.frame, Event) and given.frame.is_delta


class _Streams:
    """The microphone chunks and the deltas that wait for later ones."""

    def __init__(self, bytes_per_second: BytesPerSecond) -> None:
        self._bytes_per_second = bytes_per_second
        # Microphone chunks
        self._chunks: list[Audio] = []
        self._chunks_s = 0.0  # their length
        self._origin = 0.0  # latest possible begin of the first one
        self._first_origin = 0.0  # its begin if it had been sent as soon as it was spoken
        # Deltas
        self._deltas: list[_Deltas] = []
        self._latest: dict[str, _Deltas] = {}  # by event type

    def add(self, given: Input) -> Iterator[Input]:
        """Add a chunk or a delta; yield those that cannot wait for later ones any more."""
        if self._deltas and given.t > self._deltas[0].first.t + JOINED_S:
            yield from self._take_deltas()
        if isinstance(given, Audio) and given.channel == USER:
            yield from self._add_chunk(given)
        else:
            if self._chunks and given.t > self._origin + MAX_DELAY_S:
                yield from self._take_chunks()
            self._add_delta(given)

    def take(self) -> Iterator[Input]:
        """Yield everything that waits."""
        yield from self._take_chunks()
        yield from self._take_deltas()

    def _add_chunk(self, chunk: Audio) -> Iterator[Input]:
        seconds = decoded_size(chunk.data) / self._bytes_per_second(USER)
        origin = chunk.t - seconds - self._chunks_s
        if self._chunks and (
            origin > self._origin + PAUSE_S
            or chunk.event != self._chunks[0].event
            or (origin < self._first_origin - MAX_AHEAD_S and chunk.t > self._chunks[0].t + PAUSE_S)
        ):
            yield from self._take_chunks()
            origin = chunk.t - seconds
        if not self._chunks:
            self._origin = self._first_origin = origin
        self._origin = min(self._origin, origin)
        self._chunks.append(chunk)
        self._chunks_s += seconds
        if self._chunks_s >= JOINED_S:
            yield from self._take_chunks()

    def _take_chunks(self) -> Iterator[Input]:
        chunks, t = self._chunks, self._origin + self._chunks_s
        self._chunks, self._chunks_s = [], 0.0
        yield from _joined_audio(chunks, t)

    def _add_delta(self, given: Input) -> None:
        kind = str(_body(given).get("type"))
        latest = self._latest.get(kind)
        if latest is None or given.t > latest.until or not latest.is_continued_by(given):
            latest = self._latest[kind] = _Deltas(given, given.t)
            self._deltas.append(latest)
        latest.parts.append(given)
        if isinstance(given, Audio):
            latest.until += decoded_size(given.data) / self._bytes_per_second(AGENT)
        elif isinstance(given, ServerFrame) and parse(given.frame).kind in _JOINED_TEXTS:
            latest.until = math.inf
        else:
            latest.until = -math.inf  # nothing is joined to other deltas

    def _take_deltas(self) -> Iterator[Input]:
        deltas, self._deltas, self._latest = self._deltas, [], {}
        for each in deltas:
            yield from each.joined()


@dataclass(slots=True)
class _Deltas:
    """A delta, and those that continue it.

    Attributes:
        first: the first one.
        until: when the latest delta may arrive that still continues them, in seconds.
        parts: all of them.
    """

    first: Input
    until: float
    parts: list[Input] = field(default_factory=list)

    def is_continued_by(self, other: Input) -> bool:
        """Whether the other delta has the response, the item and the content part of these."""
        mine, others = _body(self.first), _body(other)
        return type(other) is type(self.first) and all(
            mine.get(key) == others.get(key) for key in ("item_id", "response_id", "content_index")
        )

    def joined(self) -> Iterator[Input]:
        first, texts = self.first, [_body(part).get("delta") for part in self.parts]
        if isinstance(first, Audio):
            yield from _joined_audio([part for part in self.parts if isinstance(part, Audio)], first.t)
        elif len(self.parts) > 1 and isinstance(first, ServerFrame) and all(isinstance(text, str) for text in texts):
            event = parse(first.frame)
            body = {**event.body, "delta": "".join(map(str, texts))}
            yield replace(first, frame=Event(event.kind, event.name, body))
        else:
            yield from self.parts


def _body(given: Input) -> dict[str, object]:
    """The fields of the event that an input carries."""
    if isinstance(given, Audio):
        return dict(given.event or {})
    return parse(given.frame).body if isinstance(given, ServerFrame) else {}


def _joined_audio(chunks: list[Audio], t: float) -> Iterator[Audio]:
    """One input with the decoded audio of all chunks; each of them for itself if one is not base64."""
    if not chunks:
        return
    audio = decode_base64([chunk.data for chunk in chunks])
    if audio is not None:
        yield replace(chunks[0], data=audio, t=t)
        return
    for chunk in chunks:
        alone = decode_base64([chunk.data])
        yield chunk if alone is None else replace(chunk, data=alone)

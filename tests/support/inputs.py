"""Hypothesis strategies for all inputs of a conversation: one for each kind, made of a strategy for each field.

A new kind is part of every test that draws inputs. A new field needs a strategy in :data:`FIELDS`.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterable
from typing import Any, get_args

from hypothesis import strategies as st

from langsmith_realtime.core.audio.decoding import decode_base64
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.core.protocol.events import APPEND, FrameError, parse
from langsmith_realtime.core.protocol.inputs import (
    AgentChanged,
    ApprovalAsked,
    Audio,
    ClientFrame,
    DroppedAudio,
    GuardrailTripped,
    Input,
    Played,
    Ref,
    ServerFrame,
    ToolFailed,
)
from langsmith_realtime.live.coalescing import is_streamed

#: All kinds of inputs.
KINDS: tuple[type, ...] = get_args(Input)

AUDIO_DELTAS = ("response.output_audio.delta", "response.audio.delta")
TEXT_DELTAS = (
    "response.output_audio_transcript.delta",
    "response.output_text.delta",
    "response.function_call_arguments.delta",
    "conversation.item.input_audio_transcription.delta",
)
_OTHER_SERVER_EVENTS = ("response.refusal.delta", "session.created", "input_audio_buffer.speech_started", APPEND)
_CLIENT_EVENTS = (APPEND, APPEND, APPEND, "input_audio_buffer.commit", "session.update", AUDIO_DELTAS[0])

# The bytes of a chunk are all equal, so that an example that fails is short. At 24 kHz, they last up to 0.5 s.
_pcm = st.builds(lambda code, size: bytes([code]) * size, st.integers(0, 255), st.sampled_from((0, 1, 2, 960, 24_000)))
_encoded = _pcm.map(lambda pcm: base64.b64encode(pcm).decode())
_undecodable = st.sampled_from(("?", "A", "AAA", "=", "AA==AAAA", "é"))
_audio = st.one_of(_encoded, _encoded, _encoded, _encoded, _undecodable)

_words = st.one_of(st.sampled_from(("", "Hello.", "é\u2028")), st.text(max_size=8))
_json: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), _words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_words, inner, max_size=3)),
    max_leaves=4,
)
_names = st.sampled_from(("Front", "Billing"))
_objects = st.dictionaries(_words, _json, max_size=3)
_seconds = st.floats(0, 1e6, allow_nan=False)
_references = st.builds(Ref, st.integers(0, 2**53), st.one_of(st.none(), st.integers(0, 2**53)))

_place = {
    "item_id": st.sampled_from(("item_1", "item_2")),
    "response_id": st.sampled_from(("resp_1", "resp_2")),
    "content_index": st.sampled_from((0, 1)),
}


def _events(names: tuple[str, ...], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    optional = {**_place, "event_id": st.sampled_from(("event_1", "event_2"))}
    return st.fixed_dictionaries({"type": st.sampled_from(names), **fields}, optional=optional)


def _on_the_wire(events: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[Any]:
    """The events as dicts, JSON text or bytes; some are no events."""
    as_text = events.map(json.dumps)
    no_events = st.sampled_from((None, "no JSON", b"\xff", "[]", {"no": "type"}))
    return st.one_of(events, events, as_text, as_text.map(str.encode), no_events)


_frames: dict[type, st.SearchStrategy[Any]] = {
    ServerFrame: _on_the_wire(
        st.one_of(
            _events(AUDIO_DELTAS, delta=_audio),
            _events(TEXT_DELTAS, delta=_words),
            _events(AUDIO_DELTAS + TEXT_DELTAS + _OTHER_SERVER_EVENTS, delta=_json, audio=_audio),
        )
    ),
    ClientFrame: _on_the_wire(
        st.one_of(
            st.fixed_dictionaries({"type": st.just(APPEND), "audio": _audio}),
            _events(_CLIENT_EVENTS, audio=st.one_of(_audio, _json), delta=_audio),
        )
    ),
}

#: A strategy for each field, by its name; a field of one kind alone may have its own.
FIELDS: dict[str | tuple[type, str], st.SearchStrategy[Any]] = {
    "t": _seconds,
    "at": st.one_of(st.none(), st.floats(0, 60)),
    (Played, "at"): st.floats(0, 60),
    "run": st.one_of(st.none(), _references),
    "parent": _references,
    "frame": _json,
    **{(kind, "frame"): frames for kind, frames in _frames.items()},
    "reason": _words,
    "agent_speaking": st.one_of(st.none(), st.booleans()),
    "channel": st.sampled_from((USER, AGENT)),
    "data": st.one_of(_pcm, _audio),
    "size": st.integers(0, 200_000),
    "event": st.one_of(st.none(), st.just({"type": APPEND}), _events((APPEND, *AUDIO_DELTAS))),
    "item_id": st.sampled_from(("item_1", "item_2")),
    "ms": st.floats(0, 1e6),
    "since": st.one_of(st.none(), _seconds),
    "until": st.one_of(st.none(), _seconds),
    "part": st.one_of(st.none(), st.just((0.25, 0.5))),
    "key": st.sampled_from(("response resp_1", "tool call_1")),
    "start": _seconds,
    "traceparent": st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    "call_id": st.sampled_from(("call_1", "call_2")),
    "run_id": st.uuids().map(str),
    "error": st.one_of(st.none(), _words),
    "close_code": st.one_of(st.none(), st.integers(1000, 4999)),
    "close_reason": st.one_of(st.none(), _words),
    "closed_by": st.sampled_from((None, "server", "client", "network")),
    (ToolFailed, "error"): _words,
    **{(kind, "run"): _references for kind in (AgentChanged, GuardrailTripped, ApprovalAsked)},
    "agent": _names,
    "previous_agent": st.one_of(st.none(), _names),
    "handoff": st.booleans(),
    "instructions": st.one_of(st.none(), _words),
    "tools": st.lists(_names, max_size=2),
    "response_id": st.one_of(st.none(), _place["response_id"]),
    "guardrails": st.lists(st.fixed_dictionaries({"name": _names, "info": _json}), max_size=2),
    "message": _words,
    "name": _names,
    "approved": st.booleans(),
    "address": st.sampled_from(("api.openai.com", "127.0.0.1")),
    "port": st.integers(1, 65_535),
    "metadata": _objects,
    "outputs": _objects,
    "tags": st.lists(_words, max_size=3).map(tuple),
    "dropped": st.dictionaries(st.sampled_from(("dropped_audio_chunks", "dropped_events")), st.integers(0, 10**6)),
}


def inputs_of(kind: type) -> st.SearchStrategy[Any]:
    """Inputs of one kind, as the conversation's capture makes them; fields with a default are left out at times."""
    required: dict[Any, st.SearchStrategy[Any]] = {}
    optional: dict[Any, st.SearchStrategy[Any]] = {}
    for field in dataclasses.fields(kind):
        strategy = FIELDS.get((kind, field.name), FIELDS.get(field.name))
        assert strategy is not None, f"{kind.__name__}.{field.name} must have a strategy in tests/support/inputs.py"
        is_required = field.default is field.default_factory is dataclasses.MISSING
        (required if is_required else optional)[field.name] = strategy
    return st.fixed_dictionaries(required, optional=optional).map(lambda fields: _consistent(kind(**fields)))


def _consistent(given: Any) -> Any:
    """The input, with fields that agree: a delta has no run, and an event's audio has its channel and no other time."""
    if isinstance(given, ServerFrame) and is_delta(given.frame):
        return dataclasses.replace(given, run=None)
    if isinstance(given, (Audio, DroppedAudio)) and given.event is not None:
        return dataclasses.replace(given, channel=USER if given.event["type"] == APPEND else AGENT, at=None)
    if isinstance(given, Audio) and isinstance(given.data, str):
        return dataclasses.replace(given, data=given.data.encode())
    return given


def is_delta(frame: object) -> bool:
    try:
        return parse(frame).is_delta
    except FrameError:
        return False


def any_inputs() -> st.SearchStrategy[Any]:
    """Inputs of all kinds."""
    return st.one_of([inputs_of(kind) for kind in KINDS])


def conversations() -> st.SearchStrategy[list[Any]]:
    """Lists of inputs in order of their times: most are chunks and deltas, as in a conversation."""
    # Mostly short steps, as between the inputs that wait while the worker is busy.
    steps = st.sampled_from((0.0, 0.001, 0.02, 0.02, 0.02, 0.1, 0.3, 1.5))
    chunks, deltas = _chunks(), _deltas()
    stretches = [
        st.lists(st.tuples(st.sampled_from(streamed), steps), min_size=5, max_size=20)
        for streamed in (chunks, deltas, chunks + deltas, chunks + deltas)
    ]
    frames = (inputs_of(ServerFrame), inputs_of(ClientFrame))
    others = st.lists(st.tuples(st.one_of(*frames, any_inputs()), steps), max_size=3)
    return st.lists(st.tuples(st.one_of(stretches), others), min_size=1, max_size=4).map(
        lambda parts: _in_time([step for part in parts for steps in part for step in steps])
    )


# To choose from whole chunks and deltas takes less time than to make them of their fields.
_SOUNDS = [
    base64.b64encode(bytes([code]) * size).decode()
    for code, size in enumerate((2, 1, 960, 960, 1920, 1920, 4800, 24_000))
]


def _chunks() -> list[Any]:
    plain = [{"type": APPEND, "audio": each} for each in (*_SOUNDS * 3, "", "?")]
    named = [{"type": APPEND, "event_id": "event_1", "audio": each} for each in _SOUNDS]
    return [ClientFrame(chunk, 0.0) for chunk in plain + named]


def _deltas() -> list[Any]:
    return [
        ServerFrame({"type": kind, "item_id": item, "content_index": index, "delta": each}, 0.0)
        for item, index in (("item_1", 0), ("item_1", 0), ("item_1", 1), ("item_2", 0))
        for kind, pieces in ((AUDIO_DELTAS[0], [*_SOUNDS, "?"]), (TEXT_DELTAS[0], [*["Hello", "you"] * 4, None]))
        for each in pieces
    ]


def _in_time(steps: list[tuple[Any, float]]) -> list[Any]:
    t, inputs = 0.0, []
    for given, step in steps:
        t += step
        inputs.append(dataclasses.replace(given, t=t))
    return inputs


def segments(inputs: Iterable[Input]) -> list[dict[Any, list[Any]] | Input]:
    """What parsed inputs say, however their chunks and deltas are joined.

    The inputs that are not streamed, and between them, by event type, the places with their audio or text.
    """
    found: list[dict[Any, list[Any]] | Input] = [{}]
    for each in inputs:
        if not is_streamed(each):
            found += [each, {}]
            continue
        assert isinstance(found[-1], dict)
        body, piece = _said(each)
        # Chunks are joined if their events are equal, deltas if they belong to one content part.
        is_chunk = isinstance(each, Audio) and each.channel == USER
        place = body if is_chunk else {key: body.get(key) for key in _place}
        stream = found[-1].setdefault((type(each).__name__, body["type"]), [])
        last: tuple[Any, Any] = stream[-1] if stream else (None, None)
        # Audio that is not base64 is not joined to anything.
        is_joined = isinstance(piece, str if isinstance(each, ServerFrame) else bytes)
        if is_joined and last[0] == place and type(last[1]) is type(piece):
            stream[-1] = (place, last[1] + piece)
        elif piece or not is_joined:
            stream.append((place, piece))
    return found


def _said(given: Input) -> tuple[dict[str, Any], Any]:
    """The fields of a chunk's or a delta's event, and its audio or text."""
    if isinstance(given, Audio):
        audio = decode_base64([given.data])
        return dict(given.event or {}), given.data if audio is None else audio
    assert isinstance(given, ServerFrame)
    body = parse(given.frame).body
    return body, body.get("delta")

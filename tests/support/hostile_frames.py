"""Hypothesis strategies for hostile frames: partly valid events, and objects that are no events.

Names and ids come from small pools, so that events refer to each other: duplicates, results of unknown calls, items
that change their type, responses that end twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel

from langsmith_realtime.core.conversation.events.server_events import HANDLERS
from langsmith_realtime.core.protocol.events import OTHER_NAMES

CLIENT_TYPES = (
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "conversation.item.create",
    "conversation.item.delete",
    "conversation.item.retrieve",
    "conversation.item.truncate",
    "response.create",
    "response.cancel",
    "output_audio_buffer.clear",
)
SERVER_TYPES = (
    *HANDLERS,
    *OTHER_NAMES,
    "input_audio_buffer.speech_started",
    "input_audio_buffer.cleared",
    "rate_limits.updated",
    "response.output_audio.delta",
    "response.output_audio_transcript.delta",
    "response.output_text.delta",
    "response.function_call_arguments.delta",
    "conversation.item.input_audio_transcription.delta",
    "response.content_part.added",
    "conversation.item.deleted",
)


class RaisingDict(dict[Any, Any]):
    """A dict whose every method raises."""

    def _refuse(self, *_: object, **__: object) -> Any:
        raise RuntimeError("no")

    get = items = keys = values = copy = _refuse
    __getitem__ = __iter__ = __contains__ = __len__ = __repr__ = __str__ = _refuse


class UnreadableMapping(Mapping[str, Any]):
    """A mapping that cannot be read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        raise RuntimeError("no")


class EndlessMapping(Mapping[str, Any]):
    """A mapping with an endless number of keys."""

    def __getitem__(self, key: str) -> Any:
        return "value"

    def __iter__(self) -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield str(number)

    def __len__(self) -> int:
        return 0


class Unprintable:
    """An object whose ``str`` and ``repr`` raise."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class UndumpableModel(BaseModel):
    """A model whose ``model_dump`` raises."""

    type: str = "session.created"

    def model_dump(self, *_: Any, **__: Any) -> dict[str, Any]:
        raise RuntimeError("no")


class RaisingStr(str):
    """A string whose methods raise."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> Any:
        raise RuntimeError("no")

    lower = endswith = startswith = encode = split = _refuse


def nested(depth: int) -> Any:
    """Returns lists and dicts nested to a depth."""
    value: Any = "bottom"
    for level in range(depth):
        value = [value] if level % 2 else {"in": value}
    return value


def exponential(levels: int = 40) -> Any:
    """Returns ``levels`` lists, each with the previous one twice: 2 to the power of ``levels`` values."""
    value: Any = "ha"
    for _ in range(levels):
        value = [value, value]
    return value


def self_referencing() -> dict[str, Any]:
    """Returns a dict that contains itself."""
    value: dict[str, Any] = {}
    value["me"] = [value, value]
    return value


ids = st.sampled_from(("item_1", "item_2", "item_3", "resp_1", "resp_2", "call_1", "call_2", "", "\ud800", "x" * 300))
words = st.sampled_from(
    ("", "Hello.", "none", "completed", "turn_detected", "\ud83d", "\0", "é\u2028", "sk-proj-" + "a1" * 20, "w " * 40)
)
audio = st.sampled_from(("AAAA", "AAA=", "A", "not base64!", "é", "//8=" * 100, "=", ""))
numbers = st.sampled_from(
    (0, -1, 1, 10**18, 10**30, -(2**63), 2**63, 0.5, -0.0, 1e308, math.nan, math.inf, -math.inf, True)
)
kinds = st.sampled_from(
    (
        *("message", "function_call", "function_call_output", "mcp_call", "mcp", "input_audio", "output_audio"),
        *("input_text", "input_image", "audio/pcm", "audio/pcmu", "audio/opus", "server_vad", ""),
    )
)
anything: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), ids, words, numbers, audio, st.text(max_size=8), st.just(nested(60))),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=5,
)


def _mostly(expected: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draws the expected value three times out of four, else any value."""
    return st.one_of(expected, expected, expected, anything)


_parts = st.fixed_dictionaries(
    {}, optional={"type": _mostly(kinds), "text": _mostly(words), "transcript": _mostly(words), "audio": _mostly(audio)}
)
_items = st.fixed_dictionaries(
    {},
    optional={
        "id": _mostly(ids),
        "type": _mostly(kinds),
        "role": _mostly(st.sampled_from(("user", "assistant", "system"))),
        "status": _mostly(words),
        "call_id": _mostly(ids),
        "name": _mostly(words),
        "arguments": _mostly(st.sampled_from(("{}", "{", '{"a": NaN}', "[" * 2000, '"' + "1" * 5000))),
        "output": anything,
        "error": anything,
        "content": _mostly(st.lists(_parts, max_size=3)),
    },
)
_responses = st.fixed_dictionaries(
    {},
    optional={
        "id": _mostly(ids),
        "conversation_id": _mostly(st.sampled_from(("conv_1", None))),
        "conversation": words,
        "status": _mostly(st.sampled_from(("completed", "cancelled", "failed", "incomplete"))),
        "status_details": _mostly(st.fixed_dictionaries({"reason": words, "error": anything})),
        "output": _mostly(st.lists(_mostly(_items), max_size=3)),
        "input": _mostly(st.lists(_mostly(_items), max_size=2)),
        "metadata": anything,
        "usage": _mostly(
            st.fixed_dictionaries({"total_tokens": numbers, "input_tokens": anything, "input_token_details": anything})
        ),
    },
)
_directions = st.fixed_dictionaries(
    {}, optional={"format": _mostly(kinds), "turn_detection": anything, "transcription": anything, "voice": anything}
)
_sessions = st.fixed_dictionaries(
    {},
    optional={
        "id": ids,
        "model": _mostly(words),
        "audio": _mostly(st.fixed_dictionaries({"input": _mostly(_directions), "output": _mostly(_directions)})),
        "input_audio_format": anything,
        "tools": anything,
    },
)
_fields = {
    "event_id": _mostly(ids),
    "item_id": _mostly(ids),
    "previous_item_id": _mostly(ids),
    "response_id": _mostly(ids),
    "call_id": _mostly(ids),
    "content_index": _mostly(st.sampled_from((0, 1, -5, 10**12))),
    "audio_end_ms": _mostly(numbers),
    "delta": _mostly(st.one_of(audio, words)),
    "audio": _mostly(audio),
    "transcript": _mostly(words),
    "arguments": _mostly(words),
    "item": _mostly(_items),
    "response": _mostly(_responses),
    "session": _mostly(_sessions),
    "error": _mostly(st.fixed_dictionaries({}, optional={"message": words, "event_id": ids, "code": anything})),
}


def _events(types: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.one_of(st.sampled_from(types), st.sampled_from(types), st.text(min_size=1, max_size=200))
    return st.fixed_dictionaries({"type": names}, optional=_fields)


server_events = _events(SERVER_TYPES)
client_events = _events(CLIENT_TYPES)


def as_text(event: dict[str, Any]) -> str:
    return json.dumps(event)


#: Frames that no JSON parser returns, and texts that are no events.
oddities = st.sampled_from(
    (
        RaisingDict(type="session.created"),
        RaisingDict(
            {"type": RaisingStr("response.done"), RaisingStr("response"): RaisingDict(id=RaisingStr("resp_1"))}
        ),
        {"type": "session.created", 1: 2, (1, 2): 3, None: 4, Unprintable(): 5},
        {"type": "rate_limits.updated", "x": Unprintable(), "y": {1, 2}, "z": b"\xff", "model": UndumpableModel()},
        {"type": "rate_limits.updated", "x": UnreadableMapping(), "y": self_referencing(), "n": 10**6000},
        {
            "type": RaisingStr("session.updated"),
            "event_id": RaisingStr("event_1"),
            "session": {"model": RaisingStr("m")},
        },
        {"type": 7},
        {"type": ["session.created"]},
        {},
        nested(3000),
        self_referencing(),
        UnreadableMapping(),
        UndumpableModel(),
        Unprintable(),
        None,
        7,
        "null",
        "[]",
        '"',
        '{"type": "session.created"',
        '{"type": "session.created", "n": ' + "1" * 5000 + "}",
        '{"type": "a", "x": ' + "[" * 100_000,
        '{"type": "\\ud800", "x": NaN, "y": -Infinity, "z": 1e999}',
        b"\xff\xfe\x00",
        b'{"type": "\xff"}',
        bytearray(b"{}"),
        memoryview(b"\x80"),
        "\ud800",
        "",
    )
)
server_frames = st.one_of(server_events, server_events, server_events.map(as_text), oddities)
client_frames = st.one_of(client_events, client_events, client_events.map(as_text), oddities)

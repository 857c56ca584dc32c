"""Compares the scripted server with recorded servers: a script of each recording must give the recorded events.

Stated differences, none of them in the order of the events' types:

- a recorder that stopped at the last ``response.done`` missed the ``rate_limits.updated`` after it;
- Azure repeats the part of ``response.content_part.*`` as ``content``;
- Azure Voice Live counts reasoning tokens, and takes other turn detection defaults from an update on.
"""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Iterator
from typing import Any

import pytest

from langsmith_realtime.testing import (
    Call,
    Event,
    Outgoing,
    Say,
    Script,
    Session,
    Turn,
    UserTranscript,
    silence,
    speech_like,
)
from tests.support.conversations import RECORDINGS, recording_paths

NAMES = [
    "openai_ws-text_in_audio_out_turn",
    "openai_ws-audio_in_server_vad_turn",
    "openai_ws-tool_call_round",
    "openai_ws_sideband-webrtc_sideband_audio_turn",
    "parity_ws-text_tool_round_parity_openai-current",
    "azure_ws-spoken_turn_transcribed_drives_a_tool_and_answers_in_audio",
    "azure_voice_live_ws-audio_in_server_vad_turn",
]
IDS = ("event_id", "item_id", "previous_item_id", "response_id", "conversation_id", "id", "call_id")
DIFFERENT = ("event_id", "obfuscation", "expires_at", "instructions", "model", "voice", "content_filter_results")
"""Fields whose values depend on the model, on time or on chance."""
COUNTED = ("usage", "rate_limits", "audio_start_ms", "audio_end_ms")
"""Fields of which only the shape is compared."""


VAD_TIMES = ("prefix_padding_ms", "silence_duration_ms")


def recording(name: str) -> list[dict[str, Any]]:
    path = RECORDINGS / f"{name}.jsonl"
    if not path.exists() and not os.environ.get("CI"):
        pytest.skip(f"no recording at {path}")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def script_of(frames: list[dict[str, Any]]) -> Script:
    """Return a script with the turns of the recorded server."""
    events = [frame["event"] for frame in frames if frame["dir"] == "server"]
    turns = [Turn(*map(step_of, event["response"]["output"])) for event in events if event["type"] == "response.done"]
    beta = any(event["type"] == "response.audio.done" for event in events)
    transcripts = [
        UserTranscript(
            event["transcript"], usage=event.get("usage", {}).get("type"), streamed="whole" if beta else True
        )
        for event in events
        if event["type"].endswith("input_audio_transcription.completed")
    ]
    rate_limits = any(event["type"] == "rate_limits.updated" for event in events)
    # The default length of the silence that ends speech depends on the model.
    session = next(event["session"] for event in events if "session" in event)
    if beta:
        vad = {"turn_detection": session["turn_detection"]}
        return Script(turns, user_transcripts=transcripts, rate_limits=rate_limits, session=vad, dialect="beta")
    vad = {"audio": {"input": {"turn_detection": session["audio"]["input"]["turn_detection"]}}}
    return Script(turns, user_transcripts=transcripts, rate_limits=rate_limits, session=vad)


def step_of(item: Event) -> Say | Call:
    if item["type"] == "function_call":
        return Call(item["name"], item["arguments"], item["call_id"])
    content = item["content"][0]
    return Say(content.get("transcript") or content.get("text"), phase=item.get("phase"))


def client_frames(frames: list[dict[str, Any]]) -> Iterator[tuple[int, Event]]:
    """Yield each client event and the number of server events before it. Synthesized speech replaces recorded audio."""
    server_events = 0
    spoken = False
    for frame in frames:
        event = frame["event"]
        if frame["dir"] == "server":
            server_events += not event["type"].endswith(".delta")
        elif event["type"] != "input_audio_buffer.append":
            yield server_events, event
        elif not spoken:
            spoken = True
            audio = silence(1.7) + speech_like("Hello.", 2) + silence(1)
            yield server_events, {"type": event["type"], "audio": base64.b64encode(audio).decode()}


def scripted_events(frames: list[dict[str, Any]]) -> list[Event]:
    """Return the scripted server's events for the recorded client events."""
    sideband = frames[0]["dir"] == "client"
    session = Session(script_of(frames), sideband=sideband)
    outgoing: list[Outgoing] = list(session.open(0.0))
    now = 0.0
    for server_events, event in client_frames(frames):
        while sum(not out.event["type"].endswith(".delta") for out in outgoing) < server_events:
            assert session.next_at is not None, f"the server waits, with {server_events} events expected"
            now = session.next_at
            outgoing += session.advance(now)
        outgoing += session.receive(event, now)
    events = [out.event for out in outgoing + session.advance(math.inf)]
    stopped_early = frames[-1]["event"]["type"] == "response.done"
    return events[:-1] if stopped_early and events[-1]["type"] == "rate_limits.updated" else events


def normalized(events: list[Event]) -> list[Event]:
    """Return the events other than deltas, with ids numbered in order of appearance and without fields that differ."""
    numbers: dict[str, str] = {}

    def plain(value: Any, name: str = "") -> Any:
        if name in COUNTED:
            return shape(value)
        if isinstance(value, dict):
            return {key: plain(each, key) for key, each in value.items() if key not in DIFFERENT}
        if isinstance(value, list):
            return [plain(each) for each in value]
        if name in IDS and value is not None:
            return numbers.setdefault(value, f"{value.split('_')[0]} {len(numbers)}")
        return value

    return [plain(event) for event in events if not event["type"].endswith(".delta")]


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items() if key != "type"}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value).__name__.replace("float", "int")


def deltas_between(events: list[Event]) -> list[tuple[str, set[str]]]:
    """Return each event other than a delta, with the types of the deltas that follow it."""
    grouped: list[tuple[str, set[str]]] = []
    for event in events:
        if event["type"].endswith(".delta"):
            grouped[-1][1].add(event["type"])
        else:
            grouped.append((event["type"], set()))
    return grouped


@pytest.mark.parametrize("name", NAMES)
def test_a_scripted_conversation_has_the_recorded_order_of_events_and_deltas(name: str) -> None:
    frames = recording(name)
    recorded = [frame["event"] for frame in frames if frame["dir"] == "server"]
    assert deltas_between(scripted_events(frames)) == deltas_between(recorded)


@pytest.mark.parametrize("name", NAMES)
def test_a_scripted_conversation_has_the_recorded_events_field_by_field(name: str) -> None:
    frames = recording(name)
    recorded = [frame["event"] for frame in frames if frame["dir"] == "server"]
    ours = normalized(scripted_events(frames))
    theirs = normalized(recorded)
    assert [event["type"] for event in ours] == [event["type"] for event in theirs]
    for mine, real in zip(ours, theirs, strict=True):
        if real["type"] in ("response.content_part.added", "response.content_part.done"):
            real.pop("content", None)
        stated = without_stated_differences if "voice_live" in name else dict
        assert stated(mine) == stated(real)


def without_stated_differences(event: Event) -> Event:
    """Return the event without the fields of Azure Voice Live that a script cannot reproduce."""
    if event["type"] == "session.updated":
        vad = event["session"]["turn_detection"]
        return {**event, "session": {**event["session"], "turn_detection": {**vad, **dict.fromkeys(VAD_TIMES)}}}
    if event["type"] == "response.done":
        event["response"]["usage"]["output_token_details"].pop("reasoning_tokens", None)
    return event


def test_every_recording_is_compared() -> None:
    if not os.environ.get("CI") and not RECORDINGS.exists():
        pytest.skip(f"no recordings at {RECORDINGS}")
    assert sorted(NAMES) == sorted(path.stem for path in recording_paths())

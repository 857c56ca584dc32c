"""Every recorded conversation, replayed through the core: its runs and its transcript."""

from __future__ import annotations

from typing import Any

import pytest

from langsmith_realtime.core.conversation.run_data import ModelRun, ToolRun
from langsmith_realtime.core.protocol.inputs import Ref
from tests.support.conversations import recordings, server_events, spanned
from tests.support.driven_conversation import DrivenConversation

HELLO = "Hello, my name is Marcelo."
LONDON = "What is the weather in London?"
FOGGY = "It is foggy and 12 degrees in London."

# Of each recording: the model and tool runs description the events, in order, and the transcript.
EXPECTED: dict[str, tuple[list[str], list[str]]] = {
    "azure_voice_live_ws-audio_in_server_vad_turn": (
        ["response.created: model, 143 tokens, user 'Cześć, nazywam się Marcelo.'"],
        [
            "user: Cześć, nazywam się Marcelo.",
            "assistant: Hi Marcelo, nice to meet you! How can I help you today?",
        ],
    ),
    "azure_ws-spoken_turn_transcribed_drives_a_tool_and_answers_in_audio": (
        [
            "response.function_call_arguments.done: tool remember_name, 'Stored Marcelo.'",
            f"response.created: model, 119 tokens, user '{HELLO}'",
            "response.created: model, 219 tokens, tool 'Stored Marcelo.'",
        ],
        [
            f"user: {HELLO}",
            "assistant: ",
            "tool: Stored Marcelo.",
            "assistant: Hello Marcelo, it's great to meet you! How can I help you today?",
        ],
    ),
    "openai_ws-audio_in_server_vad_turn": (
        [f"response.created: model, 205 tokens, user '{HELLO}'"],
        [f"user: {HELLO}", "assistant: Hello, Marcelo! Great to meet you. How can I help you today?"],
    ),
    "openai_ws-text_in_audio_out_turn": (
        ["response.created: model, 40 tokens, user 'Say a short greeting.'"],
        ["user: Say a short greeting.", "assistant: Hi there!"],
    ),
    "openai_ws-tool_call_round": (
        [
            f"response.function_call_arguments.done: tool get_weather, '{FOGGY}'",
            f"response.created: model, 85 tokens, user '{LONDON}'",
            f"response.created: model, 116 tokens, tool '{FOGGY}'",
        ],
        [f"user: {LONDON}", "assistant: ", f"tool: {FOGGY}", f"assistant: {FOGGY}"],
    ),
    "openai_ws_sideband-webrtc_sideband_audio_turn": (
        ["response.created: model, 82 tokens, user 'Say hello.'"],
        ["user: Say hello.", "assistant: Hello there."],
    ),
    "parity_ws-text_tool_round_parity_openai-current": (
        [
            f"response.function_call_arguments.done: tool get_weather, '{FOGGY}'",
            f"response.created: model, 383 tokens, user '{LONDON}'",
            f"response.created: model, 416 tokens, tool '{FOGGY}'",
        ],
        [
            f"user: {LONDON}",
            "assistant: I’ll check the current weather in London for you.",
            "assistant: ",
            f"tool: {FOGGY}",
            "assistant: It’s foggy and 12 degrees in London.",
        ],
    ),
}


def replayed(frames: list[dict[str, Any]]) -> DrivenConversation:
    driven = DrivenConversation(set_up=False)
    for frame in frames:
        body = dict(frame["event"])
        send = driven.server if frame["dir"] == "server" else driven.client
        send(body.pop("type"), **body)
    driven.close(at=60)
    return driven


def description(run: ModelRun | ToolRun, names: list[str]) -> str:
    parent = names[run.parent.start - 1]
    if isinstance(run, ToolRun):
        return f"{parent}: tool {run.name}, '{run.output['content']}'"
    given = ", ".join(f"{message['role']} '{message['content']}'" for message in run.inputs)
    return f"{parent}: model, {run.usage['total_tokens'] if run.usage else 0} tokens, {given}"


def test_every_recording_has_expected_runs() -> None:
    assert recordings().keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recording_gives_its_event_runs_model_runs_and_tool_runs(name: str) -> None:
    frames = recordings()[name]
    driven = replayed(frames)
    names = spanned(server_events(frames))
    payloads = [event for event in server_events(frames) if not event["type"].endswith(".delta")]
    assert [(run.ref, run.name, run.payload) for run in sorted(driven.events, key=lambda run: run.ref)] == [
        (Ref(number), payload["type"], payload) for number, payload in enumerate(payloads, 1)
    ]
    assert not [run for run in driven.events if run.error or run.end is not None or run.metadata]
    runs, transcript = EXPECTED[name]
    made = [description(run, names) for run in driven.happened if isinstance(run, (ModelRun, ToolRun))]
    assert sorted(made) == sorted(runs)  # a tool run comes when the server has accepted its result
    assert driven.transcript() == transcript
    tokens = sum(run.usage["total_tokens"] for run in driven.models if run.usage)
    counted = {"event_count": len(names), "turns": 1, "interruptions": 0, "errors": 0, "total_tokens": tokens}
    numbers = driven.conversation.numbers()
    assert {name: numbers[name] for name in counted} == counted
    assert all(run.first_token is not None and run.error is None for run in driven.models)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_second_replay_gives_equal_runs(name: str) -> None:
    frames = recordings()[name]
    assert replayed(frames).happened == replayed(frames).happened

"""The session's configuration, as GA and beta sessions state it."""

from __future__ import annotations

from typing import Any

import pytest

from langsmith_realtime.core.protocol.audio_formats import Format
from langsmith_realtime.core.protocol.session_config import SessionConfig

GA = {
    "id": "sess_1",
    "model": "gpt-realtime",
    "instructions": "Be brief.",
    "output_modalities": ["audio"],
    "tools": [{"type": "function", "name": "look"}],
    "tool_choice": "auto",
    "prompt": None,
    "expires_at": 1785217650,
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "transcription": {"model": "whisper-1"},
            "turn_detection": {"type": "server_vad", "interrupt_response": True},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"},
    },
}
BETA = {
    "id": "sess_2",
    "model": "gpt-4o-realtime",
    "instructions": "Be brief.",
    "modalities": ["audio", "text"],
    "voice": {"name": "alloy", "type": "openai"},
    "input_audio_format": "g711_alaw",
    "output_audio_format": "pcm16",
    "input_audio_transcription": {"model": "whisper-1"},
    "turn_detection": {"type": "server_vad"},
}


def set_up(session: object) -> SessionConfig:
    setup = SessionConfig()
    setup.update(session)
    return setup


def test_a_ga_session_is_understood() -> None:
    setup = set_up(GA)
    assert (setup.session_id, setup.model, setup.voice) == ("sess_1", "gpt-realtime", "marin")
    assert (setup.user_format, setup.agent_format) == (Format("ulaw", 8000), Format("pcm16", 24000))
    assert setup.transcribes
    assert setup.interrupts_response
    assert setup.inputs() == {
        "instructions": "Be brief.",
        "tools": [{"type": "function", "name": "look"}],
        "tool_choice": "auto",
        "model": "gpt-realtime",
        "output_modalities": ["audio"],
        "voice": "marin",
        "input_audio_format": {"type": "audio/pcmu"},
        "output_audio_format": {"type": "audio/pcm", "rate": 24000},
        "turn_detection": {"type": "server_vad", "interrupt_response": True},
        "transcription": {"model": "whisper-1"},
    }


def test_a_beta_session_is_understood_alike() -> None:
    setup = set_up(BETA)
    assert (setup.session_id, setup.model, setup.voice) == ("sess_2", "gpt-4o-realtime", "alloy")
    assert (setup.user_format, setup.agent_format) == (Format("alaw", 8000), Format("pcm16", 24000))
    assert setup.transcribes
    assert setup.interrupts_response
    assert setup.inputs() == {
        "instructions": "Be brief.",
        "model": "gpt-4o-realtime",
        "modalities": ["audio", "text"],
        "voice": "alloy",
        "input_audio_format": "g711_alaw",
        "output_audio_format": "pcm16",
        "turn_detection": {"type": "server_vad"},
        "transcription": {"model": "whisper-1"},
    }


def test_the_latest_word_wins_and_silence_changes_nothing() -> None:
    setup = SessionConfig("asked-for")
    setup.update({"instructions": "One."})
    assert setup.model == "asked-for"
    setup.update(GA)
    setup.update({"instructions": "Two.", "model": None})
    assert setup.inputs()["instructions"] == "Two."
    assert setup.model == "gpt-realtime"
    assert setup.session_id == "sess_1"


@pytest.mark.parametrize(
    ("session", "interrupts"),
    [
        ({}, True),
        ({"audio": {"input": {}}}, True),
        ({"audio": {"input": {"turn_detection": None}}}, False),
        ({"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}, True),
        ({"audio": {"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}}}, False),
        ({"turn_detection": None}, False),
        ({"turn_detection": {"type": "server_vad", "interrupt_response": False}}, False),
    ],
)
def test_a_session_interrupts_unless_it_says_otherwise(session: dict[str, Any], interrupts: bool) -> None:
    assert set_up(session).interrupts_response is interrupts


@pytest.mark.parametrize("voice", [{"id": "voice_1"}, {"name": "voice_1", "id": "other"}, "voice_1"])
def test_a_voice_is_named_in_three_ways(voice: object) -> None:
    assert set_up({"audio": {"output": {"voice": voice}}}).voice == "voice_1"


@pytest.mark.parametrize("junk", [None, 5, [], "x", {"audio": 5}, {"audio": {"input": [], "output": "x"}, "voice": 5}])
def test_a_session_that_says_nothing_usable_leaves_all_open(junk: object) -> None:
    setup = set_up(junk)
    assert (setup.model, setup.session_id, setup.voice) == (None, None, None)
    assert (setup.user_format, setup.agent_format) == (None, None)
    assert not setup.transcribes
    assert setup.inputs() == {}

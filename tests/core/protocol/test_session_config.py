"""The session's configuration in the GA form and in the beta form."""

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


def config_of(session: object) -> SessionConfig:
    config = SessionConfig()
    config.update(session)
    return config


def test_a_ga_session_is_read() -> None:
    config = config_of(GA)
    assert (config.session_id, config.model, config.voice) == ("sess_1", "gpt-realtime", "marin")
    assert (config.user_format, config.agent_format) == (Format("ulaw", 8000), Format("pcm16", 24000))
    assert config.transcribes
    assert config.interrupts_response
    assert config.inputs() == {
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


def test_a_beta_session_is_read() -> None:
    config = config_of(BETA)
    assert (config.session_id, config.model, config.voice) == ("sess_2", "gpt-4o-realtime", "alloy")
    assert (config.user_format, config.agent_format) == (Format("alaw", 8000), Format("pcm16", 24000))
    assert config.transcribes
    assert config.interrupts_response
    assert config.inputs() == {
        "instructions": "Be brief.",
        "model": "gpt-4o-realtime",
        "modalities": ["audio", "text"],
        "voice": "alloy",
        "input_audio_format": "g711_alaw",
        "output_audio_format": "pcm16",
        "turn_detection": {"type": "server_vad"},
        "transcription": {"model": "whisper-1"},
    }


def test_later_values_replace_earlier_ones_and_missing_keys_change_nothing() -> None:
    config = SessionConfig("asked-for")
    config.update({"instructions": "One."})
    assert config.model == "asked-for"
    config.update(GA)
    config.update({"instructions": "Two.", "model": None})
    assert config.inputs()["instructions"] == "Two."
    assert config.model == "gpt-realtime"
    assert config.session_id == "sess_1"


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
def test_a_session_interrupts_unless_it_is_configured_not_to(session: dict[str, Any], interrupts: bool) -> None:
    assert config_of(session).interrupts_response is interrupts


@pytest.mark.parametrize("voice", [{"id": "voice_1"}, {"name": "voice_1", "id": "other"}, "voice_1"])
def test_a_voice_is_a_name_or_an_object_with_name_or_id(voice: object) -> None:
    assert config_of({"audio": {"output": {"voice": voice}}}).voice == "voice_1"


@pytest.mark.parametrize("junk", [None, 5, [], "x", {"audio": 5}, {"audio": {"input": [], "output": "x"}, "voice": 5}])
def test_a_session_with_unusable_values_leaves_the_configuration_empty(junk: object) -> None:
    config = config_of(junk)
    assert (config.model, config.session_id, config.voice) == (None, None, None)
    assert (config.user_format, config.agent_format) == (None, None)
    assert not config.transcribes
    assert config.inputs() == {}


def test_null_tells_nothing_except_what_the_server_does_without() -> None:
    config = SessionConfig()
    audio_in = {"format": {"type": "audio/pcmu"}, "turn_detection": {"type": "server_vad"}}
    session = {"model": "m", "instructions": "Be kind.", "tools": [{"name": "x"}], "audio": {"input": audio_in}}
    config.update(session)
    known = config.inputs()
    config.update(dict.fromkeys(("instructions", "tools", "audio", "model", "voice", "input_audio_format")))
    config.update({"audio": {"input": {"format": None}, "output": None}})
    assert config.inputs() == known
    assert config.user_format == Format("ulaw", 8_000)
    config.update({"audio": {"input": {"turn_detection": None}}})
    assert not config.interrupts_response


def test_azures_turn_detection_of_the_type_none_interrupts_nothing() -> None:
    config = SessionConfig()
    config.update({"turn_detection": {"type": "none"}})
    assert not config.interrupts_response

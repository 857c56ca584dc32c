"""Script files: every kind of step, and messages with the place of each mistake."""

from __future__ import annotations

import json
import wave
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from langsmith_realtime.testing import (
    Call,
    Close,
    Drop,
    Dtmf,
    Emit,
    Fail,
    Incomplete,
    McpCall,
    McpServer,
    Pause,
    Raw,
    Replay,
    Say,
    Script,
    ScriptFileError,
    Turn,
    UserTranscript,
    load_script,
    tone,
)
from langsmith_realtime.testing.script import script_file


def load(tmp_path: Path, data: Any) -> Any:
    path = tmp_path / "script.json"
    path.write_text(json.dumps(data), "utf-8")
    return load_script(path)


def write_wav(path: Path, rate: int = 24_000) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(tone(440, 0.1))


def test_a_file_can_have_every_field_of_a_script(tmp_path: Path) -> None:
    write_wav(tmp_path / "beep.wav")
    script = load(
        tmp_path,
        {
            "turns": [
                "Hello.",
                ["One.", {"say": "Two.", "seconds": 2, "phase": "commentary"}],
                {"steps": [{"say": "Beep.", "audio": "beep.wav"}], "think": 1, "usage": {"total_tokens": 3}},
                [{"call": "f", "arguments": {"x": 1}, "call_id": "call_1"}, {"call": "g", "arguments": "{broken"}],
                [{"mcp_call": "m", "output": "x", "outlives_response": True}, {"incomplete": "content_filter"}],
                [{"fail": None, "message": "Odd."}, {"pause": 0.5}],
                {"then": [{"close": 1011, "reason": "gone"}]},
            ],
            "afterwards": "Bye.",
            "user_transcripts": ["Hi.", {"text": "Late.", "when": "after", "streamed": "whole", "usage": None}],
            "speed": 3,
            "chunk_ms": [20, 30],
            "odd_splits": True,
            "session": {"instructions": "Be brief."},
            "mcp_servers": [{"label": "docs", "tools": [{"name": "m", "input_schema": {}}]}],
            "on_connect": [
                {"emit": {"type": "news"}},
                {"raw": "{"},
                {"binary": "AP8="},
                {"dtmf": "#"},
                {"drop": True},
            ],
            "seed": 1,
        },
    )
    assert script == Script(
        [
            Turn(Say("Hello.")),
            Turn(Say("One."), Say("Two.", seconds=2, phase="commentary")),
            Turn(Say("Beep.", audio=tone(440, 0.1)), think=1, usage={"total_tokens": 3}),
            Turn(Call("f", {"x": 1}, "call_1"), Call("g", "{broken")),
            Turn(McpCall("m", output="x", outlives_response=True), Incomplete("content_filter")),
            Turn(Fail(None, "Odd."), Pause(0.5)),
            Turn(then=[Close(1011, "gone")]),
        ],
        afterwards=Turn(Say("Bye.")),
        user_transcripts=["Hi.", UserTranscript("Late.", "after", "whole", None)],
        speed=3,
        chunk_ms=(20, 30),
        odd_splits=True,
        session={"instructions": "Be brief."},
        mcp_servers=[McpServer("docs", [{"name": "m", "input_schema": {}}])],
        on_connect=[Emit({"type": "news"}), Raw("{"), Raw(b"\x00\xff"), Dtmf("#"), Drop(True)],
        seed=1,
    )


def test_a_file_can_have_a_script_for_each_client(tmp_path: Path) -> None:
    assert load(tmp_path, {"scripts": [{"on_connect": [{"drop": False}]}, {}]}) == [
        Script(on_connect=[Drop()]),
        Script(),
    ]


def test_a_file_can_be_toml(tmp_path: Path) -> None:
    path = tmp_path / "script.toml"
    path.write_text('turns = ["Hello."]\nspeed = inf\n[session]\ninstructions = "Be brief."\n', "utf-8")
    assert load_script(path) == Script([Turn(Say("Hello."))], speed=float("inf"), session={"instructions": "Be brief."})
    path.write_text("turns = [2026-01-01]", "utf-8")
    with pytest.raises(ScriptFileError, match=r"script\.turns\[0\]: must be an object"):
        load_script(path)
    path.write_text("speed = 2026-01-01", "utf-8")
    with pytest.raises(ScriptFileError, match=r"script\.speed: .*JSON"):
        load_script(path)


def test_a_file_can_be_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_text('{"dir": "server", "event": {"type": "session.created"}}\n', "utf-8")
    replay = load_script(path)
    assert isinstance(replay, Replay)
    assert replay.frames == [("server", {"type": "session.created"})]
    for wrong in ('{"dir": "up"}', "[1]", "{"):
        path.write_text(wrong, "utf-8")
        with pytest.raises(ScriptFileError, match="must be a recording"):
            load_script(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "script: must be an object"),
        ({"turn": []}, "script.json: script.turn: unknown field; use one of: turns, "),
        ({"turns": "Hello."}, "script.turns: must be an array"),
        ({"turns": [{"step": []}]}, "script.turns[0].step: unknown field; use one of: steps, think, then, usage"),
        ({"turns": [5]}, "script.turns[0]: must be an object"),
        ({"turns": [[5]]}, "steps[0]: a step must be a sentence, or an object with exactly one of: say, call"),
        ({"turns": [[{"say": "a", "call": "b"}]]}, "script.turns[0].steps[0]: a step must be"),
        ({"turns": [[{"say": 5}]]}, "script.turns[0].steps[0].say: must be a valid string, got 5"),
        (
            {"turns": [[{"say": "a", "tone": "b"}]]},
            "steps[0].tone: unknown field; use one of: say, audio, seconds, phase",
        ),
        (
            {"turns": [[{"say": "a", "audio": "none.wav"}]]},
            "steps[0].audio: none.wav must be a WAV file in the script's folder",
        ),
        (
            {"turns": [[{"say": "a", "audio": "slow.wav"}]]},
            "steps[0].audio: slow.wav must be PCM16, 24000 Hz, mono, got PCM16, 8000 Hz",
        ),
        ({"turns": [[{"say": "a", "audio": 5}]]}, "steps[0].audio: must be a valid string, got 5"),
        ({"turns": [[{"binary": "%"}]]}, 'steps[0].binary: must be base64, got "%"'),
        ({"turns": [{"then": ["Hello."]}]}, "script.turns[0].then[0]: must be emit, raw, "),
        ({"turns": [{"think": "long"}]}, 'script.turns[0].think: must be a valid number, got "long"'),
        ({"chunk_ms": [5]}, "script.chunk_ms: must be an array with more elements, got [5]"),
        ({"chunk_ms": [5, 6, 7]}, "script.chunk_ms: must be an array with fewer elements"),
        ({"chunk_ms": [5, 2]}, "script: chunk_ms must be (shortest, longest)"),
        ({"user_transcripts": [{"when": "after"}]}, "script.user_transcripts[0]: must have the field text"),
        ({"dialect": "alpha"}, "script.dialect: must be 'ga', 'beta', "),
        ({"scripts": {}}, "scripts: must be an array"),
        ({"turns": "a" * 80}, f'script.turns: must be an array, got "{"a" * 59}…'),
        ({"scripts": [{}], "speed": 1}, "scripts: must be the only field of the file, got speed"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_the_message_has_the_place_and_the_mistake(tmp_path: Path, data: Any, message: str) -> None:
    write_wav(tmp_path / "slow.wav", rate=8000)
    with pytest.raises(ScriptFileError) as wrong:
        load(tmp_path, data)
    assert message in str(wrong.value)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '"\\ud800"'])
def test_a_file_that_is_not_json_raises(tmp_path: Path, text: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ScriptFileError):
        load_script(path)


def test_a_missing_file_raises_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_script(tmp_path / "none.json")


def test_the_example_in_the_docstring_can_be_loaded(tmp_path: Path) -> None:
    assert script_file.__doc__ is not None
    example = "{" + script_file.__doc__.split("\n{", 1)[1].split("\n}\n", 1)[0] + "}"
    write_wav(tmp_path / "enjoy.wav")
    script = load(tmp_path, json.loads(example))
    assert [len(turn.steps) for turn in script.turns] == [1, 3, 1]


def test_the_docstring_names_every_step() -> None:
    assert script_file.__doc__ is not None
    for kind, (made, _) in script_file._KINDS.items():
        assert f'{{"{kind}": ' in script_file.__doc__
        assert fields(made)


def test_a_value_nested_too_deeply_for_json_is_described_in_the_message() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    assert script_file._shown(value) == "a deeply nested value"

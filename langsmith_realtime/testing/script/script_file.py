"""Scripts as files: JSON or TOML, with the fields of `Script` and `Turn` under their names.

{
  "session": {"audio": {"input": {"transcription": {"model": "whisper-1"}}}},
  "user_transcripts": ["What is the weather?", {"text": "Thanks.", "when": "after"}],
  "turns": [
    {"steps": [{"call": "lookup_weather", "arguments": {"city": "Paris"}}], "think": 0.3},
    {"steps": [{"say": "Sunny."}, {"pause": 0.5}, {"say": "Enjoy!", "audio": "enjoy.wav"}]},
    "Good-bye."
  ]
}

A turn is an object, an array of steps, or a sentence to say. A step is a sentence, or an object that names its
kind, with that kind's other fields beside it:

  {"say": TEXT, "audio": WAV, "seconds": N, "phase": TEXT}     the WAV is PCM16, 24 kHz, mono, beside the script
  {"call": NAME, "arguments": {…}, "call_id": ID}
  {"mcp_call": NAME, "arguments": {…}, "output": TEXT, "error": {…}, "server_label": TEXT, …}
  {"fail": CODE, "message": TEXT, "type": TEXT}                {"incomplete": "max_output_tokens"}

and, in a turn's "then" and the script's "on_connect" too:

  {"emit": EVENT}   {"raw": TEXT}   {"binary": BASE64}   {"dtmf": KEY}   {"pause": SECONDS}
  {"close": CODE, "reason": TEXT}   {"drop": WHETHER_IN_MID_FRAME}

{"scripts": [SCRIPT, …]} has one script for each client that connects; the last of them serves all others.
A file called *.jsonl is a recording to repeat.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import tomllib
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from langsmith_realtime.testing.script.replay import Replay
from langsmith_realtime.testing.script.script import (
    Action,
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
    Say,
    Script,
    Step,
    Turn,
    UserTranscript,
)
from langsmith_realtime.testing.signals import RATE

_T = TypeVar("_T")
_Reader: TypeAlias = Callable[[Any, str], Any]
"""Makes a value of what the file has, given where the file has it."""

_KINDS: dict[str, tuple[type[Any], str]] = {
    "say": (Say, "text"),
    "call": (Call, "name"),
    "mcp_call": (McpCall, "name"),
    "fail": (Fail, "code"),
    "incomplete": (Incomplete, "reason"),
    "emit": (Emit, "event"),
    "raw": (Raw, "data"),
    "binary": (Raw, "data"),
    "dtmf": (Dtmf, "key"),
    "pause": (Pause, "seconds"),
    "close": (Close, "code"),
    "drop": (Drop, "mid_frame"),
}


class ScriptFileError(ValueError):
    """A script's file cannot be understood; the message says where and why."""


def load_script(path: str | Path) -> Script | list[Script] | Replay:
    """What a file tells a `RealtimeServer` to do; the module's documentation has the format.

    Raises OSError if it cannot be read, and ScriptFileError if it is wrong.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        try:
            return Replay(path)
        except (AttributeError, ValueError) as wrong:
            raise ScriptFileError(f"{path.name} is no recording: {wrong}") from None
    data = _parsed(path)
    reader = _ScriptReader(path.parent)
    if isinstance(data, Mapping) and "scripts" in data:
        if len(data) > 1:
            raise ScriptFileError("scripts: stands alone; everything else belongs into one of them")
        return reader.each(reader.script)(data["scripts"], "scripts")
    return reader.script(data, "script")


def _parsed(path: Path) -> Any:
    text = path.read_bytes()
    try:
        if path.suffix != ".toml":
            return json.loads(text)
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as wrong:
        raise ScriptFileError(f"{path.name} cannot be parsed: {wrong}") from None


class _ScriptReader:
    """Makes scripts of parsed files. Sound is looked for in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def script(self, data: Any, where: str) -> Script:
        readers: dict[str, _Reader] = {
            "turns": self.each(self.turn),
            "afterwards": self.turn,
            "user_transcripts": self.each(self.transcript),
            "mcp_servers": self.each(lambda given, at: _build(McpServer, given, at)),
            "on_connect": self.each(self.action),
        }
        return _build(Script, data, where, readers)

    def turn(self, data: Any, where: str) -> Turn:
        if isinstance(data, str | list):
            data = {"steps": data if isinstance(data, list) else [data]}
        fields = _fields(Turn, data, where, {"steps": self.each(self.step), "then": self.each(self.action)})
        return Turn(*fields.pop("steps", ()), **fields)

    def transcript(self, data: Any, where: str) -> str | UserTranscript:
        return data if isinstance(data, str) else _build(UserTranscript, data, where)

    def action(self, data: Any, where: str) -> Action:
        step = self.step(data, where)
        if not isinstance(step, Emit | Raw | Dtmf | Pause | Close | Drop):
            raise ScriptFileError(f"{where}: a {type(step).__name__} belongs into the steps of a turn")
        return step

    def step(self, data: Any, where: str) -> Step:
        if isinstance(data, str):
            return Say(data)
        kinds = [name for name in data if name in _KINDS] if isinstance(data, Mapping) else []
        if len(kinds) != 1:
            raise ScriptFileError(f"{where}: a step is a sentence, or an object with one of: {', '.join(_KINDS)}")
        kind = kinds[0]
        made, first = _KINDS[kind]
        others = {name: value for name, value in data.items() if name != kind}
        readers: dict[str, _Reader] = {"audio": self._audio}
        if kind == "binary":
            readers["data"] = _from_base64
        step: Step = _build(made, {first: data[kind], **others}, where, readers)
        return step

    def each(self, reader: Callable[[Any, str], _T]) -> Callable[[Any, str], list[_T]]:
        def read(data: Any, where: str) -> list[_T]:
            if not isinstance(data, list):
                raise ScriptFileError(f"{where}: must be an array")
            return [reader(each, f"{where}[{number}]") for number, each in enumerate(data)]

        return read

    def _audio(self, name: Any, where: str) -> bytes:
        try:
            with wave.open(str(self._directory / _checked(str, name, where)), "rb") as sound:
                if (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) != (1, 2, RATE):
                    raise ScriptFileError(f"{where}: {name} is not PCM16, {RATE} Hz, mono")
                return sound.readframes(sound.getnframes())
        except (OSError, EOFError, wave.Error) as wrong:
            raise ScriptFileError(f"{where}: {name} cannot be read as WAV: {wrong}") from None


def _build(made: type[_T], data: Any, where: str, readers: Mapping[str, _Reader] | None = None) -> _T:
    try:
        return made(**_fields(made, data, where, readers or {}))
    except ScriptFileError:
        raise
    except (TypeError, ValueError) as wrong:
        raise ScriptFileError(f"{where}: {wrong}") from None


def _fields(made: type[Any], data: Any, where: str, readers: Mapping[str, _Reader]) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise ScriptFileError(f"{where}: must be an object")
    known = [field.name for field in dataclasses.fields(made)]
    hints = get_type_hints(made)
    fields: dict[str, Any] = {}
    for name, value in data.items():
        at = f"{where}.{name}"
        if name not in known:
            raise ScriptFileError(f"{at}: unknown; there are: {', '.join(known)}")
        fields[name] = readers[name](value, at) if name in readers else _checked(hints[name], value, at)
    return fields


def _checked(hint: Any, value: Any, where: str) -> Any:
    """The value if it is what a field's annotation wants."""
    try:
        # By way of JSON, because only there a strict check takes an array for a tuple.
        return TypeAdapter(hint).validate_json(json.dumps(value), strict=True)
    except ValidationError as wrong:
        raise ScriptFileError(f"{where}: {wrong.errors()[0]['msg']}") from None
    except (TypeError, ValueError) as wrong:
        raise ScriptFileError(f"{where}: {wrong}") from None


def _from_base64(value: Any, where: str) -> bytes:
    try:
        return base64.b64decode(_checked(str, value, where), validate=True)
    except ValueError as wrong:
        raise ScriptFileError(f"{where}: {wrong}") from None

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

A turn is an object, an array of steps, or a sentence for the agent to say. A step is a sentence, or an object with
the name of the step and its other fields:

  {"say": TEXT, "audio": WAV, "seconds": N, "phase": TEXT}     WAV: a file beside the script, PCM16, 24 kHz, mono
  {"call": NAME, "arguments": {…}, "call_id": ID}
  {"mcp_call": NAME, "arguments": {…}, "output": TEXT, "error": {…}, "server_label": TEXT, …}
  {"fail": CODE, "message": TEXT, "type": TEXT}                {"incomplete": "max_output_tokens"}

These steps are possible in a turn's "then" and in the script's "on_connect", too:

  {"emit": EVENT}   {"raw": TEXT}   {"binary": BASE64}   {"dtmf": KEY}   {"pause": SECONDS}
  {"close": CODE, "reason": TEXT}   {"drop": WHETHER_IN_MID_FRAME}

{"scripts": [SCRIPT, …]} has one script for each client that connects; the last script serves all further clients.
A file named *.jsonl is a recording for the server to repeat.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import tomllib
import types
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

#: Largest length of a value in a message, in characters.
_SHOWN_LENGTH = 60

#: What a value must be, for pydantic's errors whose message does not say that.
_EXPECTED = {"missing": "an array with more elements", "too_long": "an array with fewer elements"}

_T = TypeVar("_T")
_Reader: TypeAlias = Callable[[Any, str], Any]
"""Converts a parsed value of the file; receives the value and its place in the file, such as ``script.turns[0]``."""

# The class of each step by its name in files, and the attribute that the name stands for.
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
    """A script file is wrong; the message has the place in the file, what must be there, and what is there."""


def load_script(path: str | Path) -> Script | list[Script] | Replay:
    """Return the script, the scripts or the recording in a file; the module's docstring has the format.

    Raises:
        OSError: The file cannot be read.
        ScriptFileError: The file is wrong.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        try:
            return Replay(path)
        except ValueError as error:
            raise ScriptFileError(f"{path.name} must be a recording: {error}") from None
    data = _parsed(path)
    reader = _ScriptReader(path.parent)
    try:
        return reader.file(data)
    except ScriptFileError as error:
        raise ScriptFileError(f"{path.name}: {error}") from None


def _parsed(path: Path) -> Any:
    text = path.read_bytes()
    try:
        if path.suffix != ".toml":
            return json.loads(text)
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise ScriptFileError(f"{path.name} must be {kind}: {error}") from None


class _ScriptReader:
    """Converts the parsed content of a script file. `directory` has the WAV files that the script names."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def file(self, data: Any) -> Script | list[Script]:
        if not isinstance(data, Mapping) or "scripts" not in data:
            return self.script(data, "script")
        if len(data) > 1:
            others = ", ".join(name for name in data if name != "scripts")
            raise ScriptFileError(f"scripts: must be the only field of the file, got {others}; move it into a script")
        return self.each(self.script)(data["scripts"], "scripts")

    def script(self, data: Any, where: str) -> Script:
        readers: dict[str, _Reader] = {
            "turns": self.each(self.turn),
            "afterwards": self.turn,
            "user_transcripts": self.each(self.transcript),
            "mcp_servers": self.each(lambda value, at: _build(McpServer, value, at)),
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
            possible = "emit, raw, binary, dtmf, pause, close or drop"
            kind = next(name for name, (cls, _) in _KINDS.items() if type(step) is cls)
            raise ScriptFileError(f"{where}: must be {possible}, got {kind}; move it to the steps of a turn")
        return step

    def step(self, data: Any, where: str) -> Step:
        if isinstance(data, str):
            return Say(data)
        kinds = [name for name in data if name in _KINDS] if isinstance(data, Mapping) else []
        if len(kinds) != 1:
            expected = f"a step must be a sentence, or an object with exactly one of: {', '.join(_KINDS)}"
            raise ScriptFileError(f"{where}: {expected}; got {_shown(data)}")
        kind = kinds[0]
        cls, main_field = _KINDS[kind]
        other_fields = {name: value for name, value in data.items() if name != kind}
        readers: dict[str, _Reader] = {"audio": self._audio}
        if kind == "binary":
            readers["data"] = _from_base64
        step: Step = _build(cls, {main_field: data[kind], **other_fields}, where, readers, {main_field: kind})
        return step

    def each(self, reader: Callable[[Any, str], _T]) -> Callable[[Any, str], list[_T]]:
        def read(data: Any, where: str) -> list[_T]:
            if not isinstance(data, list):
                raise ScriptFileError(f"{where}: must be an array, got {_shown(data)}")
            return [reader(value, f"{where}[{index}]") for index, value in enumerate(data)]

        return read

    def _audio(self, name: Any, where: str) -> bytes:
        try:
            with wave.open(str(self._directory / _checked(str, name, where)), "rb") as file:
                channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
                if (channels, width, rate) != (1, 2, RATE):
                    got = f"PCM{8 * width}, {rate} Hz, {channels} channels; convert the file"
                    raise ScriptFileError(f"{where}: {name} must be PCM16, {RATE} Hz, mono, got {got}")
                return file.readframes(file.getnframes())
        except (OSError, EOFError, wave.Error) as error:
            raise ScriptFileError(f"{where}: {name} must be a WAV file in the script's folder: {error}") from None


def _build(
    cls: type[_T],
    data: Any,
    where: str,
    readers: Mapping[str, _Reader] = types.MappingProxyType({}),
    file_names: Mapping[str, str] = types.MappingProxyType({}),
) -> _T:
    """Return an instance of a dataclass from an object in the file.

    Args:
        cls: The dataclass.
        data: The object in the file.
        where: Its place in the file, for messages.
        readers: Conversions of fields whose value in the file differs from the attribute's type.
        file_names: The name in the file of attributes that have another name there.

    Raises:
        ScriptFileError: A field is unknown, missing, or has a wrong value.
    """
    fields = _fields(cls, data, where, readers, file_names)
    for attribute in dataclasses.fields(cls):  # type: ignore[arg-type] # mypy has no bound for dataclasses
        required = attribute.default is attribute.default_factory is dataclasses.MISSING
        if required and attribute.name not in fields:
            raise ScriptFileError(f"{where}: must have the field {attribute.name}, got {_shown(data)}")
    try:
        return cls(**fields)
    except (TypeError, ValueError) as error:
        raise ScriptFileError(f"{where}: {error}") from None


def _fields(
    cls: type[Any],
    data: Any,
    where: str,
    readers: Mapping[str, _Reader],
    file_names: Mapping[str, str] = types.MappingProxyType({}),
) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise ScriptFileError(f"{where}: must be an object, got {_shown(data)}")
    attributes = [field.name for field in dataclasses.fields(cls)]
    hints = get_type_hints(cls)
    fields: dict[str, Any] = {}
    for name, value in data.items():
        at = f"{where}.{file_names.get(name, name)}"
        if name not in attributes:
            possible = ", ".join(file_names.get(attribute, attribute) for attribute in attributes)
            raise ScriptFileError(f"{at}: unknown field; use one of: {possible}")
        fields[name] = readers[name](value, at) if name in readers else _checked(hints[name], value, at)
    return fields


def _checked(hint: Any, value: Any, where: str) -> Any:
    """Return a value of the file if it has the type of an annotation, or else raise ScriptFileError."""
    try:
        # Validated as JSON, because pydantic's strict mode accepts an array for a tuple only in JSON.
        return TypeAdapter(hint).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        # pydantic reports one error for each type of a union.
        expected = dict.fromkeys(
            _EXPECTED.get(reason["type"], reason["msg"].removeprefix("Input should be ")) for reason in error.errors()
        )
        raise ScriptFileError(f"{where}: must be {' or '.join(expected)}, got {_shown(value)}") from None
    except (TypeError, ValueError) as error:
        raise ScriptFileError(f"{where}: must be a JSON value, got {_shown(value)}: {error}") from None


def _from_base64(value: Any, where: str) -> bytes:
    text = _checked(str, value, where)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ScriptFileError(f"{where}: must be base64, got {_shown(value)}: {error}") from None


def _shown(value: Any) -> str:
    """Return the beginning of a value of the file as JSON, for messages."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "a deeply nested value"
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"

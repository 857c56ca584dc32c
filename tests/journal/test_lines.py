"""The lines of a journal: every input comes back from its line, and a line of another version does no harm."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.protocol.inputs import (
    Audio,
    ClientFrame,
    Closed,
    DroppedAudio,
    Input,
    Opened,
    Played,
    Ref,
    ServerFrame,
)
from langsmith_realtime.journal.lines import KINDS, UNDECODABLE, input_of, line_of
from langsmith_realtime.live.coalescing import parsed
from tests.support.hostile_conversations import SETTINGS
from tests.support.inputs import any_inputs, inputs_of

pytestmark = pytest.mark.newest  # no version matters to it


class Written:
    """Inputs as lines, with their audio in a dict by its place."""

    def __init__(self) -> None:
        self.audio: dict[int, bytes] = {}

    def line(self, written: Input) -> dict[str, Any]:
        """The line of an input after its way through a file."""
        changed: dict[str, Any] = {}
        if isinstance(written, (ServerFrame, ClientFrame)):
            changed["frame"] = getattr(written.frame, "body", written.frame)
        elif isinstance(written, Audio):
            changed["data"] = self._place(written.data)
        line: dict[str, Any] = json.loads(json.dumps(line_of(written, **changed)))
        return line

    def read(self, line: dict[str, Any]) -> Input | None:
        return input_of(line, lambda place: self.audio.get(place["offset"]) if "offset" in place else None)

    def _place(self, data: bytes | str) -> dict[str, Any] | None:
        if isinstance(data, str):
            return None
        offset = len(self.audio)
        self.audio[offset] = data
        return {"offset": offset, "bytes": len(data), "ms": 1.5}


def read_back(written: Input) -> Input:
    """What a journal gives for an input: text that is not base64 is not kept, and a frame is a dict again."""
    if isinstance(written, Audio) and isinstance(written.data, str):
        return dataclasses.replace(written, data=UNDECODABLE)
    if isinstance(written, (ServerFrame, ClientFrame)):
        return dataclasses.replace(written, frame=getattr(written.frame, "body", written.frame))
    return written


@pytest.mark.parametrize("name", KINDS)
@settings(SETTINGS, max_examples=30)
@given(data=st.data())
def test_an_input_of_every_kind_comes_back_from_its_line(name: str, data: st.DataObject) -> None:
    given_input = parsed(data.draw(inputs_of(KINDS[name])))
    written = Written()
    line = written.line(given_input)
    assert KINDS[line["is"]] is type(given_input)
    found = written.read(line)
    assert found == read_back(given_input)
    assert type(found) is type(given_input)
    for field in dataclasses.fields(given_input):
        value = getattr(found, field.name)
        if isinstance(getattr(given_input, field.name), tuple):
            assert type(value) is type(getattr(given_input, field.name))  # references, and tags


@settings(SETTINGS, max_examples=100)
@given(any_inputs(), st.dictionaries(st.text().map("new_{}".format), st.integers(), min_size=1))
def test_fields_that_this_version_does_not_know_are_ignored(given_input: Input, unknown: dict[str, int]) -> None:
    given_input, written = parsed(given_input), Written()
    assert written.read(unknown | written.line(given_input)) == read_back(given_input)


@settings(SETTINGS, max_examples=100)
@given(any_inputs(), st.one_of(st.text().filter(lambda name: name not in KINDS), st.none(), st.integers()))
def test_a_line_of_a_kind_that_this_version_does_not_know_is_left_out(given_input: Input, kind: object) -> None:
    written = Written()
    line = written.line(parsed(given_input))
    assert written.read(line | {"is": kind}) is None
    del line["is"]
    assert written.read(line) is None


@settings(SETTINGS, max_examples=100)
@given(any_inputs(), st.data())
def test_a_line_that_lacks_a_field_is_left_out(given_input: Input, data: st.DataObject) -> None:
    given_input, written = parsed(given_input), Written()
    required = [
        field.name
        for field in dataclasses.fields(given_input)
        if field.default is field.default_factory is dataclasses.MISSING
    ]
    line = written.line(given_input)
    for missing in required:
        assert written.read({name: value for name, value in line.items() if name != missing}) is None
    optional = [name for name in line if name != "is" and name not in required]
    for missing in optional:
        assert type(written.read({name: value for name, value in line.items() if name != missing})) is type(given_input)


def test_a_line_has_the_kind_and_only_what_is_no_default() -> None:
    assert line_of(Opened()) == {"is": "opened"}
    assert line_of(ServerFrame({"type": "a"}, 1.5, Ref(7, 3))) == {
        "is": "server_frame",
        "frame": {"type": "a"},
        "t": 1.5,
        "run": [7, 3],
    }
    assert line_of(ServerFrame({"type": "a"}, 1.5, agent_speaking=False))["agent_speaking"] is False
    assert line_of(Played("item_1", 20.0, 1.5, 1.0)) == {
        "is": "played",
        "item_id": "item_1",
        "ms": 20.0,
        "t": 1.5,
        "at": 1.0,
    }


def test_audio_that_the_journal_does_not_have_is_dropped_audio_of_its_length() -> None:
    event = {"type": "response.output_audio.delta", "item_id": "item_1"}
    line = line_of(Audio(1, b"\1\1", 1.0, event=event), data={"bytes": 2, "ms": 0.1})
    assert Written().read(line) == DroppedAudio(1, 2, 1.0, event=event)
    line = line_of(Audio(0, b"\1\1", 1.0, 0.5), data={"offset": 7, "bytes": 2, "ms": 0.1})
    assert Written().read(line) == DroppedAudio(0, 2, 1.0, 0.5)


def test_an_error_is_read_as_one_that_may_be_shown() -> None:
    found = Written().read(Written().line(Closed(1.0, "ValueError: no")))
    assert isinstance(found, Closed)
    assert isinstance(found.error, Failure)
    assert found.error.kind == "ValueError: no"

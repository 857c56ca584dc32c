"""The table of servers says what a conversation in each dialect of the bundled server leaves in its trace."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any, get_args

import pytest

from langsmith_realtime.testing.script.script import DialectName
from langsmith_realtime.testing.state.dialect import DIALECTS
from tests.support.cases import pieces_of_sound, says_what_was_assumed
from tests.support.dialect_conversation import (
    AGENT_HZ,
    ANSWERS,
    ARGUMENTS,
    QUESTION,
    RESULT,
    SAYS,
    SPEAKS,
    STOPS,
    TOOL,
    TRANSCRIBES_ONLY,
    USER_HZ,
    Conversed,
    converse,
)
from tests.support.fed_session import FedSession
from tests.support.snippets import snippet, text_of

YES, ASSUMED, NONE = "yes", "assumed", "–"


def _table() -> tuple[list[str], dict[str, dict[str, str]]]:
    """Returns the names of the columns, and the cells of each dialect by column."""
    page = text_of("docs/servers.md")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page[page.index("| server |") :].split("\n\n", 1)[0].splitlines()
    ]
    columns = rows[0][2:]
    return columns, {row[1].strip("`"): dict(zip(columns, row[2:], strict=True)) for row in rows[2:]}


COLUMNS, ROWS = _table()

#: Each conversation is held once; nothing changes it afterwards.
conversed = functools.cache(converse)


def words(conversation: Conversed, dialect: str) -> None:
    trace = conversation.trace
    said = [
        (each["role"], each["content"]) for each in trace.end.messages if each["role"] != "tool" and each["content"]
    ]
    answers = [] if dialect in TRANSCRIBES_ONLY else [SAYS, ANSWERS]
    assert said == [("user", QUESTION), *(("assistant", answer) for answer in answers)]
    assert sorted(model.message["content"] for model in trace.models) == sorted(answers)


def tool_calls(conversation: Conversed, _: str) -> None:
    trace = conversation.trace
    (tool,) = trace.tools
    assert (tool.name, tool.answered, tool.output["content"]) == (TOOL, True, RESULT)
    assert json.loads(tool.arguments or "null") == ARGUMENTS
    for messages in (trace.end.messages, [model.message for model in trace.models]):
        calls = [call for message in messages for call in message.get("tool_calls", [])]
        assert [(call["id"], call["function"]["name"]) for call in calls] == [("call_1", TOOL)]


def tokens(conversation: Conversed, _: str) -> None:
    trace = conversation.trace
    keys = ("input_tokens", "output_tokens", "transcription_input_tokens", "transcription_output_tokens")
    assert sum(trace.end.metadata.get(key, 0) for key in keys) == conversation.reported_tokens > 0
    if re.search(r"put_tokens?_details", str(conversation.of("response.done"))):
        assert all((model.usage or {}).get("input_token_details", {}).get("audio", 0) > 0 for model in trace.models)


def latencies(conversation: Conversed, _: str) -> None:
    trace = conversation.trace
    begins = pieces_of_sound(trace.agent_sound, trace.rate)[0][0]
    measured = [model.metadata.get("voice_to_voice_ms") for model in trace.models]
    assert sorted(filter(None, measured)) == [pytest.approx((begins - STOPS) * 1000, abs=50)]


def users_sound(conversation: Conversed, _: str) -> None:
    trace = conversation.trace
    ((begin, end, hz),) = pieces_of_sound(trace.user_sound, trace.rate)
    assert begin == pytest.approx(SPEAKS, abs=0.02)
    assert end == pytest.approx(STOPS, abs=0.02)
    assert hz == pytest.approx(USER_HZ, abs=3)


def agents_sound(conversation: Conversed, _: str) -> None:
    trace = conversation.trace
    ((begin, end, hz),) = pieces_of_sound(trace.agent_sound, trace.rate)
    assert end - begin == pytest.approx(1.3, abs=0.02)
    assert hz == pytest.approx(AGENT_HZ, abs=3)


def errors(conversation: Conversed, _: str) -> None:
    (run,) = (event for event in conversation.trace.events if event.name == "error")
    assert str(run.error).startswith("invalid_value: Invalid value: 'session.rewind'.")
    assert conversation.trace.end.metadata["errors"] == 1


CHECKS: dict[str, Callable[[Conversed, str], None]] = {
    "words": words,
    "tool calls": tool_calls,
    "tokens": tokens,
    "latencies": latencies,
    "user's sound": users_sound,
    "agent's sound": agents_sound,
    "errors": errors,
}


def assert_cell(conversation: Conversed, dialect: str, column: str, cell: str) -> None:
    """Asserts that a cell of the table is true."""
    if cell == NONE:
        trace = conversation.trace
        assert not trace.tools and not trace.models
        assert not len(trace.agent_sound.nonzero()[0])
        return
    if cell == ASSUMED and says_what_was_assumed(conversation.trace.end.metadata):
        return
    CHECKS[column](conversation, dialect)


def _cells() -> list[Any]:
    found = []
    for dialect, cells in ROWS.items():
        for column, cell in cells.items():
            found.append(pytest.param(dialect, column, cell, id=f"{dialect}-{column}"))
    return found


def test_the_table_has_a_row_for_each_dialect_and_a_check_for_each_column() -> None:
    assert list(ROWS) == list(get_args(DialectName)) == list(DIALECTS)
    assert list(CHECKS) == COLUMNS
    assert {cell for cells in ROWS.values() for cell in cells.values()} <= {YES, ASSUMED, NONE}


@pytest.mark.parametrize(("dialect", "column", "cell"), _cells())
def test_a_cell_of_the_table_is_true(dialect: DialectName, column: str, cell: str) -> None:
    conversation = conversed(dialect)
    assert conversation.trace.guard.count == 0
    assert_cell(conversation, dialect, column, cell)


def test_the_sentences_about_each_server_are_on_the_page() -> None:
    differences = text_of("docs/servers.md").partition("## How they differ")[2]
    assert len(re.findall(r"^- \*\*", differences, flags=re.MULTILINE)) == len(DIALECTS) - 1  # GA differs from nothing


def test_the_snippet_starts_a_server_of_the_dialect(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(snippet("docs/servers.md", "xai"), "docs/servers.md", "exec"), {})
    assert capsys.readouterr().out.startswith("ws://127.0.0.1:")


def test_an_empty_trace_makes_every_cell_false() -> None:
    empty = FedSession()
    empty.close(1.0)
    nothing = Conversed(empty)
    for column in CHECKS:
        with pytest.raises((AssertionError, ValueError, IndexError)):
            assert_cell(nothing, "ga", column, YES)

"""Runs the snippets of docs/testing.md, and checks its names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from langsmith_realtime import testing
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn, load_script
from langsmith_realtime.testing.pytest_plugin import realtime_server as the_fixture
from tests.support.snippets import run, snippet, snippets, text_of

pytestmark = pytest.mark.nocover

GUIDE = text_of("docs/testing.md")
AGENT = snippet("docs/testing.md", "async def ask")
TEST = snippet("docs/testing.md", "def test_the_weather_is_looked_up")
CONFTEST = snippet("docs/testing.md", "pytest_plugins")
TEST_WITH_FIXTURE = snippet("docs/testing.md", "realtime_server(")
(FILE,) = snippets("docs/testing.md", "json")


@pytest.mark.newest  # the tests of the other snippets run with the oldest versions
def test_the_tests_in_the_guide_pass(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST, "utf-8")
    (tmp_path / "test_weather.py").write_text(AGENT + TEST, "utf-8")
    (tmp_path / "test_greeting.py").write_text(AGENT + TEST_WITH_FIXTURE, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr


def test_the_fixture_stops_its_servers_at_the_end_of_the_test() -> None:
    function: Any = the_fixture
    # The attribute with the fixture's function has another name in each version of pytest.
    fixture = getattr(function, "_get_wrapped_function", lambda: function.__wrapped__)()
    running = fixture()
    start = next(running)
    first, second = start(), start(Script(), strict=True)
    assert first.port != second.port
    assert list(running) == []
    with RealtimeServer(port=second.port):
        pass


def test_the_snippet_of_a_barge_in_cancels_the_response() -> None:
    names = run(snippet("docs/testing.md", "speech_like"))
    types = [frame.type for frame in names["server"].sent]
    assert types.index("input_audio_buffer.speech_started") < types.index("response.output_item.added")
    assert types.count("input_audio_buffer.speech_started") == 2


def test_the_snippet_of_a_reconnection_gets_the_second_script() -> None:
    names = run(snippet("docs/testing.md", "ConnectionClosed"))
    assert names["heard"] == "Back again."
    created = [frame.connection for frame in names["server"].sent if frame.type == "session.created"]
    assert created == [0, 1]


def test_the_script_file_in_the_guide_can_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    path.write_text(FILE, "utf-8")
    assert load_script(path) == Script(
        [Turn(Call("lookup_weather", {"city": "Paris"})), Turn(Say("Mild."), think=0.5)],
        user_transcripts=["What is the weather in Paris?"],
    )


def test_the_steps_in_the_table_can_be_created() -> None:
    table = GUIDE[GUIDE.index("| step | what happens |") :].split("\n\n", 1)[0]
    for code in re.findall(r"`([^`|]+)`", table):
        name = re.split(r"\W", code, maxsplit=1)[0]
        assert name in testing.__all__
        eval(code.replace("…", ""), {name: getattr(testing, name)})


def test_the_options_in_the_prose_exist() -> None:
    assert "`Script(session_seconds=60)`" in GUIDE
    assert Script(session_seconds=60, dialect="beta").afterwards.steps
    assert RealtimeServer(refuse=401, strict=True).problems == []


@pytest.mark.parametrize("name", testing.__all__)
def test_every_public_name_has_a_docstring(name: str) -> None:
    public = getattr(testing, name)
    assert public is not None
    if callable(public):
        assert public.__doc__

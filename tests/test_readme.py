"""Every snippet of the README runs, and what it says of the package is so."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
import textwrap
import time
import warnings
import wave
from pathlib import Path
from typing import Any

import pytest

import langsmith_realtime
from langsmith_realtime import SessionTracer, wrap_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.options import Options, TracingOptions
from langsmith_realtime.testing import Close, RealtimeServer, Say, Script, Turn
from langsmith_realtime.wrap import _ADDED
from tests.talking import async_client, sync_client, trees

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def snippets(*words: str) -> list[str]:
    return [snippet for snippet in SNIPPETS if all(word in snippet for word in words)]


def run(snippet: str, **names: Any) -> None:
    """Run a snippet as it stands, inside an async function where it awaits."""
    source = snippet.replace("        ...\n", "        seen.append(event.type)\n")
    if "async " in source:
        source = "async def main():\n" + textwrap.indent(source, "    ")
        exec(source, names)
        asyncio.run(names["main"]())
    else:
        exec(source, names)


SERVER = Script([Turn(Say("Hello."))], on_connect=[Close(1000)])


def test_there_is_a_test_for_every_snippet() -> None:
    tested = snippets("async with") + snippets("with client.realtime", "    for event") + snippets("connection.tool")
    tested += snippets("record_user_audio") + snippets("SessionTracer") + snippets("flush")
    tested += snippets("list_runs") + snippets("RealtimeServer") + snippets("connection.silence")
    assert sorted(tested) == sorted(SNIPPETS)


def test_the_five_lines(tracing: Collector) -> None:
    (snippet,) = snippets("async with")
    seen: list[str] = []
    with RealtimeServer(SERVER) as server:
        client = async_client(server)
        run(snippet, client=client, call_id="call-1", seen=seen)
    assert seen == ["session.created"]
    (root,) = trees(tracing)
    assert root.names() == ["session.created"]
    assert root.metadata["thread_id"] == "call-1"


def test_the_synchronous_lines(tracing: Collector) -> None:
    (snippet,) = snippets("with client.realtime", "    for event")
    seen: list[str] = []
    with RealtimeServer(SERVER) as server:
        run(snippet, client=sync_client(server), wrap_realtime=wrap_realtime, seen=seen)
    assert seen == ["session.created"]


def test_the_lines_for_tools_and_sound(tracing: Collector) -> None:
    (tool,), (sound,) = snippets("connection.tool"), snippets("record_user_audio")
    with (
        RealtimeServer(Script()) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
    ):
        run(tool, connection=connection, call_id="call_1", look_up=str.upper, city="Paris")
        run(sound, connection=connection, pcm=b"\1\0" * 480, captured_at=0.0, played_at=0.0)
    (root,) = trees(tracing)
    assert root.names() == ["tool"]


def test_the_lines_for_a_card_number(tracing: Collector) -> None:
    (snippet,) = snippets("connection.silence")
    with (
        RealtimeServer(Script()) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
    ):
        before = time.monotonic()
        connection.record_user_audio(b"\1\0" * 48_000, at=before)
        run(snippet, connection=connection, item_id="item_1", time=time)
        after = time.monotonic()
    (root,) = trees(tracing)
    with wave.open(str(tracing.attachment(root.run.id, "conversation")[1])) as recording:
        left = sum(map(bool, recording.readframes(recording.getnframes())))
    assert left < (after - before + 0.2) * 24_000  # of what was spoken between two of the lines


def test_the_lines_for_a_socket_of_ones_own(tracing: Collector) -> None:
    (snippet,) = snippets("SessionTracer")
    received, sent = {"type": "session.created", "event_id": "event_1"}, '{"type": "response.create"}'
    run(snippet, call_id="call-1", received=received, sent=sent)
    (root,) = trees(tracing)
    assert root.names() == ["session.created"]


@pytest.mark.newest
def test_the_lines_that_read_the_collector(tracing: Collector, capsys: pytest.CaptureFixture[str]) -> None:
    with SessionTracer() as tracer:
        tracer.server_event({"type": "session.created", "event_id": "event_1"})
    trees(tracing)
    (snippet,) = snippets("list_runs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer langsmith versions announce the end of this call
        run(snippet)
    assert capsys.readouterr().out == "realtime_session success []\n"


@pytest.mark.newest
def test_the_lines_for_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    (snippet,) = snippets("RealtimeServer")
    run(snippet)
    assert "response.created" in capsys.readouterr().out


def test_the_line_for_flushing() -> None:
    (snippet,) = snippets("flush")
    run(snippet)


def test_the_options_are_those_there_are() -> None:
    table = README[README.index("| option | meaning |") :].split("\n\n", 1)[0]
    named = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines()[2:])))
    assert named == set(TracingOptions.__annotations__) == set(Options.__dataclass_fields__)


def test_the_first_screen_is_complete() -> None:
    top = README.splitlines()[:26]
    assert "docs/trace.svg" in "\n".join(top)
    assert (ROOT / "docs" / "trace.svg").is_file()
    for needed in ("pip install langsmith-realtime", "make demo", "make test", "wrap_realtime"):
        assert needed in "\n".join(top)


def test_the_supported_versions_are_those_in_the_projects_file() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert '"langsmith>=0.8"' in project
    assert "langsmith 0.8 and newer" in README
    assert '"openai[realtime]>=1.107"' in project
    assert "openai 1.107 up to 3.x" in README
    assert 'requires-python = ">=3.10"' in project


def test_the_public_names() -> None:
    assert sorted(langsmith_realtime.__all__) == [
        "Keep",
        "Price",
        "Recording",
        "SessionTracer",
        "__version__",
        "flush",
        "wrap_realtime",
    ]
    for name in langsmith_realtime.__all__:
        assert getattr(langsmith_realtime, name) is not None


@pytest.mark.newest
def test_everything_langsmiths_own_wrapper_takes_is_taken() -> None:
    theirs = importlib.import_module("langsmith.integrations.openai_realtime").wrap_realtime
    wanted = set(inspect.signature(theirs).parameters) - {"connection"}
    assert wanted <= set(TracingOptions.__annotations__)


def test_a_wrapped_connection_and_a_tracer_offer_the_same() -> None:
    for name in _ADDED:
        assert callable(getattr(SessionTracer, name))

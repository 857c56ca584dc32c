"""Every snippet of the README runs unchanged, and the README agrees with the package."""

from __future__ import annotations

import importlib
import inspect
import re
from importlib.util import find_spec

import pytest

import langsmith_realtime
from langsmith_realtime import SessionTracer, wrap_realtime
from langsmith_realtime.adapters.openai_client import ADDED
from langsmith_realtime.collector import Collector
from langsmith_realtime.options.tracing import TracingOptions
from langsmith_realtime.testing import Close, RealtimeServer, Say, Script, Turn
from tests import ROOT
from tests.support.conversations import async_client, sync_client, trees
from tests.support.snippets import run, snippet, text_of

README = text_of("README.md")
SERVER = Script([Turn(Say("Hello."))], on_connect=[Close(1000)])


def test_the_five_lines(tracing: Collector) -> None:
    with RealtimeServer(SERVER) as server:
        run(snippet("README.md", "async with client"), client=async_client(server), call_id="call-1")
    (root,) = trees(tracing)
    assert root.names() == ["session.created"]
    assert root.metadata["thread_id"] == "call-1"


def test_the_lines_for_tools_and_audio(tracing: Collector) -> None:
    tool, sound = snippet("README.md", "connection.tool"), snippet("README.md", "record_user_audio")
    with (
        RealtimeServer(Script()) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
    ):
        names = run(tool, connection=connection, call_id="call_1", look_up=str.upper, city="Paris")
        run(sound, connection=connection, pcm=b"\1\0" * 480, captured_at=0.0, played_at=0.0)
    assert names["output"] == "PARIS"
    (root,) = trees(tracing)
    assert root.names() == ["tool"]
    assert root.metadata["recording_source"] == root.metadata["recording_source_user"] == "timed_tap"


def test_the_lines_that_read_the_collector(tracing: Collector, capsys: pytest.CaptureFixture[str]) -> None:
    with SessionTracer() as tracer:
        tracer.server_event({"type": "session.created", "event_id": "event_1"})
    trees(tracing)
    run(snippet("README.md", "read_project"))
    assert capsys.readouterr().out == "realtime_session SUCCESS []\n"


def test_the_lines_for_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    run(snippet("README.md", "RealtimeServer"))
    assert "response.created" in capsys.readouterr().out


def test_the_line_for_flushing() -> None:
    run(snippet("README.md", "flush"))


def test_the_first_screen_is_complete() -> None:
    top = "\n".join(README.splitlines()[:26])
    assert "docs/view.png" in top
    assert (ROOT / "docs" / "view.png").is_file()
    for needed in ("pip install langsmith-realtime", "make demo", "make test", "wrap_realtime"):
        assert needed in top


def test_the_supported_versions_of_the_readme_agree_with_pyproject() -> None:
    project = text_of("pyproject.toml")
    assert '"langsmith>=0.8"' in project
    assert "langsmith 0.8 and newer" in README
    assert '"openai[realtime]>=1.107"' in project
    assert "openai 1.107 up to 3.x" in README
    assert "Python 3.11 and newer" in README
    required = re.search(r'requires-python = ">=3\.(\d+)"', project)
    assert required is not None
    assert int(required[1]) <= 11  # so that pip installs it on every version that README promises


def test_the_cost_figures_of_the_readme_agree_with_the_cost_page() -> None:
    rows = {
        row[1].strip(): row for row in (line.split("|") for line in text_of("docs/cost.md").splitlines()) if row[2:]
    }
    loop, ours, theirs = (
        rows["not traced"],
        rows["this package, with its recording"],
        rows["LangSmith's `wrap_realtime`"],
    )
    assert f"{float(ours[5]) / float(loop[5]):.1%}".replace("%", " %") in README
    assert f"{float(theirs[5]) / float(loop[5]):.1%}".replace("%", " %") in README
    assert f"{float(ours[7]):.0f} ms" in README
    assert f"{float(theirs[7]) / 1000:.1f} s" in README


def test_a_client_is_wrapped_once(tracing: Collector) -> None:
    with RealtimeServer(SERVER) as server:
        names = run(snippet("README.md", "wrap_openai_realtime"), client=sync_client(server))
        with names["client"].realtime.connect(model="gpt-realtime") as connection:
            assert [event.type for event in connection] == ["session.created"]
    assert len(trees(tracing)) == 1


def test_the_public_names() -> None:
    assert sorted(langsmith_realtime.__all__) == [
        "Keep",
        "Otel",
        "Price",
        "Recording",
        "SessionTracer",
        "__version__",
        "flush",
        "pii",
        "show",
        "trace_headers",
        "wrap_openai_realtime",
        "wrap_realtime",
        "wrap_realtime_session",
    ]
    without_the_extra = {"wrap_realtime_session"} if find_spec("agents") is None else set()
    for name in set(langsmith_realtime.__all__) - without_the_extra:
        assert getattr(langsmith_realtime, name) is not None


@pytest.mark.newest
def test_every_parameter_of_langsmiths_wrapper_is_accepted() -> None:
    theirs = importlib.import_module("langsmith.integrations.openai_realtime").wrap_realtime
    wanted = set(inspect.signature(theirs).parameters) - {"connection"}
    assert wanted <= set(TracingOptions.__annotations__)


def test_a_wrapped_connection_and_a_tracer_have_equal_methods() -> None:
    for name in ADDED:
        assert callable(getattr(SessionTracer, name))

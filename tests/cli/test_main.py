"""The command langsmith-realtime; in a subprocess where signals matter."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.sync.client import connect

import langsmith_realtime
from langsmith_realtime.cli import main
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import RealtimeServer
from tests.support.collector_requests import ask, root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run the command in a subprocess; yield it with the lines that it prints before it serves. Kill it at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "langsmith_realtime.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            # An empty string is the end of the output: the command ended early.
            while (line := process.stdout.readline()) != "Stop with Ctrl-C.\n":
                assert line, f"the command ended after {lines}:\n{process.communicate(timeout=10)[1]}"
                lines.append(line.strip())
            yield process, lines
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("stop", "kept"), [(signal.SIGINT, True), pytest.param(signal.SIGTERM, False, marks=pytest.mark.nocover)]
)
def test_the_collector_runs_until_a_signal(tmp_path: Path, stop: signal.Signals, kept: bool) -> None:
    options = ["--directory", str(tmp_path / "kept")] if kept else []
    with running("collector", "--port", "0", *options) as (process, lines):
        url = lines[0].removeprefix("Collector is running at ")
        assert ask("POST", f"{url}/runs", json=root()).status_code == 202
        process.send_signal(stop)
        _, errors = process.communicate(timeout=30)

    assert (process.returncode, errors) == (0, "")
    settings = (f"LANGSMITH_ENDPOINT={url}", "LANGSMITH_TRACING=true", "LANGSMITH_API_KEY=local")
    assert lines[-3:] == [f"export {setting}" for setting in settings]
    assert (tmp_path / "kept" / "runs.sqlite3").exists() == kept
    assert ("until exit" in lines[1]) != kept


def test_the_api_key_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    answers = []

    def stop_when_it_answers() -> None:
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=5)) as client:  # 15 s with the waits between
                answers.append(client.get(f"http://127.0.0.1:{port}/sessions").status_code)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop_when_it_answers)
    stopping.start()

    status = main.main(["collector", "--port", str(port), "--api-key", "secret"])

    stopping.join()
    assert (status, answers) == (0, [401])
    output = capsys.readouterr().out
    assert "secret" not in output
    assert "LANGSMITH_API_KEY=<your key>" in output
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_port_in_use_is_reported_in_one_sentence(collector: Collector, capsys: pytest.CaptureFixture[str]) -> None:
    status = main.main(["collector", "--port", collector.url.rpartition(":")[2]])

    assert status == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "in use" in output.err
    assert output.err.endswith("Choose another --port or --directory.\n")


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "zstandard"])
def test_a_missing_package_is_reported_in_one_sentence_with_the_remedy(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("langsmith_realtime.collector")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)

    assert main.main(["collector"]) == 1
    assert capsys.readouterr().err == (
        f"The collector needs {missing}. Install it with: pip install 'langsmith-realtime[collector]'\n"
    )


def test_a_missing_module_of_the_package_itself_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langsmith_realtime.collector", None)

    with pytest.raises(ModuleNotFoundError):
        main.main(["collector"])


@pytest.mark.nocover
def test_a_command_that_ends_before_it_serves_fails_its_test_at_once(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="The script cannot be read"), running("serve-agent", str(tmp_path / "no")):
        pass


# serve-agent

GREETING = '{"turns": ["Hello."], "on_connect": [{"emit": {"type": "news"}}]}'


@pytest.mark.parametrize(
    ("sent", "options", "status"),
    [
        pytest.param('{"type": "response.create"}', ["--strict"], 0, marks=pytest.mark.nocover),
        ("nonsense", ["--strict"], 1),
        pytest.param("nonsense", [], 0, marks=pytest.mark.nocover),
    ],
)
def test_a_scripted_agent_is_served_until_a_signal(tmp_path: Path, sent: str, options: list[str], status: int) -> None:
    script = tmp_path / "agent.json"
    script.write_text(GREETING, "utf-8")
    with running("serve-agent", str(script), "--port", "0", *options) as (process, lines):
        url = lines[0].removeprefix(f"Serving {script} at ")
        with connect(url.replace("http:", "ws:") + "/realtime") as client:
            assert [json.loads(client.recv(timeout=20))["type"] for _ in range(2)] == ["session.created", "news"]
            client.send(sent)
            assert json.loads(client.recv(timeout=20))["type"] in ("response.created", "error")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    assert lines[1:] == ["To connect to it, set:", f"export OPENAI_BASE_URL={url}", "export OPENAI_API_KEY=local"]
    assert process.returncode == status
    problems = (
        "the client sent frames that the Realtime API does not accept:\nconnection 0, a frame: the frame must be JSON\n"
    )
    assert errors == (problems if status else "")


def test_the_help_describes_the_format_of_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["serve-agent", "--help"])

    assert ended.value.code == 0
    output = capsys.readouterr().out
    assert '{"call": NAME, "arguments"' in output
    assert "--port" in output


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "The script cannot be read: {path}: No such file or directory."),
        ("{", "The script is wrong: agent.json must be JSON: "),
        ('{"turn": []}', "The script is wrong: agent.json: script.turn: unknown"),
        ('{"session": {"voice": "alloy"}}', "The script is wrong: Unknown parameter: 'session.voice'."),
    ],
)
def test_a_script_that_cannot_be_served_is_reported_in_one_sentence(
    tmp_path: Path, text: str | None, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.json"
    if text is not None:
        path.write_text(text, "utf-8")

    assert main.main(["serve-agent", str(path)]) == 1

    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(sentence.replace("{path}", str(path)))
    assert output.err.count("\n") == 1


def test_a_port_in_use_of_an_agent_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent.json"
    path.write_text("{}", "utf-8")
    with RealtimeServer() as server:
        assert main.main(["serve-agent", str(path), "--port", str(server.port)]) == 1

    assert capsys.readouterr().err.endswith("Choose another --port.\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["collector", "--port", "70000"], "must be a number from 0 to 65535, got '70000'"),
        (["collector", "--port", "x"], "must be a number from 0 to 65535, got 'x'"),
        (["view", "--slow-above", "x"], "must be a non-negative number of milliseconds, got 'x'"),
        (["serve-agent"], "the following arguments are required: SCRIPT"),
        (["run"], "COMMAND is missing; run for example: langsmith-realtime run python app.py"),
        (["run", "--"], "COMMAND is missing"),
    ],
)
def test_wrong_arguments_print_the_usage(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(arguments)

    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert "usage: langsmith-realtime" in printed
    assert sentence in printed


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out == f"langsmith-realtime {langsmith_realtime.__version__}\n"


# Imports


def imported_by(code: str) -> set[str]:
    """The top-level packages that a new process has imported after running the code."""
    program = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}}, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("command", ["--help", "collector --help", "recover --help", "replay --help"])
def test_help_imports_no_slow_library(command: str) -> None:
    code = f"from langsmith_realtime.cli.main import main\ntry: main({command.split()!r})\nexcept SystemExit: pass"
    libraries = {"httpx", "langsmith", "numpy", "openai", "pydantic", "soundfile", "starlette", "uvicorn", "websockets"}
    assert not libraries & imported_by(code)


def test_importing_wrap_realtime_does_not_import_libraries_of_the_worker() -> None:
    assert not {"fsspec", "numpy", "soundfile", "soxr"} & imported_by("from langsmith_realtime import wrap_realtime")


def test_the_public_names_are_listed_without_importing_their_modules() -> None:
    code = "import langsmith_realtime\nassert 'flush' in dir(langsmith_realtime)\nlangsmith_realtime.Keep"
    assert not {"langsmith", "numpy", "openai"} & imported_by(code)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(importlib.import_module("langsmith_realtime"), "nothing")  # noqa: B009 - mypy refuses the attribute


def test_without_the_agents_sdk_every_name_is_imported_and_the_wrapper_says_what_to_install() -> None:
    code = """import sys, pydoc
sys.modules["agents"] = None
from langsmith_realtime import *
import langsmith_realtime
assert "wrap_realtime_session" in pydoc.render_doc(langsmith_realtime)
for wrap in (lambda: wrap_realtime_session(object()), lambda: SessionTracer().listener(object())):
    try:
        wrap()
    except ModuleNotFoundError as missing:
        print(missing.name, missing)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    remedy = "install it with: pip install 'langsmith-realtime[agents]'"
    assert (done.stdout, done.stderr) == (f"agents The OpenAI Agents SDK is missing; {remedy}\n" * 2, "")

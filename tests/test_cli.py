"""The command line, in a process of its own where signals matter."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from langsmith_realtime import cli
from langsmith_realtime.collector import Collector
from tests.collector_kit import ask, root

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("stop", "kept"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_the_collector_runs_until_it_is_told_to_stop(tmp_path: Path, stop: signal.Signals, kept: bool) -> None:
    options = ["--directory", str(tmp_path / "kept")] if kept else []
    command = [sys.executable, "-m", "langsmith_realtime.cli", "collector", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [line.strip() for line in iter(process.stdout.readline, "Stop with Ctrl-C.\n")]
        url = lines[0].removeprefix("Collecting at ")
        assert ask("POST", f"{url}/runs", json=root()).status_code == 202
        process.send_signal(stop)
        _, errors = process.communicate(timeout=10)

    assert (process.returncode, errors) == (0, "")
    assert lines[-3:] == [f"LANGSMITH_ENDPOINT={url}", "LANGSMITH_TRACING=true", "LANGSMITH_API_KEY=local"]
    assert (tmp_path / "kept" / "runs.sqlite3").exists() == kept
    assert ("until exit" in lines[1]) != kept


def test_the_key_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    answers = []

    def stop_when_it_answers() -> None:
        with httpx.Client(transport=httpx.HTTPTransport(retries=20)) as client:
            answers.append(client.get(f"http://127.0.0.1:{port}/sessions").status_code)
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop_when_it_answers)
    stopping.start()

    status = cli.main(["collector", "--port", str(port), "--api-key", "secret"])

    stopping.join()
    assert (status, answers) == (0, [401])
    output = capsys.readouterr().out
    assert "secret" not in output
    assert "LANGSMITH_API_KEY=<your key>" in output
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_taken_port_is_one_sentence(collector: Collector, capsys: pytest.CaptureFixture[str]) -> None:
    status = cli.main(["collector", "--port", collector.url.rpartition(":")[2]])

    assert status == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "in use" in output.err
    assert output.err.endswith("Choose another --port or --directory.\n")


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "zstandard"])
def test_a_missing_package_is_one_sentence_with_the_remedy(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("langsmith_realtime.collector")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)

    assert cli.main(["collector"]) == 1
    assert capsys.readouterr().err == (f"The collector needs {missing}: pip install 'langsmith-realtime[collector]'\n")


def test_another_missing_module_is_a_bug_and_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langsmith_realtime.collector", None)

    with pytest.raises(ModuleNotFoundError):
        cli.main(["collector"])


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["collector", "--port", "70000"], ["collector", "--port", "x"]]
)
def test_wrong_arguments_are_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)

    assert caught.value.code == 2
    assert "usage: langsmith-realtime" in capsys.readouterr().err

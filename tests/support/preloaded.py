"""A process that imports the tracing once (2 s of CPU time), and forks a child for each program that a test runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from tests import ROOT
from tests.support.processes import exit_code, fork

#: Imported before the forks. None of these starts a thread.
_IMPORTS = "from tests.support import otel_conversation, preloaded; preloaded.serve()"


class PreloadedProcess:
    """Runs programs one after another, each in a forked child."""

    def __init__(self, running: subprocess.Popen[str], errors: Path) -> None:
        self._running, self._errors = running, errors

    def run(self, program: str, *arguments: str, environment: dict[str, str]) -> tuple[int, str]:
        """Runs a program with these arguments and this environment alone.

        Returns its exit code (the negative number of the signal that ended it), and what it wrote to stderr.
        """
        request = {"program": program, "arguments": arguments, "environment": environment, "errors": str(self._errors)}
        self._write.write(json.dumps(request) + "\n")
        self._write.flush()
        answer = self._read.readline()
        assert answer, "the process ended before its child"
        return int(answer), self._errors.read_text("utf-8")

    @property
    def _write(self) -> IO[str]:
        assert self._running.stdin is not None
        return self._running.stdin

    @property
    def _read(self) -> IO[str]:
        assert self._running.stdout is not None
        return self._running.stdout


@contextmanager
def preloaded_process() -> Iterator[PreloadedProcess]:
    """Starts the process, and ends it after the block."""
    command = [sys.executable, "-c", _IMPORTS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as running,
    ):
        yield PreloadedProcess(running, Path(folder) / "stderr")


def serve() -> None:
    """Forks a child for each program of stdin, and writes its exit code to stdout."""
    for line in sys.stdin:
        request = json.loads(line)
        child = fork()
        if child == 0:
            errors = os.open(request["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(errors, 2)
            os.dup2(errors, 1)  # stdout has the exit codes
            os.environ.clear()
            os.environ.update(request["environment"])
            sys.argv[1:] = request["arguments"]
            exec(request["program"], {"__name__": "__main__"})
            sys.exit()
        print(exit_code(child), flush=True)

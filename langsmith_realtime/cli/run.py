"""The subcommand that runs a program and traces its realtime connections: ``run``."""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from langsmith_realtime.adapters.no_code.import_hook import VARIABLE
from langsmith_realtime.cli.terminal import fail

if TYPE_CHECKING:
    from langsmith_realtime.cli.terminal import Commands, Parser

BOOTSTRAP = Path(__file__).parents[1] / "adapters" / "no_code" / "bootstrap"


def add_run(commands: Commands) -> None:
    parser = commands.add_parser(
        "run",
        help="run a program and trace its realtime connections, without code",
        description="Run a program, and trace every realtime connection that it and its child processes open. "
        "LangSmith's settings apply, such as LANGSMITH_TRACING and LANGSMITH_API_KEY.",
        usage="langsmith-realtime run COMMAND [ARGUMENT ...]",
    )
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="for example: python app.py")
    parser.set_defaults(run=functools.partial(_run, parser))


def _run(parser: Parser, arguments: argparse.Namespace) -> int:  # noqa: RET503 - exec does not return
    command: list[str] = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        parser.error("COMMAND is missing; run for example: langsmith-realtime run python app.py")
    program = shutil.which(command[0])
    if program is None:
        return fail(f"The command {command[0]} was not found. Give its path, or add its folder to PATH.")
    environment = os.environ | {VARIABLE: "true", "PYTHONPATH": _python_path()}
    if os.name == "nt":  # where exec would return to the shell before the program ends
        return subprocess.run([program, *command[1:]], check=False, env=environment).returncode  # noqa: S603
    sys.stdout.flush()
    os.execve(program, command, environment)  # noqa: S606


def _python_path() -> str:
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join([str(BOOTSTRAP), *(each for each in before if each and each != str(BOOTSTRAP))])

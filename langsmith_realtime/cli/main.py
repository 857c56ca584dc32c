"""The ``langsmith-realtime`` command: its parser, and which subcommands there are."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from langsmith_realtime.cli.journals import add_recover, add_replay
from langsmith_realtime.cli.run import add_run
from langsmith_realtime.cli.servers import add_collector, add_serve_agent
from langsmith_realtime.cli.terminal import Parser, say
from langsmith_realtime.cli.view import add_view

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None for those of the process.

    Returns:
        The exit status: 0, or 1 if the command failed, which a sentence on stderr explains, or if ``recover`` left
        conversations incomplete.

    Raises:
        SystemExit: The arguments are wrong (2), or help or the version was asked for (0).
    """
    parser = argparse.ArgumentParser(
        prog="langsmith-realtime", description="Tools for voice conversations traced in LangSmith."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version of the package and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Parser)
    add_view(commands)
    add_run(commands)
    add_collector(commands)
    add_serve_agent(commands)
    add_recover(commands)
    add_replay(commands)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status


class _Version(argparse.Action):
    """Prints the version. It is imported here, because the module that knows it imports langsmith."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from langsmith_realtime import __version__  # noqa: PLC0415 - imports langsmith, which the help does not need

        say(f"langsmith-realtime {__version__}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())

"""The ``langsmith-realtime`` command: its parser, and which subcommands there are."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from langsmith_realtime.cli.journals import add_recover, add_replay
from langsmith_realtime.cli.run import add_run
from langsmith_realtime.cli.servers import add_collector, add_serve_agent
from langsmith_realtime.cli.terminal import Parser
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
        SystemExit: The arguments are wrong (2), or help was asked for (0).
    """
    parser = argparse.ArgumentParser(
        prog="langsmith-realtime", description="Tools for voice conversations traced in LangSmith."
    )
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


if __name__ == "__main__":
    sys.exit(main())

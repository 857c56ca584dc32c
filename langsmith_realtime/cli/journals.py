"""``langsmith-realtime recover`` and ``replay``: conversations that are on disk."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from langsmith import Client

from langsmith_realtime.cli.terminal import fail, say
from langsmith_realtime.journal.file import state_directory
from langsmith_realtime.journal.replay import JournalError

if TYPE_CHECKING:
    pass


def add_recover(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "recover",
        help="complete the traces of conversations that were not delivered",
        description="Complete the traces of conversations whose process died, or that LangSmith did not take, "
        "where LangSmith's settings point. What is meant for elsewhere is left, and named.",
    )
    parser.add_argument(
        "--dir", type=Path, help="where the journals are (default: LANGSMITH_REALTIME_DIR, or the platform's folder)"
    )
    parser.set_defaults(run=_recover)


def _recover(arguments: argparse.Namespace) -> int:
    from langsmith_realtime.journal.recovery import Fate, recover  # noqa: PLC0415 - most commands need nothing of LangSmith
    from langsmith_realtime.journal.retention import tidy  # noqa: PLC0415

    if arguments.dir is not None and not arguments.dir.is_dir():
        return fail(f"There is no folder {arguments.dir}.")
    try:
        directory = (arguments.dir or state_directory()).absolute()
    except OSError as error:
        return fail(f"Nobody can tell where the journals are: {error}, or use --dir.")
    left = completed = 0
    for found in recover(Client(auto_batch_tracing=False), directory):
        completed += found.fate is Fate.COMPLETED
        left += found.fate not in (Fate.COMPLETED, Fate.ALIVE)
        say(f"{found.folder.name}: {found.fate.value}" + (f" ({found.detail})" if found.detail else ""))
    tidy(directory)
    say(f"{completed} completed, {left} left in {directory}")
    return 1 if left else 0


def add_replay(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "replay",
        help="trace a kept conversation once more",
        description="Trace a conversation whose journal was kept once more, under new ids, where LangSmith's "
        "settings point.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of the conversation")
    parser.add_argument("--project", help="the LangSmith project (default: what LangSmith's settings say)")
    parser.set_defaults(run=_replay)


def _replay(arguments: argparse.Namespace) -> int:
    from langsmith_realtime.journal.recovery import replay_anew  # noqa: PLC0415 - most commands need nothing of LangSmith

    try:
        trace_id = replay_anew(arguments.folder, Client(auto_batch_tracing=False), project=arguments.project)
    except JournalError as error:
        return fail(f"The conversation cannot be replayed: {error}.")
    if trace_id is None:
        return fail("Not everything could be delivered; see the log.")
    say(f"Traced as {trace_id}")
    return 0

"""``langsmith-realtime recover`` and ``replay``: conversations whose journals are on disk."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from langsmith_realtime.cli.terminal import fail, say

if TYPE_CHECKING:
    from langsmith_realtime.cli.terminal import Commands


def add_recover(commands: Commands) -> None:
    parser = commands.add_parser(
        "recover",
        help="complete the traces of conversations that were not delivered",
        description="Complete traces whose process died, or that LangSmith did not take, and send them to the endpoint "
        "in LangSmith's settings, their spans and log records to the one in OpenTelemetry's (OTEL_EXPORTER_OTLP_…). "
        "Conversations meant for another endpoint stay on disk and are listed.",
    )
    parser.add_argument(
        "--directory",
        "--dir",
        dest="dir",
        type=Path,
        help="folder of the journals (default: LANGSMITH_REALTIME_DIR, or the platform's state folder)",
    )
    parser.set_defaults(run=_recover)


def _recover(arguments: argparse.Namespace) -> int:
    from langsmith import Client  # noqa: PLC0415

    from langsmith_realtime.journal.recovery import Fate, needs_client, recover  # noqa: PLC0415
    from langsmith_realtime.journal.state_directory import state_directory, tidy  # noqa: PLC0415

    if arguments.dir is not None and not arguments.dir.is_dir():
        return fail(f"--directory must be a folder that exists, got {arguments.dir}.")
    try:
        directory = (arguments.dir or state_directory()).absolute()
    except OSError as error:
        return fail(f"The folder of the journals is unknown: {error}, or use --directory.")
    left = completed = 0
    client = Client(auto_batch_tracing=False) if needs_client(directory) else None
    for found in recover(client, directory):
        completed += found.fate is Fate.COMPLETED
        left += found.fate not in (Fate.COMPLETED, Fate.ALIVE)
        say(f"{found.folder.name}: {found.fate.value}" + (f" ({found.detail})" if found.detail else ""))
    tidy(directory)
    say(f"{completed} completed, {left} left in {directory}")
    return 1 if left else 0


def add_replay(commands: Commands) -> None:
    parser = commands.add_parser(
        "replay",
        help="trace a kept conversation again",
        description="Trace a conversation again from the journal that was kept, with new ids, and send it to the "
        "endpoint in LangSmith's settings.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the conversation")
    parser.add_argument("--project", help="LangSmith project (default: the one in LangSmith's settings)")
    parser.set_defaults(run=_replay)


def _replay(arguments: argparse.Namespace) -> int:
    if not arguments.folder.is_dir():
        return fail(f"FOLDER must be the folder of a conversation that was kept, got {arguments.folder}.")
    from langsmith import Client  # noqa: PLC0415

    from langsmith_realtime.journal.reader import JournalError  # noqa: PLC0415
    from langsmith_realtime.journal.recovery import replay_anew  # noqa: PLC0415

    try:
        trace_id = replay_anew(arguments.folder, Client(auto_batch_tracing=False), project=arguments.project)
    except JournalError as error:
        return fail(f"The conversation cannot be replayed: {error}.")
    if trace_id is None:
        return fail("Some runs could not be delivered; the log says why.")
    say(f"Traced as {trace_id}")
    return 0

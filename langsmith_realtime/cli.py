"""The ``langsmith-realtime`` command. A subcommand is one function that adds its parser and one that runs it."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from langsmith import Client

from langsmith_realtime.journal import JournalError, state_directory
from langsmith_realtime.testing import RealtimeServer, WrongFramesError, load_script, script_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_COLLECTOR_PACKAGES: Final = frozenset({"h11", "starlette", "uvicorn", "zstandard"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None for those of the process.

    Returns:
        The exit status: 0, or 1 after one sentence on stderr that says what to do.

    Raises:
        SystemExit: The arguments are wrong (2), or help was asked for (0).
    """
    parser = argparse.ArgumentParser(
        prog="langsmith-realtime", description="Tools for voice conversations traced in LangSmith."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_collector(commands)
    _add_serve_agent(commands)
    _add_recover(commands)
    _add_replay(commands)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status


def _add_collector(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "collector",
        help="receive traces on this machine instead of in LangSmith",
        description="Receive traces on this machine, by LangSmith's rules, until Ctrl-C.",
    )
    parser.add_argument("--port", type=_port, default=1984, help="on 127.0.0.1; 0 for any free one (default: 1984)")
    parser.add_argument("--directory", help="where to keep runs and recordings (default: a folder removed at exit)")
    parser.add_argument("--api-key", metavar="KEY", help="the key that clients must send (default: any)")
    parser.set_defaults(run=_collector)


def _collector(arguments: argparse.Namespace) -> int:
    try:
        from langsmith_realtime.collector import Collector  # noqa: PLC0415 - needs packages that are optional
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _COLLECTOR_PACKAGES:
            raise
        return _fail(f"The collector needs {package}: pip install 'langsmith-realtime[collector]'")
    collector = Collector(arguments.directory, port=arguments.port, api_key=arguments.api_key)
    try:
        with _until_signalled() as stopped, collector:
            _say(
                f"Collecting at {collector.url}",
                f"Keeping runs and recordings in {collector.directory}"
                + ("" if arguments.directory else " until exit; use --directory to keep them longer"),
                "To send traces here:",
                f"export LANGSMITH_ENDPOINT={collector.url}",
                "export LANGSMITH_TRACING=true",
                f"export LANGSMITH_API_KEY={'<your key>' if arguments.api_key else 'local'}",
                "Stop with Ctrl-C.",
            )
            _wait(stopped)
    except OSError as error:
        return _fail(f"The collector cannot start: {error}. Choose another --port or --directory.")
    return 0


def _add_serve_agent(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "serve-agent",
        help="a scripted voice agent on this machine, in the place of OpenAI's",
        description="Serve the Realtime API as a script says, until Ctrl-C. Every client begins the script anew.",
        epilog=script_file.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("script", metavar="SCRIPT", help="a JSON or TOML file, see below")
    parser.add_argument("--port", type=_port, default=8765, help="on 127.0.0.1; 0 for any free one (default: 8765)")
    parser.add_argument(
        "--strict", action="store_true", help="at the end, fail if a client sent frames the Realtime API does not take"
    )
    parser.set_defaults(run=_serve_agent)


def _serve_agent(arguments: argparse.Namespace) -> int:
    try:
        server = RealtimeServer(
            load_script(arguments.script), port=arguments.port, keep_frames=False, strict=arguments.strict
        )
    except OSError as error:
        return _fail(f"The script cannot be read: {error}.")
    except ValueError as error:
        return _fail(f"The script is wrong: {error}")
    try:
        with _until_signalled() as stopped, server:
            _say(
                f"Serving {arguments.script} at {server.base_url}",
                "To talk to it, set:",
                f"OPENAI_BASE_URL={server.base_url}",
                "OPENAI_API_KEY=local",
                "Stop with Ctrl-C.",
            )
            _wait(stopped)
    except OSError as error:
        return _fail(f"The server cannot start: {error}. Choose another --port.")
    except WrongFramesError as wrong:
        return _fail(str(wrong))
    return 0


def _add_recover(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    from langsmith_realtime.recovery import Fate, recover  # noqa: PLC0415 - most commands need nothing of LangSmith
    from langsmith_realtime.retention import tidy  # noqa: PLC0415

    if arguments.dir is not None and not arguments.dir.is_dir():
        return _fail(f"There is no folder {arguments.dir}.")
    try:
        directory = (arguments.dir or state_directory()).absolute()
    except OSError as error:
        return _fail(f"Nobody can tell where the journals are: {error}, or use --dir.")
    left = completed = 0
    for found in recover(Client(auto_batch_tracing=False), directory):
        completed += found.fate is Fate.COMPLETED
        left += found.fate not in (Fate.COMPLETED, Fate.ALIVE)
        _say(f"{found.folder.name}: {found.fate.value}" + (f" ({found.detail})" if found.detail else ""))
    tidy(directory)
    _say(f"{completed} completed, {left} left in {directory}")
    return 1 if left else 0


def _add_replay(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    from langsmith_realtime.recovery import replay_anew  # noqa: PLC0415 - most commands need nothing of LangSmith

    try:
        trace_id = replay_anew(arguments.folder, Client(auto_batch_tracing=False), project=arguments.project)
    except JournalError as error:
        return _fail(f"The conversation cannot be replayed: {error}.")
    if trace_id is None:
        return _fail("Not everything could be delivered; see the log.")
    _say(f"Traced as {trace_id}")
    return 0


def _wait(stopped: threading.Event) -> None:
    # In slices, because Windows delivers Ctrl-C only between waits.
    while not stopped.wait(1.0):
        pass


@contextmanager
def _until_signalled() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set."""
    stopped = threading.Event()
    before = {each: signal.signal(each, lambda *_: stopped.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("must be between 0 and 65535")
    return port


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201 - a command speaks to its terminal


def _fail(sentence: str) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201 - a command speaks to its terminal
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""``langsmith-realtime collector`` and ``serve-agent``: the servers on this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from langsmith_realtime.cli.terminal import fail, port_number, say, until_signalled, wait_for
from langsmith_realtime.testing import RealtimeServer, WrongFramesError, load_script
from langsmith_realtime.testing.script import script_file

if TYPE_CHECKING:
    pass


_COLLECTOR_PACKAGES: Final = frozenset({"h11", "starlette", "uvicorn", "zstandard"})


def add_collector(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "collector",
        help="receive traces on this machine instead of in LangSmith",
        description="Receive traces on this machine, by LangSmith's rules, until Ctrl-C.",
    )
    parser.add_argument(
        "--port", type=port_number, default=1984, help="on 127.0.0.1; 0 for any free one (default: 1984)"
    )
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
        return fail(f"The collector needs {package}: pip install 'langsmith-realtime[collector]'")
    collector = Collector(arguments.directory, port=arguments.port, api_key=arguments.api_key)
    try:
        with until_signalled() as stopped, collector:
            say(
                f"Collecting at {collector.url}",
                f"Keeping runs and recordings in {collector.directory}"
                + ("" if arguments.directory else " until exit; use --directory to keep them longer"),
                "To send traces here:",
                f"export LANGSMITH_ENDPOINT={collector.url}",
                "export LANGSMITH_TRACING=true",
                f"export LANGSMITH_API_KEY={'<your key>' if arguments.api_key else 'local'}",
                "Stop with Ctrl-C.",
            )
            wait_for(stopped)
    except OSError as error:
        return fail(f"The collector cannot start: {error}. Choose another --port or --directory.")
    return 0


def add_serve_agent(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "serve-agent",
        help="a scripted voice agent on this machine, in the place of OpenAI's",
        description="Serve the Realtime API as a script says, until Ctrl-C. Every client begins the script anew.",
        epilog=script_file.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("script", metavar="SCRIPT", help="a JSON or TOML file, see below")
    parser.add_argument(
        "--port", type=port_number, default=8765, help="on 127.0.0.1; 0 for any free one (default: 8765)"
    )
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
        return fail(f"The script cannot be read: {error}.")
    except ValueError as error:
        return fail(f"The script is wrong: {error}")
    try:
        with until_signalled() as stopped, server:
            say(
                f"Serving {arguments.script} at {server.base_url}",
                "To talk to it, set:",
                f"OPENAI_BASE_URL={server.base_url}",
                "OPENAI_API_KEY=local",
                "Stop with Ctrl-C.",
            )
            wait_for(stopped)
    except OSError as error:
        return fail(f"The server cannot start: {error}. Choose another --port.")
    except WrongFramesError as wrong:
        return fail(str(wrong))
    return 0

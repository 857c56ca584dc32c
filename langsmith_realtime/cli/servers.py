"""``langsmith-realtime collector`` and ``serve-agent``: servers on this machine.

Each subcommand is a function that adds its parser and a function that runs it. The server is imported only
when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from langsmith_realtime.cli.terminal import fail, port_number, reason, say, state_folder, until_signalled, wait_for

if TYPE_CHECKING:
    from langsmith_realtime.cli.terminal import Commands

#: The packages of the ``collector`` extra.
_COLLECTOR_PACKAGES: Final = frozenset({"h11", "starlette", "uvicorn", "zstandard"})
#: The environment variable with the key of :func:`add_reach`. A command line is visible to all users of a machine.
TOKEN_VARIABLE: Final = "LANGSMITH_REALTIME_TOKEN"  # noqa: S105 - a name


def add_collector(commands: Commands) -> None:
    parser = commands.add_parser(
        "collector",
        help="receive traces on this machine instead of in LangSmith",
        description="Receive traces on this machine, by LangSmith's rules, until Ctrl-C.",
    )
    parser.add_argument("--port", type=port_number, default=1984, help="port; 0 picks a free one (default: 1984)")
    parser.add_argument(
        "--directory", help="folder for runs and recordings (default: a temporary folder, removed at exit)"
    )
    add_reach(parser)
    parser.add_argument(
        "--keep-days", type=float, metavar="DAYS", help="delete traces that did not change for so long (default: keep)"
    )
    parser.add_argument(
        "--keep-gb", type=float, metavar="GB", help="delete the oldest traces above this size (default: keep all)"
    )
    parser.set_defaults(run=_collector)


def add_reach(parser: argparse.ArgumentParser) -> None:
    """Add ``--host``, ``--token`` and ``--token-file``, which say who can reach the server."""
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="name or address to listen at (default: 127.0.0.1); one that other machines can reach needs a key",
    )
    key = parser.add_mutually_exclusive_group()
    key.add_argument(
        "--token",
        "--api-key",
        dest="api_key",
        metavar="KEY",
        help="key that clients must send as their API key, and that opens the page with ?token=KEY (default: the "
        f"environment variable {TOKEN_VARIABLE}; without it, any key). Other users of this machine can see the key "
        "in the list of processes",
    )
    key.add_argument(
        "--token-file", dest="api_key", type=_key_in, metavar="FILE", help="file with the key of --token in one line"
    )


def _key_in(path: str) -> str:
    try:
        key = Path(path).read_text(encoding="utf-8-sig").strip()
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"cannot be read: {error}") from None
    if not key or len(key.split()) > 1:
        raise argparse.ArgumentTypeError(f"must have one key without spaces, got {len(key.split())} words in {path}")
    return key


def server_key(arguments: argparse.Namespace) -> str | None:
    """Return the key that clients must send: the one of the arguments, else of the environment; None for any key."""
    if arguments.api_key is not None:
        return str(arguments.api_key)
    return os.environ.get(TOKEN_VARIABLE) or None


def reach_elsewhere(host: str, port: str) -> list[str]:
    """Return the line that says where other machines open the page; none if they cannot reach the server."""
    from langsmith_realtime.collector.addresses import is_loopback  # noqa: PLC0415 - needs an extra

    if is_loopback(host):
        return []
    name = f"<this machine>:{port}" if host in ("0.0.0.0", "::") else f"{host}:{port}"  # noqa: S104 - compared, not bound
    return [f"From another machine, open http://{name}/view/?token=<your key>"]


def _collector(arguments: argparse.Namespace) -> int:
    try:
        from langsmith_realtime.collector import Collector  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _COLLECTOR_PACKAGES:
            raise
        return fail(f"The collector needs {package}. Install it with: pip install 'langsmith-realtime[collector]'")
    key = server_key(arguments)
    try:
        collector = Collector(
            arguments.directory,
            port=arguments.port,
            api_key=key,
            host=arguments.host,
            keep_days=arguments.keep_days,
            keep_gb=arguments.keep_gb,
            state=state_folder(),
        )
        with until_signalled() as stopped, collector:
            say(
                f"Collector is running at {collector.url}",
                f"Runs and recordings are stored in {collector.directory}"
                + ("" if arguments.directory else " until exit; use --directory to keep them"),
                f"Look at them at {collector.view_url()}",
                *reach_elsewhere(arguments.host, collector.url.rpartition(":")[2]),
                "To send traces here, set:",
                f"export LANGSMITH_ENDPOINT={collector.url}",
                "export LANGSMITH_TRACING=true",
                f"export LANGSMITH_API_KEY={'<your key>' if key else 'local'}",
                "Stop with Ctrl-C.",
            )
            wait_for(stopped)
    except OSError as error:
        return fail(f"The collector cannot start: {reason(error)}. Choose another --port or --directory.")
    except ValueError as error:
        return fail(f"The collector cannot start: {error}.")
    return 0


def add_serve_agent(commands: Commands) -> None:
    parser = commands.add_parser(
        "serve-agent",
        help="serve a scripted voice agent on this machine, in place of OpenAI's",
        description="Serve the Realtime API from a script until Ctrl-C. The script starts anew for every client.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.epilog_module = "langsmith_realtime.testing.script.script_file"
    parser.add_argument("script", metavar="SCRIPT", help="JSON or TOML file in the format below")
    parser.add_argument(
        "--port", type=port_number, default=8765, help="port on 127.0.0.1; 0 picks a free one (default: 8765)"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with an error if a client sent frames that the Realtime API refuses"
    )
    parser.set_defaults(run=_serve_agent)


def _serve_agent(arguments: argparse.Namespace) -> int:
    from langsmith_realtime.testing import RealtimeServer, WrongFramesError, load_script  # noqa: PLC0415

    try:
        server = RealtimeServer(
            load_script(arguments.script), port=arguments.port, keep_frames=False, strict=arguments.strict
        )
    except OSError as error:
        return fail(f"The script cannot be read: {reason(error)}.")
    except ValueError as error:
        return fail(f"The script is wrong: {error}")
    try:
        with until_signalled() as stopped, server:
            say(
                f"Serving {arguments.script} at {server.base_url}",
                "To connect to it, set:",
                f"export OPENAI_BASE_URL={server.base_url}",
                "export OPENAI_API_KEY=local",
                "Stop with Ctrl-C.",
            )
            wait_for(stopped)
    except OSError as error:
        return fail(f"The server cannot start: {reason(error)}. Choose another --port.")
    except WrongFramesError as wrong:
        return fail(str(wrong))
    return 0

"""``langsmith-realtime view``: the local page, of the local store, a file, or a conversation in LangSmith."""

from __future__ import annotations

import argparse
import math
import os
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from langsmith_realtime.cli.servers import add_reach, reach_elsewhere, server_key
from langsmith_realtime.cli.terminal import fail, port_number, reason, say, state_folder, until_signalled, wait_for

if TYPE_CHECKING:
    from langsmith_realtime.cli.terminal import Commands
    from langsmith_realtime.collector import Collector

#: The packages of the ``collector`` extra.
_COLLECTOR_PACKAGES: Final = frozenset({"h11", "starlette", "uvicorn", "zstandard"})
#: Seconds in which a collector that is already running must answer.
_TIMEOUT_S: Final = 2.0
_MIME_TYPES: Final = {".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".opus": "audio/ogg"}
#: Endings of files that are no conversations, but that a user may take for one; no id of a thread has them.
_OTHER_FILES: Final = frozenset({".json", ".mp3", ".m4a", ".mp4", ".webm", ".txt", ".html", ".vtt", ".srt"})
#: The project of conversations that come from files.
_FILES: Final = "files"


class _ViewError(Exception):
    """What was asked for cannot be shown; the message is for the terminal."""


def add_view(commands: Commands) -> None:
    parser = commands.add_parser(
        "view",
        help="look at conversations, and listen to them, in the browser",
        description="Open the local page in the browser, and serve it until Ctrl-C. Without TARGET: the collector in "
        "LANGSMITH_ENDPOINT if that is on this machine and running, else the local store.",
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        help="folder of a journal; file of frames (JSON lines), with a stereo recording of the same name beside it; "
        "or the id of a trace or a thread, or the address of its page, in LangSmith. The local store is searched first",
    )
    parser.add_argument(
        "--directory", type=Path, help="folder of the local store (default: collector, in the platform's state folder)"
    )
    parser.add_argument("--port", type=port_number, default=0, help="port (default: a free one)")
    add_reach(parser)
    parser.add_argument("--project", help="LangSmith project of TARGET (default: the one in LangSmith's settings)")
    parser.add_argument(
        "--slow-above", type=_milliseconds, metavar="MS", help="an answer above this is slow (default: 1500)"
    )
    parser.add_argument("--no-open", action="store_true", help="print the address, and open no browser")
    parser.set_defaults(run=_view)


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a non-negative number of milliseconds, got {text!r}")
    return value


def _view(arguments: argparse.Namespace) -> int:
    is_own = arguments.target is not None or arguments.directory or arguments.api_key or arguments.host != "127.0.0.1"
    running = None if is_own else _running_page()
    if running is not None:
        _show(running, arguments)
        return 0
    try:
        from langsmith_realtime.collector import Collector  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _COLLECTOR_PACKAGES:
            raise
        return fail(f"The page needs {package}. Install it with: pip install 'langsmith-realtime[collector]'")
    key = server_key(arguments)
    try:
        directory = arguments.directory or _local_store()
        try:
            served = Collector(directory, port=arguments.port, api_key=key, host=arguments.host, state=state_folder())
        except ValueError as error:
            raise _ViewError(f"The page cannot be served: {error}.") from None
        with until_signalled() as stopped, served as collector:
            shown = _fill(collector, arguments) if arguments.target is not None else None
            if shown is None or len(shown) == 1:
                address = collector.view_url(shown[0] if shown else None)
            else:
                thread = next(run.thread_id for run in collector.runs(shown[0]) if run.thread_id)
                address = collector.view_url(thread=thread)
            _show(address, arguments)
            say(
                *reach_elsewhere(arguments.host, collector.url.rpartition(":")[2]),
                f"Conversations are stored in {collector.directory}",
                "Stop with Ctrl-C.",
            )
            wait_for(stopped)
    except _ViewError as error:
        return fail(str(error))
    except OSError as error:
        return fail(f"The page cannot be served: {reason(error)}. Choose another --port or --directory.")
    return 0


def _show(address: str, arguments: argparse.Namespace) -> None:
    if arguments.slow_above is not None:
        address += f"{'&' if '?' in address else '?'}slow={arguments.slow_above:g}"
    say(f"The page is at {address}")
    if not arguments.no_open:
        webbrowser.open(address)


def _local_store() -> Path:
    from langsmith_realtime.journal.state_directory import state_directory  # noqa: PLC0415 - imports much

    return state_directory() / "collector"


def _running_page() -> str | None:
    """Return the address of the page of the collector in LANGSMITH_ENDPOINT, or None."""
    import http.client  # noqa: PLC0415
    import json  # noqa: PLC0415

    try:
        endpoint = urlsplit(os.environ.get("LANGSMITH_ENDPOINT", ""))
    except ValueError:
        return None
    if endpoint.scheme != "http" or endpoint.hostname not in ("127.0.0.1", "localhost"):
        return None
    connection = http.client.HTTPConnection(endpoint.hostname, endpoint.port or 80, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/view/api/code", headers={"x-api-key": os.environ.get("LANGSMITH_API_KEY", "")})
        answer = connection.getresponse()
        code = json.loads(answer.read())["code"] if answer.status == 200 else None
        page = f"http://{endpoint.netloc}/view/"
        return None if answer.status != 200 else page if code is None else f"{page}?code={code}"
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):  # something else listens there
        return None
    finally:
        connection.close()


def _fill(collector: Collector, arguments: argparse.Namespace) -> list[str]:
    """Bring the target into the store; return the ids of its conversations."""
    target = arguments.target.strip()
    if not target:
        raise _ViewError("TARGET must be a file, an id or an address, got an empty text.")
    stored = collector.conversation_id(target)
    if stored is not None:
        return [stored]
    path = Path(target)
    if path.exists():
        return [_from_file(collector, path, server_key(arguments))]
    if "://" not in target and "/projects/p/" in target:  # an address as some browsers copy it
        target = f"https://{target}"
    is_file = path.suffix.lower() in (".jsonl", *_MIME_TYPES, *_OTHER_FILES)
    if "://" not in target and ("/" in target or is_file):
        raise _ViewError(f"{target} does not exist.")
    return _from_langsmith(collector, target, arguments.project)


def _from_file(collector: Collector, path: Path, api_key: str | None) -> str:
    from langsmith import Client  # noqa: PLC0415

    from langsmith_realtime.journal.frame_lines import FrameLines  # noqa: PLC0415
    from langsmith_realtime.journal.reader import JournalError  # noqa: PLC0415
    from langsmith_realtime.journal.recovery import replay_anew  # noqa: PLC0415
    from langsmith_realtime.options.tracing import Options  # noqa: PLC0415

    frames, recording = path, None
    if path.is_file():
        recording = next((each for each in map(path.with_suffix, _MIME_TYPES) if each.exists()), None)
        frames = path
        if path.suffix in _MIME_TYPES:
            beside = (path.with_suffix(suffix) for suffix in (".jsonl", ".json"))
            frames = next((each for each in beside if each.exists()), path.with_suffix(".jsonl"))
        elif path.suffix.lower() in _OTHER_FILES - {".json", ".txt"}:
            raise _ViewError(
                f"{path} must be a folder of a journal, a .jsonl file of frames, or a recording"
                f" ({', '.join(_MIME_TYPES)}) with such a file beside it."
            )
        if not frames.exists():
            raise _ViewError(f"{path} must have its frames beside it, in {frames}.")
    client = Client(api_url=collector.url, api_key=api_key or "local", auto_batch_tracing=False)
    try:
        source: Path | FrameLines = frames
        if frames.is_file():
            options = Options() if recording is None else Options(recording=None)
            source = FrameLines(frames, round(frames.stat().st_mtime * 1_000_000), options)
            if not source.has_times:
                say("The frames have no times, so all times and latencies on the page are made up.")
        trace_id = replay_anew(source, client, project=_FILES)
    except JournalError as error:
        raise _ViewError(f"{path} cannot be shown: {error}.") from None
    if trace_id is None:
        raise _ViewError(f"Some runs of {path} could not be stored; the log says why.")
    if recording is not None:
        collector.add_recording(trace_id, _MIME_TYPES[recording.suffix], recording)
    return trace_id


def _from_langsmith(collector: Collector, target: str, project: str | None) -> list[str]:
    from langsmith import Client  # noqa: PLC0415
    from langsmith.utils import LangSmithError, get_tracer_project  # noqa: PLC0415

    from langsmith_realtime.cli.fetching import FetchError, conversations_in, fetch  # noqa: PLC0415

    began = time.monotonic()
    try:
        client = Client(auto_batch_tracing=False)
    except (LangSmithError, ValueError) as error:
        raise _ViewError(f"LangSmith's settings cannot be used: {str(error)[:300]}.") from None
    try:
        found = fetch(client, target, project or get_tracer_project() or "default")
    except FetchError as error:
        raise _ViewError(f"{error}.") from None
    shown: list[str] = []
    for runs, files in found:
        try:
            collector.add(runs, files)
        except ValueError as error:
            raise _ViewError(f"{target} cannot be stored: {error}") from None
        shown += conversations_in(runs)
    if not shown:
        raise _ViewError(f"{target} has no conversation that this package traced.")
    say(f"Fetched {len(shown)} conversation{'s' * (len(shown) > 1)} in {time.monotonic() - began:.1f} s.")
    return shown

"""What the subcommands share: parsers, output, exit statuses, ports and signals."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Parser(argparse.ArgumentParser):
    """The parser of a subcommand."""

    #: The module whose docstring ends the help. It is imported when that help is shown, and no sooner.
    epilog_module: str | None = None

    def format_help(self) -> str:
        if self.epilog_module is not None:
            self.epilog = import_module(self.epilog_module).__doc__
        return super().format_help()


#: Where a subcommand adds its parser.
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - argparse has no public name for it


def wait_for(stopped: threading.Event) -> None:
    """Block until the event is set."""
    # In slices, because Windows delivers Ctrl-C only between waits.
    while not stopped.wait(1.0):
        pass


@contextmanager
def until_signalled() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set; after the block, these signals act as before."""
    stopped = threading.Event()
    before = {each: signal.signal(each, lambda *_: stopped.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def state_folder() -> Path | None:
    """Return the folder with the state of this user's running conversations; None if the user has no home."""
    from langsmith_realtime.journal.state_directory import state_directory  # noqa: PLC0415 - imports much

    try:
        return state_directory()
    except OSError:
        return None


def port_number(text: str) -> int:
    """Parse a port (0 to 65535) from the command line; for ``type=`` of an argument."""
    if not (text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, got {text!r}")
    return int(text)


def reason(error: OSError) -> str:
    """Return why a file, a folder or a port cannot be used, with its name if the system tells one."""
    why = (error.strerror or str(error)).removesuffix(".")
    return why if error.filename is None else f"{error.filename}: {why}"


def say(*lines: str) -> None:
    """Print lines on stdout at once, also into a pipe."""
    print(*lines, sep="\n", flush=True)  # noqa: T201 - a command speaks to its terminal


def fail(sentence: str) -> int:
    """Print a sentence on stderr; return the exit status 1."""
    print(sentence, file=sys.stderr)  # noqa: T201 - a command speaks to its terminal
    return 1

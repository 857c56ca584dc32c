"""What every subcommand uses of the terminal: output, failures, ports and signals."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def wait_for(stopped: threading.Event) -> None:
    # In slices, because Windows delivers Ctrl-C only between waits.
    while not stopped.wait(1.0):
        pass


@contextmanager
def until_signalled() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set."""
    stopped = threading.Event()
    before = {each: signal.signal(each, lambda *_: stopped.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def port_number(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("must be between 0 and 65535")
    return port


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201 - a command speaks to its terminal


def fail(sentence: str) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201 - a command speaks to its terminal
    return 1

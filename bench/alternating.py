"""Processes that take turns, a slice of a second each: what disturbs one disturbs all of them alike.

A machine's speed changes by more than what tracing costs, and over seconds. So the ways are not measured one after
another: all are under way at once, and all but one are stopped. What a process has of the time in which it was stopped
is a clock that jumped, see :class:`bench.loops.ConversationTime`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

#: How long each works before it is another's turn, in seconds.
SLICE_S = 0.25


class Process:
    """``python -m`` with such arguments, which says a line when it is ready and begins when it is told one.

    Raises:
        RuntimeError: it failed.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self, seconds: float) -> bool:
        """Work for so long; False when it has ended."""
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            return True
        return False

    def said(self) -> str:
        """All that it wrote since it was ready."""
        text, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"{' '.join(self._arguments)} ended with {self._process.returncode}")
        return text

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def take_turns(processes: Sequence[Process]) -> None:
    """Begin all of them, and have one at a time work until all have ended."""
    for process in processes:
        process.stop()
        process.begin()
    time.sleep(SLICE_S)
    working = list(processes)
    while working:
        working = [process for process in working if process.go_on(SLICE_S)]

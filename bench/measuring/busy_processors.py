"""Keeps the other processors busy, at the lowest priority, while the benchmark measures.

On many machines a processor is slower while its neighbour works. Then the background threads of one way to trace would
slow down its event loop, and count as CPU time of the loop. With busy neighbours every way has the same speed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType
from typing import Self

_ENDLESS_LOOP = "import os\nos.nice(19)\nwhile True: pass"


class BusyProcessors:
    """Runs one endless process for each processor but one, until its context is left."""

    def __enter__(self) -> Self:
        count = max(0, (os.cpu_count() or 1) - 1)
        self._processes = [subprocess.Popen([sys.executable, "-c", _ENDLESS_LOOP]) for _ in range(count)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

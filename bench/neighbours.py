"""Other processors, kept busy at the lowest priority while something is measured.

On many machines a processor whose neighbour works is slower: what goes on in the background of one way would
then count as its loop's own work, which it is not. So all ways have neighbours that work all the time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType
from typing import Self

_WORK = "import os\nos.nice(19)\nwhile True: pass"


class Neighbours:
    """One for each processor but one, as a context manager."""

    def __enter__(self) -> Self:
        count = max(0, (os.cpu_count() or 1) - 1)
        self._working = [subprocess.Popen([sys.executable, "-c", _WORK]) for _ in range(count)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._working:
            process.kill()
            process.wait()

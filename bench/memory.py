"""How much memory a piece of work took at most."""

from __future__ import annotations

import sys
from pathlib import Path

if sys.platform != "win32":
    import resource

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """The most that was in memory since it was made, over what was then, in MB.

    Linux can forget an earlier peak; elsewhere only what exceeds that one is seen. Windows says nothing: it is 0.
    """

    def __init__(self) -> None:
        if _CLEAR.exists():
            _CLEAR.write_text("5")
        self._before = _peak_mb()

    def added_mb(self) -> float:
        return _peak_mb() - self._before


def _peak_mb() -> float:
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    if sys.platform == "win32":
        return 0.0
    else:  # noqa: RET505 - types of both platforms are checked
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)

"""Measures the peak memory of the process."""

from __future__ import annotations

import sys
from pathlib import Path

if sys.platform != "win32":
    import resource

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Measures by how many MB the peak memory exceeds the memory in use when the object was created.

    Linux can reset the peak. Other systems cannot, so there only memory above an earlier peak is seen. Windows has no
    figure: the result is 0.
    """

    def __init__(self) -> None:
        if _CLEAR.exists():
            _CLEAR.write_text("5")
        self._before = _peak_mb()

    def added_mb(self) -> float:
        """Returns the added peak memory, in MB."""
        return _peak_mb() - self._before


def _peak_mb() -> float:
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    if sys.platform == "win32":
        return 0.0
    else:  # noqa: RET505 - types of both platforms are checked
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)

"""Measures what the installed package costs every Python process of its environment.

``python -m bench.startup`` prints the time of the line that Python runs at its start: the ``.pth`` file of tracing
without code, while nobody asks for it.
"""

from __future__ import annotations

import os
import timeit
from importlib.resources import files
from statistics import median

from langsmith_realtime.adapters.no_code.import_hook import VARIABLE


def line_us(repeat: int = 1000) -> float:
    """Returns the time of the ``.pth`` file's line without its variable, in µs; the median of ``repeat`` times."""
    line = files("langsmith_realtime.adapters.no_code").joinpath("langsmith_realtime_auto.pth").read_text("utf-8")
    os.environ.pop(VARIABLE, None)
    return median(timeit.repeat(lambda: exec(line), number=1, repeat=repeat)) * 1e6


if __name__ == "__main__":
    print(f"the line of the .pth file: {line_us():.1f} µs")

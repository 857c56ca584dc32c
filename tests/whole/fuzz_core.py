"""Looks for frames that break the core, guided by coverage; outside CI, for as long as you like.

    pip install atheris            # wheels for Linux, CPython 3.11 to 3.13
    python -m tests.whole.fuzz_core -max_total_time=600 [CORPUS_FOLDER]

Every input is a conversation as ``tests.support.hostile_frames`` makes them, checked as ``tests/whole/test_hostile.py``
checks them: nothing raises, every frame becomes one run that can be sent. A finding is written to
``crash-…`` in the current folder; the same command with that file as its argument repeats it.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

atheris: Any = importlib.import_module("atheris")  # no dependency of ours

with atheris.instrument_imports(include=["langsmith_realtime"]):
    from tests.support.hostile_conversations import check_core


def main() -> None:
    atheris.Setup(sys.argv, check_core.hypothesis.fuzz_one_input)  # type: ignore[attr-defined]
    atheris.Fuzz()


if __name__ == "__main__":
    main()

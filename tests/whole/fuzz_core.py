"""Searches for frames that break the core, guided by coverage. It runs by hand, for as long as you like.

    pip install atheris            # wheels for Linux, CPython 3.11 to 3.13
    python -m tests.whole.fuzz_core -max_total_time=600 [CORPUS_FOLDER]

Every input becomes a conversation of frames from ``tests.support.hostile_frames``. ``check_core`` asserts that nothing
raises and that every frame becomes one run that can be sent. A failing input is written to ``crash-…`` in the current
folder; the command with that file as its argument repeats it.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

atheris: Any = importlib.import_module("atheris")  # by name, because the project does not install it

with atheris.instrument_imports(include=["langsmith_realtime"]):
    from tests.support.hostile_conversations import check_core


def main() -> None:
    atheris.Setup(sys.argv, check_core.hypothesis.fuzz_one_input)  # type: ignore[attr-defined]
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Installs the import hook when Python starts, for ``langsmith-realtime run``; runs the sitecustomize that it hides.

The folder of this file is first in PYTHONPATH, so Python finds this module instead of another sitecustomize.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import PathFinder


def _install() -> None:
    try:
        from langsmith_realtime.adapters.no_code import import_hook  # noqa: PLC0415 - may be another environment's Python
    except ImportError:
        message = f"langsmith-realtime run: {sys.executable} has no langsmith_realtime, so nothing is traced\n"
        sys.stderr.write(message)
    else:
        if import_hook.is_on():
            import_hook.install()


def _run_next() -> None:
    """Run the sitecustomize that this one hides, as if it were the only one."""
    folder = os.path.realpath(os.path.dirname(__file__))  # noqa: PTH120 - pathlib costs every process milliseconds
    sys.path[:] = [each for each in sys.path if os.path.realpath(each or ".") != folder]
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


_install()
_run_next()

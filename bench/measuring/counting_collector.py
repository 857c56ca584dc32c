"""A collector in a subprocess that counts what it receives, so that its CPU time does not count as the tracing's.

``python -m bench.measuring.counting_collector`` prints its URL. For each line on stdin it prints the counts since the
previous line, as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Self

from langsmith_realtime.collector import Collector


class CountingCollector:
    """Starts the subprocess and stops it when the context is left. ``url`` is the collector's address."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = self._read_line().strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            pass  # closing its stdin ends the subprocess

    def take_counts(self) -> dict[str, float]:
        """Returns ``runs``, ``operations``, ``requests``, ``sent_bytes`` and ``refused`` since the previous call.

        ``requests`` are POST and PATCH requests, and ``refused`` are those with a status of 300 or more.
        """
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        counts: dict[str, float] = json.loads(self._read_line())
        return counts

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def main() -> None:
    with Collector() as collector:
        print(collector.url, flush=True)
        counted_requests = counted_runs = 0
        for _ in sys.stdin:
            requests = collector.requests
            writes = [request for request in requests[counted_requests:] if request.method in {"POST", "PATCH"}]
            counted_requests = len(requests)
            runs, counted_runs = len(collector.runs()) - counted_runs, len(collector.runs())
            counts = {
                "runs": runs,
                "requests": len(writes),
                "operations": sum(request.operations for request in writes),
                "sent_bytes": sum(request.bytes for request in writes),
                "refused": sum(1 for request in writes if request.status >= 300),
            }
            print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main()

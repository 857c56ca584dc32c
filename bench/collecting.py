"""A collector in a process of its own, which counts what reaches it: what it does must not count as the caller's.

``python -m bench.collecting`` prints its URL, and for every line it is sent what arrived since the one before.
"""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Self

from langsmith_realtime.collector import Collector


class Counting:
    """Such a process, as a context manager; ``url`` is where it listens."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.collecting"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = self._line().strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            pass  # it ends when it is told no more

    def counted(self) -> dict[str, float]:
        """``runs``, ``operations``, ``requests`` and ``sent_bytes`` since the last call, and ``refused`` requests."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        counts: dict[str, float] = json.loads(self._line())
        return counts

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def main() -> None:
    with Collector() as collector:
        print(collector.url, flush=True)
        seen = stored = 0
        for _ in sys.stdin:
            requests = collector.requests
            writes = [request for request in requests[seen:] if request.method in {"POST", "PATCH"}]
            seen = len(requests)
            runs, stored = len(collector.runs()) - stored, len(collector.runs())
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

"""An ingestion endpoint of Azure Monitor on loopback: takes what the exporters of Azure's distro send."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Item:
    """A telemetry item as it arrived. ``kind`` is its base type, ``data`` its base data."""

    kind: str
    data: dict[str, Any]
    tags: dict[str, str]

    @property
    def name(self) -> str:
        """The name of a dependency or request, the text of a trace, or the name of a metric."""
        metrics = self.data.get("metrics")
        return str(metrics[0]["name"] if metrics else self.data.get("name") or self.data.get("message"))

    @property
    def properties(self) -> dict[str, str]:
        return dict(self.data.get("properties") or {})

    @property
    def parent_id(self) -> str | None:
        """The id of the span above a dependency, or of the one in which a trace stands."""
        return self.tags.get("ai.operation.parentId")


@dataclass
class AzureIngestion:
    """What arrived. ``environment`` makes a process send here, and to nobody else."""

    environment: dict[str, str] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)

    def of(self, kind: str) -> list[Item]:
        """The items of a base type, such as ``RemoteDependencyData``, in the order of their times."""
        return [item for item in self.items if item.kind == kind]


@contextmanager
def azure_ingestion() -> Iterator[AzureIngestion]:
    """An ingestion endpoint on a free port."""
    ingestion, lock = AzureIngestion(), threading.Lock()
    arrived: list[tuple[str, Item]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            answer: dict[str, Any] = {}
            if self.path.endswith("/track"):
                envelopes = json.loads(body)
                with lock:
                    for each in envelopes:
                        item = Item(each["data"]["baseType"], each["data"]["baseData"], each.get("tags") or {})
                        arrived.append((each["time"], item))
                    ingestion.items = [item for _, item in sorted(arrived, key=lambda pair: pair[0])]
                answer = {"itemsReceived": len(envelopes), "itemsAccepted": len(envelopes), "errors": []}
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}/"
    key = "00000000-0000-0000-0000-000000000001"
    ingestion.environment = {
        "APPLICATIONINSIGHTS_CONNECTION_STRING": (
            f"InstrumentationKey={key};IngestionEndpoint={endpoint};LiveEndpoint={endpoint}"
        ),
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
        "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
        "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "otel",
    }
    try:
        yield ingestion
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()

"""A Phoenix server on loopback, from the environment that `make phoenix` installs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

#: Seconds in which Phoenix must answer. It took 34 on two busy cores.
READY_S = 180


class Phoenix:
    """A running Phoenix. ``base_url`` serves its page, its API and OTLP over HTTP."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def provider(self, project: str) -> TracerProvider:
        """The provider of an application that sends its spans to a project."""
        provider = TracerProvider(resource=Resource({"openinference.project.name": project}), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{self.base_url}/v1/traces")))
        return provider

    def get(self, path: str) -> Any:
        """The answer of the REST API."""
        with urllib.request.urlopen(f"{self.base_url}{path}") as answer:
            return json.load(answer)

    def query(self, query: str) -> Any:
        """The answer of the API that Phoenix's page uses."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.base_url}/graphql", json.dumps({"query": query}).encode(), headers)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["data"]

    def spans(self, project: str, count: int) -> list[dict[str, Any]]:
        """The spans of a project by their starts, once so many have been stored: Phoenix stores them soon after."""
        for _ in range(200):
            try:
                found: list[dict[str, Any]] = self.get(f"/v1/projects/{project}/spans?limit=100")["data"]
            except urllib.error.HTTPError:  # the project comes with its first span
                found = []
            if len(found) >= count:
                return sorted(found, key=lambda span: str(span["start_time"]))
            time.sleep(0.1)
        raise AssertionError(f"Phoenix has {len(found)} of {count} spans")


@contextmanager
def phoenix(command: Path, folder: Path) -> Iterator[Phoenix]:
    """Runs Phoenix, with its files in ``folder`` and its data in memory."""
    with socket.socket() as one, socket.socket() as other:  # both at once, so that the ports differ
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        port, grpc_port = one.getsockname()[1], other.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PHOENIX_", "PYTHON"))},
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_SQL_DATABASE_URL": "sqlite:///:memory:",
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    log = folder / "phoenix.log"
    with log.open("wb") as output:
        process = subprocess.Popen([command, "serve"], env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        base_url = f"http://127.0.0.1:{port}"
        for _ in range(READY_S * 4):
            try:
                urllib.request.urlopen(f"{base_url}/healthz").close()
                break
            except OSError:
                assert process.poll() is None, log.read_text("utf-8", "replace")[-2000:]
                time.sleep(0.25)
        else:
            raise AssertionError(f"Phoenix did not answer: {log.read_text('utf-8', 'replace')[-2000:]}")
        yield Phoenix(base_url)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

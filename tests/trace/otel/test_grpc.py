"""The conversation over OTLP's gRPC, to a receiver on loopback. Needs grpcio, which the main environment lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from langsmith_realtime import Otel, SessionTracer, flush
from langsmith_realtime.journal.recovery import Fate, recover
from tests import ROOT
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver

pytestmark = [pytest.mark.newest, pytest.mark.beside]

#: Holds half a conversation, and dies.
PROGRAM = """
import os
from langsmith_realtime import Otel, SessionTracer
from langsmith_realtime.live.process import process
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from tests.support import otel_conversation as talk

otel = Otel(tracer_provider=TracerProvider(), logger_provider=LoggerProvider())
tracer = SessionTracer(otel=otel, langsmith=False)
tracer.server_event(talk.SESSION)
talk.begins(tracer, "resp_1")
assert process().worker.catch_up().wait(50)
os._exit(9)
"""


@pytest.fixture
def grpc_receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    """A receiver of gRPC, which OpenTelemetry's environment names."""
    grpc: Any = import_module("grpc")
    receiver = OtlpReceiver()
    services: Any = [
        (import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc"), "Trace"),
        (import_module("opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc"), "Logs"),
    ]
    server = grpc.server(ThreadPoolExecutor(2))

    class Service:
        def __init__(self, path: str, answer: Any) -> None:
            self._path, self._answer = path, answer

        def Export(self, request: Any, _: Any) -> Any:
            receiver.take(self._path, request.SerializeToString())
            return self._answer

    answers = {"Trace": ("/v1/traces", ExportTraceServiceResponse()), "Logs": ("/v1/logs", ExportLogsServiceResponse())}
    for module, name in services:
        getattr(module, f"add_{name}ServiceServicer_to_server")(Service(*answers[name]), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    yield receiver
    server.stop(0)


def test_spans_arrive_over_grpc(grpc_receiver: OtlpReceiver) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    exporter: Any = import_module("opentelemetry.exporter.otlp.proto.grpc.trace_exporter").OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    with SessionTracer(otel=Otel(tracer_provider=provider), langsmith=False) as tracer:
        talk.hold(tracer)
    assert flush(20)
    provider.shutdown()
    assert len(grpc_receiver.spans("chat")) == 2
    assert grpc_receiver.orphans() == []


def test_a_recovery_exports_spans_and_records_over_grpc_if_the_environment_says_so(grpc_receiver: OtlpReceiver) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, timeout=60, check=False)
    assert done.returncode == 9
    assert [found.fate for found in recover(None)] == [Fate.COMPLETED]
    assert [span.name for span in grpc_receiver.spans()] == ["realtime_session", "chat gpt-realtime"]
    assert "openai.realtime.response.created" in [record.event_name for record in grpc_receiver.records]

"""A receiver of OTLP over HTTP on loopback, which parses requests with opentelemetry-proto alone: no SDK of theirs."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from langsmith_realtime import Otel


def _value(value: Any) -> Any:
    """The Python value of an OTLP ``AnyValue``."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return None if kind is None else getattr(value, kind)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


@dataclass
class ReceivedSpan:
    """A span as it arrived. Times are in ns since the epoch; ids are hexadecimal, the parent's is empty for a root."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start: int
    end: int
    attributes: dict[str, Any]
    events: list[tuple[str, int, dict[str, Any]]]
    links: list[tuple[str, str]]
    status: tuple[int, str]
    scope: str
    service: str = ""


@dataclass
class ReceivedRecord:
    """A log record as it arrived."""

    event_name: str
    body: Any
    attributes: dict[str, Any]
    trace_id: str
    span_id: str
    severity: int
    time: int
    scope: str


@dataclass
class ReceivedPoint:
    """A data point of a metric as it arrived: the latest one of its attributes."""

    name: str
    unit: str
    attributes: dict[str, Any]
    value: float
    count: int
    bounds: list[float]
    exemplar_spans: list[str]


@dataclass
class OtlpReceiver:
    """What arrived. ``base_url`` is the endpoint."""

    base_url: str = ""
    all_spans: list[ReceivedSpan] = field(default_factory=list)
    records: list[ReceivedRecord] = field(default_factory=list)
    points: list[ReceivedPoint] = field(default_factory=list)

    def spans(self, name: str = "") -> list[ReceivedSpan]:
        """The spans whose name begins with ``name``, in the order of their starts."""
        return sorted((span for span in self.all_spans if span.name.startswith(name)), key=lambda span: span.start)

    def the_span(self, name: str) -> ReceivedSpan:
        (span,) = self.spans(name)
        return span

    def orphans(self) -> list[ReceivedSpan]:
        """The spans with a parent that did not arrive."""
        known = {span.span_id for span in self.all_spans}
        return [span for span in self.all_spans if span.parent_id and span.parent_id not in known]

    def shape(self) -> list[Any]:
        """The names of the trees: a leaf is its name, an inner span a pair of name and children."""

        def of(span: ReceivedSpan) -> Any:
            children = [of(child) for child in self.spans() if child.parent_id == span.span_id]
            return (span.name, children) if children else span.name

        return [of(span) for span in self.spans() if not span.parent_id]

    def point(self, name: str, **attributes: Any) -> ReceivedPoint:
        """The latest point of a metric whose attributes include these; ``__`` stands for a dot."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        found = [each for each in self.points if each.name == name and wanted.items() <= each.attributes.items()]
        assert found, (name, wanted, sorted({each.name for each in self.points}))
        return found[-1]

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            self._take_spans(ExportTraceServiceRequest.FromString(body))
        elif path == "/v1/logs":
            self._take_records(ExportLogsServiceRequest.FromString(body))
        elif path == "/v1/metrics":
            self._take_points(ExportMetricsServiceRequest.FromString(body))

    def _take_spans(self, request: Any) -> None:
        for group in request.resource_spans:
            for scope in group.scope_spans:
                for span in scope.spans:
                    self.all_spans.append(
                        ReceivedSpan(
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            span.kind,
                            span.start_time_unix_nano,
                            span.end_time_unix_nano,
                            _attributes(span.attributes),
                            [(each.name, each.time_unix_nano, _attributes(each.attributes)) for each in span.events],
                            [(each.trace_id.hex(), each.span_id.hex()) for each in span.links],
                            (span.status.code, span.status.message),
                            scope.scope.name,
                            str(_attributes(group.resource.attributes).get("service.name", "")),
                        )
                    )

    def _take_records(self, request: Any) -> None:
        for group in request.resource_logs:
            for scope in group.scope_logs:
                for record in scope.log_records:
                    self.records.append(
                        ReceivedRecord(
                            record.event_name,
                            _value(record.body),
                            _attributes(record.attributes),
                            record.trace_id.hex(),
                            record.span_id.hex(),
                            record.severity_number,
                            record.time_unix_nano,
                            scope.scope.name,
                        )
                    )

    def _take_points(self, request: Any) -> None:
        for group in request.resource_metrics:
            for scope in group.scope_metrics:
                for metric in scope.metrics:
                    data = getattr(metric, metric.WhichOneof("data"))
                    for point in data.data_points:
                        is_histogram = metric.WhichOneof("data") == "histogram"
                        value = point.sum if is_histogram else getattr(point, point.WhichOneof("value"))
                        self.points.append(
                            ReceivedPoint(
                                metric.name,
                                metric.unit,
                                _attributes(point.attributes),
                                value,
                                point.count if is_histogram else 0,
                                list(point.explicit_bounds) if is_histogram else [],
                                [each.span_id.hex() for each in point.exemplars],
                            )
                        )


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """A receiver on a free port."""
    receiver, lock = OtlpReceiver(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            with lock:
                receiver.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    receiver.base_url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


class Providers:
    """The providers of an application that exports to a receiver: the real SDK and the real exporters.

    With ``by_environment``, the variables ``OTEL_BSP_…`` and ``OTEL_BLRP_…`` say how much may wait, and how long.
    """

    def __init__(
        self, receiver: OtlpReceiver, *, delay_ms: int = 50, by_environment: bool = False, **tracing: Any
    ) -> None:
        waiting: Any = {} if by_environment else {"max_queue_size": 20_000, "schedule_delay_millis": delay_ms}
        resource = Resource({"service.name": "voice-test"})
        self.tracer = TracerProvider(resource=resource, shutdown_on_exit=False, **tracing)
        self.tracer.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(f"{receiver.base_url}/v1/traces"), **waiting)
        )
        self.logger = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self.logger.add_log_record_processor(
            BatchLogRecordProcessor(OTLPLogExporter(f"{receiver.base_url}/v1/logs"), **waiting)
        )
        exporter = OTLPMetricExporter(f"{receiver.base_url}/v1/metrics")
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        self.meter = MeterProvider([reader], resource=resource, shutdown_on_exit=False)

    def otel(self, **options: Any) -> Otel:
        given = {"tracer_provider": self.tracer, "logger_provider": self.logger, "meter_provider": self.meter}
        return Otel(**{**given, **options})

    def flush(self) -> None:
        assert self.tracer.force_flush()
        assert self.logger.force_flush()
        assert self.meter.force_flush()

    def shutdown(self) -> None:
        for provider in (self.tracer, self.logger, self.meter):
            provider.shutdown()

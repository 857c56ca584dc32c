"""Exports the spans and log records of a conversation whose process died, with the ids that they had.

The API lets nobody choose the ids of spans. So a recovery makes the SDK's finished spans itself, and gives them to an
exporter: the one of ``Otel(recover_with=)``, or OTLP as the environment configures it. Log records go to the
application's provider, else to OTLP as the environment configures it. Needs the SDK.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any, Literal

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
)

from langsmith_realtime.core.protocol.inputs import Connected, SpanBegun
from langsmith_realtime.options.otel import Otel
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.trace.otel.providers import SCOPE, logger_of, logger_provider
from langsmith_realtime.trace.otel.spans.conversation_facts import ConversationFacts
from langsmith_realtime.trace.otel.spans.conversation_spans import SESSION_KEY, ConversationSpans

#: How many spans an exporter gets at once.
BATCH = 512


class RecoveredSpan(Span):
    """A span of a recovery: keeps what is set, and becomes one of the SDK's finished spans when it ends."""

    def __init__(self, tracer: RecoveringTracer, context: SpanContext, fields: dict[str, Any]) -> None:
        self._tracer = tracer
        self._context = context
        self._fields = fields
        self._attributes: dict[str, Any] = dict(fields.pop("attributes") or {})
        self._events: list[Event] = []
        self._status = Status(StatusCode.UNSET)
        self._is_ended = False

    def get_span_context(self) -> SpanContext:
        return self._context

    def is_recording(self) -> bool:
        return not self._is_ended

    def set_attribute(self, key: str, value: Any) -> None:
        self._attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        self._attributes.update(attributes)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        self._events.append(Event(name, attributes, timestamp))

    def set_status(self, status: Any, description: str | None = None) -> None:
        self._status = status if isinstance(status, Status) else Status(status, description)

    def update_name(self, name: str) -> None:
        self._fields["name"] = name

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        """Do nothing: nobody's code runs inside a recovered span."""

    def end(self, end_time: int | None = None) -> None:
        if not self._is_ended:
            self._is_ended = True
            self._tracer.finished.append(
                ReadableSpan(
                    context=self._context,
                    attributes=self._attributes,
                    events=self._events,
                    status=self._status,
                    end_time=end_time,
                    resource=self._tracer.resource,
                    instrumentation_scope=self._tracer.scope,
                    **self._fields,
                )
            )


class RecoveringTracer(Tracer):
    """Makes spans with the ids that the process that died gave them; a span that it did not note gets a new id.

    Args:
        begun: the spans that it noted.
        version: the version of the package.
        resource: the attributes of the resource that the spans had.
    """

    def __init__(self, begun: Iterable[SpanBegun], version: str, resource: Mapping[str, Any] | None = None) -> None:
        self._begun = {each.key: each for each in begun}
        self._next: SpanContext | None = None
        self._ids = RandomIdGenerator()
        self.resource = Resource.create(dict(resource or {}))
        self.scope = InstrumentationScope(SCOPE, version)
        self.finished: list[ReadableSpan] = []

    def begin(self, key: str, start: float) -> float:
        """Use the ids of a span for the next one, and return when it started."""
        known = self._begun.get(key)
        self._next = None if known is None else span_context(known.traceparent)
        return start if known is None else known.start

    def knows(self, key: str) -> bool:
        """Whether the process that died noted the span."""
        return key in self._begun

    def start_span(  # noqa: PLR0917 - the arguments are those of the API
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: ARG002
        set_status_on_exception: bool = True,  # noqa: ARG002
    ) -> Span:
        above = trace.get_current_span(context).get_span_context()
        parent = above if above.is_valid else None
        made = self._next or self._new(parent)
        self._next = None
        fields = {
            "name": name,
            "parent": parent,
            "kind": kind,
            "attributes": attributes,
            "links": list(links or []),
            "start_time": start_time,
        }
        return RecoveredSpan(self, made, fields)

    @contextmanager
    def start_as_current_span(self, *arguments: Any, **options: Any) -> Iterator[Span]:  # type: ignore[override]
        """A span that is current in the block; a recovery needs none."""
        yield self.start_span(*arguments, **options)

    def _new(self, parent: SpanContext | None) -> SpanContext:
        trace_id = self._ids.generate_trace_id() if parent is None else parent.trace_id
        return SpanContext(trace_id, self._ids.generate_span_id(), is_remote=False, trace_flags=TraceFlags(1))


def span_context(traceparent: str, *, is_remote: bool = False) -> SpanContext:
    """The ids and flags that a ``traceparent`` names.

    Raises:
        ValueError: the text is no ``traceparent``.
    """
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=is_remote, trace_flags=TraceFlags(int(flags, 16)))


def recovered_spans(
    head: Mapping[str, Any],
    options: Options,
    facts: ConversationFacts,
    *,
    start_us: int,
    begun: Iterable[SpanBegun | Connected],
    version: str,
) -> ConversationSpans:
    """The spans of a conversation whose process died.

    Args:
        head: what :meth:`.ConversationSpans.described` wrote.
        options: the options of the conversation.
        facts: what every span says.
        start_us: when the conversation opened, in µs since the epoch.
        begun: the spans that the process noted, and the server.
        version: the version of the package.
    """
    noted = list(begun)
    known = [each for each in noted if isinstance(each, SpanBegun)]
    for each in noted:
        if isinstance(each, Connected):
            facts.server = {"server.address": each.address, "server.port": each.port}
    if head["session"] is not None:
        known.append(SpanBegun(0.0, SESSION_KEY, 0.0, head["session"]))
    outer = trace.INVALID_SPAN
    if head["parent"] is not None:
        outer = NonRecordingSpan(span_context(head["parent"], is_remote=head["parent_is_remote"]))
    tracer = RecoveringTracer(known, version, head.get("resource"))
    context = trace.set_span_in_context(outer, Context())
    spans = ConversationSpans(tracer, options, facts, start_us, context, known=tracer, has_died=True)
    spans.held_records = HeldRecords() if head.get("logs") else None
    return spans


class HeldRecords:
    """Takes the log records of a recovery, in place of a logger, until the spans have been exported."""

    def __init__(self) -> None:
        self._records: list[dict[str, Any]] = []

    def emit(self, **record: Any) -> None:
        """Hold a record."""
        self._records.append(record)

    def release(self, logger: Any) -> None:
        """Emit the records."""
        records, self._records = self._records, []
        for record in records:
            logger.emit(**record)


def can_export(make: Callable[[], Any] | None) -> bool:
    """Whether there is an exporter of spans: one that ``make`` returns, or the one that the environment configures."""
    return make is not None or _exporter_class("traces") is not None


def export(spans: ConversationSpans, otel: Otel, version: str) -> bool | None:
    """Export the spans that a recovery has ended, and after them the log records.

    Args:
        spans: the spans.
        otel: says which exporter, and which provider of loggers; by default those of the environment.
        version: the version of the package.

    Returns:
        None if there is no exporter, False if it failed. Then no log record is emitted.
    """
    tracer = spans.tracer
    assert isinstance(tracer, RecoveringTracer)
    by_environment = _exporter_class("traces")
    if otel.recover_with is None and by_environment is None:
        return None
    exporter = otel.recover_with() if otel.recover_with is not None else by_environment()  # type: ignore[misc]
    try:
        batches = [tracer.finished[i : i + BATCH] for i in range(0, len(tracer.finished), BATCH)]
        is_exported = all(exporter.export(batch) is SpanExportResult.SUCCESS for batch in batches)
    finally:
        exporter.shutdown()
    if is_exported and spans.held_records is not None:
        _release(spans.held_records, otel, version, tracer.resource)
    return is_exported


def _release(records: HeldRecords, otel: Otel, version: str, resource: Resource) -> None:
    """Emit records with the application's logger, else with the exporter that the environment configures."""
    provider: Any = logger_provider(otel)
    logger = logger_of(otel, version)
    if logger is not None:
        records.release(logger)
        provider.force_flush()
        return
    by_environment = _exporter_class("logs")
    if by_environment is None:
        return
    from opentelemetry.sdk._logs import LoggerProvider  # noqa: PLC0415 - its name says that it may change
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor  # noqa: PLC0415

    own = LoggerProvider(resource, shutdown_on_exit=False)
    own.add_log_record_processor(BatchLogRecordProcessor(by_environment()))
    own_logger = logger_of(replace(otel, logger_provider=own), version)
    if own_logger is not None:
        records.release(own_logger)
    own.shutdown()


def _exporter_class(signal: Literal["traces", "logs"]) -> Any | None:
    """The class of the OTLP exporter that the environment configures for a signal.

    None if the environment names no endpoint, or if the exporter is not installed.
    """
    name = signal.upper()
    if not (os.environ.get(f"OTEL_EXPORTER_OTLP_{name}_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")):
        return None
    protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{name}_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    package = "opentelemetry.exporter.otlp.proto." + ("grpc" if protocol == "grpc" else "http")
    try:
        if signal == "traces":
            return import_module(f"{package}.trace_exporter").OTLPSpanExporter
        return import_module(f"{package}._log_exporter").OTLPLogExporter
    except ImportError:
        return None

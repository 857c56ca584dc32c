"""The ways to trace a conversation: not at all, by hand, with LangSmith's integration, and with this package."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import cache
from typing import Any

from langsmith import run_trees
from langsmith.run_trees import RunTree
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from langsmith_realtime import Otel, flush, wrap_realtime

#: Takes a connection, and returns the context that the event loop runs in. Its value has the tracing's methods, if any:
#: ``observe(event)``, ``record_user_audio(pcm)``, ``record_agent_audio(pcm)``, or iteration over events.
Way = Callable[[AsyncRealtimeConnection], AbstractAsyncContextManager[Any]]


class HandWrittenTracing:
    """The tracing of LangSmith's guide: a run for each event that is not a delta, which ends at the next one."""

    def __init__(self) -> None:
        self._root = RunTree(name="realtime_session", run_type="chain", extra={"metadata": {"thread_id": "by-hand"}})
        self._root.post()
        self._open_run: RunTree | None = None

    def observe(self, event: Any) -> None:
        """Ends the previous event's run and posts this event's run. Deltas have no run."""
        if event.type.endswith(".delta"):
            return
        self.end_event()
        inputs = {"event": event.model_dump()}
        self._open_run = self._root.create_child(name=event.type, run_type="chain", inputs=inputs)
        self._open_run.post()

    def end_event(self) -> None:
        """Ends the run of the last event."""
        if self._open_run is not None:
            self._open_run.end()
            self._open_run.patch()

    def close(self) -> None:
        """Ends the last event's run and the root."""
        self.end_event()
        self._root.end()
        self._root.patch()


@asynccontextmanager
async def by_hand(_: AsyncRealtimeConnection) -> AsyncIterator[HandWrittenTracing]:
    tracing = HandWrittenTracing()
    try:
        yield tracing
    finally:
        tracing.close()


def langsmith_integration(connection: AsyncRealtimeConnection) -> AbstractAsyncContextManager[Any]:
    from langsmith.integrations import openai_realtime  # noqa: PLC0415 - older versions have none

    return openai_realtime.wrap_realtime(connection)


class Encoding(SpanExporter):
    """Encodes spans as OTLP, as an exporter does, and sends them nowhere."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS


@cache
def _otel() -> Otel:
    """An application's provider, made once in the process."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Encoding()))
    return Otel(tracer_provider=provider)


WAYS: dict[str, Way] = {
    "plain": nullcontext,
    "off": lambda raw: wrap_realtime(raw, enabled=False),
    "guide": by_hand,
    "langsmith": langsmith_integration,
    "ours": lambda raw: wrap_realtime(raw, enabled=True),
    "otel": lambda raw: wrap_realtime(raw, enabled=True, otel=_otel()),
}


def flush_all() -> None:
    """Waits until this package and LangSmith's client have sent everything."""
    flush(300)
    run_trees.get_cached_client().flush()

"""Measures what OpenTelemetry's log records and measurements cost on the worker, and in the SDK alone.

``python -m bench.otel_records`` holds the conversation of :mod:`.otel_spans` several times, and makes its records and
its measurements again with the SDK alone. It prints CPU time in µs, each the median of the rounds, the least and the
most; and what a conversation without a provider costs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

from opentelemetry.sdk._logs import Logger, LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, UpDownCounter
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from bench.otel_spans import as_on_the_worker, cpu_time_of, events_of, hold, reading_ns
from langsmith_realtime import Otel, SessionTracer
from langsmith_realtime.trace.otel.logs import Logs
from langsmith_realtime.trace.otel.metrics.measurements import Measurements
from langsmith_realtime.trace.otel.spans.conversation_spans import ConversationSpans

#: A call of the SDK: the method, its object and arguments.
Made = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


@contextmanager
def _calls(methods: Sequence[tuple[type, str]]) -> Iterator[list[Made]]:
    """Lists the calls of methods of the SDK."""
    calls: list[Made] = []
    before = [(owner, name, getattr(owner, name)) for owner, name in methods]

    def listed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls.append((method, arguments, options))
            return method(*arguments, **options)

        return call

    for owner, name, method in before:
        setattr(owner, name, listed(method))
    try:
        yield calls
    finally:
        for owner, name, method in before:
            setattr(owner, name, method)


def _sdk_us(calls: Sequence[Made], events: Sequence[dict[str, Any]]) -> float:
    """The CPU time, in µs, of each of these calls of the SDK; events are handled between them, as on the worker."""
    between = -(-len(events) // len(calls))
    spent, clock, unneeded = 0, time.thread_time_ns, reading_ns()
    for number, (method, arguments, options) in enumerate(calls):
        as_on_the_worker(events[number * between : (number + 1) * between])
        began = clock()
        method(*arguments, **options)
        spent += clock() - began - unneeded
    return spent / len(calls) / 1000


def records_us(events: Sequence[dict[str, Any]], *, content: bool) -> tuple[float, float]:
    """The CPU time, in µs, of each log record: on the worker, and in the SDK alone."""
    spent = 0
    for is_measured in (False, True):
        provider = LoggerProvider(shutdown_on_exit=False)
        exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        provider.add_log_record_processor(
            BatchLogRecordProcessor(exporter, max_queue_size=100_000, schedule_delay_millis=3_600_000)
        )
        otel = Otel(tracer_provider=TracerProvider(), logger_provider=provider, content=content)
        if is_measured:
            with (
                cpu_time_of(Logs, ("started", "event", "response", "ended")) as logs,
                cpu_time_of(ConversationSpans, ("context_of",)) as contexts,
            ):
                hold(events, otel)
            spent = logs[0] + contexts[0]
        else:
            with _calls([(Logger, "emit")]) as calls:
                hold(events, otel)
    return spent / len(calls) / 1000, _sdk_us(calls, events)


def measurements_us(events: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """The CPU time, in µs, of each measurement: on the worker, and in the SDK alone."""
    spent = 0
    for is_measured in (False, True):
        provider = MeterProvider(metric_readers=[InMemoryMetricReader()], shutdown_on_exit=False)
        otel = Otel(tracer_provider=TracerProvider(), meter_provider=provider)
        if is_measured:
            with cpu_time_of(Measurements, ("opened", "take", "answered", "ended")) as measurements:
                hold(events, otel)
            spent = measurements[0]
        else:
            with _calls([(Counter, "add"), (UpDownCounter, "add"), (Histogram, "record")]) as calls:
                hold(events, otel)
    return spent / len(calls) / 1000, _sdk_us(calls, events)


def without_provider_us(events: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The CPU time, in µs, of each type of event if the application has set no provider; the median of its events."""
    spent: dict[str, list[int]] = {}
    clock, unneeded = time.thread_time_ns, reading_ns()
    with SessionTracer(otel=True, langsmith=False) as tracer:
        for event in events:
            began = clock()
            tracer.server_event(event)
            spent.setdefault(event["type"], []).append(clock() - began - unneeded)
    return {name: median(each) / 1000 for name, each in spent.items()}


def _print(what: str, rounds: Sequence[tuple[float, float]]) -> None:
    for which, spent in zip(("worker", "the SDK alone"), zip(*rounds, strict=True), strict=True):
        print(f"{f'{what}, {which}':45} {median(spent):6.1f} µs ({min(spent):.1f} to {max(spent):.1f})")
    print(f"{'  as a multiple of the SDK':45} {median(worker / sdk for worker, sdk in rounds):6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.otel_records", description=__doc__)
    parser.add_argument("--turns", type=int, default=50, help="turns of the conversation (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds after one to warm up (default: %(default)s)")
    options = parser.parse_args()
    events = events_of(options.turns)
    rounds = range(options.rounds + 1)
    _print("each log record", [records_us(events, content=False) for _ in rounds][1:])
    _print("each log record, with content", [records_us(events, content=True) for _ in rounds][1:])
    _print("each measurement", [measurements_us(events) for _ in rounds][1:])
    idle = without_provider_us(events)
    print(f"{'each event without a provider':45} {median(idle.values()):6.2f} µs (at most {max(idle.values()):.2f})")


if __name__ == "__main__":
    main()

"""Measures what OpenTelemetry's spans cost: in the caller's thread, on the worker's, and in the SDK alone.

``python -m bench.otel_spans`` holds a conversation of many turns several times, and makes its spans again with the SDK
alone, with equal attributes, events, links and statuses, and with an equal processor. The worker works after the
conversation, so that no thread waits for another. It prints CPU time in µs: the median of the rounds, the least and the
most; and the worker's time as a multiple of the SDK's own, the median of the rounds. Other programs of the machine do
not count, but they empty the caches of the processor, which makes all numbers larger.

``python -m bench.otel_records`` measures log records and measurements.
"""

from __future__ import annotations

import argparse
import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from statistics import median
from typing import Any

import orjson
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from langsmith_realtime import Otel, SessionTracer, flush
from langsmith_realtime.core.payloads.scrubbing import scrub
from langsmith_realtime.core.protocol.inputs import Opened
from langsmith_realtime.live.process import process
from langsmith_realtime.testing import Call, Say, Script, Session, Turn
from langsmith_realtime.trace.otel.exporter import OtelExporter
from langsmith_realtime.trace.otel.spans.callers_context import CallersContext

#: What the caller's thread calls for each event, and what the worker calls.
MAKING_CURRENT, ON_WORKER = ("begin_receive", "arrived"), ("opened", "emit", "written", "closed")


_PRINTED = {
    "start": "caller's thread, an event that starts a span",
    "event": "caller's thread, every event besides",
    "worker": "worker, each span",
    "sdk": "the SDK alone, each span",
}


@dataclass(frozen=True)
class Costs:
    """CPU time in µs.

    Attributes:
        start: in the caller's thread, for an event that starts a span; the median.
        event: in the caller's thread, for each event, to make the right span current.
        worker: on the worker, for each span. Its start is not part of it: all these spans start in the caller's thread.
        sdk: with the SDK alone, for each span: its start, its attributes, links and events, its status, and its end.
    """

    start: float
    event: float
    worker: float
    sdk: float


class Collecting(SpanExporter):
    """Keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


def _provider() -> tuple[TracerProvider, Collecting]:
    provider, exporter = TracerProvider(shutdown_on_exit=False), Collecting()
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=100_000, schedule_delay_millis=3_600_000))
    return provider, exporter


def reading_ns() -> int:
    """The CPU time, in ns, of reading the clock once."""
    return min(-(time.thread_time_ns() - time.thread_time_ns()) for _ in range(1000))


def _measuring_ns(timed: Callable[..., Any], spent: list[int]) -> int:
    """The CPU time, in ns, that measuring adds to a call of a method."""
    nothing, least = timed(lambda *_: None), 1_000_000
    for _ in range(1000):
        spent[0] = 0
        nothing(None, None)
        least = min(least, spent[0])
    spent[0] = 0
    return least


@contextmanager
def cpu_time_of(owner: type, names: Sequence[str]) -> Iterator[list[int]]:
    """Adds up the CPU time, in ns, that a thread spends in methods of a class, without that of measuring it."""
    before = {name: getattr(owner, name) for name in names}
    clock, unneeded = time.thread_time_ns, 0
    spent = [0]

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*arguments: Any, **options: Any) -> Any:
            began = clock()
            try:
                return method(*arguments, **options)
            finally:
                spent[0] += clock() - began - unneeded

        return call

    unneeded = _measuring_ns(timed, spent)

    for name in names:
        setattr(owner, name, timed(before[name]))
    try:
        yield spent
    finally:
        for name in names:
            setattr(owner, name, before[name])


@contextmanager
def _timed_starts() -> Iterator[list[int]]:
    """Lists the CPU time, in ns, of each event that starts a span, as the conversation's spans take it."""
    before, spent = CallersContext.event, []

    def event(self: CallersContext, kind: str, t: float, frame: object) -> None:
        spans = self._spans
        known, began = len(spans.responses) + len(spans.tools), time.thread_time_ns()
        before(self, kind, t, frame)
        if len(spans.responses) + len(spans.tools) > known:
            spent.append(time.thread_time_ns() - began)

    CallersContext.event = event  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        CallersContext.event = before  # type: ignore[method-assign]


def events_of(turns: int) -> list[dict[str, Any]]:
    """The server's events of a conversation; each turn has a response with a tool call, and one that speaks."""
    one = [Turn(Call("look_up", {"city": "Paris"})), Turn(Say("It is sunny in Paris today.", seconds=2.0))]
    session = Session(Script(turns=one * turns, speed=0))
    now = 0.0
    sent = session.open(now)
    for turn in range(2 * turns):
        user = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": f"Question {turn}?"}]}
        for event in ({"type": "conversation.item.create", "item": user}, {"type": "response.create"}):
            sent += session.receive(event, now)
        now += 1.0
        sent += session.advance(now)
    return [dict(outgoing.event) for outgoing in sent]


def hold(events: Sequence[dict[str, Any]], otel: Otel) -> None:
    """Hold a conversation. The worker handles it when it is over.

    Collections of garbage do not look at what the bench itself keeps: an application has no copies of all events.
    """
    gc.collect()
    gc.freeze()
    may_work = threading.Event()

    def wait(*_: object) -> None:
        may_work.wait()

    process().worker.open_queue(wait).put_always(Opened())  # the conversation's inputs wait behind it
    with SessionTracer(otel=otel, langsmith=False, recording=False, thread_id="call") as tracer:
        live = tracer.live
        assert live is not None
        for event in events:
            live.begin_receive()
            tracer.server_event(event)
    may_work.set()
    flush(60)


def measure(events: Sequence[dict[str, Any]], *, content: bool) -> Costs:
    """One round: a conversation, and then its spans again, made with the SDK alone."""
    provider, exporter = _provider()
    with (
        _timed_starts() as starts,
        cpu_time_of(CallersContext, MAKING_CURRENT) as current,
        cpu_time_of(OtelExporter, ON_WORKER) as worker,
    ):
        hold(events, Otel(tracer_provider=provider, content=content))
    provider.force_flush()
    spans = exporter.spans
    each = median(starts), current[0] / len(events), worker[0] / len(spans), _sdk_ns(spans, events) / len(spans)
    return Costs(*(ns / 1000 for ns in each))


def _sdk_ns(spans: Sequence[ReadableSpan], events: Sequence[dict[str, Any]]) -> int:
    """The CPU time, in ns, to make the spans with the SDK alone.

    The caches of the processor have to be as they are on the worker, which handles events between two spans, see
    :func:`as_on_the_worker`.
    """
    provider, _ = _provider()
    between = len(events) // len(spans)
    tracer = provider.get_tracer("bench")
    spent, clock, unneeded = 0, time.thread_time_ns, reading_ns()
    for number, span in enumerate(spans):
        as_on_the_worker(events[number * between : (number + 1) * between])
        began = clock()
        above = Context() if span.parent is None else trace.set_span_in_context(trace.NonRecordingSpan(span.parent))
        given = dict(span.attributes or {})
        made = tracer.start_span(span.name, above, span.kind, given, span.links, start_time=span.start_time)
        for event in span.events:
            made.add_event(event.name, event.attributes, event.timestamp)
        if not span.status.is_unset:
            made.set_status(span.status)
        made.end(span.end_time)
        spent += clock() - began - unneeded
    provider.shutdown()
    return spent


def as_on_the_worker(events: Sequence[dict[str, Any]]) -> None:
    """Parse and scrub events, so that the caches of the processor are as they are on the worker."""
    for frame in events:
        scrub(orjson.loads(orjson.dumps(frame)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.otel_spans", description=__doc__)
    parser.add_argument("--turns", type=int, default=50, help="turns of the conversation (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds after one to warm up (default: %(default)s)")
    options = parser.parse_args()
    events = events_of(options.turns)
    for content in (False, True):
        rounds = [measure(events, content=content) for _ in range(options.rounds + 1)][1:]
        print("with content" if content else "without content")
        for name, what in _PRINTED.items():
            spent = [getattr(each, name) for each in rounds]
            print(f"  {what:45} {median(spent):6.1f} µs ({min(spent):.1f} to {max(spent):.1f})")
        print(
            f"  worker, as a multiple of the SDK's own        {median(each.worker / each.sdk for each in rounds):6.2f}"
        )


if __name__ == "__main__":
    main()

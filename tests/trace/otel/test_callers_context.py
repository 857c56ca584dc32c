"""Which span is current before, during and after conversations, also if they end in another context or order."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from langsmith_realtime import SessionTracer
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers, otlp_receiver

pytestmark = pytest.mark.newest


def opened(providers: Providers, name: str) -> SessionTracer:
    tracer = SessionTracer(otel=providers.otel(), langsmith=False, thread_id=name)
    tracer.__enter__()
    tracer.server_event(talk.SESSION)
    return tracer


def end(tracer: SessionTracer) -> None:
    tracer.__exit__(None, None, None)


def test_a_conversation_that_another_context_ended_is_not_the_parent_of_the_next_one(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    with providers.tracer.get_tracer("app").start_as_current_span("worker"):
        for name in ("first", "second", "third"):
            tracer = opened(providers, name)
            contextvars.copy_context().run(end, tracer)  # this context still has the span of the conversation
    talk.arrive(providers)
    worker = receiver.the_span("worker")
    assert {span.parent_id for span in receiver.spans("realtime_session")} == {worker.span_id}


def test_conversations_that_end_in_the_order_of_their_beginnings_leave_the_context_as_it_was(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    with providers.tracer.get_tracer("app").start_as_current_span("before") as before:
        first = opened(providers, "first")
        second = opened(providers, "second")
        end(first)
        end(second)
        assert trace.get_current_span() is before
        with SessionTracer(otel=providers.otel(), langsmith=False) as early:
            pass
        assert trace.get_current_span() is before
        late = SessionTracer(otel=providers.otel(), langsmith=False)
        late.server_event(talk.SESSION)  # before its block
        with late:
            pass
        assert trace.get_current_span() is before
    assert early is not late


def test_baggage_alone_in_the_headers_reaches_the_conversation(providers: Providers, receiver: OtlpReceiver) -> None:
    class Notes(SpanProcessor):
        def on_start(self, span: Span, parent_context: Any = None) -> None:
            span.set_attribute("region", str(baggage.get_baggage("region", parent_context)))

    providers.tracer.add_span_processor(Notes())
    talk.run(providers, parent={"baggage": "region=eu"})
    assert {span.attributes["region"] for span in receiver.all_spans} == {"eu"}


@pytest.fixture
def other() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as running:
        yield running


def test_two_conversations_at_once_with_other_settings_keep_to_their_providers(
    providers: Providers, receiver: OtlpReceiver, other: OtlpReceiver
) -> None:
    others = Providers(other)
    shown = providers.otel(content=True, preset="phoenix")
    first = SessionTracer(otel=shown, langsmith=False, thread_id="first")
    context.attach(context.Context())
    second = SessionTracer(otel=others.otel(content=False), langsmith=False, thread_id="second")
    for tracer in (first, second):
        talk.hold(tracer)
    for tracer in (first, second):
        end(tracer)
    talk.arrive(providers)
    talk.arrive(others)
    others.shutdown()
    assert receiver.shape() == other.shape()
    assert "Paris" in str(receiver.all_spans)
    assert "second" not in str(receiver.all_spans)
    assert "Paris" not in str([other.all_spans, other.records])
    assert "session.id" not in {key for span in other.all_spans for key in span.attributes}


def test_a_ratio_sampler_leaves_out_whole_conversations(receiver: OtlpReceiver) -> None:
    providers = Providers(receiver, sampler=TraceIdRatioBased(0.5))
    for index in range(12):
        with SessionTracer(otel=providers.otel(), langsmith=False, thread_id=str(index)) as tracer:
            talk.hold(tracer)
    talk.arrive(providers)
    providers.shutdown()
    assert len(receiver.all_spans) == 5 * len(receiver.spans("realtime_session"))
    assert receiver.orphans() == []
    ended = [record for record in receiver.records if record.event_name.endswith(".ended")]
    assert len(ended) == 12, "records and metrics are not sampled"
    assert receiver.point("gen_ai.client.operation.duration", gen_ai__operation__name="chat").count == 24

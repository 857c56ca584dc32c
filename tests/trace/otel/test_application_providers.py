"""What the application's providers and processors do: those of Logfire and Langfuse, limits, baggage, and failures."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor

from langsmith_realtime import SessionTracer
from langsmith_realtime.runtime import guard
from langsmith_realtime.trace.otel import providers as providers_module
from langsmith_realtime.trace.otel.spans import conversation_spans
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers

TREE = [("realtime_session", ["user_speech", ("chat gpt-realtime", ["execute_tool look_up"]), "chat gpt-realtime"])]
CALLER = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "baggage": "region=eu"}


class OnStart(SpanProcessor):
    """Calls a function with each span that starts, and with the context of its parent."""

    def __init__(self, look: Callable[[Span, Any], None]) -> None:
        self._look = look

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        self._look(span, parent_context)


def test_of_a_burst_that_the_worker_has_not_taken_yet_each_response_and_call_has_one_whole_span(
    providers: Providers, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_spans, "MAX_REMEMBERED", 4)
    all_said = threading.Event()

    class HoldsTheWorker(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            assert all_said.wait(20)

    providers.tracer.add_span_processor(HoldsTheWorker())

    def burst(tracer: SessionTracer) -> None:
        for index in range(12):
            call = {**talk.CALL, "id": f"item_{index}", "call_id": f"call_{index}"}
            talk.begins(tracer, f"resp_{index}")
            talk.calls(tracer, f"resp_{index}", call)
            talk.ends(tracer, f"resp_{index}", call)
            talk.answers(tracer, f"call_{index}")
        all_said.set()

    talk.run(providers, burst)
    responses, calls = receiver.spans("chat"), receiver.spans("execute_tool")
    assert [span.attributes["gen_ai.response.id"] for span in responses] == [f"resp_{index}" for index in range(12)]
    assert all(span.attributes["gen_ai.usage.input_tokens"] == 100 for span in responses)
    assert [span.parent_id for span in calls] == [span.span_id for span in responses]


@dataclass
class ProxyProvider:
    """Stands before another provider, as those of Logfire do: it has no hash, and the name of one of the API's own."""

    provider: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.provider, name)

    def get_logger(self, *arguments: Any) -> Any:
        return ProxyLogger(self.provider.get_logger(*arguments))


class ProxyLogger:
    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def emit(self, record: Any = None, **fields: Any) -> None:
        self._logger.emit(record, **fields)


ProxyProvider.__name__ = "ProxyLoggerProvider"


def test_providers_like_those_of_logfire_get_spans_records_and_metrics(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(ProxyProvider(providers.tracer))
    otel = providers.otel(
        tracer_provider=ProxyProvider(providers.tracer),
        logger_provider=ProxyProvider(providers.logger),
        meter_provider=ProxyProvider(providers.meter),
    )
    for _ in range(2):
        talk.run(providers, otel=otel)
    assert receiver.shape() == TREE * 2
    assert len([record for record in receiver.records if record.event_name.endswith(".ended")]) == 2
    assert receiver.point("gen_ai.client.operation.duration", gen_ai__operation__name="chat").count == 4


def test_without_records_by_a_provider_that_takes_none_there_are_spans(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    talk.run(providers, otel=providers.otel(logger_provider=NoOpLoggerProvider()))
    assert receiver.shape() == TREE
    assert receiver.records == []


def test_a_provider_that_fails_costs_its_own_signal_alone(
    providers: Providers, receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails:
        def get_meter(self, *_: Any) -> Any:
            raise RuntimeError("no meter today")

    talk.run(providers, otel=providers.otel(meter_provider=Fails()))
    assert receiver.shape() == TREE
    assert receiver.records
    assert "its metrics" in caplog.text
    guard.failures.clear()


def test_every_span_starts_with_the_callers_baggage_and_that_of_the_headers(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    seen: dict[str, dict[str, object]] = {}
    note = OnStart(lambda span, above: seen.update({span.name: dict(baggage.get_all(above))}))
    providers.tracer.add_span_processor(note)
    context.attach(baggage.set_baggage("tenant", "acme"))
    talk.run(providers, parent=CALLER)
    assert set(seen) >= {"realtime_session", "user_speech", "execute_tool look_up"}
    assert all(held == {"tenant": "acme", "region": "eu"} for held in seen.values()), seen


def test_a_processor_can_read_the_attributes_of_the_span_above_the_applications_own(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    def copy_the_tool(span: Span, above: Any) -> None:
        read = getattr(trace.get_current_span(above), "attributes", None) or {}
        span.set_attribute("above.tool", str(read.get("gen_ai.tool.name")))

    providers.tracer.add_span_processor(OnStart(copy_the_tool))

    def looks_up(tracer: SessionTracer) -> None:
        talk.begins(tracer, "resp_1")
        talk.calls(tracer)
        with providers.tracer.get_tracer("app").start_as_current_span("looking"):
            pass
        talk.ends(tracer, "resp_1", talk.CALL)
        talk.answers(tracer)

    talk.run(providers, looks_up)
    assert receiver.the_span("looking").attributes["above.tool"] == "look_up"


def test_langfuses_own_sdk_names_the_session_and_its_helpers_leave_the_type(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    providers.tracer.add_span_processor(OnStart(lambda span, _: span.set_attribute("session.id", "shop-42")))

    def updates_the_current_span(tracer: SessionTracer) -> None:
        talk.begins(tracer, "resp_1")
        trace.get_current_span().set_attribute("langfuse.observation.type", "span")
        talk.ends(tracer, "resp_1", talk.says(tracer, "resp_1", "Hello."))

    otel = providers.otel(preset="langfuse")
    talk.run(providers, updates_the_current_span, otel=otel, thread_id=None)
    assert {span.attributes["langfuse.session.id"] for span in receiver.all_spans} == {"shop-42"}
    assert receiver.the_span("chat").attributes["langfuse.observation.type"] == "generation"
    receiver.all_spans.clear()
    talk.run(providers, updates_the_current_span, otel=otel, thread_id="call-7")
    assert {span.attributes["langfuse.session.id"] for span in receiver.all_spans} == {"call-7"}


def test_a_low_limit_for_attributes_costs_this_packages_numbers_before_the_conventions_names(
    receiver: OtlpReceiver,
) -> None:
    few = Providers(receiver, span_limits=SpanLimits(max_span_attributes=20))
    talk.run(few, metadata={f"key_{index}": index for index in range(40)})
    session, response = receiver.the_span("realtime_session"), receiver.spans("chat")[1]
    assert len(session.attributes) == len(response.attributes) == 20
    assert session.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert session.attributes["gen_ai.request.model"] == "gpt-realtime"
    assert response.attributes["gen_ai.operation.name"] == "chat"
    assert response.attributes["gen_ai.usage.output_tokens"] == 30
    few.shutdown()


def test_without_a_provider_the_log_says_once_that_nothing_is_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(providers_module, "_warned", set())
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    said = []
    for _ in range(3):
        with caplog.at_level(logging.WARNING), SessionTracer(otel=True, langsmith=False):
            pass
        said.append(caplog.text.count("has set no provider"))
        monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    assert said == [0, 1, 1]

"""What raises in the application's processors, or was read from malformed headers, costs no other span or record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakValueDictionary

import pytest
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from langsmith_realtime import SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.runtime import guard
from langsmith_realtime.trace.otel import providers as providers_module
from tests.support import otel_conversation as talk
from tests.support.conversations import the_tree
from tests.support.otlp_receiver import OtlpReceiver, Providers

pytestmark = pytest.mark.newest

#: Exceptions of processors may quote the conversation.
ABOUT = " ".join(("about", "Anna", "Doe"))  # not in the line that a traceback shows
TREE = [("realtime_session", ["user_speech", ("chat gpt-realtime", ["execute_tool look_up"]), "chat gpt-realtime"])]
CALLER = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


class RaisingSpanProcessor(SpanProcessor):
    """Raises when a span whose name begins with ``starts`` starts, and when one that begins with ``ends`` ends."""

    def __init__(self, *, starts: str | None = None, ends: str | None = None) -> None:
        self._starts, self._ends = starts, ends

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        if self._starts is not None and span.name.startswith(self._starts):
            raise RuntimeError(ABOUT)

    def on_end(self, span: ReadableSpan) -> None:
        if self._ends is not None and span.name.startswith(self._ends):
            raise RuntimeError(ABOUT)


class RaisingLogProcessor(LogRecordProcessor):
    """Raises for each record but the last one of a conversation."""

    def on_emit(self, log_record: Any) -> None:
        if not log_record.log_record.event_name.endswith(".ended"):
            raise RuntimeError(ABOUT)

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


@pytest.fixture
def _failures_are_expected() -> Iterator[None]:
    guard._logged.clear()
    yield
    guard.failures.clear()


def add_first(providers: Providers, processor: RaisingSpanProcessor) -> None:
    """Add a processor before the one that exports, so that a span for which it raises is not exported."""
    processors = providers.tracer._active_span_processor
    processors._span_processors = (processor, *processors._span_processors)


@pytest.mark.usefixtures("_failures_are_expected")
@pytest.mark.parametrize(
    ("starts", "shape"),
    [
        ("realtime_session", ["user_speech", ("chat gpt-realtime", ["execute_tool look_up"]), "chat gpt-realtime"]),
        ("chat", [("realtime_session", ["user_speech", "execute_tool look_up"])]),
        ("execute_tool", [("realtime_session", ["user_speech", "chat gpt-realtime", "chat gpt-realtime"])]),
        ("", []),
    ],
)
def test_a_span_that_a_processor_refuses_to_start_costs_no_other_span_and_no_record(
    starts: str, shape: list[Any], tracing: Collector, providers: Providers, receiver: OtlpReceiver
) -> None:
    add_first(providers, RaisingSpanProcessor(starts=starts))
    talk.run(providers, langsmith=True)
    assert receiver.shape() == shape
    assert receiver.orphans() == []
    assert receiver.records[-1].event_name == "gen_ai.client.realtime_session.ended"
    assert receiver.point("langsmith_realtime.conversations").value == 0
    assert receiver.point("gen_ai.client.operation.duration", gen_ai__operation__name="chat").count == 2
    assert len(list(the_tree(tracing).find("model"))) == 2


@pytest.mark.usefixtures("_failures_are_expected")
def test_a_processor_that_raises_when_a_span_ends_costs_no_other_span_and_no_record(
    tracing: Collector, providers: Providers, receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    providers.tracer.add_span_processor(RaisingSpanProcessor(ends=""))
    talk.run(providers, langsmith=True)
    assert receiver.shape() == TREE
    assert receiver.records[-1].event_name == "gen_ai.client.realtime_session.ended"
    assert receiver.point("langsmith_realtime.conversations").value == 0
    assert the_tree(tracing).run.end_time is not None
    assert caplog.text.count("tracing failed in ending a span") == 1
    assert ABOUT not in caplog.text


@pytest.mark.usefixtures("_failures_are_expected")
def test_a_log_processor_that_raises_costs_the_record_and_nothing_of_the_spans(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    processors = providers.logger._multi_log_record_processor
    processors._log_record_processors = (RaisingLogProcessor(), *processors._log_record_processors)
    talk.run(providers, otel=providers.otel(content=True))
    assert receiver.shape() == TREE
    assert [record.event_name for record in receiver.records] == ["gen_ai.client.realtime_session.ended"]
    assert receiver.spans("chat")[1].attributes["gen_ai.usage.output_tokens"] == 30
    assert "It is 21 degrees." in receiver.spans("chat")[1].attributes["gen_ai.output.messages"]
    assert receiver.the_span("execute_tool").attributes["gen_ai.tool.call.result"] == "21 degrees"


@pytest.mark.usefixtures("_failures_are_expected")
def test_a_measurement_that_raises_costs_no_span(providers: Providers, receiver: OtlpReceiver) -> None:
    class Raises:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            return self.refuse if name in ("add", "record", "set") else lambda *_, **__: Raises()

        def refuse(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("no measurement today")

    talk.run(providers, otel=providers.otel(meter_provider=Raises()))
    assert receiver.shape() == TREE
    assert receiver.records[-1].event_name == "gen_ai.client.realtime_session.ended"


@pytest.mark.usefixtures("_failures_are_expected")
def test_a_flush_that_raises_costs_neither_other_providers_nor_later_conversations(
    providers: Providers,
    receiver: OtlpReceiver,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(providers_module, "_used", WeakValueDictionary())

    class RaisesOnFlush(SpanProcessor):
        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            raise RuntimeError(ABOUT)

    failing = TracerProvider(shutdown_on_exit=False)
    failing.add_span_processor(RaisesOnFlush())
    for _ in range(2):  # the second one would wait for the first for ever
        done = threading.Event()
        providers_module.when_flushed([failing], done.set)
        assert done.wait(20)
    with SessionTracer(otel=providers.otel(tracer_provider=failing), langsmith=False) as tracer:
        talk.hold(tracer)
    assert not flush(20)
    assert "flushing a provider" in caplog.text
    assert receiver.records[-1].event_name == "gen_ai.client.realtime_session.ended"


@pytest.mark.parametrize(
    ("headers", "is_below"),
    [
        ({"traceparent": "garbage"}, False),
        ({"traceparent": "00-00000000000000000000000000000000-0000000000000000-01"}, False),
        ({"traceparent": CALLER["traceparent"].replace("00-", "ff-", 1)}, False),
        ({"traceparent": b"\xff\xfe"}, False),
        ({**CALLER, "tracestate": "=,=,,;;" + "x" * 5000}, True),
        ({**CALLER, "baggage": ";;;=,%%%=1,a=\ud800"}, True),
        ({**CALLER, "baggage": ",".join(f"key{index}=v" for index in range(500))}, True),
    ],
)
def test_malformed_headers_of_the_caller_cost_nothing_but_themselves(
    headers: dict[str, Any], is_below: bool, providers: Providers, receiver: OtlpReceiver
) -> None:
    talk.run(providers, parent=headers)
    session = receiver.the_span("realtime_session")
    assert session.parent_id == ("b7ad6b7169203331" if is_below else "")
    assert len(receiver.all_spans) == 5


@pytest.mark.usefixtures("_failures_are_expected")
def test_a_propagator_that_raises_costs_the_parent_alone(
    providers: Providers, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_: Any) -> None:
        raise RuntimeError("no parent today")

    monkeypatch.setattr("opentelemetry.propagate.extract", raises)
    talk.run(providers, parent=CALLER)
    assert receiver.shape() == TREE

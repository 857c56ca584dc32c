"""The conversation's events as log records, and the application's own logging inside a tool."""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggingHandler

from langsmith_realtime import SessionTracer, flush
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers

pytestmark = pytest.mark.newest

app = logging.getLogger("shop")


@pytest.fixture
def _exported(providers: Providers) -> Iterator[None]:
    """Exports the application's logging, as an application with OpenTelemetry does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        handler = LoggingHandler(logger_provider=providers.logger)
    app.addHandler(handler)
    app.setLevel(logging.INFO)
    yield
    app.removeHandler(handler)


def of_shop(receiver: OtlpReceiver) -> dict[str, str]:
    """The span of each record of the application's, by its message."""
    return {str(record.body): record.span_id for record in receiver.records if record.scope == "shop"}


def test_each_event_is_a_record_with_name_and_body_in_the_span_it_is_about(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    talk.run(providers)
    records = {record.event_name: record for record in receiver.records}
    session, (first, second) = receiver.the_span("realtime_session"), receiver.spans("chat")
    speech = records["openai.realtime.input_audio_buffer.speech_started"]
    assert speech.body == {"type": "input_audio_buffer.speech_started", "item_id": "item_user"}
    assert (speech.trace_id, speech.span_id) == (session.trace_id, session.span_id)
    done = [record for record in receiver.records if record.event_name == "openai.realtime.response.done"]
    assert sorted(record.span_id for record in done) == sorted([first.span_id, second.span_id])
    assert {record.body["response"]["id"] for record in done} == {"resp_1", "resp_2"}
    for name in ("started", "ended"):
        assert records[f"gen_ai.client.realtime_session.{name}"].span_id == session.span_id
    assert records["gen_ai.client.realtime_session.ended"].attributes["gen_ai.request.model"] == "gpt-realtime"
    assert all(record.body for record in receiver.records)
    assert {record.attributes["gen_ai.conversation.id"] for record in receiver.records} == {"call-7"}


def test_a_failure_is_a_record_of_severity_error(providers: Providers, receiver: OtlpReceiver) -> None:
    def fails(tracer: SessionTracer) -> None:
        tracer.server_event(talk.SESSION)
        talk.begins(tracer, "resp_1")
        details = {"error": {"code": "server_error", "message": "about Anna Doe"}}
        talk.ends(tracer, "resp_1", status="failed", status_details=details)

    talk.run(providers, fails)
    (record,) = [each for each in receiver.records if each.event_name == "gen_ai.client.inference.exception"]
    assert record.severity == 17
    assert "server_error" in record.attributes["error.type"] == record.attributes["exception.type"]
    assert "Anna Doe" not in str(receiver.records)


def test_content_in_records_is_structured(providers: Providers, receiver: OtlpReceiver) -> None:
    talk.run(providers, otel=providers.otel(content="event"))
    details = [each for each in receiver.records if each.event_name == "gen_ai.client.inference.operation.details"]
    assert len(details) == 2
    assert details[0].attributes["gen_ai.input.messages"] == [
        {"role": "user", "parts": [{"type": "text", "content": "How warm is it in Paris?"}]}
    ]
    assert "21 degrees" not in str(receiver.all_spans), "only the records have content"


def test_a_body_that_is_nested_deeply_costs_no_other_record(providers: Providers, receiver: OtlpReceiver) -> None:
    def deep(tracer: SessionTracer) -> None:
        talk.hold(tracer)
        nested: dict[str, Any] = {"bottom": 1}
        for _ in range(36):
            nested = {"inner": nested}
        tracer.server_event({"type": "odd.event", "nested": nested})

    talk.run(providers, deep, otel=providers.otel(content=True))
    (record,) = [each for each in receiver.records if each.event_name == "openai.realtime.odd.event"]
    assert '{"bottom":1}' in str(record.body)
    assert len(receiver.records) > 10


def test_without_a_tracer_provider_there_are_still_records(providers: Providers, receiver: OtlpReceiver) -> None:
    talk.run(providers, otel=providers.otel(tracer_provider=None))
    assert receiver.all_spans == []
    assert "openai.realtime.response.done" in {record.event_name for record in receiver.records}


@pytest.mark.usefixtures("_exported")
def test_logging_inside_a_tool_carries_its_span_in_any_task_and_thread(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    async def work() -> None:
        app.info("inline")

        async def in_a_task() -> None:
            await asyncio.sleep(0.01)
            app.info("task")

        await asyncio.gather(asyncio.create_task(in_a_task()), asyncio.to_thread(app.info, "thread"))

    talk.run_asyncio(providers, work)
    tool = receiver.the_span("execute_tool look_up").span_id
    assert of_shop(receiver) == {"inline": tool, "task": tool, "thread": tool}


@pytest.mark.usefixtures("_exported")
def test_logging_in_a_task_that_the_call_started_keeps_the_span_when_later_events_arrive(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    async def main() -> None:
        with SessionTracer(otel=providers.otel(), langsmith=False) as tracer:
            tracer.server_event(talk.SESSION)
            talk.begins(tracer, "resp_1")
            tasks = []
            may_log = asyncio.Event()

            async def carry_out(name: str) -> None:
                await may_log.wait()
                app.info(name)

            other = {**talk.CALL, "id": "item_2", "call_id": "call_2", "name": "book"}
            for call in (talk.CALL, other):  # in parallel, each begun when its item is done, as the Agents SDK does
                talk.calls(tracer, call=call)
                tasks.append(asyncio.create_task(carry_out(str(call["name"]))))
            talk.ends(tracer, "resp_1", talk.CALL, other)
            talk.speaks(tracer, "And the other one?", "item_3")
            may_log.set()
            await asyncio.gather(*tasks)
            app.info("after")
            talk.answers(tracer, "call_1")
            talk.answers(tracer, "call_2")

    asyncio.run(main())
    talk.arrive(providers)
    spans = {span.name.split()[-1]: span.span_id for span in receiver.spans("execute_tool")}
    logged = of_shop(receiver)
    assert logged["look_up"] == spans["look_up"]
    assert logged["book"] == spans["book"]
    assert logged["after"] not in spans.values(), "a new turn has begun"


@pytest.mark.usefixtures("_exported")
def test_logging_in_a_thread_of_the_applications_carries_the_span_with_its_context_or_a_block(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    with SessionTracer(otel=providers.otel(), langsmith=False) as tracer:
        tracer.server_event(talk.SESSION)
        talk.begins(tracer, "resp_1")
        talk.ends(tracer, "resp_1", talk.CALL)

        def carry_out() -> None:
            with tracer.tool("call_1"):
                app.info("in a block")
            app.info("outside")

        thread = threading.Thread(target=carry_out)
        thread.start()
        thread.join()
        talk.answers(tracer)
    talk.arrive(providers)
    logged = of_shop(receiver)
    assert logged["in a block"] == receiver.the_span("execute_tool").span_id
    assert logged["outside"] == "", "a new thread has an empty context"


@pytest.mark.usefixtures("_exported")
def test_the_logging_of_many_conversations_at_once_is_not_mixed(providers: Providers, receiver: OtlpReceiver) -> None:
    async def converse(number: int) -> None:
        with SessionTracer(otel=providers.otel(), langsmith=False, thread_id=f"call-{number}") as tracer:
            tracer.server_event(talk.SESSION)
            await asyncio.sleep(0)
            talk.begins(tracer, "resp_1")
            await asyncio.sleep(0)
            talk.ends(tracer, "resp_1", talk.CALL)
            await asyncio.sleep(0)
            app.info("call-%s", number)
            talk.answers(tracer)

    async def main() -> None:
        await asyncio.gather(*(converse(number) for number in range(50)))

    asyncio.run(main())
    talk.arrive(providers)
    owners = {span.span_id: span.attributes["gen_ai.conversation.id"] for span in receiver.spans("execute_tool")}
    logged: dict[str, Any] = of_shop(receiver)
    assert len(logged) == 50
    assert {name: owners[span_id] for name, span_id in logged.items()} == {name: name for name in logged}


def test_flush_waits_for_the_providers(providers: Providers, receiver: OtlpReceiver) -> None:
    with SessionTracer(otel=providers.otel(), langsmith=False) as tracer:
        talk.hold(tracer)
    assert flush(20)
    assert receiver.shape()
    assert receiver.records
    assert receiver.points

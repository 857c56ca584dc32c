"""The metrics of conversations, under the names that the application asked for."""

from __future__ import annotations

import time

import pytest
from opentelemetry.trace import NoOpTracerProvider

from langsmith_realtime import SessionTracer
from langsmith_realtime.collector import Collector
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers

pytestmark = pytest.mark.newest

OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
DURATIONS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]


def names(receiver: OtlpReceiver) -> set[str]:
    return {point.name for point in receiver.points}


def test_by_default_the_names_in_use_are_used(providers: Providers, receiver: OtlpReceiver) -> None:
    talk.run(providers)
    chat = receiver.point("gen_ai.client.operation.duration", gen_ai__operation__name="chat")
    assert (chat.count, chat.unit, chat.bounds) == (2, "s", DURATIONS)
    assert chat.attributes["gen_ai.provider.name"] == "openai"
    assert chat.attributes["gen_ai.response.model"] == "gpt-realtime"
    tool = receiver.point("gen_ai.client.operation.duration", gen_ai__operation__name="execute_tool")
    assert tool.count == 1
    tokens = receiver.point("gen_ai.client.token.usage", gen_ai__token__type="input")
    assert (tokens.count, tokens.value, tokens.bounds[-1]) == (2, 200, 67_108_864)
    assert receiver.point("gen_ai.client.token.usage", gen_ai__token__type="output").value == 60
    assert receiver.point("gen_ai.client.operation.time_to_first_chunk").count == 1
    assert not any(name.startswith("gen_ai.client.inference") for name in names(receiver))


def test_the_latest_names_are_used_if_asked_for(
    providers: Providers, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OPT_IN, "http,gen_ai_latest_experimental")
    talk.run(providers, metadata={"agent_name": "clerk"})
    assert receiver.point("gen_ai.client.inference.duration").count == 2
    assert receiver.point("gen_ai.execute_tool.duration", gen_ai__tool__name="look_up").count == 1
    audio = receiver.point("gen_ai.client.inference.usage.input_tokens", gen_ai__token__modality="audio")
    assert audio.value == 80
    cached = receiver.point("gen_ai.client.inference.usage.cache_read.input_tokens", gen_ai__token__modality="text")
    assert cached.value == 60
    assert receiver.point("gen_ai.client.inference.operation.input_tokens").value == 200
    agent = receiver.point("gen_ai.invoke_agent.duration", gen_ai__operation__name="invoke_agent")
    assert agent.bounds[:3] == [0.1, 0.2, 0.4]
    inferences = receiver.point("gen_ai.invoke_agent.inference_calls", gen_ai__agent__name="clerk")
    assert (inferences.value, inferences.unit, inferences.bounds[-1]) == (2, "{inference_call}", 128)
    assert receiver.point("gen_ai.invoke_agent.tool_calls").value == 1
    assert "gen_ai.client.token.usage" not in names(receiver)


def test_both_names_are_used_if_asked_for(
    providers: Providers, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OPT_IN, "gen_ai_latest_experimental/dup")
    talk.run(providers)
    assert {"gen_ai.client.operation.duration", "gen_ai.client.inference.duration"} <= names(receiver)


def test_calls_interruptions_errors_and_rate_limits_are_counted(providers: Providers, receiver: OtlpReceiver) -> None:
    def various(tracer: SessionTracer) -> None:
        talk.hold(tracer)
        talk.begins(tracer, "resp_3")
        talk.says(tracer, "resp_3", "Once upon a time", "item_3")
        tracer.server_event({"type": "input_audio_buffer.speech_started", "item_id": "item_4"})
        details = {"type": "cancelled", "reason": "turn_detected"}
        talk.ends(tracer, "resp_3", status="cancelled", status_details=details)
        tracer.server_event({"type": "error", "error": {"code": "bad_value", "message": "no such voice"}})
        limits = [{"name": "tokens", "limit": 40_000, "remaining": 38_000, "reset_seconds": 2}]
        tracer.server_event({"type": "rate_limits.updated", "rate_limits": limits})

    talk.run(providers, various)
    call = receiver.point("langsmith_realtime.tool_calls", gen_ai__tool__name="look_up")
    assert (call.value, call.attributes["langsmith_realtime.outcome"]) == (1, "answered")
    assert receiver.point("langsmith_realtime.interruptions").value == 1
    error = receiver.point("langsmith_realtime.errors")
    assert error.value == 1
    assert "bad_value" in error.attributes["error.type"]
    limit = receiver.point("langsmith_realtime.rate_limit.remaining")
    assert (limit.value, limit.attributes["langsmith_realtime.rate_limit.name"]) == (38_000, "tokens")
    assert receiver.point("langsmith_realtime.tokens", gen_ai__token__modality="audio").value > 0


def test_open_conversations_are_counted(providers: Providers, receiver: OtlpReceiver) -> None:
    with SessionTracer(otel=providers.otel(), langsmith=False) as tracer:
        tracer.server_event(talk.SESSION)
        talk.arrive(providers)
        assert receiver.point("langsmith_realtime.conversations").value == 1
    talk.arrive(providers)
    assert receiver.point("langsmith_realtime.conversations").value == 0


def test_durations_have_exemplars_of_their_spans(providers: Providers, receiver: OtlpReceiver) -> None:
    talk.run(providers)
    spans = {span.span_id for span in receiver.spans("chat")}
    points = [each for each in receiver.points if each.attributes.get("gen_ai.operation.name") == "chat"]
    examples = {each for point in points for each in point.exemplar_spans}
    assert examples
    assert examples <= spans


def test_no_conversation_id_is_an_attribute(providers: Providers, receiver: OtlpReceiver) -> None:
    talk.run(providers, thread_id="call-7")
    assert "call-7" not in str([point.attributes for point in receiver.points])


def test_a_conversation_that_is_not_kept_is_measured(
    tracing: Collector, providers: Providers, receiver: OtlpReceiver
) -> None:
    talk.run(providers, langsmith=True, keep=lambda metrics: False)
    assert receiver.point("gen_ai.client.operation.duration", gen_ai__operation__name="chat").count == 2
    assert receiver.all_spans == []
    assert receiver.records == []


def test_without_a_tracer_durations_and_first_chunks_count_from_the_request_too(
    receiver: OtlpReceiver, providers: Providers
) -> None:
    waited_s = 0.05

    def asks(tracer: SessionTracer) -> None:
        tracer.server_event(talk.SESSION)
        tracer.client_event({"type": "response.create"})
        time.sleep(waited_s)  # the times are those of the arrival
        talk.begins(tracer, "resp_1")
        talk.ends(tracer, "resp_1", talk.says(tracer, "resp_1", "Hello."))

    talk.run(providers, asks, otel=providers.otel(tracer_provider=NoOpTracerProvider()))
    assert receiver.all_spans == []
    assert receiver.point("gen_ai.client.operation.time_to_first_chunk").value >= waited_s
    assert receiver.point("gen_ai.client.operation.duration").value >= waited_s
    talk.run(providers, asks)
    (response,) = receiver.spans("chat")
    first = next(at for name, at, _ in response.events if name == "gen_ai.response.first_token")
    assert response.attributes["gen_ai.response.time_to_first_chunk"] >= waited_s
    assert response.attributes["gen_ai.response.time_to_first_chunk"] == pytest.approx(
        (first - response.start) / 1e9, abs=1e-5
    )


def test_tokens_whose_modality_the_server_does_not_tell_are_counted(
    receiver: OtlpReceiver, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OPT_IN, "gen_ai_latest_experimental")

    def tells_little(tracer: SessionTracer) -> None:
        tracer.server_event(talk.SESSION)
        for response_id, details in (("resp_1", {}), ("resp_2", {"audio_tokens": 30, "cached_tokens": 5})):
            talk.begins(tracer, response_id)
            usage = {"total_tokens": 50, "input_tokens": 40, "output_tokens": 10, "input_token_details": details}
            talk.ends(tracer, response_id, usage=usage)

    talk.run(providers, tells_little)
    counted = "gen_ai.client.inference.usage."
    assert receiver.point(f"{counted}input_tokens", gen_ai__token__modality="audio").value == 30
    assert receiver.point(f"{counted}input_tokens", gen_ai__token__modality="unknown").value == 50
    assert receiver.point(f"{counted}output_tokens", gen_ai__token__modality="unknown").value == 20
    assert receiver.point(f"{counted}cache_read.input_tokens", gen_ai__token__modality="unknown").value == 5
    own = receiver.point("langsmith_realtime.tokens", gen_ai__token__modality="unknown", gen_ai__token__type="input")
    assert own.value == 50

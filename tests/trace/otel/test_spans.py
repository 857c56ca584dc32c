"""A conversation as spans: their tree, times, names, attributes, parents and ends."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from langsmith import Client, traceable
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from langsmith_realtime import Otel, SessionTracer, flush
from langsmith_realtime.collector import Collector
from tests.support import otel_conversation as talk
from tests.support.conversations import the_tree
from tests.support.otlp_receiver import OtlpReceiver, Providers

pytestmark = pytest.mark.newest

CLIENT, INTERNAL = 3, 1
ERROR = 2


def test_a_conversation_is_a_tree_of_session_utterance_responses_and_tools(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    talk.run(providers)
    assert receiver.shape() == [
        (
            "realtime_session",
            ["user_speech", ("chat gpt-realtime", ["execute_tool look_up"]), "chat gpt-realtime"],
        )
    ]
    assert receiver.orphans() == []
    assert {span.scope for span in receiver.all_spans} == {"langsmith_realtime"}


def test_spans_have_the_names_kinds_and_attributes_of_the_conventions(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    talk.run(providers)
    session, (first, second) = receiver.the_span("realtime_session"), receiver.spans("chat")
    assert (session.kind, first.kind) == (INTERNAL, CLIENT)
    assert session.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert session.attributes["gen_ai.conversation.id"] == "call-7"
    assert session.attributes["langsmith_realtime.turns"] == 1
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-realtime",
        "gen_ai.response.model": "gpt-realtime",
        "gen_ai.response.id": "resp_2",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.conversation.id": "call-7",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 30,
        "gen_ai.usage.text.input_tokens": 60,
        "gen_ai.usage.audio.input_tokens": 40,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.audio.cache_read.input_tokens": 10,
        "gen_ai.usage.audio.output_tokens": 20,
    }
    assert expected.items() <= second.attributes.items()
    assert "gen_ai.response.time_to_first_chunk" in second.attributes
    tool = receiver.the_span("execute_tool")
    assert tool.kind == INTERNAL
    assert tool.attributes["gen_ai.tool.call.id"] == "call_1"
    assert tool.attributes["gen_ai.tool.type"] == "function"


def test_without_a_given_thread_no_conversation_id_is_invented(providers: Providers, receiver: OtlpReceiver) -> None:
    talk.run(providers, thread_id=None)
    assert all("gen_ai.conversation.id" not in span.attributes for span in receiver.all_spans)


def test_spans_start_and_end_when_the_runs_of_langsmith_do(
    tracing: Collector, providers: Providers, receiver: OtlpReceiver
) -> None:
    with SessionTracer(otel=providers.otel()) as tracer:
        talk.hold(tracer)
    root = the_tree(tracing)
    talk.arrive(providers)

    def ms(moment: Any) -> float:
        return float(moment.timestamp() * 1000)

    def near(ns: int, moment: Any) -> bool:
        return abs(ns / 1e6 - ms(moment)) < 1

    session = receiver.the_span("realtime_session")
    assert near(session.start, root.run.start_time)
    assert near(session.end, root.run.end_time)
    models = sorted(root.find("model"), key=lambda node: node.run.start_time)
    stopped = root["input_audio_buffer.speech_stopped"].run.start_time
    first, second = receiver.spans("chat")
    assert near(first.start, stopped), "from the end of the user's speech"
    assert second.start / 1e6 <= ms(models[1].run.start_time) + 1, "from its request"
    for span, model in zip((first, second), models, strict=True):
        assert near(span.end, model.run.end_time)
    tool, run = receiver.the_span("execute_tool"), root["look_up"].run
    assert near(tool.start, root["response.output_item.done"].run.start_time), "from its announcement"
    assert near(tool.end, run.end_time)


def test_no_content_is_shown_unless_it_is_asked_for(providers: Providers, receiver: OtlpReceiver) -> None:
    talk.run(providers)
    everything = str([receiver.all_spans, receiver.records])
    for word in ("Paris", "21 degrees", "How warm", "Be brief"):
        assert word not in everything


@pytest.mark.parametrize(
    ("spelling", "is_shown"),
    [
        *((spelling, True) for spelling in ("SPAN_ONLY", "span_and_event", "true", "1", "on")),
        *((spelling, False) for spelling in ("EVENT_ONLY", "NO_CONTENT", "false", "", "0")),
    ],
)
def test_the_environment_variable_switches_content_on_in_every_spelling(
    spelling: str, is_shown: bool, providers: Providers, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", spelling)
    talk.run(providers)
    assert ("21 degrees" in str(receiver.all_spans)) is is_shown


def test_content_has_the_form_of_the_conventions_that_are_asked_for(
    providers: Providers, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk.run(providers, otel=providers.otel(content=True))
    first, second = receiver.spans("chat")
    assert json.loads(first.attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "How warm is it in Paris?"}]}
    ]
    (message,) = json.loads(first.attributes["gen_ai.output.messages"])
    assert message["parts"] == [
        {"type": "tool_call", "id": "call_1", "name": "look_up", "arguments": '{"city": "Paris"}'}
    ]
    (message,) = json.loads(second.attributes["gen_ai.output.messages"])
    said = {"role": "assistant", "parts": [{"type": "text", "content": "It is 21 degrees."}]}
    assert message == {**said, "finish_reason": "stop"}, "as the conventions up to v1.41 want it"
    tool = receiver.the_span("execute_tool")
    assert tool.attributes["gen_ai.tool.call.arguments"] == '{"city": "Paris"}'
    assert tool.attributes["gen_ai.tool.call.result"] == "21 degrees"
    speech = receiver.the_span("user_speech")
    assert "How warm is it in Paris?" in speech.attributes["gen_ai.input.messages"]
    receiver.all_spans.clear()
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
    talk.run(providers, otel=providers.otel(content=True))
    assert json.loads(receiver.spans("chat")[1].attributes["gen_ai.output.messages"]) == [said]


def test_redact_and_transcripts_hold_for_content_too(providers: Providers, receiver: OtlpReceiver) -> None:
    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        redacted: dict[str, Any] = json.loads(json.dumps(payload).replace("Paris", "[city]"))
        return redacted

    talk.run(providers, otel=providers.otel(content=True), redact=redact)
    assert "[city]" in str(receiver.all_spans)
    assert "Paris" not in str([receiver.all_spans, receiver.records])
    receiver.all_spans.clear()
    receiver.records.clear()
    talk.run(providers, otel=providers.otel(content=True), transcripts=False)
    for word in ("Paris", "21 degrees", "How warm"):
        assert word not in str([receiver.all_spans, receiver.records])


def test_a_failed_response_and_an_error_event_are_status_and_event(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    def fails(tracer: SessionTracer) -> None:
        tracer.server_event(talk.SESSION)
        talk.begins(tracer, "resp_1")
        details = {"error": {"code": "rate_limit_exceeded", "message": "quota of Anna Doe", "type": "tokens"}}
        talk.ends(tracer, "resp_1", status="failed", status_details=details)
        tracer.server_event({"type": "error", "error": {"code": "bad_value", "message": "no such voice"}})

    talk.run(providers, fails)
    response = receiver.the_span("chat")
    assert response.status[0] == ERROR
    assert response.attributes["gen_ai.response.finish_reasons"] == ["error"]
    assert "rate_limit_exceeded" in response.attributes["error.type"]
    assert "Anna Doe" not in str(receiver.all_spans), "the message may quote the conversation"
    (event,) = [each for each in receiver.the_span("realtime_session").events if each[0] == "error"]
    assert "bad_value" in event[2]["error.type"]


def test_an_interruption_is_an_event_and_no_error(providers: Providers, receiver: OtlpReceiver) -> None:
    def interrupts(tracer: SessionTracer) -> None:
        tracer.server_event(talk.SESSION)
        talk.begins(tracer, "resp_1")
        talk.says(tracer, "resp_1", "Once upon a time")
        tracer.server_event({"type": "input_audio_buffer.speech_started", "item_id": "item_2"})
        details = {"type": "cancelled", "reason": "turn_detected"}
        talk.ends(tracer, "resp_1", status="cancelled", status_details=details)

    talk.run(providers, interrupts)
    response = receiver.the_span("chat")
    assert response.status[0] != ERROR
    assert response.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert response.attributes["langsmith_realtime.interrupted"] is True
    assert "gen_ai.audio.barge_in" in [name for name, *_ in response.events]


def test_a_call_without_a_result_is_an_error_of_its_own(providers: Providers, receiver: OtlpReceiver) -> None:
    def forgets(tracer: SessionTracer) -> None:
        tracer.server_event(talk.SESSION)
        talk.begins(tracer, "resp_1")
        talk.ends(tracer, "resp_1", talk.CALL)

    talk.run(providers, forgets)
    assert receiver.the_span("execute_tool").status == (ERROR, "no result was sent")
    assert receiver.orphans() == []


def test_responses_and_tools_arrive_while_the_conversation_goes_on(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    with SessionTracer(otel=providers.otel(), langsmith=False) as tracer:
        talk.hold(tracer)
        tracer.server_event({"type": "rate_limits.updated", "rate_limits": []})
        talk.arrive(providers)
        assert len(receiver.spans("execute_tool")) == 1
        assert receiver.spans("chat")
        assert receiver.spans("realtime_session") == []


# Parents


def test_the_session_stands_below_the_callers_current_span(providers: Providers, receiver: OtlpReceiver) -> None:
    with providers.tracer.get_tracer("app").start_as_current_span("handle_call"):
        talk.run(providers)
        assert trace.get_current_span().get_span_context().is_valid, "the caller's span is current again"
    providers.flush()
    handle_call = receiver.the_span("handle_call")
    assert receiver.the_span("realtime_session").parent_id == handle_call.span_id
    assert len({span.trace_id for span in receiver.all_spans}) == 1


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FORMS: dict[str, Any] = {
    "dict": {"traceparent": PARENT},
    "upper": {"Traceparent": PARENT},
    "bytes": [(b"traceparent", PARENT.encode())],
    "pairs": iter([("Host", "x"), ("traceparent", PARENT)]),
    "sip": [{"name": "From", "value": "sip:anna"}, {"name": "X-Traceparent", "value": PARENT}],
}


@pytest.mark.parametrize("form", FORMS)
def test_the_session_stands_below_the_span_that_headers_name(
    form: str, providers: Providers, receiver: OtlpReceiver
) -> None:
    talk.run(providers, parent=FORMS[form])
    session = receiver.the_span("realtime_session")
    assert (session.trace_id, session.parent_id) == (PARENT[3:35], PARENT[36:52])


def test_a_preset_whose_backend_lists_only_roots_links_the_remote_parent(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    talk.run(providers, otel=providers.otel(preset="braintrust"), parent={"traceparent": PARENT})
    session = receiver.the_span("realtime_session")
    assert session.parent_id == ""
    assert session.links == [(PARENT[3:35], PARENT[36:52])]
    assert receiver.orphans() == []


def test_without_a_session_span_each_response_is_a_trace(providers: Providers, receiver: OtlpReceiver) -> None:
    talk.run(providers, otel=providers.otel(session_span=False))
    assert receiver.spans("realtime_session") == []
    assert {span.attributes["gen_ai.realtime_session.id"] for span in receiver.all_spans} == {"sess_1"}
    ended = [each for each in receiver.records if each.event_name == "gen_ai.client.realtime_session.ended"]
    assert [each.attributes["gen_ai.realtime_session.id"] for each in ended] == ["sess_1"]
    assert receiver.orphans() == []
    assert len({span.trace_id for span in receiver.spans("chat")}) == 2
    assert receiver.the_span("execute_tool").trace_id == receiver.spans("chat")[0].trace_id


# What the caller does inside


def test_the_applications_own_span_stands_below_the_tool_in_any_task_and_thread(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    tracer = providers.tracer.get_tracer("app")

    def look(name: str) -> None:
        with tracer.start_as_current_span(name):
            pass

    async def work() -> None:
        look("inline")

        async def in_a_task() -> None:
            await asyncio.sleep(0)
            look("task")

        await asyncio.create_task(in_a_task())
        await asyncio.to_thread(look, "thread")

    talk.run_asyncio(providers, work)
    tool = receiver.the_span("execute_tool look_up")
    assert {name: receiver.the_span(name).parent_id for name in ("inline", "task", "thread")} == dict.fromkeys(
        ("inline", "task", "thread"), tool.span_id
    )
    assert receiver.orphans() == []


def test_the_callers_context_is_as_before_after_the_block(providers: Providers, receiver: OtlpReceiver) -> None:
    before = trace.get_current_span()
    talk.run(providers)
    assert trace.get_current_span() is before


def test_work_after_the_result_stands_below_the_response_not_the_tool(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    tracer = providers.tracer.get_tracer("app")

    def goes_on(session: SessionTracer) -> None:
        session.server_event(talk.SESSION)
        talk.begins(session, "resp_1")
        talk.calls(session)
        with tracer.start_as_current_span("during"):
            pass
        item = {"type": "function_call_output", "call_id": "call_1", "output": "x"}
        session.client_event({"type": "conversation.item.create", "item": item})
        with tracer.start_as_current_span("after"):
            pass
        talk.ends(session, "resp_1", talk.CALL)

    talk.run(providers, goes_on)
    assert receiver.the_span("during").parent_id == receiver.the_span("execute_tool").span_id
    assert receiver.the_span("after").parent_id == receiver.the_span("chat").span_id


def test_of_several_calls_the_block_says_which_one_is_carried_out(providers: Providers, receiver: OtlpReceiver) -> None:
    tracer = providers.tracer.get_tracer("app")
    other = {**talk.CALL, "id": "item_2", "call_id": "call_2", "name": "book"}

    def both(session: SessionTracer) -> None:
        session.server_event(talk.SESSION)
        talk.begins(session, "resp_1")
        talk.ends(session, "resp_1", talk.CALL, other)
        with session.tool("call_1"), tracer.start_as_current_span("looking"):
            pass
        with session.tool("call_2"), tracer.start_as_current_span("booking"):
            pass
        with tracer.start_as_current_span("neither"):
            pass
        talk.answers(session, "call_1")
        talk.answers(session, "call_2")

    talk.run(providers, both)
    assert receiver.the_span("looking").parent_id == receiver.the_span("execute_tool look_up").span_id
    assert receiver.the_span("booking").parent_id == receiver.the_span("execute_tool book").span_id
    assert receiver.the_span("neither").parent_id == receiver.the_span("chat").span_id


def test_each_call_has_a_span_although_the_server_uses_a_call_id_again(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    def twice(session: SessionTracer) -> None:
        session.server_event(talk.SESSION)
        for response_id in ("resp_1", "resp_2"):
            talk.begins(session, response_id)
            talk.ends(session, response_id, talk.CALL)
            talk.answers(session, "call_1")

    talk.run(providers, twice)
    tools = receiver.spans("execute_tool")
    assert len({span.span_id for span in tools}) == 2
    assert [span.parent_id for span in tools] == [span.span_id for span in receiver.spans("chat")]


# Off, sampled out, held, hostile


def test_without_a_provider_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    with SessionTracer(otel=True, langsmith=False) as tracer:
        talk.hold(tracer)
        assert not tracer.enabled
        assert not trace.get_current_span().get_span_context().is_valid
    assert flush(20)


def test_a_conversation_that_the_sampler_leaves_out_has_no_spans(receiver: OtlpReceiver) -> None:
    providers = Providers(receiver, sampler=ALWAYS_OFF)
    talk.run(providers)
    assert receiver.all_spans == []
    providers.shutdown()


def test_a_conversation_that_keep_discards_has_no_spans(
    tracing: Collector, providers: Providers, receiver: OtlpReceiver
) -> None:
    talk.run(providers, langsmith=True, keep=lambda metrics: False)
    assert receiver.all_spans == []
    talk.run(providers, langsmith=True, keep=lambda metrics: True, otel=providers.otel(content=True))
    assert len(receiver.spans("chat")) == 2
    assert receiver.orphans() == []
    # Everything is shown at the end, long after the result was sent.
    assert "21 degrees" in str(receiver.the_span("execute_tool").attributes["gen_ai.tool.call.result"])


def test_hostile_values_cost_nothing_else(providers: Providers, receiver: OtlpReceiver) -> None:
    call = {**talk.CALL, "name": "look\ud800up", "call_id": "call\udfff1", "arguments": '{"x": "\ud83d"}'}

    def hostile(tracer: SessionTracer) -> None:
        tracer.server_event(talk.SESSION)
        talk.begins(tracer, "resp\ud8001")
        talk.ends(tracer, "resp\ud8001", call)
        talk.answers(tracer, "call\udfff1", "\ud800")
        tracer.add(
            metadata={**{f"key_{i}": i for i in range(200)}, "big": 1 << 70, "nested": {"a": None}, "none": None}
        )

    talk.run(providers, hostile, otel=providers.otel(content=True))
    session = receiver.the_span("realtime_session")
    told = str(session.attributes)
    assert str(1 << 70) in told
    assert all(f"metadata.key_{i}" in told for i in range(200))
    assert [span.name for span in receiver.spans("execute_tool")] == ["execute_tool look\ufffdup"]
    assert receiver.the_span("chat").attributes["gen_ai.response.id"] == "resp\ufffd1"


@pytest.mark.nocover
def test_without_langsmith_neither_its_client_nor_its_threads_exist(receiver: OtlpReceiver) -> None:
    program = f"""
import threading, langsmith
from langsmith import run_trees
made = []
before = langsmith.Client.__init__
langsmith.Client.__init__ = lambda self, *a, **k: made.append(1) or before(self, *a, **k)
from langsmith_realtime import SessionTracer, flush
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers
providers = Providers(OtlpReceiver({receiver.base_url!r}))
with SessionTracer(otel=providers.otel(), langsmith=False) as tracer:
    talk.hold(tracer)
    assert langsmith.get_current_run_tree() is None
assert flush(20)
providers.flush()
assert made == [], "a client was made"
assert run_trees._CLIENT is None
print(*sorted(thread.name for thread in threading.enumerate()), sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    threads = set(done.stdout.splitlines())
    assert "langsmith-realtime" in threads
    # Other threads of the package may still run: for example the one that notes in the journal what was exported.
    senders = ("langsmith-realtime-sender", "langsmith-realtime-feedback", "_tracing_control_thread_func")
    assert not [name for name in threads if any(sender in name for sender in senders)], threads
    assert len(receiver.spans("chat")) == 2


def test_a_wrong_option_says_what_it_must_be() -> None:
    with pytest.raises(ValueError, match=r"Otel\.preset must be one of genai"):
        Otel(preset="jaeger")
    with pytest.raises(ValueError, match=r"Otel\.content must be True, False"):
        Otel(content="yes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Otel\.tracer_provider must have get_tracer"):
        Otel(tracer_provider=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="otel must be of type bool or Otel"):
        SessionTracer(otel="yes")  # type: ignore[arg-type]


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
"""


@pytest.mark.nocover
def test_without_opentelemetry_installed_the_option_names_the_extra_and_the_rest_works(tracing: Collector) -> None:
    program = f"""{WITHOUT}
import os
from langsmith_realtime import SessionTracer, flush
with SessionTracer(enabled=True) as tracer:
    tracer.server_event({{"type": "session.created", "session": {{"id": "s"}}}})
assert flush(20)
assert not any(name.partition(".")[0] == "opentelemetry" for name in sys.modules)
try:
    SessionTracer(otel=True)
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "pip install 'langsmith-realtime[otel]'" in done.stdout


@pytest.mark.nocover
def test_a_conversation_without_the_option_imports_no_opentelemetry_exporter(tracing: Collector) -> None:
    program = """
import sys
from langsmith_realtime import SessionTracer, flush
with SessionTracer(enabled=True) as tracer:
    tracer.server_event({"type": "session.created", "session": {"id": "s"}})
assert flush(20)
print([name for name in sys.modules if name.startswith("langsmith_realtime.trace.otel")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_langsmiths_sampling_leaves_out_its_runs_and_not_the_spans(
    tracing: Collector, providers: Providers, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(api_url=tracing.url, api_key="key", tracing_sampling_rate=0)

    @traceable
    def look() -> None:
        pass

    def looks(tracer: SessionTracer) -> None:
        tracer.server_event(talk.SESSION)
        look(langsmith_extra={"client": client})

    talk.run(providers, looks, langsmith=True, client=client)
    client.flush()
    assert receiver.the_span("realtime_session")
    assert tracing.runs() == []


def test_langsmiths_hiding_holds_for_content_too(
    tracing: Collector, providers: Providers, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anonymize(payload: dict[str, Any]) -> dict[str, Any]:
        anonymized: dict[str, Any] = json.loads(json.dumps(payload).replace("Paris", "[city]"))
        return anonymized

    otel = providers.otel(content=True)
    client = Client(api_url=tracing.url, api_key="key", hide_inputs=anonymize, hide_outputs=anonymize)
    talk.run(providers, otel=otel, langsmith=True, client=client)
    assert "[city]" in str(receiver.all_spans)
    assert "Paris" not in str([receiver.all_spans, receiver.records])
    receiver.all_spans.clear()
    receiver.records.clear()
    monkeypatch.setenv("LANGSMITH_HIDE_INPUTS", "true")
    talk.run(providers, otel=otel)
    assert "It is 21 degrees." in str(receiver.all_spans), "the agent's words are not hidden"
    assert "How warm" not in str([receiver.all_spans, receiver.records])

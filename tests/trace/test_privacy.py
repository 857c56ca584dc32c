"""Masking, redaction and secrets: hidden words are in no run, no journal and no log."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langsmith import Client

from langsmith_realtime import SessionTracer, flush
from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.payloads.scrubbing import NOT_KEPT
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.delivery.langsmith_client.masking import hidden_channels
from langsmith_realtime.journal import masking
from langsmith_realtime.journal.masking import JournalMasking, TimeBudget
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.runtime import guard
from langsmith_realtime.testing import tone
from langsmith_realtime.trace import privacy
from langsmith_realtime.trace.privacy import Privacy, RedactionError
from langsmith_realtime.trace.redaction import of_event
from tests.support.conversations import stored_trees, the_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langsmith_realtime.collector import Collector

# One word for each kind of place that has words.
USER_WORDS, AGENT_WORDS, TOOL_WORDS, CONFIGURATION, METADATA, ERRORS = words = (
    "Ultramarine",
    "Aquamarine",
    "Tangerine",
    "Saffron",
    "Magenta",
    "Ebony",
)


def redact_words(payload: Any) -> Any:
    """The payload with every word replaced."""
    return json.loads(re.sub("|".join(words), "[x]", json.dumps(payload)))


def message(role: str, text: str, item_id: str, *, kind: str = "text", **fields: Any) -> dict[str, Any]:
    part = {"type": kind, "transcript" if "audio" in kind else "text": text}
    return {"id": item_id, "type": "message", "role": role, "content": [part], **fields}


def call(item_id: str, call_id: str, **fields: Any) -> dict[str, Any]:
    arguments = json.dumps({"city": TOOL_WORDS})
    return {
        "id": item_id,
        "type": "function_call",
        "name": "look_up",
        "call_id": call_id,
        "arguments": arguments,
        **fields,
    }


MCP = {
    "id": "mcp_1",
    "type": "mcp_call",
    "name": "buy",
    "server_label": "shop",
    "arguments": json.dumps({"what": TOOL_WORDS}),
}
AUDIO = base64.b64encode(tone(440, 0.4)).decode()


def server_events() -> Iterator[dict[str, Any]]:
    """Events of every kind that has words."""
    number = 0

    def event(name: str, /, **body: Any) -> dict[str, Any]:
        nonlocal number
        number += 1
        return {"type": name, "event_id": f"event_{number}", **body}

    def answer(response_id: str, *output: dict[str, Any], status: str = "completed", **fields: Any) -> dict[str, Any]:
        body = {"id": response_id, "status": status, "output": list(output), "conversation_id": "conv_1", **fields}
        return {**body, "metadata": {"customer": METADATA}}

    session = {"id": "sess_1", "model": "gpt-realtime", "instructions": CONFIGURATION, "audio": {"input": {}}}
    tool = {"type": "function", "name": "look_up", "description": CONFIGURATION, "parameters": {"type": "object"}}
    yield event("session.created", session={**session, "tools": [tool]})

    spoken = "input_audio_buffer"
    yield event(f"{spoken}.speech_started", item_id="user_1", audio_start_ms=0)
    yield event(f"{spoken}.speech_stopped", item_id="user_1", audio_end_ms=100)
    yield event(f"{spoken}.committed", item_id="user_1", previous_item_id=None)
    yield event("conversation.item.added", item=message("user", "", "user_1", kind="input_audio"))
    transcribed = {"item_id": "user_1", "content_index": 0}
    transcription = "conversation.item.input_audio_transcription"
    yield event(f"{transcription}.delta", **transcribed, delta=USER_WORDS)
    logprobs = [{"token": USER_WORDS, "logprob": -0.1, "bytes": list(USER_WORDS.encode())}]
    yield event(f"{transcription}.completed", **transcribed, transcript=USER_WORDS, logprobs=logprobs)
    yield event("conversation.item.done", item=message("user", USER_WORDS, "user_1", kind="input_audio"))
    yield event(f"{transcription}.failed", item_id="user_2", error={"code": "noise", "message": ERRORS})
    yield event(f"{spoken}.dtmf_event_received", event=USER_WORDS, received_at=1)
    yield event("conversation.item.added", item=message("user", USER_WORDS, "typed_1", kind="input_text"))
    yield event("conversation.item.added", item=message("system", USER_WORDS, "system_1", kind="input_text"))
    picture = {"type": "input_image", "image_url": f"https://pictures.example/{USER_WORDS}"}
    shown = {"id": "shown_1", "type": "message", "role": "user", "content": [picture]}
    yield event("conversation.item.retrieved", item=shown)

    answered = message("assistant", AGENT_WORDS, "agent_1", kind="output_audio", status="completed")
    where = {"response_id": "resp_1", "item_id": "agent_1", "output_index": 0, "content_index": 0}
    yield event("response.created", response=answer("resp_1", status="in_progress"))
    yield event("response.output_item.added", response_id="resp_1", item={**answered, "content": []})
    yield event("response.content_part.added", **where, part={"type": "audio", "transcript": ""})
    yield event("response.output_audio_transcript.delta", **where, delta=AGENT_WORDS)
    yield event("response.output_audio_transcript.done", **where, transcript=AGENT_WORDS)
    yield event("response.content_part.done", **where, part={"type": "audio", "transcript": AGENT_WORDS})
    yield event("conversation.item.done", item=answered)
    yield event("response.output_item.done", response_id="resp_1", item=answered)
    yield event("response.novelty.done", **where, novelty=[{"words": AGENT_WORDS}])
    yield event("response.done", response=answer("resp_1", answered))

    yield event("response.created", response=answer("resp_2", status="in_progress"))
    yield event("response.function_call_arguments.done", call_id="call_1", name="look_up", arguments=TOOL_WORDS)
    yield event("response.done", response=answer("resp_2", call("fc_1", "call_1"), call("fc_2", "call_2")))
    result = {"id": "result_1", "type": "function_call_output", "call_id": "call_1", "output": TOOL_WORDS}
    yield event("conversation.item.added", item=result)

    yield event("response.created", response=answer("resp_3", status="in_progress"))
    yield event("response.mcp_call_arguments.done", item_id="mcp_1", arguments=MCP["arguments"])
    yield event("response.mcp_call.failed", item_id="mcp_1")
    yield event("response.output_item.done", response_id="resp_3", item={**MCP, "error": {"message": ERRORS}})
    failed = {"type": "failed", "error": {"code": "server_error", "message": ERRORS}}
    yield event("response.done", response=answer("resp_3", MCP, status="failed", status_details=failed))

    cut = message(
        "assistant", f"{AGENT_WORDS} {AGENT_WORDS} {AGENT_WORDS}", "agent_4", kind="output_audio", status="incomplete"
    )
    yield event("response.created", response=answer("resp_4", status="in_progress"))
    yield event("response.output_item.added", response_id="resp_4", item={**cut, "content": []})
    yield event("response.output_audio.delta", response_id="resp_4", item_id="agent_4", delta=AUDIO)
    cancelled = {"type": "cancelled", "reason": "turn_detected"}
    yield event("response.done", response=answer("resp_4", cut, status="cancelled", status_details=cancelled))

    yield event("response.created", response={**answer("resp_5", status="in_progress"), "conversation_id": None})
    beside = message("assistant", AGENT_WORDS, "agent_5", kind="output_text")
    yield event("response.done", response={**answer("resp_5", beside), "conversation_id": None})
    yield event("error", error={"type": "invalid_request_error", "code": "invalid_value", "message": ERRORS})


def converse(**options: Any) -> None:
    """Holds a conversation that has words in every kind of place and ends with an error."""
    tracer = SessionTracer(enabled=True, **options)
    with pytest.raises(RuntimeError), tracer:
        typed = message("user", USER_WORDS, "typed_1", kind="input_text")
        tracer.client_event({"type": "conversation.item.create", "item": typed})
        asked = {"conversation": "none", "instructions": USER_WORDS, "input": [message("user", USER_WORDS, "given_1")]}
        tracer.client_event({"type": "response.create", "response": asked})
        for event in server_events():
            tracer.server_event(event)
            if event.get("call_id") == "call_1":
                with pytest.raises(LookupError), tracer.tool("call_2"):
                    raise LookupError(ERRORS)
        tracer.server_event(f'{{"no json": "{USER_WORDS}')
        tracer.server_event({"no_type": USER_WORDS})
        raise RuntimeError(ERRORS)


def words_in(folder: Path) -> set[str]:
    """The words that any file in the folder contains."""
    assert flush(timeout=20)
    held = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return {word for word in words if word.encode() in held}


def client_of(collector: Collector, **settings: Any) -> Client:
    return Client(api_url=collector.url, api_key="k", **settings)


def drop_all(_: dict[str, Any]) -> dict[str, Any]:
    return {}


def mask_all(payload: dict[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(payload, "***")


IN = {USER_WORDS, CONFIGURATION, METADATA, TOOL_WORDS, ERRORS}
OUT = {AGENT_WORDS, METADATA, TOOL_WORDS, ERRORS}


@pytest.mark.parametrize(
    ("settings", "options", "left"),
    [
        ({}, {}, set(words)),
        ({"hide_inputs": True}, {}, set(words) - IN),
        ({"hide_inputs": drop_all}, {}, set(words) - IN),
        ({"hide_inputs": mask_all}, {}, set(words) - IN),
        ({"hide_outputs": True}, {}, set(words) - OUT),
        ({"hide_outputs": drop_all}, {}, set(words) - OUT),
        ({"hide_inputs": True, "hide_outputs": True}, {}, set()),
        ({"hide_inputs": redact_words, "hide_outputs": redact_words}, {}, set()),
        ({"anonymizer": redact_words}, {}, set()),
        ({}, {"redact": redact_words}, set()),
        ({}, {"transcripts": False}, {CONFIGURATION}),
        ({"hide_metadata": True}, {"transcripts": False, "redact": redact_words}, set()),
    ],
    ids=lambda setting: ",".join(setting) if isinstance(setting, dict) else "",
)
def test_hidden_words_are_in_no_run_no_journal_and_no_log(
    collector: Collector,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, Any],
    options: dict[str, Any],
    left: set[str],
) -> None:
    caplog.set_level(logging.DEBUG, "langsmith_realtime")
    converse(client=client_of(collector, **settings), journal="keep", **options)
    assert words_in(collector.directory) == left
    assert list(state_directory().glob("*/*.jsonl"))
    kept = words_in(state_directory())
    assert kept == left if left == set(words) else kept <= left
    assert collector.violations == []
    assert not [word for word in words if word in caplog.text]
    assert all(run.end_time for run in collector.runs())


def test_words_are_removed_from_session_events_that_are_not_configuration(collector: Collector) -> None:
    with SessionTracer(client=client_of(collector), enabled=True, transcripts=False) as tracer:
        tracer.server_event({"type": "session.output_transcript.done", "event_id": "event_1", "transcript": USER_WORDS})
        tracer.server_event({"type": "session.updated", "event_id": "event_2", "session": {"instructions": METADATA}})
    assert flush(10)
    inputs = [json.dumps(run.inputs) for run in collector.runs() if run.parent_run_id]
    assert [USER_WORDS in text for text in inputs] == [False, False]
    assert [METADATA in text for text in inputs].count(True) == 1


def test_the_log_shows_no_exception_messages_when_the_client_has_an_anonymizer(
    collector: Collector, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_logged", set())
    mine = guard.Guard()
    Privacy.from_options(client_of(collector, anonymizer=lambda payload: payload), mine)
    mine.report("somewhere", ValueError(USER_WORDS))
    assert "ValueError" in caplog.text
    assert USER_WORDS not in caplog.text
    guard.failures.clear()


def test_without_transcripts_roles_tools_and_metrics_stay(collector: Collector) -> None:
    converse(client=client_of(collector), transcripts=False)
    root = the_tree(collector)
    assert root.run.outputs is not None
    messages = root.run.outputs["messages"]
    assert [message["role"] for message in messages[:5]] == ["user", "user", "system", "user", "assistant"]
    assert messages[0]["content"] == NOT_KEPT
    assert messages[5]["tool_calls"][0]["function"] == {"name": "look_up", "arguments": NOT_KEPT}
    assert (root.metadata["turns"], root.metadata["interruptions"]) == (2, 1)
    assert root.run.error == "RuntimeError"
    assert [tool.run.error for tool in root.find("look_up")] == ["LookupError", None]
    assert next(root.find("error")).run.error == "invalid_value (invalid_request_error)"
    transcribed = next(root.find("conversation.item.input_audio_transcription.completed"))
    assert transcribed.run.inputs["event"]["transcript"] == NOT_KEPT


# The application's own redaction.


def test_redact_gets_every_payload_before_it_is_sent(collector: Collector) -> None:
    seen: list[Any] = []

    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        seen.append(json.loads(json.dumps(payload)))
        payload.clear()  # changes a copy
        return {"seen": len(seen)}

    converse(client=client_of(collector), redact=redact)
    root = the_tree(collector)
    assert root.run.inputs == {"seen": root.run.inputs["seen"]}
    assert {payload.get("type") for payload in seen} >= {event["type"] for event in server_events()} - {
        "conversation.item.input_audio_transcription.delta",
        "response.output_audio.delta",
        "response.output_audio_transcript.delta",
    }
    kinds = {key for payload in seen if "type" not in payload for key in payload}
    assert kinds >= {"messages", "choices", "error", "frame", "response_metadata", "city", "role", "instructions"}
    assert next(root.find("model")).metadata.get("seen") is not None
    assert root.run.error == NOT_KEPT  # an error stays an error


def raises(payload: dict[str, Any]) -> dict[str, Any]:
    raise KeyError(str(payload))


def exits(payload: dict[str, Any]) -> dict[str, Any]:
    raise SystemExit(str(payload))


def raises_cancelled(payload: dict[str, Any]) -> dict[str, Any]:
    raise asyncio.CancelledError(str(payload))


def returns_none(_: dict[str, Any]) -> Any:
    return None


@pytest.mark.parametrize(
    ("redact", "reason"),
    [
        (raises, "raised KeyError"),
        (exits, "raised SystemExit"),
        (raises_cancelled, "raised CancelledError"),
        (returns_none, "must return a dict, got NoneType"),
    ],
)
def test_a_payload_for_which_redact_fails_is_left_out_and_counted(
    collector: Collector,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    redact: Any,
    reason: str,
) -> None:
    monkeypatch.setattr(guard, "_logged", set())
    converse(client=client_of(collector), redact=redact)
    assert words_in(collector.directory) == set()
    root = the_tree(collector)
    assert root.run.inputs == {"redacted": f"redact {reason}; the payload is left out"}
    assert root.run.error == f"redact {reason}; the payload is left out"
    assert next(root.find("error")).run.inputs == {"event": root.run.inputs}
    assert {run.metadata["payload_left_out"] for run in collector.runs()} == {True}
    assert root.metadata["tracing_failures"] >= 30
    assert {type(error) for error in guard.failures} == {RedactionError}
    assert not [word for word in words if word in caplog.text]
    assert Path(__file__).name in caplog.text or redact is returns_none
    guard.failures.clear()


@pytest.mark.parametrize("how", ["redact", "anonymizer", "hide_inputs", "hide_metadata"])
def test_a_hanging_callback_delays_no_other_conversation(tracing: Collector, how: str) -> None:
    hangs, released = threading.Event(), threading.Event()

    def hang(payload: Any) -> Any:
        hangs.set()
        released.wait(30)
        return payload

    if how == "redact":
        hanging = SessionTracer(client=client_of(tracing), redact=hang)
    else:
        hanging = SessionTracer(client=client_of(tracing, **{how: hang}))
    created = {"type": "session.created", "event_id": "event_1", "session": {}}
    hanging.server_event(created)
    assert hangs.wait(10)
    try:
        with SessionTracer() as tracer:
            tracer.server_event(created)
        for _ in range(40):  # one flush is enough unless the machine is slow
            assert not flush(0.5)
            if any(run.end_time for run in tracing.roots()):
                break
        (ended,) = (run for run in tracing.roots() if run.end_time)
        assert str(ended.id) == tracer.run_id
    finally:
        released.set()
    hanging.close()
    assert flush(20)
    assert [root.end_time is not None for root in tracing.roots()] == [True, True]


def test_the_result_of_redact_is_converted_to_json_types() -> None:
    masker = Privacy(lambda _: {"at": Path("x"), "of": {2}})
    assert masker.masked({"type": "x"}, of_event) == {"at": "x", "of": [2]}


def test_an_error_for_which_redact_returns_no_text_becomes_a_placeholder() -> None:
    assert Privacy(lambda _: {"error": 1}).masked_error("it failed") == NOT_KEPT
    assert Privacy(lambda _: {}).masked_error("it failed") == NOT_KEPT
    assert Privacy(lambda _: {"error": "x"}).masked_error("it failed") == "x"
    assert Privacy().masked_error(None) is None


def test_nothing_is_shown_when_the_anonymizer_fails() -> None:
    def anonymizer(_: dict[str, Any]) -> Any:
        raise KeyError(USER_WORDS)

    masker = Privacy(anonymizer=anonymizer)
    assert masker.masked_error(f"it failed: {USER_WORDS}") == NOT_KEPT
    assert masker.masked_metadata({"status": "x", "response_metadata": {"a": "b"}}) == {"status": "x"}
    assert Privacy(anonymizer=lambda _: {}).masked_error("it failed") == NOT_KEPT


# Failures of the client's masking.


def fails(payload: dict[str, Any]) -> Any:
    """Raises for payloads that contain any of the words."""
    held = json.dumps(payload)
    if any(word in held for word in words):
        raise ValueError(f"{held} cannot be read")
    return payload


@pytest.mark.parametrize(
    "settings",
    [
        {"anonymizer": raises},
        {"anonymizer": fails},
        {"anonymizer": exits},
        {"hide_inputs": raises, "hide_outputs": raises},
        {"hide_inputs": raises_cancelled, "hide_outputs": exits},
        {"hide_inputs": True, "hide_outputs": raises, "hide_metadata": raises},
        {"hide_inputs": True, "anonymizer": raises, "hide_metadata": True},
    ],
    ids=",".join,
)
def test_a_run_that_cannot_be_masked_is_sent_without_payload(
    collector: Collector, caplog: pytest.LogCaptureFixture, settings: dict[str, Any]
) -> None:
    caplog.set_level(logging.DEBUG, "langsmith_realtime")
    client = client_of(collector, **settings)
    metadata = {"customer": 4711, "shop": METADATA}
    try:
        given = client._hide_run_metadata(metadata)  # older clients do not anonymize metadata
    except (KeyError, ValueError, SystemExit):
        given = {}
    converse(client=client, metadata=metadata, thread_id=METADATA, journal="keep")
    assert words_in(collector.directory) | words_in(state_directory()) == ({METADATA} if given else set())
    root = the_tree(collector)
    assert len([*root.find("model")]) == 5
    assert root.run.end_time is not None
    assert root.run.error is not None
    assert root.metadata["payload_left_out"] is True
    assert root.metadata.get("customer") == (4711 if given else None)
    if settings.get("hide_metadata") is not True:
        assert (root.metadata["turns"], root.metadata["interruptions"]) == (2, 1)
        assert root.metadata["ls_integration"] == "langsmith-realtime"
    assert hidden_channels(client) == (frozenset() if settings.get("anonymizer") is fails else {USER, AGENT})
    assert caplog.text.count("your masking failed") == 1
    assert not [word for word in words if word in caplog.text]


def test_failed_masking_of_one_run_leaves_the_other_runs_complete(collector: Collector) -> None:
    def anonymizer(payload: dict[str, Any]) -> dict[str, Any]:
        if USER_WORDS in str(payload):
            raise ValueError
        return {**payload, "masked": True} if "event" in payload else payload

    tracer = SessionTracer(client=client_of(collector, anonymizer=anonymizer), enabled=True, metadata={"shop": 7})
    with tracer:
        for number, text in enumerate((AGENT_WORDS, USER_WORDS, AGENT_WORDS)):
            tracer.server_event({"type": "session.updated", "event_id": f"event_{number}", "text": text})
        tracer.record_user_audio(tone(440, 0.1))
    root = the_tree(collector)
    first, second, third = root.children
    for whole in (first, third):
        assert whole.run.inputs["masked"] is True
        assert whole.run.inputs["event"]["text"] == AGENT_WORDS
        assert whole.metadata["shop"] == 7
    assert not second.run.inputs
    assert second.metadata["payload_left_out"] is True
    assert second.metadata["shop"] == 7
    assert root.metadata["thread_id"] == tracer.thread_id
    assert "recording_hidden" not in root.metadata


def test_failed_masking_in_the_clients_own_queue_sends_runs_without_payload(collector: Collector) -> None:
    client = client_of(collector, anonymizer=raises)
    converse(client=client, replicas=[{"project_name": "one"}, {"project_name": "two"}])
    assert words_in(collector.directory) == set()
    client.flush()
    roots = stored_trees(collector)
    assert {root.run.project for root in roots} == {"one", "two"}
    assert [root.run.end_time is not None for root in roots] == [True, True]
    assert all(run.metadata["payload_left_out"] is True for run in collector.runs())


def test_a_slow_redact_is_warned_about_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy, "SLOW_S", 0.0)
    monkeypatch.setattr(privacy, "_warned_slow", set[str]())
    masker = Privacy(lambda payload: payload)
    for number in range(2):
        masker.masked({"type": "x", "number": number}, of_event)
    assert caplog.text.count("your redact took 0.0 s for one payload") == 1


def test_an_exhausted_masking_budget_affects_only_clients_that_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = TimeBudget(0.5, 1.0)
    budget.spend(1e9)
    monkeypatch.setattr(masking, "_all_masking", budget)
    masking_client = Client(api_url="http://127.0.0.1:9", api_key="k", info={}, hide_inputs=redact_words)
    plain_client = Client(api_url="http://127.0.0.1:9", api_key="k", info={})
    assert JournalMasking(masking_client, Privacy()).metadata({"thread_id": "1"}) == {}
    assert JournalMasking(plain_client, Privacy()).metadata({"thread_id": "1"}) == {"thread_id": "1"}


# Hidden channels.


@pytest.mark.parametrize(
    ("body", "hidden", "kept"),
    [
        ({"type": "session.updated", "session": {"instructions": CONFIGURATION}}, {USER, AGENT}, True),
        ({"type": "conversation.item.done", "item": message("user", USER_WORDS, "i")}, {AGENT}, True),
        ({"type": "conversation.item.created", "item": message("assistant", AGENT_WORDS, "i")}, {USER}, True),
        ({"type": "conversation.item.created", "item": message("assistant", AGENT_WORDS, "i")}, {AGENT}, False),
        ({"type": "conversation.item.done", "item": message("narrator", USER_WORDS, "i")}, {AGENT}, False),
        ({"type": "response.audio_transcript.done", "transcript": AGENT_WORDS}, {USER}, False),
        (
            {"type": "something.new", "words": AGENT_WORDS, "codes": [65, 66], "more": {"a": [[AGENT_WORDS]]}},
            {USER},
            False,
        ),
        ({"type": "something.new", "words": AGENT_WORDS}, set(), True),
    ],
)
def test_an_event_keeps_its_words_only_if_they_cannot_be_of_a_hidden_channel(
    body: dict[str, Any], hidden: set[int], kept: bool
) -> None:
    shown = Privacy(hidden=frozenset(hidden)).masked(body, of_event)
    assert shown["type"] == body["type"]
    assert (shown == body) is kept
    assert kept or not [word for word in (*words, "65") if word in json.dumps(shown)]


def test_only_the_kind_of_a_failure_is_shown_when_quotes_are_not_allowed() -> None:
    masker = Privacy(quotes_allowed=False)
    assert (
        masker.masked_error(Failure("bad_request: it said Ebony", "bad_request").prefixed("failed"))
        == "failed: bad_request"
    )
    assert masker.masked_error("it said Ebony") == NOT_KEPT


@pytest.mark.parametrize(
    ("hide_inputs_setting", "is_hidden"),
    [
        (True, True),
        (False, False),
        (drop_all, True),
        (mask_all, True),
        (raises, True),
        (lambda payload: payload, False),
        (lambda payload: {**payload, "seen": True}, False),
    ],
)
def test_a_channel_is_hidden_if_the_masking_leaves_none_of_its_words(hide_inputs_setting: Any, is_hidden: bool) -> None:
    client = Client(api_url="http://127.0.0.1:9", api_key="k", auto_batch_tracing=False)
    client._hide_inputs = hide_inputs_setting
    assert hidden_channels(client) == (frozenset({USER}) if is_hidden else frozenset())


def test_the_log_shows_exception_messages_only_if_quotes_are_allowed(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError(USER_WORDS)

    for transcripts in (False, True):
        reporting = guard.Guard()
        Privacy(quotes_allowed=transcripts, guard=reporting)
        try:
            fail()
        except ValueError as error:
            reporting.report(f"a test, {transcripts}", error)
        assert (USER_WORDS in caplog.text) is transcripts
        assert "in fail" in caplog.text
        assert "ValueError" in caplog.text
    guard.failures.clear()


# Secrets.

KEY = "sk-proj-" + "aB3" * 20


def test_secrets_in_the_callers_metadata_and_tags_are_in_no_run(collector: Collector) -> None:
    metadata = {"caller": {"api_key": "hunter2"}, "note": f"Bearer {KEY}", "tier": "gold"}
    with SessionTracer(enabled=True, client=client_of(collector), metadata=metadata, tags=["eu", KEY]) as tracer:
        tools = [{"type": "mcp", "server_label": "s", "authorization": "hunter2", "headers": {"a": "hunter2"}}]
        tracer.server_event({"type": "session.created", "session": {"id": "sess_1", "tools": tools}})
        tracer.server_event({"type": "response.created", "response": {"id": "r", "metadata": {"k": KEY}}})
        item = {"id": "o", "type": "function_call_output", "call_id": "c", "output": f"the token is {KEY}"}
        tracer.server_event({"type": "conversation.item.added", "item": item})
        tracer.server_event({"type": "error", "error": {"message": f"wrong key {KEY}"}})
        tracer.server_event({"type": "response.done", "response": {"id": "r", "metadata": {"k": KEY}}})
    the_tree(collector)
    held = b"".join(path.read_bytes() for path in collector.directory.rglob("*") if path.is_file())
    assert b"hunter2" not in held
    assert KEY.encode() not in held
    for run in collector.runs():
        assert run.metadata["tier"] == "gold"
        assert run.tags[0] == "eu"
    assert metadata["note"] == f"Bearer {KEY}", "the caller's dict is not changed"

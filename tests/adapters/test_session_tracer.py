"""SessionTracer: tracing over a connection that the application manages itself."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import pytest
import soundfile
from langsmith import Client, get_current_run_tree, trace, traceable, tracing_context
from openai.types.realtime import InputAudioBufferAppendEvent

from langsmith_realtime import Recording, SessionTracer
from langsmith_realtime.collector import Collector
from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.conversation.run_data import RunData
from langsmith_realtime.core.protocol.inputs import Closed, Input
from langsmith_realtime.runtime import guard
from langsmith_realtime.testing import tone
from langsmith_realtime.trace import session
from tests.support.conversations import the_tree, trees
from tests.support.processes import exit_code, fork, unix_only

CREATED = {
    "type": "session.created",
    "event_id": "event_0",
    "session": {
        "id": "sess_1",
        "model": "gpt-realtime",
        "instructions": "Be brief.",
        "audio": {
            "input": {"turn_detection": {"type": "server_vad"}, "transcription": {"model": "whisper-1"}},
            "output": {"voice": "marin"},
        },
    },
}


def transcribed(text: str, item: str) -> list[dict[str, Any]]:
    """The events of a user's turn with its transcript."""
    return [
        {"type": "input_audio_buffer.committed", "event_id": f"{item}_1", "item_id": item, "previous_item_id": None},
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "event_id": f"{item}_2",
            "item_id": item,
            "content_index": 0,
            "transcript": text,
        },
    ]


def test_the_root_has_the_options_the_session_and_the_metrics(tracing: Collector) -> None:
    with SessionTracer(thread_id="call-7", project_name="phone", tags=["v2"], metadata={"shop": 7}) as tracer:
        assert tracer.enabled
        assert tracer.thread_id == "call-7"
        tracer.server_event(CREATED)
        for event in transcribed("Hello.", "item_1"):
            tracer.server_event(event)
        assert tracer.url is None or str(tracer.run_id) in tracer.url
    root = the_tree(tracing)
    assert (root.run.id, root.run.trace_id) == (tracer.run_id, tracer.trace_id)
    assert root.run.project == "phone"
    assert root.run.name == "realtime_session"
    assert root.run.inputs["instructions"] == "Be brief."
    assert root.run.inputs["voice"] == "marin"
    assert root.run.outputs == {"messages": [{"role": "user", "content": "Hello."}]}
    assert {key: root.metadata[key] for key in ("ls_modality", "model", "voice", "turns", "event_count", "shop")} == {
        "ls_modality": "audio",
        "model": "gpt-realtime",
        "voice": "marin",
        "turns": 1,
        "event_count": 3,
        "shop": 7,
    }
    assert root.metadata["ls_agent_type"] == "root"
    for child in root.children:
        assert child.run.tags == ["v2"]
        assert (child.metadata["thread_id"], child.metadata["shop"]) == ("call-7", 7)
        assert not {"ls_modality", "model", "turns"} & child.metadata.keys()


def test_the_thread_comes_from_the_option_then_from_the_metadata(tracing: Collector) -> None:
    with SessionTracer(metadata={"session_id": "s-1", "conversation_id": "c-1"}) as by_metadata:
        by_metadata.server_event(CREATED)
    with SessionTracer(thread_id="t-1", metadata={"session_id": "s-1"}) as by_option:
        by_option.server_event(CREATED)
    with SessionTracer() as new:
        new.server_event(CREATED)
    assert by_metadata.thread_id == "s-1"
    assert by_option.thread_id == "t-1"
    assert new.thread_id not in (None, "s-1", "t-1")
    for root in trees(tracing):
        for run in (root.run, root.children[0].run):
            assert not {"session_id", "conversation_id"} & run.metadata.keys()


def test_the_project_of_langsmiths_tracing_context_is_used(tracing: Collector, collector: Collector) -> None:
    own = Client(api_url=collector.url, api_key="k")
    with tracing_context(enabled=True, project_name="around"), SessionTracer(client=own) as tracer:
        tracer.server_event(CREATED)
    assert the_tree(tracing).run.project == "around"


def test_it_is_an_asynchronous_context_manager_and_ignores_calls_after_the_end(tracing: Collector) -> None:
    async def talk() -> None:
        async with SessionTracer() as tracer:
            tracer.server_event(CREATED)
        tracer.server_event({"type": "late", "event_id": "event_9"})
        tracer.client_event({"type": "late"})
        tracer.record_user_audio(b"\0\0")
        with tracer.tool("late"):
            pass
        tracer.close()

    asyncio.run(talk())
    assert the_tree(tracing).names() == ["session.created"]


def test_an_error_passed_to_close_is_the_error_of_the_root(tracing: Collector) -> None:
    tracer = SessionTracer()
    tracer.close("the line went dead, key sk-proj-0123456789abcdef0123456789")
    tracer.close()  # has no effect
    error = str(the_tree(tracing).run.error)
    assert error.startswith("the line went dead")
    assert "0123456789abcdef" not in error


@pytest.mark.parametrize("frame", [None, 7, [], b"\xff\xfe", "{", "[]", {}, {"type": 5}, '{"type": ""}', object()])
def test_a_frame_that_is_no_event_is_in_the_trace_and_does_not_raise(tracing: Collector, frame: Any) -> None:
    with SessionTracer() as tracer:
        tracer.server_event(frame)
        tracer.client_event(frame)
        tracer.server_event(CREATED)
    root = the_tree(tracing)
    assert root.names() == ["malformed_frame", "session.created"]
    assert root.children[0].run.error
    assert root.metadata["malformed_frames"] == 2


APPEND = {"type": "input_audio_buffer.append", "audio": base64.b64encode(tone(440, 0.1)).decode()}


@pytest.mark.parametrize(
    "chunk",
    [
        APPEND,
        MappingProxyType(APPEND),
        InputAudioBufferAppendEvent.model_validate(APPEND),
        json.dumps(APPEND),
        json.dumps({"event_id": "event_1", **APPEND}, indent=1),
        json.dumps(APPEND).encode(),
    ],
    ids=["dict", "mapping", "model", "JSON", "JSON in another order", "bytes"],
)
def test_a_chunk_of_the_microphone_is_heard_in_whichever_form_it_is_passed(tracing: Collector, chunk: Any) -> None:
    with SessionTracer() as tracer:
        tracer.server_event(CREATED)
        tracer.client_event(chunk)
    root = the_tree(tracing)
    assert root.metadata["recording_source_user"] == "sent"
    assert "undecodable_audio" not in root.metadata


def test_audio_of_a_wrong_type_does_not_raise(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.record_user_audio("not bytes")  # type: ignore[arg-type]
        tracer.record_agent_audio(None)  # type: ignore[arg-type]
        tracer.client_event({"type": "input_audio_buffer.append", "audio": "not base64!"})
        tracer.client_event({"type": "input_audio_buffer.append"})
    assert len(guard.failures) == 2
    guard.failures.clear()
    root = the_tree(tracing)
    assert root.metadata["undecodable_audio"] == 2
    assert root.metadata["tracing_failures"] == 2


def test_the_first_failure_of_a_kind_is_logged_and_all_are_counted(
    tracing: Collector, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_logged", set())

    def fails() -> bool:
        raise RuntimeError("unknown")

    with SessionTracer(is_agent_speaking=fails) as tracer:
        for number in range(3):
            tracer.server_event({"type": "input_audio_buffer.speech_started", "event_id": f"event_{number}"})
    assert the_tree(tracing).metadata["tracing_failures"] == 3
    assert [record.message for record in caplog.records if "is_agent_speaking" in record.message]
    assert len([record for record in caplog.records if record.exc_info]) == 1
    guard.failures.clear()


def test_is_agent_speaking_decides_whether_the_user_interrupts(tracing: Collector) -> None:
    answers = iter([True, False])
    with SessionTracer(is_agent_speaking=lambda: next(answers)) as tracer:
        for number in range(2):
            tracer.server_event({"type": "input_audio_buffer.speech_started", "event_id": f"event_{number}"})
    assert the_tree(tracing).metadata["interruptions"] == 1


def test_an_event_passed_twice_is_one_run_and_an_id_used_twice_is_two(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.server_event(CREATED)
        tracer.server_event(json.dumps(CREATED))
        tracer.server_event({"type": "session.updated", "event_id": "event_0", "session": {}})
        tracer.server_event({"type": "input_audio_buffer.dtmf_event_received", "event": "5"})
        tracer.server_event({"type": "input_audio_buffer.dtmf_event_received", "event": "5"})
    assert the_tree(tracing).names() == [
        "session.created",
        "session.updated",
        "input_audio_buffer.dtmf_event_received",
        "input_audio_buffer.dtmf_event_received",
    ]


def test_an_event_that_the_caller_changes_later_stays_unchanged_in_the_trace(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        event: dict[str, Any] = {"type": "session.updated", "event_id": "event_1", "session": {"model": "one"}}
        tracer.server_event(event)
        event["event_id"], event["session"] = "event_2", {"model": "two"}
        tracer.server_event(event)
        item = {"type": "function_call_output", "call_id": "call_1", "output": "a"}
        message: dict[str, Any] = {"type": "conversation.item.create", "item": item}
        tracer.client_event(message)
        item["call_id"] = "call_2"
    models = [child.run.inputs["event"]["session"]["model"] for child in the_tree(tracing).children]
    assert models == ["one", "two"]


def test_secrets_are_removed(tracing: Collector) -> None:
    session = {
        "client_secret": {"value": "ek_0123456789abcdef0123456789"},
        "instructions": "The key is sk-proj-0123456789abcdef0123456789.",
        "tools": [
            {
                "type": "mcp",
                "server_label": "shop",
                "authorization": "secret-token",
                "headers": {"X-Key": "secret-key"},
            }
        ],
    }
    with SessionTracer() as tracer:
        tracer.server_event({"type": "session.created", "event_id": "event_1", "session": session})
    stored = json.dumps([(r.inputs, r.outputs, r.metadata, r.error) for r in the_runs(tracing)])
    for secret in ("0123456789abcdef", "secret-token", "secret-key"):
        assert secret not in stored
    assert "server_label" in stored


def the_runs(collector: Collector) -> list[Any]:
    trees(collector)
    return collector.runs()


# Audio


def test_fed_audio_with_times_is_recorded_at_these_times(tracing: Collector) -> None:
    before = time.monotonic()
    with SessionTracer(sample_rate=16_000) as tracer:
        began = time.monotonic()  # a moment after the root did
        tracer.record_user_audio(tone(1000, 0.5, rate=16_000), at=began + 1)
        tracer.record_agent_audio(tone(500, 0.5, rate=16_000), at=began + 2)
        tracer.record_user_audio(tone(1000, 0.25, rate=16_000), at=began + 3)
    audio, rate = read_recording(tracing)
    assert rate == 16_000
    places = np.array(audible_spans(audio[:, 0], rate))
    assert np.allclose(places - places[0][0], [(0, 0.5), (2.0, 2.25)], atol=0.001)
    assert 1.0 <= places[0][0] <= 1.0 + (began - before) + 0.001


def read_recording(collector: Collector) -> tuple[Any, int]:
    root = the_tree(collector)
    _, path = collector.attachment(root.run.id, "conversation")
    audio, rate = soundfile.read(path)
    return audio, rate


def audible_spans(channel: Any, rate: int) -> list[tuple[float, float]]:
    """Spans of audible audio as (begin, end) in seconds, with at least 50 ms between them."""
    places = np.flatnonzero(np.abs(channel) > 0.01)
    pieces = np.split(places, np.flatnonzero(np.diff(places) > rate // 20) + 1)
    return [(piece[0] / rate, (piece[-1] + 1) / rate) for piece in pieces if len(piece)]


@unix_only
def test_the_recording_is_kept_in_the_given_directory(tracing: Collector, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    with SessionTracer(recording=Recording(directory=folder, keep=True)) as tracer:
        tracer.record_user_audio(tone(1000, 0.1))
    the_tree(tracing)
    (path,) = folder.iterdir()
    assert path.name == f"{tracer.run_id}.wav"
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    assert soundfile.info(path).channels == 2


def test_a_delivered_recording_is_removed_from_the_disk(
    tracing: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with SessionTracer() as tracer:
        tracer.record_user_audio(tone(1000, 0.1))
    assert the_tree(tracing).run.attachments
    assert list(tmp_path.glob("langsmith-realtime-*/*.wav")) == []


@pytest.mark.parametrize("limit", [0.25, None])
def test_the_recording_ends_at_max_audio_seconds(tracing: Collector, limit: float | None) -> None:
    before = time.monotonic()
    with SessionTracer(max_audio_seconds=limit) as tracer:
        at = time.monotonic()
        tracer.record_user_audio(tone(1000, 1.0), at=at)
    audio, rate = read_recording(tracing)
    assert (limit or 1.0) - 0.001 <= len(audio) / rate <= (limit or 1.0 + (at - before)) + 0.05
    assert the_tree(tracing).metadata.get("audio_truncated") == (True if limit else None)


def test_recording_false_makes_no_recording(tracing: Collector) -> None:
    with SessionTracer(recording=False) as tracer:
        tracer.record_user_audio(tone(1000, 0.1))
    assert the_tree(tracing).run.attachments == {}


def test_a_directory_that_cannot_be_written_stops_the_recording_and_not_the_trace(
    tracing: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a directory")
    with SessionTracer(recording=Recording(directory=tmp_path / "file")) as tracer:
        tracer.record_user_audio(tone(1000, 0.1))
        tracer.record_user_audio(tone(1000, 0.1))
    root = the_tree(tracing)
    assert root.run.attachments == {}
    assert "Error" in root.metadata["recording_error"]
    assert "the recording stopped" in caplog.text


@pytest.mark.parametrize(
    ("settings", "silent"),
    [
        ({"hide_inputs": True}, {0}),
        ({"hide_outputs": True}, {1}),
        ({"hide_inputs": lambda _: {}, "hide_outputs": lambda _: {}}, {0, 1}),
        ({"hide_inputs": lambda inputs: inputs}, set()),
    ],
)
def test_a_hidden_side_is_silent(collector: Collector, settings: dict[str, Any], silent: set[int]) -> None:
    client = Client(api_url=collector.url, api_key="k", **settings)
    with SessionTracer(client=client, enabled=True) as tracer:
        tracer.server_event(CREATED)
        for event in transcribed("my card number", "item_1"):
            tracer.server_event(event)
        tracer.record_user_audio(tone(1000, 0.1), at=time.monotonic())
        tracer.record_agent_audio(tone(1000, 0.1), at=time.monotonic())
        time.sleep(0.1)  # audio that is still to be played at the end is not recorded
    root = the_tree(collector)
    names = [name for channel, name in enumerate(("user", "agent")) if channel in silent]
    assert root.metadata.get("recording_hidden", []) == names
    if len(silent) < 2:
        audio, _ = read_recording(collector)
        assert {channel for channel in (0, 1) if not np.abs(audio[:, channel]).max()} == silent
    if 0 in silent:
        assert "my card number" not in json.dumps([run.inputs for run in collector.runs()])
    assert "my card number" not in json.dumps([(r.name, r.tags, r.metadata, r.events) for r in collector.runs()])


def test_a_side_whose_masking_fails_is_hidden(collector: Collector) -> None:
    asked = threading.Event()

    def fails(_: object) -> dict[str, Any]:
        asked.set()
        raise KeyError("card")

    client = Client(api_url=collector.url, api_key="k")
    client._hide_inputs = fails
    tracer = SessionTracer(client=client, enabled=True, recording=True)
    assert asked.wait(10)
    client._hide_inputs = False
    tracer.record_user_audio(tone(1000, 0.1))
    tracer.close()
    assert the_tree(collector).metadata["recording_hidden"] == ["user"]


# Threads, forks and many conversations


def test_a_hundred_conversations_in_threads(tracing: Collector) -> None:
    def talk(number: int) -> None:
        with SessionTracer(thread_id=str(number)) as tracer:
            tracer.server_event(CREATED)
            for event in transcribed(f"I am {number}.", "item_1"):
                tracer.server_event(event)
                tracer.record_user_audio(tone(440, 0.02))

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    roots = trees(tracing)
    assert len(roots) == 100
    for root in roots:
        (message,) = (root.run.outputs or {})["messages"]
        assert (message["role"], message["content"]) == ("user", f"I am {root.metadata['thread_id']}.")
        assert root.metadata["event_count"] == len(root.children) == 3


def test_a_forked_child_does_not_trace_the_conversation_of_its_parent(tracing: Collector) -> None:
    tracer = SessionTracer()
    tracer.server_event(CREATED)
    child = fork()
    if child == 0:
        tracer.server_event({"type": "session.updated", "event_id": "event_1"})
        tracer.close()
        os._exit(0)
    assert exit_code(child) == 0
    tracer.close()
    assert the_tree(tracing).names() == ["session.created"]


@pytest.mark.parametrize("event_id", ["", "constant"])
def test_events_with_empty_or_equal_ids_are_all_traced(tracing: Collector, event_id: str) -> None:
    where = {"response_id": "resp_1", "item_id": "item_1", "content_index": 0, "event_id": event_id}
    with SessionTracer() as tracer:
        for words in ("Hello ", "there ", "world"):
            tracer.server_event({"type": "response.output_text.delta", **where, "delta": words})
        for code in ("one", "two"):
            tracer.server_event({"type": "error", "event_id": event_id, "error": {"code": code}})
    root = the_tree(tracing)
    assert (root.run.outputs or {})["messages"][0]["content"] == "Hello there world"
    assert root.metadata["errors"] == root.metadata["event_count"] == 2


def test_a_forked_child_does_not_wait_for_a_lock_that_a_thread_of_its_parent_holds(tracing: Collector) -> None:
    tracer = SessionTracer()
    locked, goes_on = threading.Event(), threading.Event()

    def hold_lock() -> None:
        assert tracer.live is not None
        with tracer.live._lock:
            locked.set()
            goes_on.wait(60)

    other = threading.Thread(target=hold_lock)
    other.start()
    locked.wait(10)
    child = fork()
    if child == 0:
        tracer.close()
        os._exit(0)
    code = exit_code(child)
    goes_on.set()
    other.join()
    assert code == 0
    tracer.close()
    the_tree(tracing)


def test_an_ended_conversation_is_garbage_collected(tracing: Collector) -> None:
    tracer = SessionTracer()
    tracer.server_event(CREATED)
    live = weakref.ref(tracer.live)
    tracer.close()
    the_tree(tracing)
    del tracer
    gc.collect()
    assert live() is None


def test_a_trace_that_cannot_be_opened_does_not_raise(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guard, "_logged", set())
    monkeypatch.setattr("langsmith_realtime.trace.run_trees.root_run.RunTree", None)
    with SessionTracer() as tracer:
        tracer.server_event(CREATED)
    assert not tracer.enabled
    assert "opening the trace" in caplog.text
    guard.failures.clear()


def test_a_run_of_the_application_is_made_even_if_its_metadata_cannot_be_added(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionTracer() as tracer:
        tracer.server_event(CREATED)
        monkeypatch.setattr("langsmith_realtime.trace.run_trees.parent_runs.THREAD_KEYS", None)
        with trace("work") as run:
            assert run.name == "work"
    guard.failures.clear()
    assert the_tree(tracing)["work"].run.end_time is not None


def test_a_time_of_another_clock_is_refused_and_counted(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.record_user_audio(tone(1000, 0.1), at=time.time() + 1e9)
        tracer.record_agent_audio(tone(1000, 0.1), at=float("nan"))
    root = the_tree(tracing)
    assert root.run.attachments == {}
    assert root.metadata["tracing_failures"] == 2
    assert "time.monotonic()" in str(guard.failures[0])
    guard.failures.clear()


def test_the_root_ends_even_if_parts_of_its_update_fail(tracing: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> NoReturn:
        raise RuntimeError("out of order")

    take = Conversation.take

    def fails_at_the_end(conversation: Conversation, given: Input) -> list[RunData]:
        return fails() if isinstance(given, Closed) else take(conversation, given)

    with SessionTracer() as tracer:
        tracer.server_event(CREATED)
        for name in ("messages", "numbers"):
            monkeypatch.setattr(Conversation, name, fails)
        monkeypatch.setattr(Conversation, "take", fails_at_the_end)
        monkeypatch.setattr("langsmith_realtime.core.protocol.session_config.SessionConfig.inputs", fails)
    root = the_tree(tracing)
    guard.failures.clear()
    assert root.names() == ["session.created"]
    assert root.run.end_time is not None
    assert root.metadata["tracing_failures"] == 4
    assert root.metadata["model"] == "gpt-realtime"


@pytest.mark.nocover
def test_events_from_many_threads_are_all_traced_with_different_start_times(tracing: Collector) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with SessionTracer() as tracer:

            def send(thread: int) -> None:
                for number in range(300):
                    tracer.server_event({"type": "session.updated", "event_id": f"event_{thread}_{number}"})

            threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    root = the_tree(tracing)
    starts = [child.run.start_time for child in root.children]
    assert len(starts) == len(set(starts)) == root.metadata["event_count"] == 2400


def test_an_exception_group_of_cancellations_is_no_error(tracing: Collector) -> None:
    SessionTracer().close(BaseExceptionGroup("tasks", [asyncio.CancelledError()]))
    SessionTracer().close(BaseExceptionGroup("tasks", [asyncio.CancelledError(), ValueError("no")]))
    assert sorted(str(root.run.error)[:18] for root in trees(tracing)) == ["BaseExceptionGroup", "None"]


def test_an_unknown_format_is_said_on_each_root_and_once_in_the_log(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session, "_logged_assumptions", set())
    said = "pcm16 at 24000 Hz, because the format 'adpcm' is unknown"
    for index in range(2):
        with SessionTracer() as tracer:
            created = {"id": f"sess_{index}", "input_audio_format": "adpcm", "output_audio_format": "pcm16"}
            tracer.server_event({"type": "session.created", "session": created})
            tracer.client_event({"type": "input_audio_buffer.append", "audio": "AAAA"})
    assert [root.metadata["user_format_assumed"] for root in trees(tracing)] == [said, said]
    messages = [record.getMessage() for record in caplog.records if "read as" in record.getMessage()]
    assert messages == [f"the user's audio was read as {said}; give user_format= if that is wrong"]


def test_positions_that_cannot_be_true_are_counted_on_the_root(tracing: Collector) -> None:
    audio = base64.b64encode(bytes(48_000)).decode()
    delta = {"type": "response.output_audio.delta", "item_id": "story", "response_id": "resp_1", "delta": audio}
    with SessionTracer() as tracer:
        now = time.monotonic()
        tracer.server_event({"type": "session.created", "session": {"output_audio_format": "pcm16"}})
        tracer.server_event(delta)
        for ms in (0, 900_000):  # a tracker that has another item in mind
            tracer.played("story", ms, at=now + 0.001)
    assert the_tree(tracing).metadata["ignored_positions"] == 1


def test_a_tracer_without_a_block_gives_the_callers_parent_back(tracing: Collector) -> None:
    @traceable
    def call() -> bool:
        own = get_current_run_tree()
        tracer = SessionTracer()
        tracer.server_event({"type": "session.created", "session": {}})
        assert get_current_run_tree() is not own
        tracer.close()
        return get_current_run_tree() is own

    assert call()

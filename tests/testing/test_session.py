"""The scripted session without a socket: the server events, and their times, for client events."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.testing import (
    Call,
    Close,
    Drop,
    Emit,
    Event,
    Fail,
    Incomplete,
    Outgoing,
    Pause,
    Say,
    Script,
    Turn,
    UserTranscript,
    silence,
    tone,
)
from tests.support.scripted_session import SPOKEN, Talk, audio_of, error_of, message, types

pytestmark = pytest.mark.newest  # no dependency of the session changes with versions

TRANSCRIBED = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}
PUSH_TO_TALK = {"audio": {"input": {"turn_detection": None}}}


# The session


def test_a_session_begins_with_its_full_configuration() -> None:
    talk = Talk(Script(), model="gpt-realtime-mini", epoch=1000.0)
    session = talk.one("session.created")["session"]
    assert session["model"] == "gpt-realtime-mini"
    assert session["expires_at"] == 4600
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 200
    assert session["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "voice": "alloy",
        "speed": 1.0,
    }


def test_an_update_keeps_the_fields_that_it_does_not_have() -> None:
    talk = Talk(Script())
    change = {
        "type": "realtime",
        "instructions": "Be brief.",
        "output_modalities": ["text"],
        "model": "another",
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 700},
                "transcription": {"model": "whisper-1"},
            },
            "output": {"format": {"type": "audio/pcm"}, "voice": "marin"},
        },
    }
    (updated,) = talk.send("session.update", session=change)
    session = updated["session"]
    assert (session["instructions"], session["output_modalities"]) == ("Be brief.", ["text"])
    assert session["model"] == "gpt-realtime"
    assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert session["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert session["audio"]["input"]["transcription"] == {"model": "whisper-1", "language": None, "prompt": None}
    vad = session["audio"]["input"]["turn_detection"]
    assert (vad["silence_duration_ms"], vad["prefix_padding_ms"], vad["threshold"]) == (700, 300, 0.5)

    semantic = {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}
    (updated,) = talk.send("session.update", session=semantic)
    assert updated["session"]["audio"]["input"]["turn_detection"]["eagerness"] == "auto"
    assert updated["session"]["instructions"] == "Be brief."


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        (None, "missing_required_parameter", "session"),
        ("loud", "invalid_type", "session"),
        ({"voice": "alloy"}, "missing_required_parameter", "session.type"),
        ({"type": "transcription"}, "invalid_value", "session.type"),
        ({"type": "realtime", "voice": "alloy"}, "unknown_parameter", "session.voice"),
        ({"type": "realtime", "output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
        ({"type": "realtime", "audio": []}, "invalid_type", "session.audio"),
        ({"type": "realtime", "audio": {"speaker": {}}}, "unknown_parameter", "session.audio.speaker"),
        ({"type": "realtime", "audio": {"input": {"rate": 1}}}, "unknown_parameter", "session.audio.input.rate"),
        ({"type": "realtime", "audio": {"input": {"format": {"type": "mp3"}}}}, "invalid_value", "format"),
        (
            {"type": "realtime", "audio": {"input": {"turn_detection": {"type": ["server_vad"]}}}},
            "invalid_value",
            "session.audio.input.turn_detection.type",
        ),
        (
            {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": "high"}}}},
            "invalid_type",
            "session.audio.input.turn_detection.threshold",
        ),
    ],
)
def test_an_invalid_update_changes_nothing_and_the_error_names_the_field(session: Any, code: str, param: str) -> None:
    talk = Talk(Script())
    error = error_of(talk.send("session.update", event_id="event_mine", session=session))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "event_mine")
    (updated,) = talk.send("session.update", session={"type": "realtime"})
    assert updated["session"] == talk.one("session.created")["session"]


def test_the_voice_cannot_change_once_the_agent_has_spoken() -> None:
    talk = Talk(Script(turns=[Turn(Say("Hello."))]))
    voice = {"type": "realtime", "audio": {"output": {"voice": "cedar"}}}
    assert types(talk.send("session.update", session=voice)) == ["session.updated"]
    talk.send("response.create")
    talk.wait()
    voice = {"type": "realtime", "audio": {"output": {"voice": "marin"}}}
    assert error_of(talk.send("session.update", session=voice))["code"] == "cannot_update_voice"


def test_a_script_may_change_the_defaults_and_send_events_on_connect() -> None:
    news = {"type": "server.news", "event_id": "event_own", "text": "unknown to any client"}
    digit = {"type": "input_audio_buffer.dtmf_event_received", "event": "9", "event_id": None}
    talk = Talk(
        Script(
            session={"instructions": "Speak Latin."},
            on_connect=[Emit(digit), Emit(news), Pause(2), Close(4000, "late")],
        )
    )
    assert talk.one("session.created")["session"]["instructions"] == "Speak Latin."
    assert talk.events[1:] == [{"type": "input_audio_buffer.dtmf_event_received", "event": "9"}, news]
    talk.wait()
    assert talk.sent[-1] == Outgoing(2.0, Close(4000, "late"))
    assert talk.sent[-1].event == {}
    assert talk.send("response.create") == []


def test_a_script_may_omit_session_created() -> None:
    assert Talk(Script(session_created=False)).sent == []


# Invalid events


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        ("{", "invalid_json", None),
        (b"\xff", "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        ("[]", "invalid_json", None),
        ("{}", "missing_required_parameter", "type"),
        ('{"type": "session.destroy"}', "invalid_value", "type"),
        ('{"type": ["session.update"]}', "invalid_value", "type"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "%%%"}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": 7}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty", None),
        ('{"type": "conversation.item.create"}', "missing_required_parameter", "item"),
        ('{"type": "conversation.item.create", "item": 1}', "invalid_type", "item"),
        ('{"type": "conversation.item.create", "item": {"type": "poem"}}', "invalid_value", "item.type"),
        (
            '{"type": "conversation.item.create", "item": {"type": "message", "role": "user"}}',
            "missing_required_parameter",
            "item.content",
        ),
        (
            '{"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": "Hi"}}',
            "invalid_type",
            "item.content",
        ),
        (
            '{"type": "conversation.item.create", "item": {"type": "message", "role": "cat", "content": []}}',
            "invalid_value",
            "item.role",
        ),
        (
            (
                '{"type": "conversation.item.create",'
                ' "item": {"id": [], "type": "function_call_output", "call_id": "c", "output": 1}}'
            ),
            "invalid_type",
            "item.output",
        ),
        (
            (
                '{"type": "conversation.item.create",'
                ' "item": {"id": 5, "type": "function_call_output", "call_id": "c", "output": ""}}'
            ),
            "invalid_type",
            "item.id",
        ),
        (
            (
                '{"type": "conversation.item.create", "previous_item_id": "item_no",'
                ' "item": {"type": "function_call_output", "call_id": "c", "output": ""}}'
            ),
            "item_create_invalid_item_id",
            "previous_item_id",
        ),
        ('{"type": "conversation.item.retrieve"}', "missing_required_parameter", "item_id"),
        ('{"type": "conversation.item.delete", "item_id": "x"}', "item_delete_invalid_item_id", "item_id"),
        ('{"type": "conversation.item.truncate", "item_id": "x"}', "item_truncate_invalid_item_id", "item_id"),
        ('{"type": "response.create", "response": "please"}', "invalid_type", "response"),
        (
            '{"type": "response.create", "response": {"output_modalities": ["smell"]}}',
            "invalid_value",
            "response.output_modalities",
        ),
        ('{"type": "response.cancel"}', "response_cancel_not_active", None),
        ('{"type": "response.cancel", "response_id": "resp_no"}', "response_cancel_not_active", None),
        ('{"type": "output_audio_buffer.clear"}', "invalid_value", "type"),
        (
            '{"type": "conversation.item.create", "item":'
            ' {"type": "message", "role": "user", "content": ' + "[" * 600 + "]" * 600 + "}}",
            "invalid_value",
            None,
        ),
    ],
)
def test_an_invalid_event_is_answered_with_an_error_and_the_session_continues(
    frame: str | bytes, code: str, param: str | None
) -> None:
    talk = Talk(Script())
    error = error_of(talk.raw(frame))
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    assert types(talk.send("session.update", session={"type": "realtime"})) == ["session.updated"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(
        ["session", "audio", "item", "item_id", "audio_end_ms", "response", "event_id", "previous_item_id"]
    ),
    st.sampled_from(
        [
            "session.update",
            "input_audio_buffer.append",
            "conversation.item.create",
            "conversation.item.truncate",
            "conversation.item.retrieve",
            "conversation.item.delete",
            "response.create",
            "response.cancel",
        ]
    ),
)
def test_no_value_in_any_field_stops_the_session(value: Any, field: str, type_: str) -> None:
    talk = Talk(Script())
    talk.send(type_, **{field: value})
    talk.wait()
    assert types(talk.send("session.update", session={"type": "realtime"})) == ["session.updated"]


def test_tokens_are_counted_for_items_of_any_content() -> None:
    talk = Talk(Script())
    strange = {"type": "function_call", "name": "a", "arguments": "", "role": "assistant", "content": 5}
    talk.send("conversation.item.create", item=strange)
    talk.send("conversation.item.create", item=message("Hi.", content=[None, {"text": 7}]))
    talk.send("response.create")
    talk.wait()
    assert talk.one("response.done")["response"]["usage"]["input_tokens"] > 0


# Items


def test_items_follow_previous_item_id_and_keep_the_ids_of_the_client() -> None:
    talk = Talk(Script())
    added, done = talk.send("conversation.item.create", item=message("One.", id="mine"))
    assert (added["type"], done["type"]) == ("conversation.item.added", "conversation.item.done")
    assert (added["previous_item_id"], added["item"]["id"], added["item"]["status"]) == (None, "mine", "completed")
    second, _ = talk.send("conversation.item.create", item=message("Two."))
    assert second["previous_item_id"] == "mine"
    assert second["item"]["id"].startswith("item_")
    between, _ = talk.send("conversation.item.create", item=message("Between."), previous_item_id="mine")
    assert between["previous_item_id"] == "mine"
    first, _ = talk.send("conversation.item.create", item=message("Zero."), previous_item_id="root")
    assert first["previous_item_id"] is None
    taken = error_of(talk.send("conversation.item.create", item=message("Again.", id="mine")))
    assert (taken["code"], taken["param"]) == ("item_create_duplicate_id", "item.id")


def test_items_can_be_retrieved_and_deleted() -> None:
    talk = Talk(Script())
    talk.send("conversation.item.create", item=message("One.", id="mine"))
    (retrieved,) = talk.send("conversation.item.retrieve", item_id="mine")
    assert retrieved["item"] == talk.one("conversation.item.added")["item"]
    (deleted,) = talk.send("conversation.item.delete", item_id="mine")
    assert (deleted["type"], deleted["item_id"]) == ("conversation.item.deleted", "mine")
    assert error_of(talk.send("conversation.item.retrieve", item_id="mine"))["code"] == "item_retrieve_invalid_item_id"


def test_every_id_is_unique_and_has_the_prefix_of_its_kind() -> None:
    talk = Talk(Script(turns=[Turn(Say("One."), Call("a"), Call("b", call_id="call_mine"))] * 5))
    for _ in range(5):
        talk.send("response.create")
        talk.wait()
    event_ids = [event["event_id"] for event in talk.events]
    assert len(set(event_ids)) == len(event_ids)
    assert all(each.startswith("event_") for each in event_ids)
    dones = [event["response"] for event in talk.of("response.done")]
    items = [item["id"] for done in dones for item in done["output"]]
    assert len(set(items)) == 15
    assert len({done["id"] for done in dones}) == 5
    assert {done["conversation_id"][:5] for done in dones} == {"conv_"}
    calls = [event["call_id"] for event in talk.of("response.function_call_arguments.done")]
    assert calls[1] == "call_mine"
    assert calls[0].startswith("call_")


def test_a_seed_repeats_a_conversation() -> None:
    def conversation(seed: int | None) -> list[Outgoing]:
        talk = Talk(Script(turns=[Turn(Say("Hello."))], seed=seed))
        talk.send("response.create")
        talk.wait()
        return talk.sent

    assert conversation(7) == conversation(7)
    assert conversation(None) != conversation(None)


# Responses


def test_a_turn_with_a_message_and_calls_is_one_response_whose_items_overlap() -> None:
    talk = Talk(Script(turns=[Turn(Say("Let me look."), Call("a", {"x": 1}), Call("b", "{broken"))]))
    talk.send("response.create")
    talk.wait()
    done = talk.one("response.done")["response"]
    assert done["status"] == "completed"
    assert [item["type"] for item in done["output"]] == ["message", "function_call", "function_call"]
    assert [item["arguments"] for item in done["output"][1:]] == ['{"x": 1}', "{broken"]
    order = types(talk.events)
    assert order.index("response.function_call_arguments.delta") < order.index("response.output_audio.done")
    assert order[-2:] == ["response.done", "rate_limits.updated"]
    assert [event["output_index"] for event in talk.of("response.output_item.done")] == [0, 1, 2]
    for arguments in talk.of("response.function_call_arguments.done"):
        said = [
            e["delta"]
            for e in talk.of("response.function_call_arguments.delta")
            if e["call_id"] == arguments["call_id"]
        ]
        assert "".join(said) == arguments["arguments"]


def test_items_need_not_overlap() -> None:
    talk = Talk(Script(turns=[Turn(Say("Let me look."), Call("a"))], overlap_items=False, rate_limits=False))
    talk.send("response.create")
    talk.wait()
    order = types(talk.events)
    first_done = order.index("response.output_item.done")
    assert first_done < order.index("response.function_call_arguments.delta")
    assert order[-1] == "response.done"


def test_a_text_response_has_text_and_no_audio() -> None:
    talk = Talk(Script(turns=[Turn(Say("Sunny, says  the sky.", phase="final_answer"), think=0.5)]))
    talk.send("response.create", response={"output_modalities": ["text"], "max_output_tokens": 50})
    talk.wait()
    assert "".join(event["delta"] for event in talk.of("response.output_text.delta")) == "Sunny, says  the sky."
    done = talk.one("response.done")["response"]
    assert (done["output_modalities"], done["max_output_tokens"]) == (["text"], 50)
    assert done["output"][0]["phase"] == "final_answer"
    assert done["output"][0]["content"] == [{"type": "output_text", "text": "Sunny, says  the sky."}]
    assert talk.of("response.output_audio.delta") == []
    assert talk.time_of("response.output_item.added") == 0.5


def test_responses_after_the_last_turn_follow_afterwards() -> None:
    talk = Talk(Script(turns=[Turn(Say("First."))]))
    for _ in range(3):
        talk.send("response.create")
        talk.wait()
    said = [event["transcript"] for event in talk.of("response.output_audio_transcript.done")]
    assert said == ["First.", "All right.", "All right."]


def test_a_conversation_has_one_response_at_a_time_and_any_number_outside_of_it() -> None:
    talk = Talk(Script(turns=[Turn(Say("In the conversation.")), Turn(Say("Beside it.")), Turn(Say("Next."))]))
    talk.send("response.create")
    assert error_of(talk.send("response.create"))["code"] == "conversation_already_has_active_response"
    talk.send("response.create", response={"conversation": "none", "metadata": {"topic": "x"}})
    talk.wait()
    inside, beside = (event["response"] for event in talk.of("response.done"))
    if inside["conversation_id"] is None:
        inside, beside = beside, inside
    assert (beside["conversation_id"], beside["metadata"]) == (None, {"topic": "x"})
    (item,) = beside["output"]
    assert [event["item"]["id"] for event in talk.of("conversation.item.added")] == [inside["output"][0]["id"]]
    assert item["content"][0]["transcript"] == "Beside it."
    assert error_of(talk.send("conversation.item.retrieve", item_id=item["id"]))["param"] == "item_id"


def test_a_client_cancels_a_response_with_or_without_its_id() -> None:
    talk = Talk(Script(turns=[Turn(Say("A long answer.", seconds=8)), Turn(Call("a", {"x": "y z"}))], speed=1))
    talk.send("response.create")
    talk.wait(2)
    cancelled = talk.send("response.cancel", response_id=talk.one("response.created")["response"]["id"])
    done = talk.one("response.done")["response"]
    assert (done["status"], done["status_details"]) == (
        "cancelled",
        {"type": "cancelled", "reason": "client_cancelled"},
    )
    assert done["output"][0]["status"] == "incomplete"
    assert types(cancelled)[0] == "response.output_audio.done"
    assert talk.wait(10) == []
    talk.send("response.create")
    talk.wait(0.05)
    cancelled = talk.send("response.cancel")
    assert "response.function_call_arguments.done" not in types(cancelled)
    assert talk.of("response.done")[1]["response"]["output"][0]["arguments"] == '{"'


def test_a_response_cancelled_before_its_first_item_has_no_output() -> None:
    talk = Talk(Script(turns=[Turn(Say("Never."), think=1)]))
    talk.send("response.create")
    assert types(talk.send("response.cancel")) == ["response.done", "rate_limits.updated"]
    assert talk.one("response.done")["response"]["output"] == []


def test_responses_fail_or_are_incomplete_as_scripted() -> None:
    turns = [
        Turn(Say("Half a"), Incomplete()),
        Turn(Incomplete("content_filter")),
        Turn(Say("Then"), Fail(code="rate_limit_exceeded", message="Too much.", type="tokens")),
    ]
    talk = Talk(Script(turns=turns))
    for _ in turns:
        talk.send("response.create")
        talk.wait()
    cut, empty, failed = (event["response"] for event in talk.of("response.done"))
    assert (cut["status"], cut["status_details"]["reason"]) == ("incomplete", "max_output_tokens")
    assert cut["output"][0]["status"] == "incomplete"
    assert (empty["output"], empty["status_details"]["reason"]) == ([], "content_filter")
    assert failed["status"] == "failed"
    assert failed["status_details"]["error"] == {
        "type": "tokens",
        "code": "rate_limit_exceeded",
        "message": "Too much.",
    }
    assert failed["output"][0]["status"] == "completed"
    assert failed["usage"] is None


def test_a_turn_emits_events_pauses_and_ends_the_connection_in_order() -> None:
    error = {"type": "error", "error": {"type": "server_error", "message": "Odd."}}
    turn = Turn(Emit(error), Pause(3), Say("Well."), then=[Emit({"type": "after.all"}), Close(1011, "gone")])
    talk = Talk(Script(turns=[turn, Turn(Say("Never."))]))
    talk.send("response.create")
    talk.wait()
    assert talk.time_of("error") == 0
    assert talk.time_of("response.output_item.added") == 3
    assert talk.events[-2]["type"] == "after.all"
    assert talk.sent[-1].what == Close(1011, "gone")

    talk = Talk(Script(turns=[Turn(Say("Half"), Drop(), Say("never"))]))
    talk.send("response.create")
    talk.wait()
    assert talk.sent[-1].what == Drop()
    assert talk.of("response.done") == []


def test_usage_adds_up_and_tokens_of_the_previous_prompt_are_cached() -> None:
    talk = Talk(Script(turns=[Turn(Say("Word " * 50, seconds=30))] * 3 + [Turn(Say("x"), usage={"total_tokens": 1})]))
    talk.send("conversation.item.create", item=message("A long story. " * 60))
    for _ in range(4):
        talk.send("response.create")
        talk.wait()
    *counted, scripted = (event["response"]["usage"] for event in talk.of("response.done"))
    assert scripted == {"total_tokens": 1}
    for usage in counted:
        read, written = usage["input_token_details"], usage["output_token_details"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert usage["input_tokens"] == read["text_tokens"] + read["audio_tokens"]
        assert usage["output_tokens"] == written["text_tokens"] + written["audio_tokens"]
        cached = read["cached_tokens_details"]
        assert read["cached_tokens"] == cached["text_tokens"] + cached["audio_tokens"] <= usage["input_tokens"]
    assert [usage["output_token_details"]["audio_tokens"] for usage in counted] == [600, 600, 600]
    assert counted[0]["input_token_details"]["cached_tokens"] == 0
    assert counted[2]["input_token_details"]["cached_tokens_details"]["audio_tokens"] == 576


# The agent's audio


def test_audio_is_sent_faster_than_it_plays_and_the_transcript_precedes_it() -> None:
    audio = tone(440, 4.0)
    talk = Talk(Script(turns=[Turn(Say("One two three four five six seven.", audio=audio))], speed=8))
    talk.send("response.create")
    talk.wait()
    assert audio_of(talk.events) == audio
    assert talk.time_of("response.done") == pytest.approx(0.5)
    last_word = max(o.at for o in talk.sent if o.event["type"] == "response.output_audio_transcript.delta")
    assert last_word <= 0.3
    assert types(talk.events).index("response.output_audio_transcript.delta") < types(talk.events).index(
        "response.output_audio.delta"
    )
    sizes = [len(base64.b64decode(event["delta"])) for event in talk.of("response.output_audio.delta")]
    assert len(set(sizes)) > 5
    assert all(size % 2 == 0 and 40 * 48 <= size <= 200 * 48 for size in sizes[:-1])
    assert talk.time_of("response.output_audio.delta") == 0


@pytest.mark.parametrize("speed", [0, math.inf])
def test_audio_can_be_sent_at_once(speed: float) -> None:
    talk = Talk(Script(turns=[Turn(Say("A minute.", seconds=60))], speed=speed))
    talk.send("response.create")
    assert talk.time_of("response.done") == 0
    assert len(audio_of(talk.events)) == 60 * 48_000


def test_odd_splits_divide_samples_between_deltas_without_loss() -> None:
    audio = tone(440, 3.0)
    talk = Talk(Script(turns=[Turn(Say("Odd.", audio=audio))], odd_splits=True, chunk_ms=(1, 60)))
    talk.send("response.create")
    talk.wait()
    sizes = [len(base64.b64decode(event["delta"])) for event in talk.of("response.output_audio.delta")]
    assert all(size % 2 for size in sizes[:-1])
    assert audio_of(talk.events) == audio


def test_a_telephone_format_has_its_own_sample_rate() -> None:
    talk = Talk(Script(turns=[Turn(Say("Hello.", audio=tone(440, 1.0)))]))
    change = {"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcmu"}}}}
    talk.send("session.update", session=change)
    talk.send("response.create")
    talk.wait()
    assert len(audio_of(talk.events)) == 8000
    item_id = talk.one("response.output_item.done")["item"]["id"]
    too_long = {"item_id": item_id, "content_index": 0, "audio_end_ms": 1001}
    assert error_of(talk.send("conversation.item.truncate", **too_long))["param"] == "audio_end_ms"


# The user's speech


def test_speech_in_the_audio_is_detected_and_answered() -> None:
    talk = Talk(Script(turns=[Turn(Say("Hi."))]))
    heard = talk.speak(SPOKEN)
    talk.wait()
    assert types(heard)[:6] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    started, stopped, committed, added = heard[:4]
    assert started["audio_start_ms"] == pytest.approx(200, abs=40)
    assert stopped["audio_end_ms"] == pytest.approx(1700, abs=60)
    assert {event.get("item_id") or event["item"]["id"] for event in heard[:5]} == {started["item_id"]}
    assert committed["previous_item_id"] is None
    assert added["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    answer = talk.of("conversation.item.added")[1]
    assert answer["previous_item_id"] == started["item_id"]


@pytest.mark.nocover
@given(st.lists(st.integers(min_value=1, max_value=9000), min_size=1, max_size=30))
def test_any_chunking_of_the_audio_gives_speech_at_the_same_positions(sizes: list[int]) -> None:
    talk = Talk(Script(speed=0))
    start = 0
    for size in [*sizes, len(SPOKEN)]:
        talk.speak(SPOKEN[start : start + size])
        start += size
    whole = Talk(Script(speed=0))
    whole.speak(SPOKEN)
    places = ("audio_start_ms", "audio_end_ms")
    assert [[e.get(p) for p in places] for e in talk.events] == [[e.get(p) for p in places] for e in whole.events]


def test_positions_count_the_audio_of_the_whole_session() -> None:
    talk = Talk(Script())
    talk.speak(SPOKEN)
    talk.wait()
    talk.speak(silence(70))
    talk.speak(SPOKEN)
    first, second = (event["audio_start_ms"] for event in talk.of("input_audio_buffer.speech_started"))
    assert second - first == 70_000 + 1900


def test_quiet_noise_and_clicks_are_not_speech() -> None:
    talk = Talk(Script())
    assert talk.speak(tone(200, 2, amplitude=0.005) + silence(0.1) + tone(1000, 0.02) + silence(0.5)) == []
    change = {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.1}}}}
    talk.send("session.update", session={"type": "realtime", **change})
    assert types(talk.speak(tone(200, 2, amplitude=0.005))) == ["input_audio_buffer.speech_started"]


def test_pauses_shorter_than_the_configured_silence_do_not_end_speech() -> None:
    vad = {"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 500}}}}
    talk = Talk(Script(session=vad))
    talk.speak(tone(200, 0.5) + silence(0.4) + tone(200, 0.5) + silence(0.48))
    assert len(talk.of("input_audio_buffer.speech_started")) == 1
    assert talk.of("input_audio_buffer.speech_stopped") == []
    talk.speak(silence(0.04))
    assert talk.one("input_audio_buffer.speech_stopped")["audio_end_ms"] == 1900


def test_speech_is_detected_in_telephone_audio() -> None:
    talk = Talk(Script(session={"audio": {"input": {"format": {"type": "audio/pcma"}}}}))
    talk.speak(b"\xd5" * 4000 + bytes([0x2A, 0xAA]) * 4000 + b"\xd5" * 3000)
    assert talk.one("input_audio_buffer.speech_started")["audio_start_ms"] == 200
    assert talk.one("input_audio_buffer.speech_stopped")["audio_end_ms"] == 1700


def test_push_to_talk_waits_for_commit_and_response_create() -> None:
    talk = Talk(Script(turns=[Turn(Say("Yes?"))], session=PUSH_TO_TALK))
    assert talk.speak(SPOKEN) == []
    assert types(talk.send("input_audio_buffer.commit")) == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert talk.wait() == []
    assert types(talk.send("response.create"))[0] == "response.created"
    talk.speak(SPOKEN)
    assert types(talk.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert error_of(talk.send("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"


def test_turn_detection_applies_only_to_audio_after_it_is_switched_on() -> None:
    talk = Talk(Script(session=PUSH_TO_TALK))
    talk.speak(SPOKEN)
    vad = {"audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
    talk.send("session.update", session={"type": "realtime", **vad})
    talk.speak(silence(1))
    assert talk.of("input_audio_buffer.speech_started") == []
    talk.speak(tone(300, 0.5))
    talk.send("session.update", session={"type": "realtime", **PUSH_TO_TALK})
    assert talk.speak(silence(2)) == []
    committed = talk.send("input_audio_buffer.commit")[0]
    assert committed["item_id"] == talk.one("input_audio_buffer.speech_started")["item_id"]


def test_a_session_may_not_answer_speech() -> None:
    vad = {"type": "server_vad", "create_response": False}
    talk = Talk(Script(session={"audio": {"input": {"turn_detection": vad}}}))
    talk.speak(SPOKEN)
    talk.wait()
    assert types(talk.events)[-1] == "conversation.item.done"


# Barge-in


def interrupted(script: Script) -> tuple[Talk, list[Event]]:
    """Return a session in which the user speaks after two seconds of an eight-second response, and its events."""
    talk = Talk(script)
    talk.send("response.create")
    talk.wait(2)
    return talk, talk.speak(silence(0.3) + tone(200, 0.5))


LONG = Say("One two three four five six seven eight nine ten eleven twelve.", seconds=8)


def test_a_barge_in_cancels_the_response_which_keeps_the_sent_content() -> None:
    talk, after = interrupted(Script(turns=[Turn(LONG)], speed=1))
    assert types(after) == [
        "input_audio_buffer.speech_started",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    done = talk.one("response.done")["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
    (item,) = done["output"]
    assert item["status"] == "incomplete"
    said = "".join(event["delta"] for event in talk.of("response.output_audio_transcript.delta"))
    assert item["content"][0]["transcript"] == said
    assert LONG.text.startswith(said)
    assert said != LONG.text
    assert 2.0 <= len(audio_of(talk.events)) / 48_000 < 2.4
    talk.speak(silence(0.3))
    assert len(talk.of("response.created")) == 2


def test_a_script_may_end_the_response_before_speech_started() -> None:
    _, after = interrupted(Script(turns=[Turn(LONG)], speed=1, speech_started_first=False, rate_limits=False))
    assert types(after)[-2:] == ["response.done", "input_audio_buffer.speech_started"]


def test_speech_after_the_end_of_a_response_cancels_nothing() -> None:
    _, after = interrupted(Script(turns=[Turn(LONG)], speed=8))
    assert types(after) == ["input_audio_buffer.speech_started"]


def test_without_interrupt_response_the_response_continues_and_speech_gets_an_error() -> None:
    vad = {"type": "server_vad", "interrupt_response": False}
    talk, after = interrupted(Script([Turn(LONG)], speed=1, session={"audio": {"input": {"turn_detection": vad}}}))
    assert types(after) == ["input_audio_buffer.speech_started"]
    last = talk.speak(silence(0.3))[-1]
    assert last["error"]["code"] == "conversation_already_has_active_response"
    assert last["error"]["event_id"] is None
    talk.wait()
    assert talk.one("response.done")["response"]["status"] == "completed"


def test_a_barge_in_does_not_cancel_responses_outside_of_the_conversation() -> None:
    talk = Talk(Script(turns=[Turn(LONG)], speed=1))
    talk.send("response.create", response={"conversation": "none"})
    talk.wait(1)
    assert types(talk.speak(tone(200, 0.5))) == ["input_audio_buffer.speech_started"]
    talk.wait()
    assert talk.one("response.done")["response"]["status"] == "completed"


# Truncation


def test_truncation_deletes_the_transcript() -> None:
    talk = Talk(Script(turns=[Turn(Say("Five seconds.", seconds=5))]))
    talk.send("response.create")
    talk.wait()
    item_id = talk.one("response.output_item.done")["item"]["id"]
    cut = {"item_id": item_id, "content_index": 0, "audio_end_ms": 1500}
    (truncated,) = talk.send("conversation.item.truncate", **cut)
    assert {key: truncated[key] for key in cut} == cut
    (retrieved,) = talk.send("conversation.item.retrieve", item_id=item_id)
    assert retrieved["item"]["content"] == [{"type": "output_audio", "transcript": None}]
    done = talk.one("response.done")["response"]
    assert done["output"][0]["content"][0]["transcript"] == "Five seconds."
    longer = {**cut, "event_id": "event_mine", "audio_end_ms": 1501}
    error = error_of(talk.send("conversation.item.truncate", **longer))
    assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "audio_end_ms", "event_mine")


def test_only_audio_messages_of_the_agent_can_be_truncated() -> None:
    talk = Talk(Script(turns=[Turn(Say("Spoken."))]))
    talk.send("response.create")
    talk.wait()
    talk.send("conversation.item.create", item=message("Typed.", id="typed"))
    typed = {"item_id": "typed", "content_index": 0, "audio_end_ms": 0}
    assert error_of(talk.send("conversation.item.truncate", **typed))["param"] == "item_id"
    spoken = {**typed, "item_id": talk.one("response.output_item.done")["item"]["id"]}
    assert (
        error_of(talk.send("conversation.item.truncate", **{**spoken, "content_index": 1}))["param"] == "content_index"
    )
    assert (
        error_of(talk.send("conversation.item.truncate", **{**spoken, "audio_end_ms": 1.5}))["code"] == "invalid_type"
    )
    assert (
        error_of(talk.send("conversation.item.truncate", **{**spoken, "audio_end_ms": -1}))["param"] == "audio_end_ms"
    )


# Transcription of the user


def transcribed(*transcripts: str | UserTranscript, **options: Any) -> Talk:
    talk = Talk(Script(turns=[Turn(LONG)], user_transcripts=transcripts, session=TRANSCRIBED, **options))
    talk.speak(SPOKEN)
    talk.wait()
    return talk


COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"


def test_a_transcription_completes_while_the_response_is_generated() -> None:
    talk = transcribed("Hello, is anybody there?")
    assert talk.time_of("response.created") < talk.time_of(COMPLETED) < talk.time_of("response.done")
    completed = talk.one(COMPLETED)
    assert (completed["transcript"], completed["content_index"]) == ("Hello, is anybody there?", 0)
    assert completed["usage"] == {"type": "duration", "seconds": 2}
    assert completed["item_id"] == talk.one("input_audio_buffer.speech_started")["item_id"]
    assert "".join(event["delta"] for event in talk.of(DELTA)) == "Hello, is anybody there?"
    (retrieved,) = talk.send("conversation.item.retrieve", item_id=completed["item_id"])
    assert retrieved["item"]["content"][0]["transcript"] == "Hello, is anybody there?"


def test_a_transcription_completes_during_a_text_response_too() -> None:
    written = {**TRANSCRIBED, "output_modalities": ["text"]}
    talk = Talk(Script([Turn(LONG)], user_transcripts=["Hello?"], session=written))
    talk.speak(SPOKEN)
    talk.wait()
    assert talk.time_of("response.output_text.delta") < talk.time_of(COMPLETED) < talk.time_of("response.done")


def test_an_early_transcription_has_deltas_before_speech_stops() -> None:
    talk = transcribed(UserTranscript("One two three four five six.", when="early", usage="tokens"))
    order = types(talk.events)
    assert order.index(DELTA) < order.index("input_audio_buffer.speech_stopped")
    assert order.index("conversation.item.done") < order.index(COMPLETED) < order.index("response.created")
    first_words = [o for o in talk.sent if o.event["type"] == DELTA]
    assert "".join(out.event["delta"] for out in first_words) == "One two three four five six."
    usage = talk.one(COMPLETED)["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["input_token_details"]["audio_tokens"] == usage["input_tokens"]


def test_a_late_transcription_begins_after_the_response() -> None:
    talk = transcribed(UserTranscript("Hello?", when="after", streamed=False, usage=None))
    order = types(talk.events)
    assert order.index("response.done") < order.index(COMPLETED)
    assert DELTA not in order
    assert "usage" not in talk.one(COMPLETED)


def test_a_transcription_can_fail() -> None:
    talk = transcribed(UserTranscript("", error="The audio is too noisy."))
    failed = talk.one("conversation.item.input_audio_transcription.failed")
    assert failed["error"]["message"] == "The audio is too noisy."
    assert talk.of(COMPLETED) == []


def test_speech_without_a_scripted_transcript_has_an_empty_one_and_push_to_talk_is_transcribed() -> None:
    talk = transcribed()
    assert talk.one(COMPLETED)["transcript"] == ""
    both = {"audio": {"input": {**TRANSCRIBED["audio"]["input"], "turn_detection": None}}}
    talk = Talk(Script(session=both, user_transcripts=["One", UserTranscript("Two words", when="early")]))
    for _ in range(2):
        talk.speak(SPOKEN)
        talk.send("input_audio_buffer.commit")
        talk.wait()
    assert [event["transcript"] for event in talk.of(COMPLETED)] == ["One", "Two words"]
    assert [event["delta"] for event in talk.of(DELTA)] == ["One", "Two", " words"]


def test_speech_in_a_cleared_buffer_is_not_answered() -> None:
    talk = Talk(Script(session=TRANSCRIBED, user_transcripts=[UserTranscript("a b c d", when="early"), "next"]))
    talk.speak(tone(200, 0.5))
    talk.send("input_audio_buffer.clear")
    talk.speak(silence(1))
    assert talk.of("input_audio_buffer.speech_stopped") == []
    talk.speak(SPOKEN)
    talk.wait()
    assert talk.one(COMPLETED)["transcript"] == "next"


# Sideband connections


def test_a_sideband_connection_has_playback_events_and_no_audio() -> None:
    talk = Talk(Script(turns=[Turn(Say("Hello there.", seconds=2))] * 3), sideband=True)
    assert talk.sent == []
    talk.send("response.create")
    talk.wait()
    assert talk.of("response.output_audio.delta") == []
    started, stopped = talk.one("output_audio_buffer.started"), talk.one("output_audio_buffer.stopped")
    assert started["response_id"] == stopped["response_id"]
    assert talk.time_of("output_audio_buffer.stopped") == pytest.approx(2.0)

    talk.send("response.create")
    talk.wait(1)
    (cleared,) = talk.send("output_audio_buffer.clear")
    assert cleared["type"] == "output_audio_buffer.cleared"
    talk.wait()
    assert len(talk.of("output_audio_buffer.stopped")) == 1

    talk.send("response.create")
    talk.wait(1)
    assert types(talk.speak(tone(200, 0.5))) == ["input_audio_buffer.speech_started", "output_audio_buffer.cleared"]


def test_every_event_is_json() -> None:
    talk = Talk(Script(turns=[Turn(LONG, Call("a"))], session=TRANSCRIBED, user_transcripts=["Hi"]))
    talk.speak(SPOKEN)
    talk.wait()
    for event in talk.events:
        assert json.loads(json.dumps(event, allow_nan=False)) == event

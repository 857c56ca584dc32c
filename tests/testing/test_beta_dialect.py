"""The beta dialect: translation of client events and server events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langsmith_realtime.testing import Call, Emit, Say, Script, Turn
from tests.support.scripted_session import Talk, audio_of, error_of, types


def beta(*turns: Turn, **options: Any) -> Talk:
    return Talk(Script(turns, dialect="beta", **options))


def test_a_session_has_the_flat_beta_shape() -> None:
    talk = beta(session={"instructions": "Be brief."})
    session = talk.one("session.created")["session"]
    assert (session["instructions"], session["modalities"]) == ("Be brief.", ["audio"])
    assert (session["input_audio_format"], session["output_audio_format"]) == ("pcm16", None)
    assert session["voice"] == {"name": "alloy", "type": "openai"}
    assert not {"audio", "type", "output_modalities"} & set(session)

    change = {
        "modalities": ["text", "audio"],
        "voice": "marin",
        "output_audio_format": "g711_ulaw",
        "input_audio_transcription": {"model": "whisper-1"},
        "turn_detection": None,
        "max_response_output_tokens": 50,
        "animation": {"outputs": ["viseme_id"]},
    }
    (updated,) = talk.send("session.update", session=change)
    session = updated["session"]
    assert session["modalities"] == ["audio", "text"]
    assert session["input_audio_transcription"]["custom_speech"] is None
    for name in ("voice", "output_audio_format", "turn_detection", "max_response_output_tokens", "animation"):
        assert session[name] == change[name]


def test_the_events_of_an_audio_response_have_beta_names() -> None:
    talk = beta(Turn(Say("Hello.")), session={"output_audio_format": "g711_alaw"})
    talk.send("response.create", response={"modalities": ["audio", "text"], "max_response_output_tokens": 9})
    spoken = talk.wait()
    assert types(talk.events)[1:4] == ["response.created", "response.output_item.added", "conversation.item.created"]
    assert {"response.audio.delta", "response.audio_transcript.done", "response.audio.done"} <= set(types(spoken))
    assert audio_of(spoken) == b"", "no GA names"
    assert talk.of("conversation.item.done") == []
    done = talk.one("response.done")["response"]
    assert done["output"][0]["content"] == [{"type": "audio", "transcript": "Hello."}]
    assert (done["output_audio_format"], done["max_output_tokens"]) == ("g711_alaw", 9)
    assert "audio" not in done


def test_the_events_of_a_text_response_and_of_a_function_call_have_beta_names() -> None:
    talk = beta(Turn(Say("Hello."), Call("f")))
    talk.send("response.create", response={"modalities": ["text"]})
    talk.wait()
    assert {"response.text.delta", "response.text.done", "response.function_call_arguments.done"} <= {
        event["type"] for event in talk.events
    }
    done = talk.one("response.done")["response"]
    assert done["modalities"] == ["text"]
    message, call = done["output"]
    assert message["content"] == [{"type": "text", "text": "Hello."}]
    assert (call["object"], call["type"]) == ("realtime.item", "function_call")


def test_an_item_of_the_client_is_created_and_done() -> None:
    talk = beta()
    odd: list[Any] = [{"type": "input_text", "text": "Hi."}, None, {"type": 5}]
    item = {"type": "message", "role": "user", "content": odd}
    created, done = talk.send("conversation.item.create", item=item)
    assert types([created, done]) == ["conversation.item.created", "conversation.item.done"]
    assert created["item"]["content"] == odd
    output = {"type": "function_call_output", "call_id": "c", "output": "{}"}
    created, _ = talk.send("conversation.item.create", item=output)
    assert created["item"]["object"] == "realtime.item"


def test_scripted_events_are_not_translated() -> None:
    event = {"type": "response.output_audio.done", "event_id": "mine"}
    assert beta(on_connect=[Emit(event)]).events[1] == event


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ("loud", "session"),
        ({"audio": {}}, "session.audio"),
        ({"type": "realtime"}, "session.type"),
        ({"poem": 1}, "session.poem"),
        ({"modalities": ["smell", "audio"]}, "session.modalities"),
        ({"modalities": 5}, "session.modalities"),
        ({"input_audio_format": "pcm17"}, "session.input_audio_format"),
        ({"output_audio_format": None}, "session.output_audio_format"),
    ],
)
def test_a_field_or_value_that_the_beta_api_lacks_is_an_error(session: Any, param: str) -> None:
    talk = beta()
    error = error_of(talk.send("session.update", session=session, event_id="mine"))
    assert (error["param"], error["event_id"]) == (param, "mine")
    (updated,) = talk.send("session.update", session={})
    assert updated["session"] == talk.one("session.created")["session"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["audio", "text", "pcm16", "server_vad", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "model", "audio"]), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = ["modalities", "voice", "input_audio_format", "turn_detection", "input_audio_transcription", "tools", "avatar"]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3), JSON)
def test_no_value_in_any_field_stops_the_session(session: dict[str, Any], modalities: Any) -> None:
    talk = beta()
    talk.send("session.update", session=session)
    talk.send("response.create", response={"modalities": modalities})
    talk.wait()
    assert types(talk.send("session.update", session={})) == ["session.updated"]


def test_a_response_without_modalities_has_those_of_the_session() -> None:
    talk = beta(Turn(Say("Hello.")), session={"modalities": ["text"]})
    talk.send("response.create", response={"metadata": {"a": "b"}})
    talk.wait()
    done = talk.one("response.done")["response"]
    assert (done["modalities"], done["metadata"]) == (["text"], {"a": "b"})


def test_an_unknown_dialect_raises() -> None:
    dialect: Any = "alpha"
    with pytest.raises(ValueError, match="dialect must be one of 'ga', 'beta', "):
        Script(dialect=dialect)

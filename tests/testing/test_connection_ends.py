"""Scripted frames that are not events, telephone keys, the end of sessions, reconnection and errors."""

from __future__ import annotations

import json
import math

import pytest
from openai import OpenAI
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from websockets.sync.client import connect

from langsmith_realtime.testing import (
    Close,
    Drop,
    Dtmf,
    Emit,
    McpCall,
    Outgoing,
    Pause,
    Raw,
    RealtimeServer,
    Say,
    Script,
    Turn,
)
from tests.support.conversations import sync_client
from tests.support.scripted_session import SPOKEN, Talk, error_of, message, types

# Frames that are not events


def test_frames_of_any_kind_are_sent_as_they_are() -> None:
    script = Script(on_connect=[Raw("{no json"), Raw(b"\x00\xff"), Raw(""), Raw('{"type": 5}')])
    with RealtimeServer(script) as server, connect(server.url) as client:
        assert json.loads(client.recv(timeout=20))["type"] == "session.created"
        assert [client.recv(timeout=20) for _ in range(4)] == ["{no json", b"\x00\xff", "", '{"type": 5}']
        assert [frame.raw for frame in server.sent[1:]] == ["{no json", b"\x00\xff", "", '{"type": 5}']


def test_frames_of_any_kind_are_sent_within_a_response() -> None:
    talk = Talk(Script([Turn(Say("One."), Raw("nonsense"), Say("Two."))]))
    talk.send("response.create")
    talk.wait()
    whats = [out.what for out in talk.sent]
    assert 0 < whats.index(Raw("nonsense")) < len(whats) - 1
    assert talk.one("response.done")["response"]["status"] == "completed"


def test_nothing_is_sent_after_the_end() -> None:
    talk = Talk(Script([Turn(Close(4000), Raw("late"), Emit({"type": "late"}), Drop())], on_connect=[]))
    talk.send("response.create")
    assert talk.sent[-1].what == Close(4000)
    ended = Talk(Script(on_connect=[Close(1000), Raw("late")]))
    assert ended.sent[-1].what == Close(1000)
    listing = Talk(Script([Turn(McpCall("m", outlives_response=True), Say("x"), Close(4000), Say("never"))]))
    listing.send("response.create")
    listing.wait()
    assert listing.sent[-1].what == Close(4000)
    assert ended.session.next_at is None


def test_an_event_of_more_than_a_megabyte_ends_a_client_with_that_limit() -> None:
    large = Script(on_connect=[Emit({"type": "large", "text": "x" * (2**20 + 1)})])
    with RealtimeServer(large) as server:
        with connect(server.url, max_size=None) as client:
            client.recv(timeout=20)
            assert len(client.recv(timeout=20)) > 2**20
        with connect(server.url) as client:
            client.recv(timeout=20)
            with pytest.raises(ConnectionClosedError, match="1009"):
                client.recv(timeout=20)


def test_a_pressed_telephone_key_is_an_event() -> None:
    talk = Talk(Script([Turn(Say("Press one."), then=[Pause(2), Dtmf("1")])]), epoch=1000.0)
    talk.send("response.create")
    talk.wait()
    pressed = talk.one("input_audio_buffer.dtmf_event_received")
    at = talk.time_of("input_audio_buffer.dtmf_event_received")
    assert pressed == {
        "type": "input_audio_buffer.dtmf_event_received",
        "event": "1",
        "received_at": math.floor(1000 + at),
    }


# The longest duration of a session


def test_a_session_ends_after_an_hour() -> None:
    talk = Talk(Script([Turn(Say("Long.", seconds=60), think=3590)], speed=1), epoch=1000.0)
    assert talk.one("session.created")["session"]["expires_at"] == 4600
    talk.send("response.create")
    talk.wait(3599.9)
    assert talk.of("response.output_audio.delta")
    assert talk.of("error") == []
    error, closed = talk.session.advance(3700.0)[-2:]
    assert error.event["error"] == {
        "type": "invalid_request_error",
        "code": "session_expired",
        "message": "Your session hit the maximum duration of 60 minutes.",
        "param": None,
        "event_id": None,
    }
    assert closed == Outgoing(3600.0, Close(1001, "Your session hit the maximum duration of 60 minutes."))
    assert talk.session.receive({"type": "response.create"}, 3701.0) == []
    assert talk.session.next_at is None


def test_an_event_after_the_end_of_the_session_is_not_answered() -> None:
    talk = Talk(Script(session_seconds=90))
    talk.now = 100.0
    (expired, _) = talk.send("response.create")
    assert expired["error"]["message"] == "Your session hit the maximum duration of 1.5 minutes."
    for seconds in (0, math.inf):
        with pytest.raises(ValueError, match="session_seconds"):
            Script(session_seconds=seconds)


def test_a_script_can_shorten_the_session_and_the_client_sees_a_clean_close() -> None:
    with (
        RealtimeServer(Script(session_seconds=0.05)) as server,
        sync_client(server) as client,
        client.realtime.connect(model="gpt-realtime") as connection,
    ):
        assert [event.type for event in connection] == ["session.created", "error"]


# Reconnection


@pytest.mark.parametrize("end", [Close(1012, "restart"), Close(1011), Drop(), Drop(mid_frame=True)])
def test_a_client_that_reconnects_has_a_new_session(end: Close | Drop) -> None:
    with RealtimeServer([Script(on_connect=[end]), Script()]) as server:
        with connect(server.url) as client:
            first = json.loads(client.recv(timeout=20))["session"]["id"]
            with pytest.raises(ConnectionClosed) as ended:
                client.recv(timeout=20)
            assert not isinstance(ended.value, ConnectionClosedOK)
        with connect(server.url) as client:
            assert json.loads(client.recv(timeout=20))["session"]["id"] != first


# Errors that do not end the session


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "session.destroy"}, "invalid_value"),
        ({"type": "conversation.item.delete"}, "missing_required_parameter"),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty"),
        ({"type": "response.create"}, "conversation_already_has_active_response"),
        ({"type": "response.cancel", "response_id": "resp_no"}, "response_cancel_not_active"),
        (
            {"type": "session.update", "session": {"type": "realtime", "audio": {"output": {"voice": "marin"}}}},
            "cannot_update_voice",
        ),
    ],
)
def test_an_error_has_the_id_of_the_event_and_the_session_continues(event: dict[str, object], code: str) -> None:
    talk = Talk(Script([Turn(Say("Long.", seconds=5))], speed=1))
    talk.send("response.create")
    talk.wait(2)
    error = error_of(talk.store(talk.session.receive({**event, "event_id": "event_mine"}, talk.now)))
    assert (error["code"], error["event_id"]) == (code, "event_mine")
    talk.wait()
    assert talk.one("response.done")["response"]["status"] == "completed"
    assert "speech_started" in types(talk.speak(SPOKEN))[0]


def test_the_error_for_invalid_json_has_no_event_id() -> None:
    talk = Talk(Script())
    error = error_of(talk.raw('{"event_id": "event_mine", '))
    assert (error["code"], error["event_id"]) == ("invalid_json", None)
    assert types(talk.send("conversation.item.create", item=message("Hi."))) == [
        "conversation.item.added",
        "conversation.item.done",
    ]


def test_the_real_client_continues_after_an_error() -> None:
    with (
        RealtimeServer() as server,
        OpenAI(api_key="x", base_url=server.base_url, websocket_base_url=server.websocket_base_url) as client,
        client.realtime.connect(model="gpt-realtime") as connection,
    ):
        connection.response.cancel(event_id="event_mine")
        seen = []
        for event in connection:
            seen.append(event.type)
            if event.type == "error":
                assert event.error.event_id == "event_mine"
                connection.response.create()
            if event.type == "response.done":
                break
    assert seen[:3] == ["session.created", "error", "response.created"]

"""Client frames are compared with the API's reference."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
from websockets.sync.client import connect

from langsmith_realtime.testing import Problem, RealtimeServer, Script, WrongFramesError
from langsmith_realtime.testing.frame_log import MOST_PROBLEMS, FrameLog
from langsmith_realtime.testing.state.client_events import CLIENT_EVENTS, problems_of
from tests.support.conversations import recordings

ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}
VALID: list[dict[str, Any]] = [
    {"type": "session.update", "event_id": "e", "session": {"type": "realtime"}},
    {"type": "input_audio_buffer.append", "audio": "AAAA"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "conversation.item.create", "item": ITEM, "previous_item_id": None},
    {"type": "conversation.item.create", "item": {"type": "mcp_call", "server_label": "", "name": "", "arguments": ""}},
    {"type": "conversation.item.delete", "item_id": "i"},
    {"type": "conversation.item.retrieve", "item_id": "i"},
    {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 0},
    {"type": "response.create"},
    {"type": "response.create", "response": {"conversation": "none"}},
    {"type": "response.cancel", "response_id": "r"},
    {"type": "output_audio_buffer.clear"},
]


@pytest.mark.parametrize("event", VALID, ids=lambda event: event["type"])
def test_valid_frames_have_no_problems(event: dict[str, Any]) -> None:
    assert problems_of(json.dumps(event)) == problems_of(json.dumps(event).encode()) == []


def test_every_client_event_of_the_reference_is_checked() -> None:
    assert {event["type"] for event in VALID} == CLIENT_EVENTS
    assert len(CLIENT_EVENTS) == 11


def test_recorded_client_frames_have_no_problems() -> None:
    sent: Iterable[dict[str, Any]] = (
        frame["event"] for frames in recordings().values() for frame in frames if frame["dir"] == "client"
    )
    assert {problem for event in sent for problem in problems_of(json.dumps(event))} == set()


DEEP = '{"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": '
DEEP += "[" * 600 + "]" * 600 + "}}"


@pytest.mark.parametrize(
    ("frame", "problems"),
    [
        ("{", ["must be JSON"]),
        (b"\xff", ["must be JSON"]),
        ("[" * 100_000, ["must be JSON"]),
        ("[]", ["must be a JSON object"]),
        ("{}", ["'type' must be a string"]),
        ('{"type": 7}', ["'type' must be a string"]),
        ('{"type": "session.destroy"}', ["must be a client event of the Realtime API, got 'session.destroy'"]),
        ('{"type": "session.update"}', ["missing field 'session'"]),
        (
            '{"type": "session.update", "session": "s", "event_id": 5}',
            ["'event_id' must be a string, got an integer", "'session' must be an object"],
        ),
        ('{"type": "input_audio_buffer.append", "data": "AA=="}', ["unknown field 'data'", "missing field 'audio'"]),
        ('{"type": "input_audio_buffer.append", "audio": "%%%"}', ["'audio' must be base64"]),
        ('{"type": "input_audio_buffer.append", "audio": "ü"}', ["'audio' must be base64"]),
        (
            '{"type": "conversation.item.truncate", "item_id": "i", "content_index": true, "audio_end_ms": 1.5}',
            ["'content_index' must be an integer", "'audio_end_ms' must be an integer"],
        ),
        ('{"type": "conversation.item.create", "item": {"type": "message"}}', ["Missing required parameter"]),
        (DEEP, ["nested so deeply"]),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else None,
)
def test_invalid_frames_have_a_problem_for_each_field(frame: str | bytes, problems: list[str]) -> None:
    found = problems_of(frame)
    assert len(found) == len(problems)
    assert all(expected in actual for expected, actual in zip(problems, found, strict=True))


def send_two_invalid_frames(server: RealtimeServer) -> None:
    with connect(server.url) as client:
        client.send('{"type": "response.create"}')
        client.send('{"type": "conversation.item.delete", "event_id": "event_7"}')
        client.send("nonsense")
        server.wait_for(lambda frame: frame.raw == "nonsense")


MESSAGE = (
    "connection 0, conversation.item.delete event_7: missing field 'item_id'\n"
    "connection 0, a frame: the frame must be JSON"
)


def test_a_strict_server_raises_at_the_end_of_its_block() -> None:
    with pytest.raises(WrongFramesError, match=re.escape(MESSAGE)) as raised, RealtimeServer(strict=True) as server:
        send_two_invalid_frames(server)
    assert raised.value.problems[0] == Problem(0, "conversation.item.delete", "event_7", "missing field 'item_id'")
    server = RealtimeServer(strict=True).start()
    send_two_invalid_frames(server)
    with pytest.raises(WrongFramesError):
        server.stop()


def test_the_exception_of_the_block_has_precedence() -> None:
    with pytest.raises(KeyError), RealtimeServer(strict=True) as server:
        send_two_invalid_frames(server)
        raise KeyError


def test_a_lenient_server_only_records_problems_and_a_strict_server_accepts_valid_frames() -> None:
    with RealtimeServer() as server:
        send_two_invalid_frames(server)
    assert len(server.problems) == 2
    with RealtimeServer(strict=True) as server, connect(server.url) as client:
        client.send('{"type": "response.create"}')
        assert any('"response.done"' in str(frame) for frame in client)
    assert server.problems == []


def test_a_field_of_a_dialect_is_a_problem_for_every_other_server() -> None:
    event = json.dumps({"type": "response.create", "additional_instructions": "Be brief."})
    for script, problems in (
        (Script(dialect="voice_live"), []),
        (Script(), ["unknown field 'additional_instructions'"]),
    ):
        with RealtimeServer(script) as server, connect(server.url) as client:
            client.send(event)
            assert any('"response.done"' in str(frame) for frame in client)
        assert [problem.message for problem in server.problems] == problems


def test_problems_are_kept_without_frames_up_to_a_limit() -> None:
    log = FrameLog(keep=False)
    for _ in range(MOST_PROBLEMS + 1):
        log.add(0, "client", "nonsense")
    log.add(0, "client", '{"type": "response.create"}')
    log.add(0, "server", "nonsense")
    assert log.of("client") == []
    assert len(log.problems) == MOST_PROBLEMS

"""The scripted server over real sockets, with the real client."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.frames import Close as FrameClose
from websockets.sync.client import connect
from websockets.typing import Origin

from langsmith_realtime.testing import (
    Call,
    Close,
    Drop,
    Emit,
    LoggedFrame,
    Outgoing,
    RealtimeServer,
    Replay,
    Say,
    Script,
    Turn,
    UserTranscript,
    silence,
    speech_like,
    tone,
)
from langsmith_realtime.testing.session import ReplaySession
from tests.support.conversations import RECORDINGS, recording_paths

PUSH_TO_TALK: Any = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}


def has_type(wanted: str) -> Callable[[LoggedFrame], bool]:
    return lambda frame: frame.type == wanted


def address(server: RealtimeServer) -> dict[str, Any]:
    return {"api_key": "test", "base_url": server.base_url, "websocket_base_url": server.websocket_base_url}


def base64_of(audio: bytes) -> str:
    return base64.b64encode(audio).decode()


def test_the_async_client_has_a_whole_conversation_with_a_tool() -> None:
    script = Script(
        turns=[Turn(Call("lookup_weather", {"city": "Paris"})), Turn(Say("Sunny.", audio=tone(440, 1.0)))],
        user_transcripts=["What is the weather in Paris?"],
        session={"audio": {"input": {"transcription": {"model": "whisper-1"}}}},
        odd_splits=True,
    )

    async def talk(server: RealtimeServer) -> tuple[list[str], bytes]:
        seen: list[str] = []
        heard = b""
        async with (
            AsyncOpenAI(**address(server)) as client,
            client.realtime.connect(model="gpt-realtime") as connection,
        ):
            speech = silence(0.3) + speech_like("What is the weather in Paris?", 1.0) + silence(0.5)
            for start in range(0, len(speech), 9601):
                await connection.input_audio_buffer.append(audio=base64_of(speech[start : start + 9601]))
            async for event in connection:
                seen.append(event.type)
                if event.type == "response.output_audio.delta":
                    heard += base64.b64decode(event.delta)
                elif event.type == "response.function_call_arguments.done":
                    output: Any = {"type": "function_call_output", "call_id": event.call_id, "output": "{}"}
                    await connection.conversation.item.create(item=output)
                elif event.type == "response.done":
                    if heard:
                        return seen, heard
                    await connection.response.create()
        raise AssertionError("the conversation ended early")

    with RealtimeServer(script) as server:
        seen, heard = asyncio.run(talk(server))
        assert heard == tone(440, 1.0)
        assert seen[0] == "session.created"
        assert seen.count("conversation.item.input_audio_transcription.completed") == 1
        assert [frame.type for frame in server.sent if frame.connection == 0][: len(seen)] == seen
        assert server.sent[0].event["session"]["model"] == "gpt-realtime"
        assert [frame.type for frame in server.received][-2:] == ["conversation.item.create", "response.create"]
        times = [frame.at for frame in server.received]
        assert times == sorted(times)


def test_the_sync_client_interrupts_an_answer_and_truncates_it() -> None:
    script = Script(turns=[Turn(Say("A very long answer that nobody wants to hear to its end.", seconds=20))], speed=4)
    with (
        RealtimeServer(script) as server,
        OpenAI(**address(server)) as client,
        client.realtime.connect(model="gpt-realtime") as connection,
    ):
        connection.response.create()
        item_id = ""
        for event in connection:
            if event.type == "response.output_audio.delta" and not item_id:
                item_id = event.item_id
                connection.input_audio_buffer.append(audio=base64_of(tone(200, 0.5)))
            elif event.type == "input_audio_buffer.speech_started":
                connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=20)
            elif event.type == "response.done":
                assert event.response.status == "cancelled"
            elif event.type == "conversation.item.truncated":
                assert (event.item_id, event.audio_end_ms) == (item_id, 20)
                break
        assert server.wait_for(has_type("conversation.item.truncate")).event["item_id"] == item_id


def test_audio_deltas_are_sent_when_they_are_due() -> None:
    script = Script(turns=[Turn(Say("Two seconds.", seconds=2.0), think=0.1)], speed=10)
    with (
        RealtimeServer(script) as server,
        OpenAI(**address(server)) as client,
        client.realtime.connect(model="gpt-realtime") as connection,
    ):
        connection.response.create()
        assert "response.done" in (event.type for event in connection)
        done = server.wait_for(has_type("response.done"))
        created = server.wait_for(has_type("response.created"))
        first = server.wait_for(has_type("response.output_audio.delta"))
        assert first.at - created.at >= 0.099
        # Two seconds of audio at speed 10, after 0.1 s of thinking.
        assert 0.299 <= done.at - created.at < 2.0


def test_each_client_begins_the_script_anew_or_gets_the_next_script() -> None:
    def first_answer(server: RealtimeServer) -> str:
        with (
            OpenAI(**address(server)) as client,
            client.realtime.connect(model="gpt-realtime") as connection,
        ):
            connection.response.create()
            for event in connection:
                if event.type == "response.output_audio_transcript.done":
                    return event.transcript
        raise AssertionError("no answer")

    scripts = [Script([Turn(Say(text))], speed=0) for text in ("One.", "Two.")]
    with RealtimeServer(scripts) as server:
        assert [first_answer(server) for _ in range(3)] == ["One.", "Two.", "Two."]
        sessions = [frame.event["session"]["id"] for frame in server.sent if frame.type == "session.created"]
        assert len(set(sessions)) == 3
        assert {frame.connection for frame in server.received} == {0, 1, 2}


def test_a_seed_gives_each_connection_its_own_ids_which_are_equal_in_every_run() -> None:
    def greetings() -> list[dict[str, Any]]:
        with RealtimeServer(Script(seed=1)) as server:
            for _ in range(2):
                with connect(server.url) as client:
                    client.recv()
            return [frame.event["session"]["id"] for frame in server.sent]

    first, second = greetings()
    assert first != second
    assert greetings() == [first, second]


def test_a_call_id_makes_a_sideband_connection() -> None:
    with RealtimeServer() as server, connect(f"{server.url}?call_id=rtc_1") as client:
        client.send(json.dumps({"type": "session.update", "session": {"type": "realtime"}}))
        assert json.loads(client.recv(timeout=20))["type"] == "session.updated"


# The end of a connection


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4000])
def test_a_connection_closes_with_the_scripted_code_and_reason(code: int) -> None:
    with RealtimeServer(Script(on_connect=[Close(code, "as scripted")])) as server, connect(server.url) as client:
        with pytest.raises(ConnectionClosed) as ended:
            while True:
                client.recv(timeout=20)
        assert ended.value.rcvd == FrameClose(code, "as scripted")


UPGRADE = (
    "GET /v1/realtime HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_a_web_page_is_refused() -> None:
    with RealtimeServer(Script()) as server:
        with pytest.raises(InvalidStatus) as refused:
            connect(server.url, origin=Origin("http://evil.example"))
        assert refused.value.response.status_code == 403


def everything_sent(server: RealtimeServer) -> bytes:
    """Return the bytes after the handshake until the connection ends, because clients may discard unread bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(UPGRADE.format(host=f"127.0.0.1:{server.port}").encode())
        data = b"".join(iter(lambda: raw.recv(65536), b""))
    return data.partition(b"\r\n\r\n")[2]


def frames_in(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the opcode and the payload of each complete WebSocket frame, then opcode -1 with the remaining bytes."""
    while len(data) >= 4:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + size:
            break
        yield data[0] & 15, data[start : start + size]
        data = data[start + size :]
    yield -1, data


@pytest.mark.parametrize("mid_frame", [False, True])
def test_a_dropped_connection_ends_after_the_sent_frames_without_a_close_frame(mid_frame: bool) -> None:
    megabyte = Emit({"type": "large", "text": "x" * 2**20})
    with RealtimeServer(Script(on_connect=[*[megabyte] * 5, Drop(mid_frame=mid_frame)])) as server:
        *frames, (_, rest) = frames_in(everything_sent(server))
    assert [opcode for opcode, _ in frames] == [1] * 6
    assert [json.loads(payload)["type"] for _, payload in frames] == ["session.created", *["large"] * 5]
    assert bool(rest) == mid_frame

    with RealtimeServer(Script(on_connect=[Drop(mid_frame=mid_frame)])) as server, connect(server.url) as client:
        with pytest.raises(ConnectionClosedError) as ended:
            while True:
                client.recv(timeout=20)
        assert ended.value.rcvd is None


def test_a_client_that_leaves_during_a_response_does_not_disturb_others() -> None:
    script = Script([Turn(Say("Long.", seconds=30))], speed=1, user_transcripts=[UserTranscript("x")])
    with RealtimeServer(script) as server:
        for _ in range(3):
            with connect(server.url) as client:
                client.send(json.dumps({"type": "response.create"}))
                server.wait_for(has_type("response.output_audio.delta"))
    assert server.sent


def test_a_stopping_server_closes_its_connections() -> None:
    server = RealtimeServer().start()
    with connect(server.url) as client:
        client.recv(timeout=20)
        server.stop()
        with pytest.raises(ConnectionClosed, match="1001"):
            client.recv(timeout=20)
    server.stop()
    with pytest.raises(OSError, match="refused"):
        connect(server.url)


def test_an_exception_within_the_server_is_raised_when_it_stops() -> None:
    unserialisable: Any = {"type": "odd", "value": object()}
    server = RealtimeServer(Script(on_connect=[Emit(unserialisable)])).start()
    with connect(server.url) as client, pytest.raises(ConnectionClosedError) as ended:
        while True:
            client.recv(timeout=20)
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 1011
    with pytest.raises(TypeError, match="JSON"):
        server.stop()


# Access


def test_other_host_names_than_loopback_are_refused() -> None:
    with RealtimeServer() as server:
        with connect(server.url.replace("127.0.0.1", "localhost")) as client:
            client.recv(timeout=20)
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
            raw.sendall(UPGRADE.format(host=f"evil.example:{server.port}").encode())
            assert b" 403 " in raw.recv(1000)


def test_another_path_is_not_found_and_a_server_can_refuse_every_client() -> None:
    with RealtimeServer() as server, pytest.raises(InvalidStatus, match="404"):
        connect(server.url + "/other")
    with RealtimeServer(refuse=401) as server, pytest.raises(InvalidStatus, match="401"):
        connect(server.url)


def test_the_api_key_is_not_stored() -> None:
    with RealtimeServer() as server:
        with connect(server.url, additional_headers={"Authorization": "Bearer sk-very-secret"}) as client:
            client.recv(timeout=20)
        assert "very-secret" not in repr(server.sent) + repr(server.received) + repr(vars(server))


def test_a_server_starts_once_on_a_free_port_with_a_valid_script() -> None:
    with pytest.raises(ValueError, match="at least one"):
        RealtimeServer([])
    with pytest.raises(ValueError, match="Unknown parameter"):
        RealtimeServer(Script(session={"voice": "alloy"}))
    server = RealtimeServer()
    with pytest.raises(RuntimeError, match="not started"):
        _ = server.port
    with server:
        with pytest.raises(RuntimeError, match="already running"):
            server.start()
        with pytest.raises(OSError, match="in use"):
            RealtimeServer(port=server.port).start()


# The log


def test_the_log_has_frames_that_are_not_events_and_can_be_switched_off() -> None:
    with RealtimeServer() as server, connect(server.url) as client:
        for frame in ("nonsense", "[1]", b'{"no": "type"}'):
            client.send(frame)
        server.wait_for(lambda frame: frame.event == {"no": "type"})
        assert [frame.raw for frame in server.received] == ["nonsense", "[1]", b'{"no": "type"}']
        assert [frame.type for frame in server.received] == ["", "", ""]
    with RealtimeServer(keep_frames=False) as server:
        with connect(server.url) as client:
            client.recv(timeout=20)
        assert server.sent == []


def test_a_timeout_names_the_types_of_all_frames() -> None:
    with RealtimeServer() as server, connect(server.url) as client:
        client.recv(timeout=20)
        begun = time.monotonic()
        with pytest.raises(TimeoutError, match=r"seen: server:session\.created"):
            server.wait_for(has_type("response.done"), timeout=0.05)
        assert time.monotonic() - begun < 30


# Replay


def test_a_replay_waits_for_a_client_frame_where_the_recording_has_one() -> None:
    frames = [
        {"dir": "server", "event": {"type": "session.created"}},
        {"dir": "client", "event": {"type": "session.update"}},
        {"dir": "client", "event": {"type": "response.create"}},
        {"dir": "server", "event": {"type": "response.created"}},
        {"dir": "server", "event": {"type": "response.done"}},
    ]
    with RealtimeServer(Replay(frames)) as server, connect(server.url) as client:
        assert json.loads(client.recv(timeout=20)) == {"type": "session.created"}
        client.send("anything")
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.05)
        client.send("else")
        assert [json.loads(client.recv(timeout=20))["type"] for _ in range(2)] == ["response.created", "response.done"]
        with pytest.raises(ConnectionClosedOK):
            client.recv(timeout=20)


def test_a_replay_sends_its_frames_when_the_client_frame_arrives() -> None:
    session = ReplaySession(Replay([{"dir": "client", "event": {}}, {"dir": "server", "event": {"type": "a"}}]))
    assert session.open(0.0) == []
    assert session.advance(100.0) == []
    assert session.receive("{}", 200.0) == [Outgoing(200.0, {"type": "a"}), Outgoing(200.0, Close(1000))]
    assert session.receive("{}", 300.0) == []


def test_client_frames_ahead_of_the_recording_count() -> None:
    frames = [{"dir": "server", "event": {"type": "a"}}, {"dir": "client", "event": {}}] * 2
    session = ReplaySession(Replay([{"dir": "client", "event": {}}, {"dir": "client", "event": {}}, *frames]))
    assert session.open(0.0) == []
    assert [session.receive("{}", 0.0) for _ in range(2)] == [[], [Outgoing(0.0, {"type": "a"})]]
    early = ReplaySession(Replay(frames))
    early._unmatched_client_frames = 2
    assert [out.what for out in early.open(0.0)] == [{"type": "a"}, {"type": "a"}, Close(1000)]


def test_a_recording_can_be_a_file_and_a_malformed_frame_raises(tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_text('{"dir": "server", "event": {"type": "session.created"}}\n\n')
    with RealtimeServer(Replay(path)) as server, connect(server.url) as client:
        assert [json.loads(frame) for frame in client] == [{"type": "session.created"}]
    with pytest.raises(ValueError, match="frame 1 must be"):
        Replay([{"dir": "up", "event": {}}])
    path.write_text("")
    with pytest.raises(ValueError, match="must have one frame on each line, got none"):
        Replay(path)


@pytest.mark.parametrize("path", recording_paths(), ids=lambda path: path.stem)
def test_a_recording_is_replayed_through_the_real_client(path: Path) -> None:
    frames = Replay(path).frames

    async def replay(server: RealtimeServer) -> list[str]:
        async with (
            AsyncOpenAI(**address(server)) as client,
            client.realtime.connect(model="gpt-realtime") as connection,
        ):
            for direction, _ in frames:
                if direction == "client":
                    await connection.send({"type": "input_audio_buffer.clear"})
            return [event.type async for event in connection]

    with RealtimeServer(Replay(path)) as server:
        seen = asyncio.run(replay(server))
    assert seen == [event["type"] for direction, event in frames if direction == "server"]


def test_recordings_exist_on_ci() -> None:
    if not os.environ.get("CI") and not RECORDINGS.exists():
        pytest.skip(f"no recordings at {RECORDINGS}")
    assert recording_paths()

"""The demo's conversation loop against a scripted server: tools, barge-ins, failures and ends."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosedError

from demo import weather
from demo.conversation import Conversation
from demo.devices.interface import DeviceError
from demo.devices.virtual import Cue, VirtualDevices
from demo.display.screen import Screen
from demo.display.transcript import Transcript
from demo.speech import Line
from langsmith_realtime import wrap_realtime
from langsmith_realtime.testing import Call, Drop, Emit, Fail, RealtimeServer, Say, Script, Turn, speech_like
from tests.support.conversations import async_client

if TYPE_CHECKING:
    from demo.devices.interface import Listener

HI = Line("hi", "user", "Hi.", speech_like("Hi.", 0.3))


@dataclass
class Outcome:
    """The server, the printed lines and the transcript of a conversation that has ended."""

    server: RealtimeServer
    lines: list[str]
    transcript: Transcript = field(default_factory=Transcript)

    @property
    def tool_outputs(self) -> list[object]:
        """The tool outputs that the server received, in order."""
        items = [frame.event.get("item", {}) for frame in self.server.received]
        return [json.loads(item["output"]) for item in items if item.get("type") == "function_call_output"]


class StoringScreen(Screen):
    """Stores lines instead of printing them."""

    def __init__(self, transcript: Transcript) -> None:
        super().__init__(transcript)
        self.lines: list[str] = []

    def print_line(self, text: str) -> None:
        self.lines.append(text)


def converse(script: Script, devices: VirtualDevices | None = None, *, seconds: float = 10) -> Outcome:
    with RealtimeServer(script) as server, devices or VirtualDevices([]) as pair:
        transcript = Transcript()
        screen = StoringScreen(transcript)
        outcome = Outcome(server, screen.lines, transcript)

        async def run() -> None:
            client = async_client(server)
            async with (
                client.realtime.connect(model="gpt-realtime") as raw,
                wrap_realtime(raw, enabled=False) as connection,
            ):
                await Conversation(connection, pair, screen, transcript).run(seconds)

        asyncio.run(run())
    return outcome


def test_the_agent_hangs_up_after_saying_goodbye() -> None:
    outcome = converse(Script(turns=[Turn(Say("Goodbye!", seconds=0.2), Call("hang_up"))]))
    assert str(outcome.transcript) == "Agent: Goodbye!"
    assert outcome.tool_outputs == [{"ok": True}]
    assert any("hang_up" in line for line in outcome.lines)


def test_tool_outputs_are_sent_to_the_model_and_it_continues() -> None:
    script = Script(
        turns=[
            Turn(Call("lookup_weather", {"city": "Oslo"}), Call("lookup_weather", {"city": "Paris"})),
            Turn(Call("hang_up")),
        ]
    )
    first, second, _ = converse(script).tool_outputs
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert (first["city"], second["celsius"]) == ("Oslo", 18)


def test_a_wrong_tool_call_is_reported_to_the_model() -> None:
    turn = Turn(
        Call("lookup_weather", "{not json"),
        Call("lookup_weather", {"town": "Paris"}),
        Call("lookup_weather", "[]"),
        Call("order_pizza"),
        Call("hang_up", ""),
    )
    assert converse(Script(turns=[turn])).tool_outputs == [
        {"error": "the arguments are not valid JSON"},
        {"error": "city is missing"},
        {"error": "city is missing"},
        {"error": "there is no tool order_pizza"},
        {"ok": True},
    ]


def test_a_tool_that_raises_ends_the_conversation_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weather, "_OTHER_CITIES", None)
    with pytest.raises(TypeError):
        converse(Script(turns=[Turn(Call("lookup_weather", {"city": "Oslo"}))]))


def test_a_barge_in_silences_the_speaker_and_truncates_the_item_where_it_was_cut() -> None:
    script = Script(
        turns=[Turn(Say("A very long answer.", seconds=5)), Turn(Say("Oh.", seconds=0.1), Call("hang_up"))],
        user_transcripts=["Wait!"],
    )
    outcome = converse(script, VirtualDevices([Cue(HI, into_reply_ms=200)]))
    (truncate,) = [f.event for f in outcome.server.received if f.type == "conversation.item.truncate"]
    assert 200 <= truncate["audio_end_ms"] < 2_500  # half of the answer
    assert outcome.transcript.messages[0].played_ms == truncate["audio_end_ms"]
    assert [message.text for message in outcome.transcript.messages] == ["A very long answer.", "Wait!", "Oh."]
    assert any(line.startswith("  interrupted") for line in outcome.lines)
    assert any(line.startswith("  reply played") for line in outcome.lines)


def test_a_failed_response_and_an_error_are_shown_and_the_turn_goes_to_the_user() -> None:
    error = {"type": "error", "error": {"type": "server_error", "message": "Something odd.", "code": None}}
    script = Script(turns=[Turn(Fail(code="overloaded"), then=[Emit(error)])])
    outcome = converse(script)  # ends because the virtual user has no lines and leaves
    assert "  the response failed: overloaded" in outcome.lines
    assert "  error from the server: Something odd." in outcome.lines


def test_an_empty_user_transcript_adds_no_message() -> None:
    script = Script(turns=[Turn(Say("Hello.", seconds=0.1)), Turn(Call("hang_up"))], user_transcripts=[" "])
    assert str(converse(script, VirtualDevices([Cue(HI, pause_ms=40)])).transcript) == "Agent: Hello."


def test_a_conversation_ends_after_its_time_limit() -> None:
    outcome = converse(Script(turns=[Turn(Say("A very long answer.", seconds=30), think=30)]), seconds=0.2)
    assert outcome.lines == []


def test_a_lost_connection_ends_the_conversation_with_its_error() -> None:
    with pytest.raises(ConnectionClosedError):
        converse(Script(turns=[Turn(Say("Hello.", seconds=0.1), Drop())]))


class UnpluggedDevices(VirtualDevices):
    """Devices that report both devices as lost at the start."""

    def start(self, listener: Listener) -> None:
        super().start(listener)
        for device in ("microphone", "speaker"):
            listener.device_lost(DeviceError(f"The {device} was lost."))


def test_a_lost_device_ends_the_conversation_with_its_error() -> None:
    with pytest.raises(DeviceError, match="microphone was lost"):
        converse(Script(turns=[Turn(Say("Hello.", seconds=5))]), UnpluggedDevices([]))

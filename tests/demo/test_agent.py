"""The conversation loop against a scripted server: tools, failures, and every way it ends."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosedError

from demo import weather
from demo.agent import Conversation
from demo.devices import DeviceError
from demo.screen import Screen
from demo.speech import Line
from demo.transcript import Transcript
from demo.virtual import Cue, VirtualDevices
from langsmith_realtime import wrap_realtime
from langsmith_realtime.testing import Call, Drop, Emit, Fail, RealtimeServer, Say, Script, Turn, speech_like
from tests.support.conversations import async_client

if TYPE_CHECKING:
    from demo.devices import Listener

HI = Line("hi", "user", "Hi.", speech_like("Hi.", 0.3))


@dataclass
class Talk:
    """What one conversation with a script left behind."""

    server: RealtimeServer
    lines: list[str]
    transcript: Transcript = field(default_factory=Transcript)

    @property
    def results(self) -> list[object]:
        """What the model was told by the tools, in order."""
        items = [frame.event.get("item", {}) for frame in self.server.received]
        return [json.loads(item["output"]) for item in items if item.get("type") == "function_call_output"]


class Lines(Screen):
    """Keeps the lines instead of printing them."""

    def __init__(self, transcript: Transcript) -> None:
        super().__init__(transcript)
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def talk(script: Script, devices: VirtualDevices | None = None, *, seconds: float = 10) -> Talk:
    with RealtimeServer(script) as server, devices or VirtualDevices([]) as pair:
        transcript = Transcript()
        screen = Lines(transcript)
        left = Talk(server, screen.lines, transcript)

        async def converse() -> None:
            client = async_client(server)
            async with (
                client.realtime.connect(model="gpt-realtime") as raw,
                wrap_realtime(raw, enabled=False) as connection,
            ):
                await Conversation(connection, pair, screen, transcript).run(seconds)

        asyncio.run(converse())
    return left


def test_the_agent_hangs_up_when_it_has_said_goodbye() -> None:
    left = talk(Script(turns=[Turn(Say("Goodbye!", seconds=0.2), Call("hang_up"))]))
    assert str(left.transcript) == "Agent: Goodbye!"
    assert left.results == [{"ok": True}]
    assert any("hang_up" in line for line in left.lines)


def test_a_tool_is_looked_up_and_the_model_goes_on_with_its_answer() -> None:
    script = Script(
        turns=[
            Turn(Call("lookup_weather", {"city": "Oslo"}), Call("lookup_weather", {"city": "Paris"})),
            Turn(Call("hang_up")),
        ]
    )
    first, second, _ = talk(script).results
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert (first["city"], second["celsius"]) == ("Oslo", 18)


def test_what_the_model_gets_wrong_is_told_to_the_model() -> None:
    turn = Turn(
        Call("lookup_weather", "{not json"),
        Call("lookup_weather", {"town": "Paris"}),
        Call("lookup_weather", "[]"),
        Call("order_pizza"),
        Call("hang_up", ""),
    )
    assert talk(Script(turns=[turn])).results == [
        {"error": "the arguments are not valid JSON"},
        {"error": "city is missing"},
        {"error": "city is missing"},
        {"error": "there is no tool order_pizza"},
        {"ok": True},
    ]


def test_a_tool_that_breaks_ends_the_conversation_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weather, "_ELSEWHERE", None)
    with pytest.raises(TypeError):
        talk(Script(turns=[Turn(Call("lookup_weather", {"city": "Oslo"}))]))


def test_a_barge_in_silences_the_speaker_and_truncates_what_was_not_heard() -> None:
    script = Script(
        turns=[Turn(Say("A very long answer.", seconds=5)), Turn(Say("Oh.", seconds=0.1), Call("hang_up"))],
        user_transcripts=["Wait!"],
    )
    left = talk(script, VirtualDevices([Cue(HI, into_reply_ms=200)]))
    (truncate,) = [f.event for f in left.server.received if f.type == "conversation.item.truncate"]
    assert 200 <= truncate["audio_end_ms"] < 2_500  # half of the answer
    assert left.transcript.entries[0].heard_ms == truncate["audio_end_ms"]
    assert [entry.text for entry in left.transcript.entries] == ["A very long answer.", "Wait!", "Oh."]
    assert any(line.startswith("  interrupted") for line in left.lines)
    assert any(line.startswith("  answer heard after") for line in left.lines)


def test_a_failed_response_and_an_error_are_shown_and_the_user_has_the_floor() -> None:
    error = {"type": "error", "error": {"type": "server_error", "message": "Something odd.", "code": None}}
    script = Script(turns=[Turn(Fail(code="overloaded"), then=[Emit(error)])])
    left = talk(script)  # ends because the virtual user, who has nothing to say, leaves
    assert "  the model failed to answer (overloaded)" in left.lines
    assert "  the server reports: Something odd." in left.lines


def test_a_user_who_says_nothing_understandable_leaves_no_line() -> None:
    script = Script(turns=[Turn(Say("Hello.", seconds=0.1)), Turn(Call("hang_up"))], user_transcripts=[" "])
    assert str(talk(script, VirtualDevices([Cue(HI, pause_ms=40)])).transcript) == "Agent: Hello."


def test_ends_after_so_many_seconds() -> None:
    left = talk(Script(turns=[Turn(Say("A very long answer.", seconds=30), think=30)]), seconds=0.2)
    assert left.lines == []


def test_a_lost_connection_ends_it_with_its_error() -> None:
    with pytest.raises(ConnectionClosedError):
        talk(Script(turns=[Turn(Say("Hello.", seconds=0.1), Drop())]))


class Unplugged(VirtualDevices):
    """Devices that go away as soon as they were started; both of them say so."""

    def start(self, listener: Listener) -> None:
        super().start(listener)
        for device in ("microphone", "speaker"):
            listener.lost(DeviceError(f"The {device} was lost."))


def test_a_lost_device_ends_it_with_its_error() -> None:
    with pytest.raises(DeviceError, match="microphone was lost"):
        talk(Script(turns=[Turn(Say("Hello.", seconds=5))]), Unplugged([]))

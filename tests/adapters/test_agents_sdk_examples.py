"""The traces of what the Agents SDK's own examples do, with the SDK over sockets to a local server."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest

from tests.support.agents_sdk import model_config, outputs, session_of, traced, until, until_answers  # isort: split

from agents import GuardrailFunctionOutput, OutputGuardrail, function_tool
from agents.realtime import (
    RealtimeAgent,
    RealtimeModelSendRawMessage,
    RealtimePlaybackTracker,
    RealtimeRunner,
    RealtimeSession,
    realtime_handoff,
)
from agents.realtime import openai_realtime as models_of_the_sdk
from langsmith import traceable
from websockets.asyncio.server import ServerConnection, serve

from langsmith_realtime import wrap_realtime_session
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn, silence, speech_like
from tests.support.audio.sounds import read_wav
from tests.support.conversations import Node, the_tree
from tests.support.phone import CALL_SID, STREAM_SID, Phone

#: It has no approvals, carries tools out while it reads, and neither cancels nor truncates what a guardrail stopped.
IS_OLDEST = version("openai-agents").startswith("0.3.")

#: Runs of events whose place among the others depends on when the SDK's tasks run.
MOVING = {"session.updated", "agent_changed", "handoff", "tool_approval_required", "guardrail_tripped"}
TYPED = ["conversation.item.added", "conversation.item.done"]
RESULT = TYPED
ANSWER = [
    ("response.created", ["model"]),
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


def calling(tool: str, work: list[str] | None = None) -> list[Any]:
    """The runs of a response that calls a tool, which traces work of its own."""
    return [
        ("response.created", ["model"]),
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.done",
        "conversation.item.done",
        ("response.output_item.done", [(tool, work) if work else tool]),
        "response.done",
    ]


def tree(root: Node) -> list[Any]:
    """The names and the nesting of all runs below the root, without those that move."""
    return [child.shape() for child in root.children if child.run.name not in MOVING]


def transcript(root: Node) -> list[tuple[str | None, str]]:
    """Who said what: the agent, or the role of all others. A call is its name with its arguments."""
    return [
        (
            message.get("agent", message["role"]),
            "".join(f"{call['function']['name']}({call['function']['arguments']})" for call in message["tool_calls"])
            if "tool_calls" in message
            else message["content"],
        )
        for message in outputs(root)["messages"]
    ]


def answers(root: Node) -> list[Node]:
    return list(root.find("model"))


# The quickstart


def test_the_quickstart(tracing: Collector) -> None:
    agent = RealtimeAgent[Any](name="Assistant", instructions="Keep it short.")
    sides = {
        "input": {"format": "pcm16", "transcription": {"model": "gpt-4o-mini-transcribe"}},
        "output": {"format": "pcm16", "voice": "ash"},
    }
    config = {"model_settings": {"model_name": "gpt-realtime", "audio": sides}}
    told: list[str] = []

    async def converse(server: RealtimeServer) -> None:
        runner = RealtimeRunner(starting_agent=agent, config=config)  # type: ignore[arg-type]
        session = await runner.run(model_config=model_config(server))
        async with wrap_realtime_session(session) as entered:
            await entered.send_message("Say hello.")
            async for event in entered:
                told.append(event.type)
                if event.type == "agent_end":
                    break

    with RealtimeServer(Script([Turn(Say("Hello.", seconds=0.5))], speed=0, rate_limits=False)) as server:
        asyncio.run(converse(server))
    assert {"agent_start", "audio", "audio_end", "history_added"} <= set(told)
    root = the_tree(tracing)
    assert tree(root) == ["session.created", *TYPED, *ANSWER]
    assert transcript(root) == [("user", "Say hello."), ("Assistant", "Hello.")]
    assert root.run.inputs["instructions"] == "Keep it short."
    assert root.run.inputs["voice"] == "ash"
    assert root.metadata["agents"] == ["Assistant"]
    assert root.run.error is None
    (answer,) = answers(root)
    assert answer.run.inputs == {"messages": [{"role": "user", "content": "Say hello."}]}
    assert answer.metadata["spoken_ms"] == 500
    assert answer.metadata["heard_ms"] < 500  # the example leaves at once
    assert answer.metadata["ls_model_name"] == "gpt-realtime"
    assert answer.metadata["usage_metadata"]["total_tokens"] == root.metadata["total_tokens"] > 0


def test_the_application_ends_the_turns_itself(tracing: Collector) -> None:
    agent = RealtimeAgent[Any](name="Assistant", instructions="Keep it short.")
    config = {"model_settings": {"model_name": "gpt-realtime", "turn_detection": None}}

    async def converse(server: RealtimeServer) -> None:
        async with traced(server, agent, config=config) as session:
            await asyncio.to_thread(server.wait_for, lambda frame: frame.type == "session.updated")
            await session.send_audio(speech_like("Hello", 0.5), commit=True)
            ask: Any = {"type": "response.create", "other_data": {"response": {"instructions": "Greet."}}}
            await session.model.send_event(RealtimeModelSendRawMessage(message=ask))
            await until_answers(session)

    script = Script([Turn(Say("Hi."))], user_transcripts=["Hello"], speed=0, rate_limits=False)
    with RealtimeServer(script) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert transcript(root) == [("user", "Hello"), ("Assistant", "Hi.")]
    assert {"role": "system", "content": "Greet."} in answers(root)[0].run.inputs["messages"]
    assert answers(root)[0].metadata["latency_to_first_audio_ms"] >= 0  # since the commit
    assert root.metadata["recording_source_user"] == "sent"
    assert root.metadata["user_talk_s"] > 0
    assert root.metadata["turns"] == 1


# Tools, approvals and handoffs


@traceable
def search(question: str) -> str:
    return "120"


@function_tool
def get_weather(city: str) -> str:
    """Says the weather of a city."""
    return f"Sunny in {city}."


@function_tool(name_override="faq_lookup_tool")
async def look_up(question: str) -> str:
    """Answers frequent questions."""
    await asyncio.sleep(0.01)
    return f"There are {search(question)} seats."


async def change_seat(confirmation_number: str, new_seat: str) -> str:
    """Changes the seat of a booking."""
    return f"{confirmation_number} has seat {new_seat}."


def airline() -> RealtimeAgent[Any]:
    """A triage agent, and two specialists that hand the caller back to it."""
    needs_approval: Any = {} if IS_OLDEST else {"needs_approval": True}
    update_seat = function_tool(name_override="update_seat", **needs_approval)(change_seat)
    faq = RealtimeAgent[Any](name="FAQ", instructions="Answer questions.", tools=[look_up])
    seats = RealtimeAgent[Any](name="Seats", instructions="Change seats.", tools=[update_seat])
    triage = RealtimeAgent[Any](name="Triage", instructions="Delegate.", tools=[get_weather])
    triage.handoffs = [
        realtime_handoff(faq, tool_name_override="to_faq"),
        realtime_handoff(seats, tool_name_override="to_seats"),
    ]
    for specialist in (faq, seats):
        specialist.handoffs = [realtime_handoff(triage, tool_name_override="to_triage")]
    return triage


def test_tools_an_approval_and_handoffs_to_a_specialist_and_back(tracing: Collector) -> None:
    seat = {"confirmation_number": "C17", "new_seat": "4A"}
    script = Script(
        [
            Turn(Call("get_weather", {"city": "Oslo"})),
            Turn(Say("It is sunny.")),
            Turn(Call("to_faq")),
            Turn(Call("faq_lookup_tool", {"question": "How many seats?"})),
            Turn(Say("120 seats.")),
            Turn(Call("to_triage")),
            Turn(Call("to_seats")),
            Turn(Call("update_seat", seat)),
            Turn(Say("You have 4A.")),
        ],
        speed=0,
        rate_limits=False,
    )

    async def converse(server: RealtimeServer) -> None:
        async with traced(server, airline()) as session:
            await session.send_message("Is it sunny in Oslo?")
            await until_answers(session, 2)
            await session.send_message("How many seats are there?")
            await until_answers(session, 3)
            await session.send_message("4A, please.")
            done = 0
            async for event in session:
                if event.type == "tool_approval_required":
                    await session.approve_tool_call(event.call_id)
                done += event.type == "agent_end"
                if done == 4:
                    return

    with RealtimeServer(script) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert tree(root) == [
        "session.created",
        *TYPED,
        *calling("get_weather"),
        *RESULT,
        *ANSWER,
        *TYPED,
        *calling("to_faq"),
        *RESULT,
        *calling("faq_lookup_tool", ["search"]),
        *RESULT,
        *ANSWER,
        *TYPED,
        *calling("to_triage"),
        *RESULT,
        *calling("to_seats"),
        *RESULT,
        *calling("update_seat"),
        *RESULT,
        *ANSWER,
    ]
    assert transcript(root) == [
        ("user", "Is it sunny in Oslo?"),
        ("Triage", 'get_weather({"city": "Oslo"})'),
        ("tool", "Sunny in Oslo."),
        ("Triage", "It is sunny."),
        ("user", "How many seats are there?"),
        ("Triage", "to_faq({})"),
        ("tool", '{"assistant": "FAQ"}'),
        ("FAQ", 'faq_lookup_tool({"question": "How many seats?"})'),
        ("tool", "There are 120 seats."),
        ("FAQ", "120 seats."),
        ("user", "4A, please."),
        ("FAQ", "to_triage({})"),
        ("tool", '{"assistant": "Triage"}'),
        ("Triage", "to_seats({})"),
        ("tool", '{"assistant": "Seats"}'),
        ("Seats", f"update_seat({json.dumps(seat)})"),
        ("tool", "C17 has seat 4A."),
        ("Seats", "You have 4A."),
    ]
    assert root["faq_lookup_tool"]["search"].run.inputs == {"question": "How many seats?"}
    assert root["update_seat"].run.inputs == seat
    by_agent = [(answer.metadata["agent"], answer.run.inputs.get("instructions")) for answer in answers(root)]
    assert by_agent == [
        *[("Triage", None)] * 3,  # the root's inputs have those of the first response
        *[("FAQ", "Answer questions.")] * 3,
        ("Triage", None),
        *[("Seats", "Change seats.")] * 2,
    ]
    ways = [each.run.inputs["event"] for each in root.find("handoff")]
    assert [(each["previous_agent"], each["agent"]) for each in ways] == [
        ("Triage", "FAQ"),
        ("FAQ", "Triage"),
        ("Triage", "Seats"),
    ]
    assert root.metadata["agents"] == ["Triage", "FAQ", "Seats"]
    assert (root.metadata["turns"], root.metadata["handoffs"], root.metadata["errors"]) == (3, 3, 0)
    if not IS_OLDEST:
        assert root["update_seat"].metadata["approval"] == "approved"
        asked = root["tool_approval_required"].run.inputs["event"]
        assert (asked["name"], asked["agent"]) == ("update_seat", "Seats")


# A guardrail


def test_a_guardrail_that_stops_an_answer(tracing: Collector) -> None:
    def no_prices(context: Any, agent: Any, output: str) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info={"found": "a price"}, tripwire_triggered="euros" in output)

    guardrail = OutputGuardrail(guardrail_function=no_prices, name="no_prices")
    agent = RealtimeAgent[Any](name="Sales", instructions="Sell.", output_guardrails=[guardrail])
    lines: list[tuple[str, str]] = []

    async def converse(server: RealtimeServer) -> None:
        async with traced(
            server,
            agent,
            config={"guardrails_settings": {"debounce_text_length": 10}},
            on_message=lambda role, line: lines.append((role, line)),
        ) as session:
            await session.send_message("How much?")
            await until(session, "guardrail_tripped")
            await until_answers(session, 1 if IS_OLDEST else 2)

    price = Say("That is 100 euros, and then there are many more words that nobody is to hear.", seconds=6)
    script = Script([Turn(price), Turn(Say("I cannot say.", seconds=0.5))], speed=8, rate_limits=False)
    with RealtimeServer(script) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    stopped = answers(root)[0]
    assert root["guardrail_tripped"].run.inputs["event"]["guardrails"] == [
        {"name": "no_prices", "agent": "Sales", "info": {"found": "a price"}}
    ]
    assert stopped.metadata["guardrails"] == ["no_prices"]
    assert stopped.metadata["heard_ms"] < stopped.metadata["spoken_ms"]
    said = transcript(root)
    assert said[0] == ("user", "How much?")
    assert said[1][0] == "Sales"
    assert said[1][1].startswith("That is 100 euros")
    assert said[2] == ("user", "guardrail triggered: no_prices")
    assert outputs(root)["messages"][2]["from_guardrail"] is True
    assert [line for role, line in lines if role == "user"] == ["How much?"]
    assert lines[-1][0] == "assistant"
    assert (root.metadata["guardrails_tripped"], root.metadata["turns"], root.metadata["interruptions"]) == (1, 1, 0)
    if not IS_OLDEST:
        cut = [*ANSWER[:4], "conversation.item.truncated", *ANSWER[4:]]
        assert tree(root) == ["session.created", *TYPED, *cut, *TYPED, "conversation.item.retrieved", *ANSWER]
        assert stopped.run.error == "cancelled: client_cancelled"
        assert stopped.metadata["spoken_ms"] < 6000
        assert said[3:] == [("Sales", "I cannot say.")]
        assert answers(root)[1].metadata["heard_ms"] <= 500


# Telephone calls


class Bridge:
    """Connects Twilio's media stream with a session, as the SDK's example does.

    Each delta gets a mark, and each mark that comes back counts as played, even those that a ``clear`` returns.
    """

    def __init__(self, server: RealtimeServer) -> None:
        self._server = server
        self._tracker = RealtimePlaybackTracker()
        self._marks: dict[str, Any] = {}
        self._names = itertools.count()

    async def run(self, socket: ServerConnection) -> None:
        settings = {
            "model_name": "gpt-realtime",
            "input_audio_format": "g711_ulaw",
            "output_audio_format": "g711_ulaw",
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 200, "interrupt_response": True},
        }
        agent = RealtimeAgent[Any](name="Operator", instructions="Greet the caller.")
        more = {"playback_tracker": self._tracker, "initial_model_settings": settings}
        session = await session_of(self._server, agent, **more)
        async with wrap_realtime_session(session, thread_id=CALL_SID) as entered:
            sending = asyncio.create_task(self._to_the_phone(socket, entered))
            async for frame in socket:
                message = json.loads(frame)
                if message["event"] == "media":
                    await entered.send_audio(base64.b64decode(message["media"]["payload"]))
                elif message["event"] == "mark":
                    audio = self._marks.pop(message["mark"]["name"])
                    self._tracker.on_play_bytes(audio.item_id, audio.content_index, bytes(len(audio.data)))
                elif message["event"] == "stop":
                    break
            sending.cancel()

    async def _to_the_phone(self, socket: ServerConnection, session: RealtimeSession) -> None:
        async for event in session:
            frames: list[dict[str, Any]] = []
            if event.type == "audio":
                name = str(next(self._names))
                self._marks[name] = event.audio
                payload = base64.b64encode(event.audio.data).decode()
                frames = [{"event": "media", "media": {"payload": payload}}, {"event": "mark", "mark": {"name": name}}]
            elif event.type == "audio_interrupted":
                frames = [{"event": "clear"}]
            for frame in frames:
                await socket.send(json.dumps({"streamSid": STREAM_SID, **frame}))


def test_a_call_over_twilio_that_is_interrupted(tracing: Collector) -> None:
    # The caller is silent while the agent speaks, interrupts it, and hears the second answer.
    speech = speech_like("Hello", 0.4) + silence(1.2) + speech_like("Stop", 0.4) + silence(0.9)
    phone = Phone(speech)

    async def converse(server: RealtimeServer) -> None:
        async with serve(Bridge(server).run, "127.0.0.1", 0) as bridge:
            await phone.call(next(iter(bridge.sockets)).getsockname()[1])

    script = Script(
        [Turn(Say("A long answer.", seconds=6)), Turn(Say("Yes?", seconds=0.4))],
        user_transcripts=["Hello", "Stop"],
        speed=16,
        chunk_ms=(40, 100),
        rate_limits=False,
    )
    with RealtimeServer(script) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert transcript(root) == [
        ("user", "Hello"),
        ("Operator", "A long answer."),
        ("user", "Stop"),
        ("Operator", "Yes?"),
    ]
    hello, cut, *_ = outputs(root)["messages"]
    first, second = answers(root)
    # Not more than was played, although the marks that the `clear` returned count as played in the tracker.
    assert phone.heard_ms[0] < 1500
    assert first.metadata["heard_ms"] == pytest.approx(phone.heard_ms[0], abs=400)
    assert first.metadata["spoken_ms"] == 6000
    assert first.metadata["was_interrupted"] is True
    assert (cut["interrupted"], cut["heard_ms"]) == (True, first.metadata["heard_ms"])
    assert cut["end_ms"] - cut["start_ms"] == pytest.approx(cut["heard_ms"], abs=150)
    assert second.metadata["heard_ms"] == pytest.approx(phone.heard_ms[-1], abs=400)
    assert hello["end_ms"] - hello["start_ms"] == pytest.approx(400, abs=150)
    # The caller's first words came before the server confirmed the format.
    assert "user_format_assumed" not in root.metadata
    rate, (caller, operator) = read_wav(root.run.attachments["conversation"].path)
    assert rate == 8000
    heard_ms = first.metadata["heard_ms"] + second.metadata["heard_ms"]
    assert np.count_nonzero(operator) / 8 == pytest.approx(heard_ms, rel=0.1)
    second_frame = phone.spoken(0.02, 0.04)
    assert second_frame.any()
    assert second_frame.tobytes() in caller.tobytes()
    assert root.metadata["recording_source"] == "played_positions"
    assert root.metadata["thread_id"] == CALL_SID
    assert (root.metadata["turns"], root.metadata["interruptions"]) == (2, 1)


def test_the_sound_of_a_session_that_is_entered_already_has_the_format_that_it_asked_for(tracing: Collector) -> None:
    agent = RealtimeAgent[Any](name="Operator", instructions="Greet the caller.")
    sound = Phone(speech_like("Hello", 0.2)).speech

    async def converse(server: RealtimeServer) -> None:
        mulaw = {"input_audio_format": "g711_ulaw", "output_audio_format": "g711_ulaw"}
        async with await session_of(server, agent, initial_model_settings=mulaw) as session:
            await until(session, "history_updated")
            await asyncio.to_thread(server.wait_for, lambda frame: frame.type == "session.updated")
            async with wrap_realtime_session(session):
                await session.send_audio(sound)

    with RealtimeServer(Script(rate_limits=False)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert root.metadata["missed"].startswith("events before the tracing began")
    assert "user_format_assumed" not in root.metadata
    assert root.metadata["user_talk_s"] > 0


@pytest.mark.skipif(not hasattr(models_of_the_sdk, "OpenAIRealtimeSIPModel"), reason="this version has no SIP model")
def test_a_call_over_sip(tracing: Collector) -> None:
    agent = RealtimeAgent[Any](name="Triage", instructions="Greet the caller.", tools=[get_weather])

    async def converse(server: RealtimeServer) -> None:
        runner = RealtimeRunner(agent, model=models_of_the_sdk.OpenAIRealtimeSIPModel())
        config = model_config(server, call_id="rtc_1") | {"url": f"{server.url}?call_id=rtc_1"}
        async with wrap_realtime_session(await runner.run(model_config=config), thread_id="rtc_1") as session:
            greet = {"response": {"instructions": "Say 'Welcome'."}}
            message: Any = {"type": "response.create", "other_data": greet}
            await session.model.send_event(RealtimeModelSendRawMessage(message=message))
            await until_answers(session)
            await session.send_message("Is it sunny in Oslo?")
            await until_answers(session, 2)

    turns = [Turn(Say("Welcome.")), Turn(Call("get_weather", {"city": "Oslo"})), Turn(Say("It is."))]
    with RealtimeServer(Script(turns, speed=0, rate_limits=False)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    heard = [*ANSWER[:4], "output_audio_buffer.started", *ANSWER[4:]]
    assert tree(root) == [*heard, *TYPED, *calling("get_weather"), *RESULT, *heard]
    assert answers(root)[0].run.inputs == {"messages": [{"role": "system", "content": "Say 'Welcome'."}]}
    assert transcript(root)[0] == ("Triage", "Welcome.")
    assert transcript(root)[-1] == ("Triage", "It is.")
    assert root.metadata["thread_id"] == "rtc_1"
    assert root.run.attachments == {}  # a sideband has no sound

"""What the Agents SDK's sessions sound like, how they begin and end, and who listens to them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.support.agents_sdk import listeners, model_config, outputs, session_of, traced, until, until_answers  # isort: split

from agents.realtime import (
    RealtimeAgent,
    RealtimePlaybackTracker,
    RealtimeRunner,
    RealtimeSession,
)
from agents.realtime.openai_realtime import OpenAIRealtimeWebSocketModel

from langsmith_realtime import SessionTracer, wrap_realtime_session
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Close, Drop, Raw, RealtimeServer, Say, Script, Turn, silence, speech_like
from tests.support.conversations import Node, the_tree, trees

AGENT = RealtimeAgent[Any](name="Front")
SPEECH = speech_like("Hello", 0.6)
LONG = "Many words, so that the caller has something to interrupt, and then some more of them."


async def say(session: RealtimeSession, seconds_after: float = 0.8) -> None:
    """Speaks in real time, then keeps silent."""
    pcm = SPEECH + silence(seconds_after)
    for start in range(0, len(pcm), 1920):
        await session.send_audio(pcm[start : start + 1920])
        await asyncio.sleep(0.04)


def answers(root: Node) -> list[Node]:
    return list(root.find("model"))


# The sound


def test_the_microphone_is_what_was_sent(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> None:
        async with traced(server, AGENT) as session:
            await say(session)
            await until_answers(session)

    with RealtimeServer(Script([Turn(Say("Hi."))])) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert 0.4 <= root.metadata["user_talk_s"] <= 0.8
    (answer,) = answers(root)
    assert 0 < answer.metadata["voice_to_voice_ms"] < 1500
    assert root.metadata["recording_source"] == "playback_model"


def test_a_playback_tracker_says_what_was_heard_after_several_interruptions(tracing: Collector) -> None:
    """The tracker's own state begins at 0 after each interruption; the sums of the trace do not."""
    tracker, player = RealtimePlaybackTracker(), Player()

    async def converse(server: RealtimeServer) -> None:
        async with traced(server, AGENT, tracker=tracker) as session:
            await session.send_message("Hello")
            tasks = [asyncio.create_task(player.listen(session)), asyncio.create_task(player.play(tracker))]
            for _ in range(2):
                await asyncio.sleep(1.0)
                await say(session)
            for task in tasks:
                task.cancel()
        assert "on_play_ms" not in tracker.__dict__

    with RealtimeServer(Script([Turn(Say(LONG)), Turn(Say(LONG)), Turn(Say("Yes?"))], speed=8)) as server:
        asyncio.run(converse(server))
        truncated = {
            frame.event["item_id"]: frame.event["audio_end_ms"]
            for frame in server.received
            if frame.type == "conversation.item.truncate"  # the oldest version sends none with a tracker
        }
    root = the_tree(tracing)
    assert root.metadata["interruptions"] == 2
    heard = list(player.played_ms.items())[:2]
    for answer, (item_id, played_ms) in zip(answers(root)[:2], heard, strict=True):
        assert answer.metadata["was_interrupted"] is True
        assert answer.metadata["heard_ms"] == pytest.approx(played_ms, abs=250)
        assert answer.metadata["heard_ms"] == pytest.approx(truncated.get(item_id, played_ms), abs=250)
        assert answer.metadata["spoken_ms"] > 5000


class Player:
    """A loudspeaker that reports what it plays every 40 ms, and is silent when the agent is interrupted."""

    def __init__(self) -> None:
        self.played_ms: dict[str, float] = {}
        self._chunks: list[tuple[str, int]] = []

    async def listen(self, session: RealtimeSession) -> None:
        async for event in session:
            if event.type == "audio":
                self._chunks += [(event.item_id, event.content_index)] * round(len(event.audio.data) / 1920)
            elif event.type == "audio_interrupted":
                self._chunks.clear()

    async def play(self, tracker: RealtimePlaybackTracker) -> None:
        while True:
            await asyncio.sleep(0.04)
            if self._chunks:
                item_id, index = self._chunks.pop(0)
                tracker.on_play_ms(item_id, index, 40)
                self.played_ms[item_id] = self.played_ms.get(item_id, 0.0) + 40


def test_a_cut_that_only_the_server_tells_is_a_cut(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> None:
        async with traced(server, AGENT) as session:
            await session.send_message("Hello")
            await until(session, "audio_end")
            await session.interrupt()
            await asyncio.to_thread(server.wait_for, lambda frame: frame.type == "conversation.item.truncated")
            await asyncio.sleep(0.05)

    with RealtimeServer(Script([Turn(Say(LONG))], speed=8)) as server:
        asyncio.run(converse(server))
        truncated = server.wait_for(lambda frame: frame.type == "conversation.item.truncated")
    root = the_tree(tracing)
    (answer,) = answers(root)
    heard_ms = truncated.event["audio_end_ms"]
    assert answer.metadata["heard_ms"] == pytest.approx(heard_ms, abs=2)
    assert answer.metadata["spoken_ms"] > heard_ms + 1000
    assert root.metadata["agent_talk_s"] < answer.metadata["spoken_ms"] / 1000 - 1
    assert len(outputs(answer)["choices"][0]["message"]["heard"]) < len(LONG)


# The ends


@pytest.mark.parametrize(
    ("end", "error", "code", "by"),
    [
        (Close(1000), None, 1000, "server"),
        (Close(1001), "the server closed the connection: 1001", 1001, "server"),
        (Close(1011, "broken"), "ConnectionClosedError", 1011, "server"),
        (Drop(), "ConnectionClosedError", 1006, "network"),
    ],
)
def test_the_end_of_the_connection_is_the_end_that_it_was(
    tracing: Collector, end: Close | Drop, error: str | None, code: int, by: str
) -> None:
    async def converse(server: RealtimeServer) -> None:
        async with traced(server, AGENT) as session:
            await session.send_message("Hello")
            await asyncio.sleep(0.5)  # does not iterate, so the SDK raises nothing

    with RealtimeServer(Script([Turn(Say("Hi."), then=[end])], speed=0)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert len(answers(root)) == 1
    if error is None:
        assert root.run.error is None
    else:
        assert str(root.run.error).startswith(error)
    assert (root.metadata["close_code"], root.metadata["closed_by"]) == (code, by)


def test_a_frame_that_is_no_json_is_shown(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> None:
        async with traced(server, AGENT) as session:
            await session.send_message("Hello")
            await asyncio.sleep(0.5)

    with RealtimeServer(Script([Turn(Say("Hi."), then=[Raw("no JSON")])], speed=0)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert root.run.error is None or root.run.error.startswith("JSONDecodeError")  # the oldest version goes on
    assert root["malformed_frame"].run.inputs == {"event": {"frame": "no JSON"}}


def test_a_session_that_never_connects_is_a_failed_trace(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> RealtimeSession:
        session = await session_of(server, AGENT)
        with pytest.raises(Exception, match="401"):
            async with wrap_realtime_session(session):
                raise AssertionError("connected")
        return session

    with RealtimeServer(refuse=401) as server:
        session = asyncio.run(converse(server))
    assert "401" in str(the_tree(tracing).run.error)
    assert not [each for each in listeners(session) if each is not session]
    assert "langsmith" not in session.__dict__


def test_an_exception_of_the_application_is_the_error(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> None:
        async with traced(server, AGENT):
            raise KeyError("mine")

    with RealtimeServer() as server, pytest.raises(KeyError, match="mine"):
        asyncio.run(converse(server))
    assert the_tree(tracing).run.error == "KeyError: 'mine'"


# Listeners and runners


def test_the_sessions_of_one_runner_have_a_trace_each(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> None:
        runner = RealtimeRunner(AGENT)
        for words in ("one", "two"):
            async with wrap_realtime_session(await runner.run(model_config=model_config(server))) as session:
                await session.send_message(words)
                await until_answers(session)

    with RealtimeServer(Script([Turn(Say("Hi."))], speed=0)) as server:
        asyncio.run(converse(server))
    said = [[each["content"] for each in outputs(root)["messages"]] for root in trees(tracing)]
    assert said == [["one", "Hi."], ["two", "Hi."]]


def test_two_runners_at_once_have_a_trace_each(tracing: Collector) -> None:
    async def converse(server: RealtimeServer, words: str) -> None:
        async with traced(server, RealtimeAgent[Any](name=words)) as session:
            await session.send_message(words)
            await until_answers(session)

    async def both(server: RealtimeServer) -> None:
        await asyncio.gather(converse(server, "one"), converse(server, "two"))

    with RealtimeServer(Script([Turn(Say("Hi."))], speed=0)) as server:
        asyncio.run(both(server))
    roots = trees(tracing)
    assert sorted(outputs(root)["messages"][0]["content"] for root in roots) == ["one", "two"]
    assert all(root.metadata["agents"] == [outputs(root)["messages"][0]["content"]] for root in roots)


def test_a_session_that_is_entered_already_says_what_is_missing_and_stays_open(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> None:
        async with await session_of(server, AGENT) as session:
            await until(session, "history_updated")
            await asyncio.sleep(0.1)
            async with wrap_realtime_session(session) as same:
                assert same is session
                await session.send_message("Hello")
                await until_answers(session)
            await session.send_message("Still there?")
            await until_answers(session)

    with RealtimeServer(Script([Turn(Say("Hi.")), Turn(Say("Yes."))], speed=0)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert root.metadata["missed"].startswith("events before the tracing began")
    assert [each["content"] for each in outputs(root)["messages"]] == ["Hello", "Hi."]
    assert "session.created" not in root.names()
    assert answers(root)[0].metadata["agent"] == "Front"


def test_a_tracer_listens_to_a_session_that_the_application_builds(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> None:
        model = OpenAIRealtimeWebSocketModel()
        session = RealtimeSession(model, AGENT, None, model_config=model_config(server))
        with SessionTracer(thread_id="mine") as tracer, tracer.listener(session):
            async with session:
                await session.send_message("Hello")
                await until_answers(session)
        assert listeners(session) == []

    with RealtimeServer(Script([Turn(Say("Hi."))], speed=0)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert root.metadata["thread_id"] == "mine"
    assert answers(root)[0].metadata["agent"] == "Front"


def test_a_model_without_raw_events_is_reported(tracing: Collector, caplog: pytest.LogCaptureFixture) -> None:
    class SilentModel(OpenAIRealtimeWebSocketModel):
        """Passes on everything but the raw events, as a model of the application's may."""

        async def _emit_event(self, event: Any) -> None:
            if event.type != "raw_server_event":
                await super()._emit_event(event)

    async def converse(server: RealtimeServer) -> None:
        session = RealtimeSession(SilentModel(), AGENT, None, model_config=model_config(server))
        async with wrap_realtime_session(session):
            await session.send_message("Hello")
            await until_answers(session)

    with RealtimeServer(Script([Turn(Say("Hi."))], speed=0)) as server, caplog.at_level(logging.WARNING):
        asyncio.run(converse(server))
    assert "passes no raw server events" in caplog.text
    assert the_tree(tracing).metadata["missed"].startswith("all events")

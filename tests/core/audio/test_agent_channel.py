"""AgentChannel: it is made from fed audio, playback positions, server events or the playback model."""

from __future__ import annotations

import asyncio
import base64
import time
from datetime import UTC
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from langsmith_realtime import SessionTracer, wrap_realtime
from langsmith_realtime.core.audio.agent.channel import AgentChannel
from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.protocol.inputs import Played
from langsmith_realtime.runtime import guard
from langsmith_realtime.testing import RealtimeServer, Say, Script, Turn
from langsmith_realtime.testing import tone as tone_bytes
from tests.support.audio.sounds import RATE, laid_out, near, numbered, stretches, tone, wire
from tests.support.conversations import Node, async_client, sync_client, the_tree
from tests.support.driven_conversation import DrivenConversation

if TYPE_CHECKING:
    from langsmith_realtime.collector import Collector
    from langsmith_realtime.core.audio.decoding import Samples
    from langsmith_realtime.core.audio.writes import Write


class Channel:
    """An agent's channel and all its writes."""

    def __init__(self) -> None:
        self.agent = AgentChannel(RATE)
        self._writes: list[Write] = []

    def receive(self, t: float, item_id: str, seconds: float) -> None:
        """Receive a tone as audio of an item."""
        self.agent.received(t, item_id, tone(seconds))

    def samples(self) -> Samples:
        self._writes += self.agent.take_writes()
        return laid_out(self._writes)

    def heard(self) -> list[tuple[float, float]]:
        """Return begin and end of all audio on the channel, in seconds."""
        return stretches(self.samples())


# Sources, from the worst to the best


def test_a_channel_without_audio_has_no_source() -> None:
    channel = Channel()
    assert channel.agent.source is None
    assert channel.agent.played(1.0, "a", 100) == []
    assert channel.agent.server_started(1.0, ["a"]) == []
    channel.agent.server_stopped(1.0, ["a"])
    assert channel.agent.source is None


def test_the_best_source_that_contributed_is_reported() -> None:
    channel = Channel()
    channel.receive(1.0, "a", 1)
    sources = [channel.agent.source]
    channel.agent.server_started(1.1, ["a"])
    sources.append(channel.agent.source)
    channel.agent.played(1.5, "unknown", 100)
    sources.append(channel.agent.source)
    channel.agent.played(1.5, "a", 100)
    sources.append(channel.agent.source)
    channel.agent.fed(2.0, tone(1), None)
    sources.append(channel.agent.source)
    channel.agent.fed(3.0, tone(1), 2.5)
    sources.append(channel.agent.source)
    assert sources == ["playback_model", "server_events", "server_events", "played_positions", "tap", "timed_tap"]


def test_the_source_of_the_users_channel_is_reported() -> None:
    tracks = Tracks()
    assert tracks.sources() == {}
    tracks.user_sent(1.0, wire(tone(0.1)))
    assert tracks.sources() == {"recording_source_user": "sent"}
    tracks.user_fed(1.2, tone(0.1).tobytes())
    assert tracks.sources() == {"recording_source_user": "tap"}
    tracks.user_fed(1.4, tone(0.1).tobytes(), at=1.3)
    tracks.user_fed(1.5, tone(0.1).tobytes())
    tracks.agent_received(2.0, "a", wire(tone(0.1)))
    assert tracks.sources() == {"recording_source": "playback_model", "recording_source_user": "timed_tap"}


# Audio fed by the application


def test_positions_and_server_events_do_not_move_fed_audio() -> None:
    channel = Channel()
    channel.receive(1.0, "a", 2)
    channel.agent.fed(1.0, tone(2), None)
    assert channel.agent.played(2.0, "a", 500) == []
    assert channel.agent.server_started(1.7, ["a"]) == []
    channel.agent.server_stopped(1.8, ["a"])
    assert channel.heard() == [(1.0, 3.0)]
    assert channel.agent.begins("a") == 1.0


def test_cuts_and_positions_do_not_change_audio_fed_with_times() -> None:
    channel = Channel()
    channel.receive(1.0, "a", 5)
    channel.agent.fed(1.0, tone(5), None)
    audio = numbered(2 * RATE)
    channel.agent.fed(2.2, audio[:RATE], 2.0)
    channel.agent.fed(3.2, audio[RATE:], 3.0)
    channel.agent.played(3.5, "a", 100)
    channel.agent.server_started(3.5, ["a"])
    channel.agent.barge_in(3.6)
    channel.agent.truncate(3.7, "a", 500)
    channel.agent.undo_truncation("a")
    channel.agent.truncate(3.7, "a", 5000)
    channel.agent.barge_in(3.8, final=True)
    assert stretches(channel.samples()[: 2 * RATE]) == [(1.0, 2.0)]
    assert np.array_equal(channel.samples()[2 * RATE : 4 * RATE], audio)
    assert not channel.samples()[4 * RATE :].any()


# Server events


def test_server_events_of_a_response_apply_to_its_items_with_audio() -> None:
    channel = Channel()
    channel.receive(1.0, "a", 1)
    channel.receive(1.0, "b", 1)
    channel.agent.server_started(1.5, ["a function call", "a", "b"])
    assert channel.heard() == [(1.5, 3.5)]
    channel.agent.server_stopped(3.2, ["a", "b", "a function call"])
    assert channel.heard() == [(near(1.2), near(3.2))]


def test_tracks_report_lengths_and_times_of_items() -> None:
    tracks = Tracks()
    assert (tracks.spoken_ms("a"), tracks.heard_ms("a"), tracks.begins("a")) == (0, 0, None)
    assert tracks.played(1.0, "a", 100) == []
    assert tracks.server_started(1.0, ["a"]) == []
    tracks.server_stopped(1.0, ["a"])
    tracks.agent_received(1.0, "a", wire(tone(2)))
    assert tracks.server_started(1.1, ["a"]) == []
    assert tracks.played(1.5, "a", 300) == []
    tracks.barge_in(2.0)
    assert (tracks.spoken_ms("a"), tracks.heard_ms("a")) == (2000, near(800, 0.1))
    assert (tracks.begins("a"), tracks.playing_until("a")) == (near(1.2), 2.0)
    tracks.server_stopped(2.0, ["a"])
    assert tracks.heard_ms("a") == near(800, 0.1)


# Heard part of an item, by audio fed with times


class Tap:
    """An application that plays audio in blocks and feeds each with its time."""

    def __init__(self, tracks: Tracks, lag: float = 0.15) -> None:
        self._tracks = tracks
        self._lag = lag

    def plays(self, t: float, audio: Samples) -> None:
        """Pass audio to the speaker from ``t`` on; the speaker plays it ``lag`` seconds later."""
        for index in range(0, len(audio), 480):
            at = t + index / RATE
            self._tracks.agent_fed(at, audio[index : index + 480].tobytes(), at + self._lag)


def test_heard_ms_of_a_cut_item_is_the_audio_that_was_fed() -> None:
    tracks = Tracks()
    tap = Tap(tracks)
    tracks.agent_received(1.0, "a", wire(tone(6)))
    tap.plays(1.0, tone(1.8))
    tracks.barge_in(3.0)  # after 2 s of the playback model; the application had stopped
    assert tracks.heard_ms("a") == near(1800, 1)
    tracks.truncate(3.05, "a", 1900)
    assert tracks.heard_ms("a") == near(1800, 1)
    tracks.agent_received(5.0, "b", wire(tone(4)))
    tap.plays(5.0, tone(1.0))
    tracks.close(6.2)
    assert (tracks.heard_ms("a"), tracks.heard_ms("b")) == (near(1800, 1), near(1000, 1))


def test_an_item_that_was_not_cut_is_heard_to_its_end_even_if_it_plays_late() -> None:
    tracks = Tracks()
    tracks.agent_received(1.0, "a", wire(tone(2)))
    Tap(tracks, lag=0.4).plays(1.0, tone(1.9))
    assert tracks.heard_ms("a") == 2000


def test_of_consecutive_items_the_cut_one_is_the_fed_audio_minus_the_earlier_items() -> None:
    tracks = Tracks()
    for index, item_id in enumerate("abc"):
        tracks.agent_received(1.0 + index / 100, item_id, wire(tone(2)))
    Tap(tracks).plays(1.0, tone(3.2))
    tracks.barge_in(4.3)
    assert [tracks.heard_ms(item_id) for item_id in "abc"] == [2000, near(1200, 1), 0]


def test_fed_silence_counts_as_heard_only_between_sounds() -> None:
    tracks = Tracks()
    words = np.concatenate((tone(0.5), np.zeros(RATE // 2, np.int16), tone(0.51)))
    tracks.agent_received(1.0, "a", wire(np.concatenate((words, tone(4)))))
    idle = np.zeros(RATE, np.int16)
    Tap(tracks).plays(0.0, np.concatenate((idle, words, idle, idle)))
    tracks.barge_in(2.6)
    assert tracks.heard_ms("a") == near(1510, 1)


def test_without_fed_audio_after_its_start_a_cut_item_is_not_heard() -> None:
    tracks = Tracks()
    Tap(tracks).plays(0.0, tone(0.5))
    tracks.agent_received(1.0, "a", wire(tone(6)))
    tracks.barge_in(1.1)
    assert tracks.heard_ms("a") == 0
    assert tracks.heard_ms("unknown") == 0


def test_fed_chunks_are_remembered_for_a_limited_time() -> None:
    tracks = Tracks()
    tap = Tap(tracks)
    for minute in range(60):
        tap.plays(minute * 60.0, tone(0.02))
    agent = tracks._channels.agent if tracks._channels else None
    assert agent is not None
    assert len(agent._timed_audio._chunks) <= 11


# In a conversation

STARTED = "input_audio_buffer.speech_started"
VAD = {"type": "server_vad", "interrupt_response": True}


def conversation_with_story(seconds: float = 5.0) -> DrivenConversation:
    """Return a conversation in which all audio of a story arrived at 1 s."""
    driven = DrivenConversation(vad=VAD)
    driven.begins("resp_1")
    driven.t = 1.0
    driven.says("resp_1", "A long story.", "story", seconds=seconds)
    return driven


def played(driven: DrivenConversation, ms: float, at: float, t: float | None = None) -> None:
    """Confirm at ``t`` that ``ms`` of the story had been played at ``at``."""
    driven.t = at if t is None else t
    driven.conversation.take(Played("story", ms, driven.t, at))


def test_a_barge_in_cuts_an_item_at_its_playback_position() -> None:
    driven = conversation_with_story()
    played(driven, 500, at=1.7, t=1.8)
    driven.server(STARTED, at=2.2)
    assert driven.conversation.messages()[0]["heard_ms"] == 1000
    played(driven, 1100, at=2.31)
    assert driven.conversation.messages()[0]["heard_ms"] == 1100
    driven.client("conversation.item.truncate", item_id="story", content_index=0, audio_end_ms=1050)
    played(driven, 900, at=2.4)
    assert driven.conversation.messages()[0]["heard_ms"] == 1050
    assert driven.interruptions == 1


def test_heard_ms_of_messages_and_responses_is_the_audio_that_was_fed() -> None:
    driven = conversation_with_story()
    Tap(driven.conversation.tracks).plays(1.0, tone(1.3))
    driven.server(STARTED, at=2.6)
    driven.ends("resp_1", {"id": "story", "type": "message", "role": "assistant", "status": "incomplete"})
    driven.close(at=8.0)
    assert driven.conversation.messages()[0]["heard_ms"] == 1300
    assert driven.conversation._state.response_numbers[0]["heard_ms"] == 1300


def test_a_position_shows_that_an_item_was_interrupted() -> None:
    driven = conversation_with_story(seconds=1.0)
    driven.ends("resp_1", {"id": "story", "type": "message", "role": "assistant", "status": "completed"})
    driven.server(STARTED, at=2.2)
    assert driven.interruptions == 0
    played(driven, 700, at=2.1, t=2.3)
    assert driven.interruptions == 1
    assert driven.transcript() == ["assistant: A long story. (cut)"]
    assert driven.conversation.messages()[0]["heard_ms"] == 800


def test_an_item_that_plays_late_is_interrupted_after_its_modelled_end() -> None:
    driven = conversation_with_story(seconds=1.0)
    driven.server("rate_limits.updated", at=2.1)
    driven.server(STARTED, at=2.2, agent_speaking=False)
    played(driven, 100, at=2.3)
    driven.server(STARTED, at=2.4)
    assert driven.interruptions == 1


def test_positions_of_unknown_items_or_in_the_future_change_nothing() -> None:
    driven = conversation_with_story()
    driven.conversation.take(Played("another", 100, 2.0, 1.5))
    driven.conversation.take(Played("story", 5000, 2.0, 99.0))  # a time in the future
    driven.close(at=4.0)
    assert driven.transcript() == ["assistant: A long story."]


def test_output_audio_buffer_started_and_stopped_give_the_playback_times_of_a_response() -> None:
    driven = conversation_with_story()
    response = driven.conversation._state.active_responses["resp_1"]
    assert (response.play_started, response.play_ended) == (None, None)
    driven.server("output_audio_buffer.started", at=1.5, response_id="resp_1")
    driven.server("output_audio_buffer.started", at=1.6, response_id="resp_1")
    assert driven.conversation.tracks.begins("story") == 1.5
    driven.server("output_audio_buffer.stopped", at=6.4, response_id="resp_1")
    assert (response.play_started, response.play_ended) == (1.5, 6.4)
    assert driven.conversation.tracks.playing_until("story") == near(6.4, 0.1)


def test_output_audio_buffer_cleared_gives_the_end_of_playback() -> None:
    driven = DrivenConversation(vad=VAD)
    driven.begins("resp_1")
    driven.says("resp_1", "A long story.", "story")  # as with a sideband connection, which carries no deltas
    response = driven.conversation._state.active_responses["resp_1"]
    driven.server("output_audio_buffer.started", at=1.5, response_id="resp_1")
    driven.server("output_audio_buffer.cleared", at=2.5, response_id="resp_1")
    assert (response.play_started, response.play_ended) == (1.5, 2.5)


# On a connection

SPEECH = Script([Turn(Say("Hello.", audio=tone_bytes(1000, 1.0)))])


def begin_of(root: Node, collector: Collector) -> float:
    """Return when the agent's audio begins in the recording, as wall-clock time."""
    _, path = collector.attachment(root.run.id, "conversation")
    audio, rate = soundfile.read(path)
    first = int(np.flatnonzero(np.abs(audio[:, 1]) > 0.01)[0])
    assert root.run.start_time is not None
    return float(root.run.start_time.replace(tzinfo=UTC).timestamp() + first / rate)


def test_positions_move_audio_in_the_recording_of_an_asynchronous_connection(tracing: Collector) -> None:
    async def talk(server: RealtimeServer) -> tuple[float, float]:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw) as connection,
        ):
            await connection.response.create()
            async for event in connection:
                if event.type == "response.output_audio.done":
                    await asyncio.sleep(0.3)  # the delay of a player's buffer
                    before = time.time()
                    connection.played(event.item_id, 100)
                    return before, time.time()
        raise AssertionError("the connection ended")

    with RealtimeServer(SPEECH) as server:
        before, after = asyncio.run(talk(server))
    root = the_tree(tracing)
    assert before - 0.1 - 0.05 <= begin_of(root, tracing) <= after - 0.1 + 0.05
    assert root.metadata["recording_source"] == "played_positions"
    assert "recording_source_user" not in root.metadata


def test_positions_move_audio_in_the_recording_of_a_synchronous_connection(tracing: Collector) -> None:
    with (
        RealtimeServer(SPEECH) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
    ):
        connection.response.create()
        event = next(event for event in connection if event.type == "response.output_audio.done")
        time.sleep(0.3)
        at, now = time.monotonic() - 0.1, time.time()
        connection.played(event.item_id, 100, at=at)
    root = the_tree(tracing)
    assert begin_of(root, tracing) == near(now - 0.2, 0.05)
    assert root.metadata["recording_source"] == "played_positions"


def delta(seconds: float) -> dict[str, Any]:
    audio = base64.b64encode(tone(seconds).tobytes()).decode()
    return {"type": "response.output_audio.delta", "item_id": "story", "response_id": "resp_1", "delta": audio}


@pytest.mark.parametrize(
    "arguments",
    [(None, 1), ("story", "1"), ("story", None), ("story", True), ("story", -1), ("story", float("nan"))],
)
def test_invalid_positions_are_ignored_and_counted_as_failures(tracing: Collector, arguments: tuple[Any, Any]) -> None:
    with SessionTracer() as tracer:
        tracer.server_event(delta(0.1))
        tracer.played(*arguments)
        tracer.played("story", 50, at=time.time() + 1e9)
        tracer.played("story", 50, at="now")  # type: ignore[arg-type]
        tracer.played("unknown", 50)
    tracer.played("story", 50)  # after the tracer was closed
    root = the_tree(tracing)
    assert root.metadata["tracing_failures"] == 3
    assert root.metadata["recording_source"] == "playback_model"
    guard.failures.clear()


def test_without_a_recording_no_source_is_reported(tracing: Collector) -> None:
    with SessionTracer(recording=False) as tracer:
        tracer.server_event(delta(0.1))
        tracer.played("story", np.float32(50))  # type: ignore[arg-type]
    assert "recording_source" not in the_tree(tracing).metadata


def test_positions_are_ignored_when_tracing_is_disabled(collector: Collector) -> None:
    with SessionTracer(enabled=False) as tracer:
        tracer.played("story", 100)
        tracer.played(None, "nothing")  # type: ignore[arg-type]
    with (
        RealtimeServer(Script()) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw, enabled=False) as connection,
    ):
        connection.played("story", 100)
    assert collector.requests == []

"""The numbers of each response: their meaning in every kind of turn, and their accuracy."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support.audio.sounds import RATE, near, tone, wire
from tests.support.driven_conversation import DrivenConversation
from tests.support.timed_turns import MESSAGE, VAD, TimedTurns

pytestmark = pytest.mark.newest

CALL = {"id": "item_c", "type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
LATENCIES = {"latency_to_first_audio_ms", "voice_to_voice_ms"}


def ms(value: float, within: float = 12) -> Any:
    return pytest.approx(value, abs=within)


def test_an_ordinary_turn_has_all_numbers() -> None:
    line = TimedTurns()
    assert line.speech(2.0, 3.0) == 3.5
    line.begins("resp_1")
    line.answers("resp_1", at=3.9, silence=0.1)
    line.done("resp_1")
    line.close(at=12.0)
    assert line.numbers("resp_1") == {
        "time_to_first_token_ms": ms(390),
        "latency_to_first_audio_ms": ms(400),
        "voice_to_voice_ms": ms(1000),
        "spoken_ms": 1100,
        "heard_ms": 1100,
        "heard_share": 1.0,
    }
    assert line.conversation._state.response_numbers == [line.numbers("resp_1")]
    assert "heard" not in line.model("resp_1").message


def test_the_moments_of_an_ordinary_turn_add_up_to_its_latencies() -> None:
    line = TimedTurns()
    line.speech(2.0, 3.0)
    line.answers("resp_1", at=3.9, silence=0.1)
    line.done("resp_1")
    line.close(at=12.0)
    moments = line.moments("resp_1")
    assert moments == {
        "user_audible_from_s": pytest.approx(2.0, abs=0.012),
        "user_audible_until_s": pytest.approx(3.0, abs=0.012),
        "speech_ended_s": pytest.approx(3.5, abs=0.012),
        "first_audio_s": 3.9,
        "heard_from_s": pytest.approx(4.0, abs=0.012),
        "heard_until_s": pytest.approx(5.0, abs=0.012),
    }
    parts = [moments[key] for key in ("user_audible_until_s", "speech_ended_s", "first_audio_s", "heard_from_s")]
    assert parts == sorted(parts)
    numbers = line.numbers("resp_1")
    assert numbers["voice_to_voice_ms"] == pytest.approx((parts[3] - parts[0]) * 1000, abs=1)
    assert numbers["latency_to_first_audio_ms"] == pytest.approx((parts[2] - parts[1]) * 1000, abs=1)


def test_a_greeting_has_only_the_moments_of_the_agent() -> None:
    line = TimedTurns()
    line.mic(0.0, 0.5)
    line.answers("resp_1", at=1.0)
    line.done("resp_1")
    line.close(at=6.0)
    assert set(line.moments("resp_1")) == {"first_audio_s", "heard_from_s", "heard_until_s"}


def test_a_model_run_waits_until_the_users_audio_is_in_the_recording() -> None:
    line = TimedTurns()
    line.speech(2.0, 3.0)
    line.answers("resp_1", at=3.6, seconds=0.2)
    line.done("resp_1")
    line.server("rate_limits.updated", at=7.5)
    assert line.models == []
    line.server("rate_limits.updated", at=7.7)
    assert line.numbers("resp_1")["voice_to_voice_ms"] == ms(600)


def test_the_end_of_speech_is_mapped_from_written_audio_to_time() -> None:
    line = TimedTurns()
    for turn in range(3):
        begin = 2.0 + turn * 13.0  # the microphone is muted between the turns
        line.speech(begin, begin + 1.0)
        line.t += 0.3
        line.answers(f"resp_{turn}", at=line.t + 0.2)
        line.done(f"resp_{turn}")
    line.close(at=50)
    for turn in range(3):
        numbers = line.numbers(f"resp_{turn}")
        assert (numbers["latency_to_first_audio_ms"], numbers["voice_to_voice_ms"]) == (ms(500), ms(1000))


def test_a_late_speech_stopped_does_not_shorten_the_latency() -> None:
    line = TimedTurns()
    line.server("input_audio_buffer.speech_started", at=0.5, audio_start_ms=0)
    line.mic(0.5, 3.5, (1.0, 2.0))
    line.server("input_audio_buffer.speech_stopped", at=3.4, audio_end_ms=2000)
    line.answers("resp_1", at=3.6)
    line.close(at=9)
    assert line.numbers("resp_1")["latency_to_first_audio_ms"] == ms(1100)
    assert line.numbers("resp_1")["voice_to_voice_ms"] == ms(1600)


def test_a_greeting_has_no_latency() -> None:
    line = TimedTurns()
    line.answers("resp_1", at=0.5)
    line.done("resp_1")
    line.speech(3.0, 4.0)
    line.answers("resp_2", at=5.0)
    line.close(at=12)
    assert not LATENCIES & line.numbers("resp_1").keys()
    assert line.numbers("resp_2").keys() >= LATENCIES


def test_with_push_to_talk_speech_ends_with_the_audio_written_before_the_commit() -> None:
    line = TimedTurns(vad=None)
    line.mic(1.0, 3.0, (1.2, 2.8))
    line.client("input_audio_buffer.commit", at=3.2)
    line.server("input_audio_buffer.committed", item_id="spoken")
    line.answers("resp_1", at=3.6)
    line.close(at=9)
    assert line.numbers("resp_1")["latency_to_first_audio_ms"] == ms(600)
    assert line.numbers("resp_1")["voice_to_voice_ms"] == ms(800)


def test_a_refused_commit_does_not_move_the_end_of_speech() -> None:
    line = TimedTurns()
    line.speech(2.0, 3.0)
    line.client("input_audio_buffer.commit", at=3.6)
    line.server("error", error={"code": "input_audio_buffer_commit_empty", "message": "empty"})
    line.answers("resp_1", at=3.9)
    line.close(at=9)
    assert line.numbers("resp_1")["latency_to_first_audio_ms"] == ms(400)


def test_a_commit_by_another_client_ends_speech_when_committed_arrives() -> None:
    line = TimedTurns(vad=None)
    for turn in range(2):
        line.server("input_audio_buffer.committed", at=3.0 + turn * 9, item_id=f"spoken_{turn}")
        line.answers(f"resp_{turn + 1}", at=3.4 + turn * 9)
    line.close(at=20)
    for response_id in ("resp_1", "resp_2"):
        assert line.numbers(response_id)["latency_to_first_audio_ms"] == 400
    assert "voice_to_voice_ms" not in line.numbers("resp_1"), "the user was not recorded"


def test_an_answer_to_typed_input_has_no_latency() -> None:
    line = TimedTurns()
    line.typed("Hi")
    line.answers("resp_1", at=1.0)
    line.close(at=9)
    assert not LATENCIES & line.numbers("resp_1").keys()


def test_a_response_to_an_idle_timeout_has_no_latency() -> None:
    line = TimedTurns()
    line.speech(2.0, 3.0)
    line.server("input_audio_buffer.timeout_triggered", at=9.0, item_id="idle", audio_start_ms=0, audio_end_ms=900)
    line.server("input_audio_buffer.committed", item_id="idle")
    line.answers("resp_1", at=9.5)
    line.close(at=15)
    assert not LATENCIES & line.numbers("resp_1").keys()


def test_an_answer_in_text_has_no_latency_and_ends_the_turn() -> None:
    line = TimedTurns()
    line.speech(2.0, 3.0)
    line.begins("resp_1")
    line.server("response.output_text.delta", response_id="resp_1", item_id="item_resp_1", delta="Hm.")
    line.done("resp_1")
    line.answers("resp_2", at=9.5)
    line.close(at=15)
    assert line.numbers("resp_1").keys() == {"time_to_first_token_ms"}
    assert not LATENCIES & line.numbers("resp_2").keys()


def test_the_first_response_with_audio_in_a_turn_has_the_latencies() -> None:
    line = TimedTurns()
    line.speech(2.0, 3.0)
    line.begins("resp_1")
    line.begins("resp_2")
    line.begins("resp_x", conversation_id=None)
    where = {"response_id": "resp_x", "item_id": "x"}
    line.server("response.output_audio.delta", **where, delta=wire(tone(0.1)))  # type: ignore[arg-type]
    line.answers("resp_2", at=3.9)
    line.answers("resp_1", at=4.0)
    line.done("resp_1")
    line.server("rate_limits.updated", at=9.0)
    assert len(line.models) == 1
    line.close(at=15)
    assert line.numbers("resp_2").keys() >= LATENCIES
    assert not LATENCIES & line.numbers("resp_1").keys()
    assert line.numbers("resp_x").keys() == {"time_to_first_token_ms"}


def test_a_response_created_before_the_speech_does_not_answer_it() -> None:
    line = TimedTurns(vad={**VAD, "interrupt_response": False})
    line.begins("resp_1")
    line.speech(2.0, 3.0)
    line.answers("resp_1", at=3.9)
    line.close(at=15)
    assert not LATENCIES & line.numbers("resp_1").keys()


def test_the_answer_after_tool_calls_has_the_latencies_and_the_tool_time() -> None:
    line = TimedTurns()
    line.speech(2.0, 3.0)
    line.begins("resp_1")
    line.server("response.function_call_arguments.done", at=3.6, call_id="call_1", arguments="{}")
    line.output("resp_1", CALL, done=True)
    line.done("resp_1", CALL, {**CALL, "id": "item_d", "call_id": "call_2"})
    line.client("conversation.item.create", at=4.6, item={"type": "function_call_output", "call_id": "call_1"})
    line.item("out", type="function_call_output", call_id="call_2", output="ok")
    line.answers("resp_2", at=5.0)
    line.close(at=15)
    assert not LATENCIES & line.numbers("resp_1").keys()
    assert line.numbers("resp_2")["latency_to_first_audio_ms"] == ms(1500)
    assert line.numbers("resp_2")["tool_time_ms"] == ms(1010)
    assert line.numbers("resp_2")["voice_to_voice_ms"] == ms(2000)


def test_a_response_with_calls_and_audio_has_the_latencies_itself() -> None:
    line = TimedTurns()
    line.speech(2.0, 3.0)
    line.begins("resp_1")
    line.output("resp_1", CALL, done=True)
    line.answers("resp_1", at=4.0)
    line.done("resp_1", CALL, {"id": "item_resp_1", **MESSAGE})
    line.client("conversation.item.create", at=6.0, item={"type": "function_call_output", "call_id": "call_1"})
    line.answers("resp_2", at=6.5)
    line.close(at=15)
    assert line.numbers("resp_1")["voice_to_voice_ms"] == ms(1000)
    assert line.numbers("resp_1")["tool_time_ms"] == ms(480)
    assert not LATENCIES & line.numbers("resp_2").keys()


def test_mcp_calls_count_in_the_tool_time() -> None:
    line = TimedTurns()
    line.speech(2.0, 3.0)
    line.begins("resp_1")
    line.server("response.mcp_call.in_progress", at=3.6, item_id="mcp_1")
    line.server("response.mcp_call.completed", at=3.8, item_id="mcp_1")
    line.done("resp_1", {"id": "mcp_1", "type": "mcp_call"})
    line.answers("resp_2", at=5.0)
    line.close(at=15)
    assert line.numbers("resp_2")["tool_time_ms"] == 200


def test_there_is_no_voice_to_voice_while_the_user_is_still_audible() -> None:
    line = TimedTurns()
    line.server("input_audio_buffer.speech_started", at=0.5, audio_start_ms=0)
    line.mic(0.5, 5.0, (1.0, 5.0))
    line.server("input_audio_buffer.speech_stopped", at=5.1, audio_end_ms=4000)
    line.answers("resp_1", at=5.2)
    line.close(at=9)
    assert "voice_to_voice_ms" not in line.numbers("resp_1")
    assert "latency_to_first_audio_ms" in line.numbers("resp_1")


def test_a_silent_answer_has_no_voice_to_voice() -> None:
    line = TimedTurns()
    line.speech(2.0, 3.0)
    line.answers("resp_1", at=3.9, silence=1.0, seconds=0)
    line.close(at=9)
    assert "voice_to_voice_ms" not in line.numbers("resp_1")


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_the_interrupted_response_has_the_reaction_and_the_next_answer_the_latencies(cancelled_first: bool) -> None:
    line = TimedTurns()
    line.answers("resp_1", at=1.0, seconds=5.0, words="One two three four five six seven eight nine ten.")
    line.mic(2.5, 3.4, (3.0, 3.4))
    cut = {"id": "item_resp_1", **MESSAGE, "status": "incomplete"}
    reports: list[Callable[[], object]] = [
        lambda: line.cancelled("resp_1", cut),
        lambda: line.server("input_audio_buffer.speech_started", at=3.5, audio_start_ms=200),
    ]
    for report in reports if cancelled_first else reversed(reports):
        report()
    line.mic(3.5, 4.5, (3.5, 4.0))
    line.stopped()
    line.answers("resp_2", at=5.0)
    line.close(at=15)
    first, second = line.numbers("resp_1"), line.numbers("resp_2")
    assert first["barge_in_reaction_ms"] == ms(500)
    assert (first["spoken_ms"], first["heard_ms"], first["heard_share"]) == (5000, ms(2500), 0.5)
    message = line.model("resp_1").message
    assert message["content"] == "One two three four five six seven eight nine ten."
    assert message["heard"] == "One two three four five"
    assert not LATENCIES & first.keys()
    assert second["voice_to_voice_ms"] == ms(1000)
    assert "barge_in_reaction_ms" not in second
    assert "heard" not in line.model("resp_2").message
    assert "One" not in repr(line.model("resp_1").metadata)


def test_there_is_no_reaction_if_the_agent_was_silent_before_the_user_spoke() -> None:
    line = TimedTurns()
    line.answers("resp_1", at=1.0, seconds=1.0)
    line.client("conversation.item.truncate", at=4.0, item_id="item_resp_1", content_index=0, audio_end_ms=500)
    line.answers("resp_2", at=5.0, silence=4.0)
    line.server("input_audio_buffer.speech_started", at=6.0)
    line.server("input_audio_buffer.speech_started", at=6.1)
    line.close(at=15)
    for response_id in ("resp_1", "resp_2"):
        assert "barge_in_reaction_ms" not in line.numbers(response_id)
        assert line.model(response_id).metadata["was_interrupted"]


def test_the_reaction_lasts_until_the_truncated_position() -> None:
    line = TimedTurns(vad={**VAD, "interrupt_response": False})
    line.answers("resp_1", at=1.0, seconds=5.0)
    line.server("input_audio_buffer.speech_started", at=3.0, audio_start_ms=None)
    line.client("conversation.item.truncate", at=3.4, item_id="item_resp_1", content_index=0, audio_end_ms=2250)
    line.close(at=15)
    assert line.numbers("resp_1")["barge_in_reaction_ms"] == ms(250)


def test_audio_fed_by_the_application_decides_when_the_agent_was_heard() -> None:
    line = TimedTurns()
    line.speech(2.0, 3.0)
    tracks = line.conversation.tracks
    tracks.agent_fed(3.5, bytes(960), at=3.48)
    line.answers("resp_1", at=3.9, seconds=5.0)
    for index in range(100):  # from 200 ms after the arrival until 100 ms after the barge-in
        tracks.agent_fed(4.1 + index * 0.02, tone(0.02).tobytes(), at=4.1 + index * 0.02)
    line.server("input_audio_buffer.speech_started", at=6.0)
    line.close(at=15)
    assert line.numbers("resp_1")["voice_to_voice_ms"] == ms(1100)
    assert line.numbers("resp_1")["barge_in_reaction_ms"] == ms(100)


def test_on_a_sideband_the_servers_playback_events_give_the_numbers() -> None:
    line = TimedTurns()
    line.server("input_audio_buffer.speech_started", at=2.0, audio_start_ms=1000)
    line.server("input_audio_buffer.speech_stopped", at=3.0, audio_end_ms=2500)
    line.begins("resp_1")
    line.says("resp_1", "A long story.", "story")
    line.server("output_audio_buffer.started", at=3.5, response_id="resp_1")
    line.server("input_audio_buffer.speech_started", at=5.0, audio_start_ms=4000)
    line.server("output_audio_buffer.cleared", at=5.2, response_id="resp_1")
    line.close(at=9)
    numbers = line.numbers("resp_1")
    assert numbers.pop("time_to_first_token_ms") > 0
    assert numbers == {
        "latency_to_first_audio_ms": 500,
        "voice_to_voice_ms": 500,
        "barge_in_reaction_ms": 200,
        "heard_ms": 1700,
    }


def test_after_a_reconnection_written_audio_counts_from_0_and_earlier_speech_is_forgotten() -> None:
    line = TimedTurns()
    line.speech(2.0, 3.0)
    line.server("session.created", at=20.0, session={"id": "sess_2"})
    line.answers("resp_1", at=20.5)
    line.written = 0.0
    line.speech(25.0, 26.0)
    line.answers("resp_2", at=27.0)
    line.close(at=35)
    assert not LATENCIES & line.numbers("resp_1").keys()
    assert line.numbers("resp_2")["latency_to_first_audio_ms"] == ms(500)


def test_the_padding_of_speech_started_depends_on_the_turn_detection() -> None:
    for vad, padding in (({"type": "semantic_vad"}, 0), ({"type": "server_vad"}, 300), (None, 0), (VAD, 300)):
        assert DrivenConversation(vad=vad).conversation._state.speech_padding_ms() == padding


# Twenty turns


def test_the_numbers_of_twenty_turns_are_accurate_to_30_ms() -> None:
    dice, line = random.Random(7), TimedTurns()
    plan: list[tuple[float, int, Callable[[], object]]] = []
    voice_to_voice, reaction = {}, {}  # the true values, in seconds
    written, handed_over, clock = 0.0, 0.0, 1.0

    def at(t: float, do: Callable[[], object]) -> None:
        plan.append((t, len(plan), do))

    for turn in range(20):
        begin = clock + 0.6
        end = begin + dice.uniform(0.6, 2.0)
        closes = end + 1.2  # the microphone; it is muted until the next turn
        sound = np.asarray(np.random.default_rng(turn).normal(0, 30, round((closes - clock) * RATE)), dtype=np.int16)
        sound[round((begin - clock) * RATE) : round((end - clock) * RATE)] += tone(end - begin)[
            : round((end - begin) * RATE)
        ]
        for index in range(0, len(sound), 480):
            chunk = sound[index : index + 480]
            late = dice.uniform(0, 0.008) if dice.random() < 0.93 else dice.uniform(0, 0.2)
            handed_over = max(handed_over, clock + (index + len(chunk)) / RATE + late)
            at(handed_over, lambda t=handed_over, chunk=chunk: line.append(t, chunk))  # type: ignore[misc]
        start_ms, end_ms = (written + begin - clock - 0.3) * 1000, (written + end + 0.5 - clock) * 1000
        written += len(sound) / RATE
        detected, stopped = begin + dice.uniform(0.3, 0.5), end + 0.5 + dice.uniform(0.3, 0.7)
        at(
            detected,
            lambda t=detected, ms=start_ms: line.server(  # type: ignore[misc]
                "input_audio_buffer.speech_started", at=t, audio_start_ms=ms
            ),
        )
        at(
            stopped,
            lambda t=stopped, ms=end_ms: line.server(  # type: ignore[misc]
                "input_audio_buffer.speech_stopped", at=t, audio_end_ms=ms
            ),
        )
        if turn % 2:
            reaction[f"resp_{turn - 1}"] = detected - begin
        arrives, hears = stopped + dice.uniform(0.2, 0.9), dice.uniform(0.0, 0.2)
        seconds = 6.0 if turn % 2 == 0 else 1.0  # every other answer is interrupted
        at(
            arrives,
            lambda t=arrives, turn=turn, seconds=seconds, hears=hears: line.answers(  # type: ignore[misc]
                f"resp_{turn}", t, seconds=seconds, silence=hears
            ),
        )
        voice_to_voice[f"resp_{turn}"] = arrives + hears - end
        clock = arrives + (2.0 if turn % 2 == 0 else 10.0)
    for _, _, do in sorted(plan, key=lambda step: step[:2]):
        do()
    line.close(at=clock + 10)
    errors = [line.numbers(key)["voice_to_voice_ms"] - truth * 1000 for key, truth in voice_to_voice.items()]
    reactions = [line.numbers(key)["barge_in_reaction_ms"] - truth * 1000 for key, truth in reaction.items()]
    assert (len(errors), len(reactions)) == (20, 10)
    assert max(map(abs, errors)) < 30
    assert max(map(abs, reactions)) < 30


# A microphone that is silent on the wire between utterances


def says(
    talk: TimedTurns, begin: float, end: float, item_id: str, *, padding_ms: float = 300, off_ms: float = 0
) -> None:
    """The user speaks; only the speech and 100 ms after it are sent. Turn detection hears it after 100 ms."""
    before = talk.written * 1000
    talk.mic(begin, begin + 0.1, (begin, begin + 0.1))
    start_ms = max(0.0, before - padding_ms + off_ms)
    talk.server("input_audio_buffer.speech_started", at=talk.t, audio_start_ms=start_ms, item_id=item_id)
    talk.mic(begin + 0.1, end + 0.1, (begin + 0.1, end))
    talk.server("input_audio_buffer.speech_stopped", at=talk.t, audio_end_ms=talk.written * 1000, item_id=item_id)
    talk.server("input_audio_buffer.committed", item_id=item_id)
    talk.item(item_id, type="message", role="user", content=[{"type": "input_audio", "transcript": "Words."}])


@pytest.mark.parametrize("off_ms", [-40, 0, 40])
@pytest.mark.parametrize("pause", [0.5, 2.0, 60.0])
@pytest.mark.parametrize("padding_ms", [0, 300, 800])
def test_the_reaction_is_right_although_the_microphone_was_silent_before_the_barge_in(
    off_ms: int, pause: float, padding_ms: int
) -> None:
    talk = TimedTurns({**VAD, "prefix_padding_ms": padding_ms})
    says(talk, 1.0, 3.0, "first", padding_ms=padding_ms)
    talk.answers("resp_1", at=talk.t + 0.2, seconds=pause + 3.0)
    begin = talk.t + pause
    says(talk, begin, begin + 2.0, "second", padding_ms=padding_ms, off_ms=off_ms)
    talk.done("resp_1", status="cancelled", status_details={"type": "cancelled", "reason": "turn_detected"})
    talk.close(at=talk.t + 10)
    assert talk.numbers("resp_1")["barge_in_reaction_ms"] == near(100, 30)
    first, second = (message for message in talk.conversation.messages() if message["role"] == "user")
    assert (first["start_ms"], first["end_ms"]) == (near(1000, 30), near(3000, 30))
    assert (second["start_ms"], second["end_ms"]) == (near(begin * 1000, 45), near((begin + 2) * 1000, 30))


def test_the_span_of_an_utterance_does_not_reach_over_the_gap() -> None:
    talk = TimedTurns()
    says(talk, 1.0, 3.0, "first")
    says(talk, 20.0, 22.0, "second")
    span = talk.conversation.item_span("second")
    assert span is not None
    assert 18.0 < span[1] < 20.0


def test_an_answer_after_a_gap_has_the_latency_from_its_own_utterance() -> None:
    talk = TimedTurns()
    says(talk, 1.0, 3.0, "first")
    says(talk, 20.0, 22.0, "second")
    talk.answers("resp_1", at=23.0)
    talk.done("resp_1")
    talk.close(at=40.0)
    assert talk.numbers("resp_1")["latency_to_first_audio_ms"] == near(900, 30)
    assert talk.numbers("resp_1")["voice_to_voice_ms"] == near(1000, 30)

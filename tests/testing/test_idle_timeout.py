"""The idle timeout, and speech over an answer that is done but still playing."""

from __future__ import annotations

from typing import Any

import pytest

from langsmith_realtime.testing import Event, Say, Script, Turn, silence, speech_like
from tests.support.scripted_session import SPOKEN, Talk, error_of, types


def waiting(seconds: float = 2.0, **options: Any) -> Talk:
    """A session that waits five seconds for its user, after an answer that can be heard for `seconds`."""
    vad = {"type": "server_vad", "idle_timeout_ms": 5000}
    session = {"audio": {"input": {"turn_detection": vad, "transcription": {"model": "whisper-1"}}}}
    talk = Talk(Script([Turn(Say("Hello?", seconds=seconds))], session=session, speed=0, **options))
    talk.send("response.create")
    talk.wait(0)
    return talk


def begun(events: list[Event]) -> list[str]:
    found = types(events)
    return found[: found.index("response.created") + 1]


def test_silence_after_an_answer_was_heard_makes_the_agent_speak_again() -> None:
    talk = waiting()
    assert talk.speak(silence(6.9)) == []
    heard = talk.speak(silence(0.2))
    assert begun(heard) == [
        "conversation.item.added",
        "conversation.item.done",
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    note, timeout, committed, empty = heard[0]["item"], heard[2], heard[3], heard[4]["item"]
    assert note["role"] == "system"
    assert (timeout["audio_start_ms"], timeout["audio_end_ms"]) == (2000, 7000)
    assert committed["previous_item_id"] == note["id"]
    assert timeout["item_id"] == committed["item_id"] == empty["id"]
    assert empty["content"] == [{"type": "input_audio", "transcript": None}]
    talk.wait()
    assert talk.of("conversation.item.input_audio_transcription.completed") == []


def test_the_agent_asks_again_and_again() -> None:
    talk = waiting()
    for _ in range(2):
        talk.speak(silence(8))
        talk.wait(0)
    spans = [(e["audio_start_ms"], e["audio_end_ms"]) for e in talk.of("input_audio_buffer.timeout_triggered")]
    assert len(spans) == 2
    assert all(5000 <= end - start <= 5020 for start, end in spans), "looked for in pieces of 20 ms"


def test_nobody_is_waited_for_before_an_answer_or_while_one_is_given() -> None:
    vad = {"type": "server_vad", "idle_timeout_ms": 5000}
    talk = Talk(Script([Turn(Say("Long."), think=3)], session={"audio": {"input": {"turn_detection": vad}}}))
    assert talk.speak(silence(20)) == []
    talk.send("response.create")
    assert talk.speak(silence(20)) == []
    talk.wait()
    talk.send("response.create", response={"conversation": "none"})
    assert "input_audio_buffer.timeout_triggered" in types(talk.speak(silence(20)))


def test_speech_ends_the_wait() -> None:
    talk = waiting()
    talk.speak(silence(5) + speech_like("Here.", 1.0) + silence(0.1))
    assert talk.of("input_audio_buffer.timeout_triggered") == []
    talk.speak(silence(0.4))
    talk.speak(silence(4))
    assert talk.of("input_audio_buffer.timeout_triggered") == []


@pytest.mark.parametrize("milliseconds", [0, -1, 2.5, True, "5000"])
def test_a_timeout_is_a_positive_number_of_milliseconds(milliseconds: Any) -> None:
    vad = {"type": "server_vad", "idle_timeout_ms": milliseconds}
    error = error_of(
        Talk(Script()).send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": vad}}})
    )
    assert error["param"] == "session.audio.input.turn_detection.idle_timeout_ms"


# Done, but still playing


def test_speech_over_an_answer_that_is_done_but_still_playing_cancels_nothing_and_truncates() -> None:
    talk = Talk(Script([Turn(Say("A long answer.", seconds=10))], speed=20))
    talk.send("response.create")
    talk.wait(1.0)
    done = talk.one("response.done")["response"]
    assert done["status"] == "completed"
    heard = talk.speak(SPOKEN)
    assert types(heard)[0] == "input_audio_buffer.speech_started"
    assert talk.of("response.done")[0]["response"]["status"] == "completed"
    talk.wait()
    assert error_of(talk.send("response.cancel", event_id="late"))["code"] == "response_cancel_not_active"
    cut = {"item_id": done["output"][0]["id"], "content_index": 0}
    (truncated,) = talk.send("conversation.item.truncate", **cut, audio_end_ms=1000)
    assert (truncated["type"], truncated["audio_end_ms"]) == ("conversation.item.truncated", 1000)
    assert error_of(talk.send("conversation.item.truncate", **cut, audio_end_ms=1001))["param"] == "audio_end_ms"


def test_on_a_call_such_speech_clears_what_was_still_to_be_heard() -> None:
    talk = Talk(Script([Turn(Say("A long answer.", seconds=10))], speed=20), sideband=True)
    talk.send("response.create")
    talk.wait(1.0)
    heard = talk.speak(SPOKEN)
    assert types(heard)[:2] == ["input_audio_buffer.speech_started", "output_audio_buffer.cleared"]
    assert heard[1]["response_id"] == talk.of("response.done")[0]["response"]["id"]

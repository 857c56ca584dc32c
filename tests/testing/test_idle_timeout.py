"""The idle timeout, and speech during the playback of a response that is done."""

from __future__ import annotations

from typing import Any

import pytest

from langsmith_realtime.testing import Event, Say, Script, Turn, silence, speech_like
from tests.support.scripted_session import SPOKEN, Talk, error_of, types


def waiting(seconds: float = 2.0, **options: Any) -> Talk:
    """Return a session with an idle timeout of five seconds, after a response whose audio lasts `seconds`."""
    vad = {"type": "server_vad", "idle_timeout_ms": 5000}
    session = {"audio": {"input": {"turn_detection": vad, "transcription": {"model": "whisper-1"}}}}
    talk = Talk(Script([Turn(Say("Hello?", seconds=seconds))], session=session, speed=0, **options))
    talk.send("response.create")
    talk.wait(0)
    return talk


def types_until_response(events: list[Event]) -> list[str]:
    event_types = types(events)
    return event_types[: event_types.index("response.created") + 1]


def test_silence_after_the_playback_of_a_response_starts_another_response() -> None:
    talk = waiting()
    assert talk.speak(silence(6.9)) == []
    events = talk.speak(silence(0.2))
    assert types_until_response(events) == [
        "conversation.item.added",
        "conversation.item.done",
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    system_message, timeout, committed, user_item = events[0]["item"], events[2], events[3], events[4]["item"]
    assert system_message["role"] == "system"
    assert (timeout["audio_start_ms"], timeout["audio_end_ms"]) == (2000, 7000)
    assert committed["previous_item_id"] == system_message["id"]
    assert timeout["item_id"] == committed["item_id"] == user_item["id"]
    assert user_item["content"] == [{"type": "input_audio", "transcript": None}]
    talk.wait()
    assert talk.of("conversation.item.input_audio_transcription.completed") == []


def test_each_timeout_starts_a_response() -> None:
    talk = waiting()
    for _ in range(2):
        talk.speak(silence(8))
        talk.wait(0)
    spans = [(e["audio_start_ms"], e["audio_end_ms"]) for e in talk.of("input_audio_buffer.timeout_triggered")]
    assert len(spans) == 2
    assert all(5000 <= end - start <= 5020 for start, end in spans), "looked for in pieces of 20 ms"


def test_no_timeout_runs_before_the_first_response_or_during_a_response() -> None:
    vad = {"type": "server_vad", "idle_timeout_ms": 5000}
    talk = Talk(Script([Turn(Say("Long."), think=3)], session={"audio": {"input": {"turn_detection": vad}}}))
    assert talk.speak(silence(20)) == []
    talk.send("response.create")
    assert talk.speak(silence(20)) == []
    talk.wait()
    talk.send("response.create", response={"conversation": "none"})
    assert "input_audio_buffer.timeout_triggered" in types(talk.speak(silence(20)))


def test_speech_stops_the_timeout() -> None:
    talk = waiting()
    talk.speak(silence(5) + speech_like("Here.", 1.0) + silence(0.1))
    assert talk.of("input_audio_buffer.timeout_triggered") == []
    talk.speak(silence(0.4))
    talk.speak(silence(4))
    assert talk.of("input_audio_buffer.timeout_triggered") == []


@pytest.mark.parametrize("milliseconds", [0, -1, 2.5, True, "5000"])
def test_a_timeout_must_be_a_positive_number_of_milliseconds(milliseconds: Any) -> None:
    vad = {"type": "server_vad", "idle_timeout_ms": milliseconds}
    error = error_of(
        Talk(Script()).send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": vad}}})
    )
    assert error["param"] == "session.audio.input.turn_detection.idle_timeout_ms"


# Speech during playback


def test_speech_during_the_playback_of_a_done_response_cancels_nothing_and_allows_truncation() -> None:
    talk = Talk(Script([Turn(Say("A long answer.", seconds=10))], speed=20))
    talk.send("response.create")
    talk.wait(1.0)
    done = talk.one("response.done")["response"]
    assert done["status"] == "completed"
    events = talk.speak(SPOKEN)
    assert types(events)[0] == "input_audio_buffer.speech_started"
    assert talk.of("response.done")[0]["response"]["status"] == "completed"
    talk.wait()
    assert error_of(talk.send("response.cancel", event_id="late"))["code"] == "response_cancel_not_active"
    position = {"item_id": done["output"][0]["id"], "content_index": 0}
    (truncated,) = talk.send("conversation.item.truncate", **position, audio_end_ms=1000)
    assert (truncated["type"], truncated["audio_end_ms"]) == ("conversation.item.truncated", 1000)
    assert error_of(talk.send("conversation.item.truncate", **position, audio_end_ms=1001))["param"] == "audio_end_ms"


def test_on_a_call_speech_during_playback_clears_the_output_audio() -> None:
    talk = Talk(Script([Turn(Say("A long answer.", seconds=10))], speed=20), sideband=True)
    talk.send("response.create")
    talk.wait(1.0)
    events = talk.speak(SPOKEN)
    assert types(events)[:2] == ["input_audio_buffer.speech_started", "output_audio_buffer.cleared"]
    assert events[1]["response_id"] == talk.of("response.done")[0]["response"]["id"]

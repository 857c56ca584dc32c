"""What of the agent was heard: every barge-in counted once, whichever events tell it, in whatever order."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from tests.support.driven_conversation import DrivenConversation, sound

STARTED = "input_audio_buffer.speech_started"
VAD = {"type": "server_vad", "interrupt_response": True}
DEAF = {"type": "server_vad", "interrupt_response": False}
CUT = {"id": "story", "type": "message", "role": "assistant", "status": "incomplete"}
WHOLE = {"id": "story", "type": "message", "role": "assistant", "status": "completed"}


def telling(vad: dict[str, Any] | None = VAD) -> DrivenConversation:
    """The agent began a 5 s story at 1 s; all of it has arrived, and 'response.done' has not."""
    driven = DrivenConversation(vad=vad)
    driven.begins("resp_1")
    driven.t = 1.0
    driven.says("resp_1", "A long story.", "story", seconds=5.0)
    return driven


def one_then_other(tellers: list[Callable[[], object]], *, swapped: bool) -> None:
    for tell in reversed(tellers) if swapped else tellers:
        tell()


def truncate(driven: DrivenConversation, heard_ms: object = 1500, **fields: Any) -> None:
    driven.client("conversation.item.truncate", item_id="story", content_index=0, audio_end_ms=heard_ms, **fields)


def refuse(driven: DrivenConversation, **error: Any) -> None:
    driven.server("error", error={"type": "invalid_request_error", **error})


TELLERS: dict[str, Callable[[DrivenConversation], object]] = {
    "speech_started": lambda driven: driven.server(STARTED, item_id="spoken"),
    "cancelled": lambda driven: driven.cancelled("resp_1", CUT),
    "truncate": truncate,
    "truncated": lambda driven: driven.server("conversation.item.truncated", item_id="story", audio_end_ms=1500),
    "cleared": lambda driven: driven.server("output_audio_buffer.cleared", response_id="resp_1"),
}


@pytest.mark.parametrize("order", list(permutations(TELLERS)), ids="-".join)
def test_a_barge_in_is_one_in_whatever_order_it_is_told(order: tuple[str, ...]) -> None:
    driven = telling()
    driven.t = 2.5
    for teller in order:
        TELLERS[teller](driven)
    assert driven.interruptions == 1
    assert driven.transcript() == ["assistant: A long story. (cut)"]
    assert driven.conversation.messages()[0]["heard_ms"] == 1500
    driven.close()
    assert driven.model("resp_1").metadata["was_interrupted"]


@pytest.mark.parametrize("teller", ["speech_started", "cancelled", "truncate", "cleared"])
def test_any_one_of_them_is_enough(teller: str) -> None:
    driven = telling()
    TELLERS[teller](driven)
    assert driven.interruptions == 1
    driven.close()
    assert driven.model("resp_1").metadata["was_interrupted"]


@pytest.mark.parametrize("order", list(permutations(["speech_started", "truncate", "cleared"])), ids="-".join)
def test_a_story_whose_response_is_done_may_still_be_playing(order: tuple[str, ...]) -> None:
    driven = telling()
    driven.ends("resp_1", WHOLE)
    assert driven.models == [], "how much is heard is not known yet"
    driven.t = 2.5
    for teller in order:
        TELLERS[teller](driven)
    assert driven.interruptions == 1
    driven.close()
    model = driven.model("resp_1")
    assert (model.metadata["status"], model.metadata["was_interrupted"]) == ("completed", True)
    assert (model.error, model.interrupted) == (None, False)


def test_speech_after_the_story_was_heard_interrupts_nothing() -> None:
    driven = telling()
    driven.ends("resp_1", WHOLE)
    driven.server(STARTED, at=6.5)
    assert driven.interruptions == 0
    assert driven.transcript() == ["assistant: A long story."]
    driven.server(STARTED, at=7.5)
    assert "was_interrupted" not in driven.model("resp_1").metadata


def test_each_story_has_barge_ins_of_its_own() -> None:
    driven = telling()
    for number in (2, 3):
        driven.server(STARTED)
        driven.cancelled(f"resp_{number - 1}")
        driven.begins(f"resp_{number}")
        driven.says(f"resp_{number}", "Another.", f"story_{number}", seconds=1.0)
    assert driven.interruptions == 2


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_two_stories_in_a_row_are_cut_off_by_one_barge_in(cancelled_first: bool) -> None:
    driven = telling()
    driven.ends("resp_1", WHOLE)
    driven.begins("resp_2")
    driven.says("resp_2", "Another.", "second", seconds=3.0)
    one_then_other([lambda: driven.cancelled("resp_2"), lambda: driven.server(STARTED)], swapped=not cancelled_first)
    truncate(driven)
    driven.client("conversation.item.truncate", item_id="second", content_index=0, audio_end_ms=0)
    assert driven.interruptions == 1
    assert driven.transcript() == ["assistant: A long story. (cut)", "assistant: Another. (cut)"]


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_a_response_cancelled_before_it_said_anything_interrupts_nobody(cancelled_first: bool) -> None:
    driven = DrivenConversation(vad=VAD)
    driven.begins("resp_1")
    driven.output("resp_1", {"id": "story", "type": "message", "role": "assistant"})
    one_then_other([lambda: driven.cancelled("resp_1"), lambda: driven.server(STARTED)], swapped=not cancelled_first)
    assert driven.interruptions == 0
    driven.close()
    assert driven.model("resp_1").interrupted, "it was cancelled all the same"


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_an_earlier_story_still_playing_then_is_interrupted_once(cancelled_first: bool) -> None:
    driven = telling()
    driven.ends("resp_1", WHOLE)
    driven.begins("resp_2")
    one_then_other([lambda: driven.cancelled("resp_2"), lambda: driven.server(STARTED)], swapped=not cancelled_first)
    assert driven.interruptions == 1
    driven.close()
    assert driven.model("resp_1").metadata["was_interrupted"]
    assert "was_interrupted" not in driven.model("resp_2").metadata


def test_a_response_known_only_from_its_deltas_and_its_end_is_interrupted_once() -> None:
    for cancelled_first in (True, False):
        driven = DrivenConversation(vad=VAD)
        driven.t = 1.0
        driven.says("resp_1", "A long story.", "story", seconds=5.0)
        for teller in ("cancelled", "speech_started") if cancelled_first else ("speech_started", "cancelled"):
            TELLERS[teller](driven)
        assert driven.interruptions == 1


def test_a_cancellation_told_late_has_nothing_to_do_with_what_plays_by_then() -> None:
    driven = telling()
    driven.server(STARTED)
    driven.begins("resp_2")
    driven.says("resp_2", "Another.", "second", seconds=1.0)
    driven.cancelled("resp_1", CUT)
    driven.ends("resp_2")
    driven.close()
    assert driven.interruptions == 1
    assert "was_interrupted" not in driven.model("resp_2").metadata


def test_what_still_arrives_of_an_interrupted_story_is_not_heard() -> None:
    driven = telling()
    driven.server(STARTED, at=2.0)
    where = {"response_id": "resp_1", "item_id": "story", "content_index": 0}
    driven.server("response.output_audio.delta", at=2.1, **where, delta=sound(3.0))  # type: ignore[arg-type]
    driven.cancelled("resp_1", CUT)
    assert 950 < driven.conversation.messages()[0]["heard_ms"] < 1000
    driven.server(STARTED, at=2.3)
    assert driven.interruptions == 1, "nothing is playing any more"


# Sessions that do not interrupt, and applications that do it themselves


def test_a_session_that_does_not_interrupt_lets_the_agent_finish() -> None:
    driven = telling(DEAF)
    driven.server(STARTED, at=2.0)
    driven.ends("resp_1", WHOLE)
    driven.close(at=9.0)
    assert driven.interruptions == 0
    assert driven.transcript() == ["assistant: A long story."]
    assert "was_interrupted" not in driven.model("resp_1").metadata


@pytest.mark.parametrize("vad", [DEAF, None], ids=["deaf", "push-to-talk"])
@pytest.mark.parametrize("truncate_first", [True, False])
def test_an_application_that_cancels_and_truncates_interrupts_once(
    vad: dict[str, Any] | None, truncate_first: bool
) -> None:
    driven = telling(vad)
    driven.server(STARTED, at=2.5)
    driven.client("response.cancel")
    one_then_other(
        [lambda: truncate(driven), lambda: driven.cancelled("resp_1", CUT, reason="client_cancelled")],
        swapped=not truncate_first,
    )
    driven.server("conversation.item.truncated", item_id="story", content_index=0, audio_end_ms=1500)
    assert driven.interruptions == 1
    assert driven.conversation.messages()[0]["heard_ms"] == 1500


def test_an_application_that_only_cancels_lets_what_arrived_be_heard() -> None:
    driven = telling(None)
    driven.cancelled("resp_1", CUT, reason="client_cancelled")
    assert driven.interruptions == 0
    assert driven.transcript() == ["assistant: A long story. (cut)"], "the model did not finish it"
    assert driven.events[-1].interrupted


# The application knows what it plays


@pytest.mark.parametrize("vad", [VAD, DEAF])
def test_the_application_says_the_agent_was_speaking(vad: dict[str, Any]) -> None:
    driven = telling(vad)
    driven.ends("resp_1", WHOLE)
    driven.server(STARTED, at=6.5, agent_speaking=True)  # its own playback lags behind
    driven.close()
    assert driven.interruptions == 1
    assert driven.model("resp_1").metadata["was_interrupted"]


@pytest.mark.parametrize("order", list(permutations(["cancelled", "truncate"])), ids="-".join)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_its_word_and_the_other_events_are_one_barge_in(order: tuple[str, ...], place: int) -> None:
    driven = telling()
    tellers = [TELLERS[teller] for teller in order]
    tellers.insert(place, lambda driven: driven.server(STARTED, agent_speaking=True))
    for tell in tellers:
        tell(driven)
    assert driven.interruptions == 1


def test_the_user_speaks_twice_over_one_story() -> None:
    driven = telling(DEAF)
    driven.server(STARTED, at=2.0, agent_speaking=True)
    driven.server(STARTED, at=4.0, agent_speaking=True)
    assert driven.interruptions == 2


def test_before_anything_was_said_the_applications_word_still_counts() -> None:
    driven = DrivenConversation(vad=VAD)
    driven.server(STARTED, agent_speaking=True)
    assert driven.interruptions == 1


def test_the_application_says_nobody_could_hear_the_agent() -> None:
    driven = telling()
    driven.ends("resp_1", WHOLE)
    driven.server(STARTED, at=2.0, agent_speaking=False)
    assert driven.interruptions == 0
    assert driven.transcript() == ["assistant: A long story."]


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_a_response_the_server_cancels_was_interrupted_whatever_the_application_plays(cancelled_first: bool) -> None:
    driven = telling()
    one_then_other(
        [lambda: TELLERS["cancelled"](driven), lambda: driven.server(STARTED, agent_speaking=False)],
        swapped=not cancelled_first,
    )
    assert driven.interruptions == 1


# Truncations


def test_a_truncation_corrects_what_the_barge_in_cut_in_both_directions() -> None:
    for heard_ms in (500, 2000):
        driven = telling()
        driven.server(STARTED, at=2.5)
        truncate(driven, heard_ms)
        assert driven.conversation.messages()[0]["heard_ms"] == heard_ms


@pytest.mark.parametrize(
    "error",
    [
        {"event_id": "mine", "code": "invalid_value"},
        {"message": "Audio content of 5000ms is already shorter than 9000ms"},
        {"param": "audio_end_ms"},
        {"code": "item_truncation_invalid"},
    ],
)
def test_a_refused_truncation_was_none(error: dict[str, Any]) -> None:
    driven = telling(None)
    truncate(driven, 9000, event_id="mine")
    assert driven.interruptions == 1
    refuse(driven, **error)
    assert driven.interruptions == 0
    assert driven.transcript() == ["assistant: A long story."]
    assert driven.conversation.numbers()["errors"] == 1


def test_a_barge_in_stays_one_when_its_truncation_is_refused() -> None:
    driven = telling()
    driven.server(STARTED, at=2.5)
    truncate(driven, 9000)
    driven.cancelled("resp_1", CUT)
    refuse(driven, param="audio_end_ms")
    assert driven.interruptions == 1
    assert 1450 < driven.conversation.messages()[0]["heard_ms"] < 1500


def test_an_error_about_something_else_refuses_no_truncation() -> None:
    driven = telling()
    truncate(driven)
    refuse(driven, message="Conversation already has an active response")
    refuse(driven, event_id="another", message="audio_end_ms")
    refuse(driven, event_id=None, message=None)
    assert driven.interruptions == 1


def test_only_the_truncation_that_was_refused_is_undone() -> None:
    driven = telling()
    truncate(driven, 1500)
    truncate(driven, 9000)
    driven.server("conversation.item.truncated", item_id="story", audio_end_ms=1500)
    refuse(driven, param="audio_end_ms")
    assert driven.interruptions == 1
    assert driven.conversation.messages()[0]["heard_ms"] == 1500


@pytest.mark.parametrize("heard_ms", [None, "1500", float("nan"), True])
def test_a_truncation_that_says_nothing_is_none(heard_ms: object) -> None:
    driven = telling()
    truncate(driven, heard_ms)
    driven.client("conversation.item.truncate", audio_end_ms=1500)
    assert driven.interruptions == 0


def test_a_truncation_of_something_never_heard_of_is_a_barge_in_without_words() -> None:
    driven = DrivenConversation()
    truncate(driven, -5)
    assert driven.interruptions == 1
    assert driven.transcript() == []
    driven.server("conversation.item.truncated", item_id="another", audio_end_ms=1)
    assert driven.interruptions == 1


# Calls whose audio goes elsewhere


def sideband() -> DrivenConversation:
    """The server plays a story to somebody else's WebRTC connection: no audio comes here."""
    driven = DrivenConversation(vad=VAD)
    driven.begins("resp_1")
    driven.says("resp_1", "A long story.", "story")
    driven.server("output_audio_buffer.started", response_id="resp_1")
    return driven


SIDEBAND = [teller for teller in TELLERS if teller != "truncate"]


@pytest.mark.parametrize("order", list(permutations(SIDEBAND)), ids="-".join)
def test_a_barge_in_on_a_sideband_is_one(order: tuple[str, ...]) -> None:
    driven = sideband()
    for teller in order:
        TELLERS[teller](driven)
    assert driven.interruptions == 1
    assert driven.transcript() == ["assistant: A long story. (cut)"]
    assert driven.conversation.messages()[0]["heard_ms"] == 1500


@pytest.mark.parametrize("teller", ["speech_started", "cleared", "truncated"])
def test_a_finished_story_the_server_still_plays_is_interrupted(teller: str) -> None:
    driven = sideband()
    driven.ends("resp_1", WHOLE)
    assert driven.models == []
    TELLERS[teller](driven)
    assert driven.interruptions == 1
    driven.close()
    assert driven.model("resp_1").metadata["was_interrupted"]


def test_a_story_the_server_played_to_its_end_is_not() -> None:
    driven = sideband()
    driven.ends("resp_1", WHOLE)
    driven.server("output_audio_buffer.stopped", response_id="resp_1")
    assert len(driven.models) == 1, "nothing more to wait for"
    driven.server(STARTED)
    driven.server("output_audio_buffer.cleared", response_id="resp_1")
    driven.server("output_audio_buffer.cleared")
    driven.server("output_audio_buffer.started")
    driven.server("output_audio_buffer.stopped", response_id=["resp_1"])
    assert driven.interruptions == 0


def test_a_story_whose_end_is_never_told_is_not_waited_for_for_ever() -> None:
    driven = sideband()
    driven.ends("resp_1", WHOLE)
    driven.server("rate_limits.updated", at=driven.t + 119)
    assert driven.models == []
    driven.server("rate_limits.updated", at=driven.t + 1)
    assert len(driven.models) == 1


def test_a_response_that_is_cleared_after_its_run_was_sent_still_counts() -> None:
    driven = sideband()
    driven.ends("resp_1", WHOLE)
    driven.server("rate_limits.updated", at=driven.t + 121)
    driven.server("output_audio_buffer.cleared", response_id="resp_1")
    assert driven.interruptions == 1


# Latency


def test_latency_counts_from_the_end_of_the_users_speech_to_the_first_audio() -> None:
    driven = DrivenConversation(vad=VAD)
    driven.server(STARTED, at=1.0)
    driven.server("input_audio_buffer.speech_stopped", at=2.0)
    driven.begins("resp_1")
    driven.t = 2.3
    driven.says("resp_1", "Hello.", "story", seconds=0.1)
    driven.says("resp_1", "Hello.", "story", seconds=0.1)
    driven.ends("resp_1", WHOLE)
    driven.close()
    assert 300 < driven.model("resp_1").metadata["latency_to_first_audio_ms"] < 400


def test_with_push_to_talk_speech_ends_when_the_client_commits_it() -> None:
    driven = DrivenConversation(vad=None)
    driven.client("input_audio_buffer.commit", at=2.0)
    driven.begins("resp_1")
    driven.t = 2.3
    driven.says("resp_1", "Hello.", "story", seconds=0.1)
    driven.close()
    assert 300 < driven.model("resp_1").metadata["latency_to_first_audio_ms"] < 400


def test_words_that_were_typed_have_no_latency_to_first_audio() -> None:
    driven = DrivenConversation()
    driven.typed("Hi")
    driven.begins("resp_1")
    driven.says("resp_1", "Hello.", "story", seconds=0.1)
    driven.close()
    assert "latency_to_first_audio_ms" not in driven.model("resp_1").metadata


def test_audio_that_is_no_audio_is_counted() -> None:
    driven = telling()
    for junk in (None, 5, "!!", ["AAAA"]):
        driven.server("response.output_audio.delta", item_id="story", response_id="resp_1", delta=junk)
        driven.client("input_audio_buffer.append", audio=junk)
    driven.server("response.output_audio.delta", delta=sound(0.1))
    driven.client("input_audio_buffer.append", audio=sound(0.1))
    assert driven.conversation.numbers()["undecodable_audio"] == 8


def test_hanging_up_is_no_barge_in() -> None:
    driven = telling()
    driven.close(at=2.5)
    assert driven.interruptions == 0
    assert driven.transcript() == ["assistant: A long story."]
    model = driven.model("resp_1")
    assert (model.end, model.finish_reason, model.error) == (2.5, "in_progress", None)

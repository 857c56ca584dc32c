"""Barge-ins: each is counted once, whichever events report it and in any order."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from tests.support.driven_conversation import DrivenConversation, sound

STARTED = "input_audio_buffer.speech_started"
VAD = {"type": "server_vad", "interrupt_response": True}
NO_INTERRUPT = {"type": "server_vad", "interrupt_response": False}
INCOMPLETE = {"id": "story", "type": "message", "role": "assistant", "status": "incomplete"}
COMPLETE = {"id": "story", "type": "message", "role": "assistant", "status": "completed"}


def while_agent_speaks(vad: dict[str, Any] | None = VAD) -> DrivenConversation:
    """The agent starts a message of 5 s at 1 s. All of its audio has arrived, ``response.done`` has not."""
    driven = DrivenConversation(vad=vad)
    driven.begins("resp_1")
    driven.t = 1.0
    driven.says("resp_1", "A long story.", "story", seconds=5.0)
    return driven


def in_order(reports: list[Callable[[], object]], *, swapped: bool) -> None:
    for report in reversed(reports) if swapped else reports:
        report()


def truncate(driven: DrivenConversation, heard_ms: object = 1500, **fields: Any) -> None:
    driven.client("conversation.item.truncate", item_id="story", content_index=0, audio_end_ms=heard_ms, **fields)


def refuse(driven: DrivenConversation, **error: Any) -> None:
    driven.server("error", error={"type": "invalid_request_error", **error})


REPORTS: dict[str, Callable[[DrivenConversation], object]] = {
    "speech_started": lambda driven: driven.server(STARTED, item_id="spoken"),
    "cancelled": lambda driven: driven.cancelled("resp_1", INCOMPLETE),
    "truncate": truncate,
    "truncated": lambda driven: driven.server("conversation.item.truncated", item_id="story", audio_end_ms=1500),
    "cleared": lambda driven: driven.server("output_audio_buffer.cleared", response_id="resp_1"),
}


@pytest.mark.parametrize("order", list(permutations(REPORTS)), ids="-".join)
def test_a_barge_in_reported_by_all_events_counts_once_in_any_order(order: tuple[str, ...]) -> None:
    driven = while_agent_speaks()
    driven.t = 2.5
    for report in order:
        REPORTS[report](driven)
    assert driven.interruptions == 1
    assert driven.transcript() == ["assistant: A long story. (cut)"]
    assert driven.conversation.messages()[0]["heard_ms"] == 1500
    driven.close()
    assert driven.model("resp_1").metadata["was_interrupted"]


@pytest.mark.parametrize("report", ["speech_started", "cancelled", "truncate", "cleared"])
def test_each_event_alone_reports_a_barge_in(report: str) -> None:
    driven = while_agent_speaks()
    REPORTS[report](driven)
    assert driven.interruptions == 1
    driven.close()
    assert driven.model("resp_1").metadata["was_interrupted"]


@pytest.mark.parametrize("order", list(permutations(["speech_started", "truncate", "cleared"])), ids="-".join)
def test_a_message_that_plays_after_response_done_can_be_interrupted(order: tuple[str, ...]) -> None:
    driven = while_agent_speaks()
    driven.ends("resp_1", COMPLETE)
    assert driven.models == [], "the heard part is not known yet"
    driven.t = 2.5
    for report in order:
        REPORTS[report](driven)
    assert driven.interruptions == 1
    driven.close()
    model = driven.model("resp_1")
    assert (model.metadata["status"], model.metadata["was_interrupted"]) == ("completed", True)
    assert (model.error, model.interrupted) == (None, False)


def test_speech_after_the_end_of_playback_is_no_barge_in() -> None:
    driven = while_agent_speaks()
    driven.ends("resp_1", COMPLETE)
    driven.server(STARTED, at=6.5)
    assert driven.interruptions == 0
    assert driven.transcript() == ["assistant: A long story."]
    driven.server(STARTED, at=7.5)
    assert "was_interrupted" not in driven.model("resp_1").metadata


def test_barge_ins_on_two_responses_count_separately() -> None:
    driven = while_agent_speaks()
    for number in (2, 3):
        driven.server(STARTED)
        driven.cancelled(f"resp_{number - 1}")
        driven.begins(f"resp_{number}")
        driven.says(f"resp_{number}", "Another.", f"story_{number}", seconds=1.0)
    assert driven.interruptions == 2


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_one_barge_in_can_cut_off_two_queued_messages(cancelled_first: bool) -> None:
    driven = while_agent_speaks()
    driven.ends("resp_1", COMPLETE)
    driven.begins("resp_2")
    driven.says("resp_2", "Another.", "second", seconds=3.0)
    in_order([lambda: driven.cancelled("resp_2"), lambda: driven.server(STARTED)], swapped=not cancelled_first)
    truncate(driven)
    driven.client("conversation.item.truncate", item_id="second", content_index=0, audio_end_ms=0)
    assert driven.interruptions == 1
    assert driven.transcript() == ["assistant: A long story. (cut)", "assistant: Another. (cut)"]


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_cancelling_a_response_without_output_is_no_barge_in(cancelled_first: bool) -> None:
    driven = DrivenConversation(vad=VAD)
    driven.begins("resp_1")
    driven.output("resp_1", {"id": "story", "type": "message", "role": "assistant"})
    in_order([lambda: driven.cancelled("resp_1"), lambda: driven.server(STARTED)], swapped=not cancelled_first)
    assert driven.interruptions == 0
    driven.close()
    assert driven.model("resp_1").interrupted, "it was cancelled"


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_an_earlier_message_that_still_plays_is_interrupted_instead(cancelled_first: bool) -> None:
    driven = while_agent_speaks()
    driven.ends("resp_1", COMPLETE)
    driven.begins("resp_2")
    in_order([lambda: driven.cancelled("resp_2"), lambda: driven.server(STARTED)], swapped=not cancelled_first)
    assert driven.interruptions == 1
    driven.close()
    assert driven.model("resp_1").metadata["was_interrupted"]
    assert "was_interrupted" not in driven.model("resp_2").metadata


def test_a_barge_in_on_a_response_without_response_created_counts_once() -> None:
    for cancelled_first in (True, False):
        driven = DrivenConversation(vad=VAD)
        driven.t = 1.0
        driven.says("resp_1", "A long story.", "story", seconds=5.0)
        for report in ("cancelled", "speech_started") if cancelled_first else ("speech_started", "cancelled"):
            REPORTS[report](driven)
        assert driven.interruptions == 1


def test_a_late_cancellation_does_not_interrupt_the_next_response() -> None:
    driven = while_agent_speaks()
    driven.server(STARTED)
    driven.begins("resp_2")
    driven.says("resp_2", "Another.", "second", seconds=1.0)
    driven.cancelled("resp_1", INCOMPLETE)
    driven.ends("resp_2")
    driven.close()
    assert driven.interruptions == 1
    assert "was_interrupted" not in driven.model("resp_2").metadata


def test_audio_that_arrives_after_the_barge_in_is_not_heard() -> None:
    driven = while_agent_speaks()
    driven.server(STARTED, at=2.0)
    where = {"response_id": "resp_1", "item_id": "story", "content_index": 0}
    driven.server("response.output_audio.delta", at=2.1, **where, delta=sound(3.0))  # type: ignore[arg-type]
    driven.cancelled("resp_1", INCOMPLETE)
    assert 950 < driven.conversation.messages()[0]["heard_ms"] < 1000
    driven.server(STARTED, at=2.3)
    assert driven.interruptions == 1, "playback has stopped"


# Sessions and applications without automatic interruption


def test_speech_is_no_barge_in_if_the_session_does_not_interrupt() -> None:
    driven = while_agent_speaks(NO_INTERRUPT)
    driven.server(STARTED, at=2.0)
    driven.ends("resp_1", COMPLETE)
    driven.close(at=9.0)
    assert driven.interruptions == 0
    assert driven.transcript() == ["assistant: A long story."]
    assert "was_interrupted" not in driven.model("resp_1").metadata


@pytest.mark.parametrize("vad", [NO_INTERRUPT, None], ids=["no-interrupt", "push-to-talk"])
@pytest.mark.parametrize("truncate_first", [True, False])
def test_a_cancellation_and_a_truncation_by_the_application_are_one_barge_in(
    vad: dict[str, Any] | None, truncate_first: bool
) -> None:
    driven = while_agent_speaks(vad)
    driven.server(STARTED, at=2.5)
    driven.client("response.cancel")
    in_order(
        [lambda: truncate(driven), lambda: driven.cancelled("resp_1", INCOMPLETE, reason="client_cancelled")],
        swapped=not truncate_first,
    )
    driven.server("conversation.item.truncated", item_id="story", content_index=0, audio_end_ms=1500)
    assert driven.interruptions == 1
    assert driven.conversation.messages()[0]["heard_ms"] == 1500


def test_a_cancellation_by_the_client_leaves_the_received_audio_playing() -> None:
    driven = while_agent_speaks(None)
    driven.cancelled("resp_1", INCOMPLETE, reason="client_cancelled")
    assert driven.interruptions == 0
    assert driven.transcript() == ["assistant: A long story. (cut)"], "the model did not complete it"
    assert driven.events[-1].interrupted


# Reports of the application about its playback


@pytest.mark.parametrize("vad", [VAD, NO_INTERRUPT])
def test_agent_speaking_true_makes_speech_a_barge_in(vad: dict[str, Any]) -> None:
    driven = while_agent_speaks(vad)
    driven.ends("resp_1", COMPLETE)
    driven.server(STARTED, at=6.5, agent_speaking=True)  # its own playback lags behind
    driven.close()
    assert driven.interruptions == 1
    assert driven.model("resp_1").metadata["was_interrupted"]


@pytest.mark.parametrize("order", list(permutations(["cancelled", "truncate"])), ids="-".join)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_agent_speaking_and_the_other_events_report_one_barge_in(order: tuple[str, ...], place: int) -> None:
    driven = while_agent_speaks()
    reports = [REPORTS[report] for report in order]
    reports.insert(place, lambda driven: driven.server(STARTED, agent_speaking=True))
    for report in reports:
        report(driven)
    assert driven.interruptions == 1


def test_speaking_twice_over_one_message_is_two_barge_ins() -> None:
    driven = while_agent_speaks(NO_INTERRUPT)
    driven.server(STARTED, at=2.0, agent_speaking=True)
    driven.server(STARTED, at=4.0, agent_speaking=True)
    assert driven.interruptions == 2


def test_agent_speaking_true_counts_before_the_first_response() -> None:
    driven = DrivenConversation(vad=VAD)
    driven.server(STARTED, agent_speaking=True)
    assert driven.interruptions == 1


def test_agent_speaking_false_makes_speech_no_barge_in() -> None:
    driven = while_agent_speaks()
    driven.ends("resp_1", COMPLETE)
    driven.server(STARTED, at=2.0, agent_speaking=False)
    assert driven.interruptions == 0
    assert driven.transcript() == ["assistant: A long story."]


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_a_cancellation_by_the_server_is_a_barge_in_despite_agent_speaking_false(cancelled_first: bool) -> None:
    driven = while_agent_speaks()
    in_order(
        [lambda: REPORTS["cancelled"](driven), lambda: driven.server(STARTED, agent_speaking=False)],
        swapped=not cancelled_first,
    )
    assert driven.interruptions == 1


# Truncations


def test_a_truncation_corrects_heard_ms_up_and_down() -> None:
    for heard_ms in (500, 2000):
        driven = while_agent_speaks()
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
def test_a_refused_truncation_is_undone(error: dict[str, Any]) -> None:
    driven = while_agent_speaks(None)
    truncate(driven, 9000, event_id="mine")
    assert driven.interruptions == 1
    refuse(driven, **error)
    assert driven.interruptions == 0
    assert driven.transcript() == ["assistant: A long story."]
    assert driven.conversation.numbers()["errors"] == 1


def test_a_barge_in_remains_if_only_its_truncation_is_refused() -> None:
    driven = while_agent_speaks()
    driven.server(STARTED, at=2.5)
    truncate(driven, 9000)
    driven.cancelled("resp_1", INCOMPLETE)
    refuse(driven, param="audio_end_ms")
    assert driven.interruptions == 1
    assert 1450 < driven.conversation.messages()[0]["heard_ms"] < 1500


def test_other_errors_do_not_undo_a_truncation() -> None:
    driven = while_agent_speaks()
    truncate(driven)
    refuse(driven, message="Conversation already has an active response")
    refuse(driven, event_id="another", message="audio_end_ms")
    refuse(driven, event_id=None, message=None)
    assert driven.interruptions == 1


def test_only_the_refused_truncation_is_undone() -> None:
    driven = while_agent_speaks()
    truncate(driven, 1500)
    truncate(driven, 9000)
    driven.server("conversation.item.truncated", item_id="story", audio_end_ms=1500)
    refuse(driven, param="audio_end_ms")
    assert driven.interruptions == 1
    assert driven.conversation.messages()[0]["heard_ms"] == 1500


@pytest.mark.parametrize("heard_ms", [None, "1500", float("nan"), True])
def test_a_truncation_without_a_position_or_item_is_ignored(heard_ms: object) -> None:
    driven = while_agent_speaks()
    truncate(driven, heard_ms)
    driven.client("conversation.item.truncate", audio_end_ms=1500)
    assert driven.interruptions == 0


def test_a_truncation_of_an_unknown_item_is_a_barge_in() -> None:
    driven = DrivenConversation()
    truncate(driven, -5)
    assert driven.interruptions == 1
    assert driven.transcript() == []
    driven.server("conversation.item.truncated", item_id="another", audio_end_ms=1)
    assert driven.interruptions == 1


# Sideband connections, which receive no audio


def sideband() -> DrivenConversation:
    """The server plays a message on a WebRTC connection; this connection receives no audio."""
    driven = DrivenConversation(vad=VAD)
    driven.begins("resp_1")
    driven.says("resp_1", "A long story.", "story")
    driven.server("output_audio_buffer.started", response_id="resp_1")
    return driven


SIDEBAND = [report for report in REPORTS if report != "truncate"]


@pytest.mark.parametrize("order", list(permutations(SIDEBAND)), ids="-".join)
def test_a_barge_in_on_a_sideband_counts_once_in_any_order(order: tuple[str, ...]) -> None:
    driven = sideband()
    for report in order:
        REPORTS[report](driven)
    assert driven.interruptions == 1
    assert driven.transcript() == ["assistant: A long story. (cut)"]
    assert driven.conversation.messages()[0]["heard_ms"] == 1500


@pytest.mark.parametrize("report", ["speech_started", "cleared", "truncated"])
def test_a_message_that_the_server_plays_after_response_done_can_be_interrupted(report: str) -> None:
    driven = sideband()
    driven.ends("resp_1", COMPLETE)
    assert driven.models == []
    REPORTS[report](driven)
    assert driven.interruptions == 1
    driven.close()
    assert driven.model("resp_1").metadata["was_interrupted"]


def test_speech_after_output_audio_buffer_stopped_is_no_barge_in() -> None:
    driven = sideband()
    driven.ends("resp_1", COMPLETE)
    driven.server("output_audio_buffer.stopped", response_id="resp_1")
    assert len(driven.models) == 1, "the run waits for nothing more"
    driven.server(STARTED)
    driven.server("output_audio_buffer.cleared", response_id="resp_1")
    driven.server("output_audio_buffer.cleared")
    driven.server("output_audio_buffer.started")
    driven.server("output_audio_buffer.stopped", response_id=["resp_1"])
    assert driven.interruptions == 0


def test_a_model_run_waits_at_most_120_s_for_the_end_of_the_servers_playback() -> None:
    driven = sideband()
    driven.ends("resp_1", COMPLETE)
    driven.server("rate_limits.updated", at=driven.t + 119)
    assert driven.models == []
    driven.server("rate_limits.updated", at=driven.t + 1)
    assert len(driven.models) == 1


def test_a_barge_in_after_the_model_run_was_made_still_counts() -> None:
    driven = sideband()
    driven.ends("resp_1", COMPLETE)
    driven.server("rate_limits.updated", at=driven.t + 121)
    driven.server("output_audio_buffer.cleared", response_id="resp_1")
    assert driven.interruptions == 1


# Latency


def test_latency_is_from_the_end_of_speech_to_the_first_audio() -> None:
    driven = DrivenConversation(vad=VAD)
    driven.server(STARTED, at=1.0)
    driven.server("input_audio_buffer.speech_stopped", at=2.0)
    driven.begins("resp_1")
    driven.t = 2.3
    driven.says("resp_1", "Hello.", "story", seconds=0.1)
    driven.says("resp_1", "Hello.", "story", seconds=0.1)
    driven.ends("resp_1", COMPLETE)
    driven.close()
    assert 300 < driven.model("resp_1").metadata["latency_to_first_audio_ms"] < 400


def test_with_push_to_talk_latency_is_from_the_commit() -> None:
    driven = DrivenConversation(vad=None)
    driven.client("input_audio_buffer.commit", at=2.0)
    driven.begins("resp_1")
    driven.t = 2.3
    driven.says("resp_1", "Hello.", "story", seconds=0.1)
    driven.close()
    assert 300 < driven.model("resp_1").metadata["latency_to_first_audio_ms"] < 400


def test_the_answer_to_typed_input_has_no_latency_to_first_audio() -> None:
    driven = DrivenConversation()
    driven.typed("Hi")
    driven.begins("resp_1")
    driven.says("resp_1", "Hello.", "story", seconds=0.1)
    driven.close()
    assert "latency_to_first_audio_ms" not in driven.model("resp_1").metadata


def test_audio_that_cannot_be_decoded_is_counted() -> None:
    driven = while_agent_speaks()
    for junk in (None, 5, "!!", ["AAAA"]):
        driven.server("response.output_audio.delta", item_id="story", response_id="resp_1", delta=junk)
        driven.client("input_audio_buffer.append", audio=junk)
    driven.server("response.output_audio.delta", delta=sound(0.1))
    driven.client("input_audio_buffer.append", audio=sound(0.1))
    assert driven.conversation.numbers()["undecodable_audio"] == 8


def test_the_end_of_the_conversation_is_no_barge_in() -> None:
    driven = while_agent_speaks()
    driven.close(at=2.5)
    assert driven.interruptions == 0
    assert driven.transcript() == ["assistant: A long story."]
    model = driven.model("resp_1")
    assert (model.end, model.finish_reason, model.error) == (2.5, "in_progress", None)


# Truncations that only the server reports


def truncated_by_server(driven: DrivenConversation, heard_ms: object = 950, **fields: Any) -> None:
    driven.server("conversation.item.truncated", item_id="story", content_index=0, audio_end_ms=heard_ms, **fields)


@pytest.mark.parametrize("vad", [VAD, NO_INTERRUPT, None])
@pytest.mark.parametrize("done", [True, False])
def test_a_truncation_that_only_the_server_reports_cuts_like_the_clients(
    vad: dict[str, Any] | None, done: bool
) -> None:
    reported, sent = while_agent_speaks(vad), while_agent_speaks(vad)
    for driven, cut in ((reported, truncated_by_server), (sent, truncate)):
        if done:
            driven.ends("resp_1", COMPLETE)
        driven.t = 2.0
        cut(driven, 950)
        if not done:
            driven.ends("resp_1", COMPLETE)
        driven.close(at=30.0)
    for driven in (reported, sent):
        metadata = driven.model("resp_1").metadata
        assert (metadata["spoken_ms"], metadata["heard_ms"], metadata["heard_share"]) == (5000, 950, 0.19)
        assert metadata["was_interrupted"]
        assert driven.conversation.messages()[0]["heard_ms"] == 950
    assert reported.conversation.messages() == sent.conversation.messages()


def test_audio_that_arrives_after_the_servers_truncation_is_not_heard() -> None:
    driven = while_agent_speaks(None)
    truncated_by_server(driven)
    driven.server("response.output_audio.delta", response_id="resp_1", item_id="story", delta=sound(2.0))
    driven.ends("resp_1", COMPLETE)
    driven.close(at=30.0)
    assert driven.model("resp_1").metadata["spoken_ms"] == 7000
    assert driven.model("resp_1").metadata["heard_ms"] == 950


def test_the_servers_truncation_prevails_over_the_modelled_barge_in() -> None:
    for heard_ms in (500, 2000):
        driven = while_agent_speaks()
        driven.server(STARTED, at=2.5)
        truncated_by_server(driven, heard_ms)
        assert driven.conversation.messages()[0]["heard_ms"] == heard_ms
        assert driven.interruptions == 1


@pytest.mark.parametrize("heard_ms", [None, "950", float("nan")])
def test_a_reported_truncation_without_a_position_is_a_barge_in_alone(heard_ms: object) -> None:
    driven = while_agent_speaks(None)
    truncated_by_server(driven, heard_ms)
    driven.ends("resp_1", COMPLETE)
    driven.close(at=30.0)
    assert driven.interruptions == 1
    assert driven.model("resp_1").metadata["heard_ms"] == 5000

"""The user's unanswered utterance, and the times of tool calls."""

from __future__ import annotations

import pytest

from langsmith_realtime.core.audio.user.input_buffer import InputBuffer
from langsmith_realtime.core.conversation.tool_times import MAX_TIMED_CALLS, ToolTimes
from langsmith_realtime.core.conversation.user_turns import Moment, UserTurns

pytestmark = pytest.mark.newest


def test_a_moment_is_the_capture_time_and_at_latest_the_arrival_of_the_event() -> None:
    buffer = InputBuffer()
    buffer.append(1.02, 1000)
    assert Moment(5.0).time == 5.0
    assert Moment(5.0, buffer, 500).time == pytest.approx(0.52)
    assert Moment(0.1, buffer, 500).time == 0.1
    assert Moment(5.0, buffer, 5000).time == 5.0, "the position was never written"


def test_an_utterance_is_unanswered_until_an_answer_or_the_next_utterance() -> None:
    turns = UserTurns()
    turns.speech_started(1.0, None)
    began = turns.speech_start
    assert began is not None
    turns.speech_stopped(2.0, None)
    turns.committed(2.0)
    speech = turns.unanswered_speech
    assert speech is not None
    assert (speech.started, speech.ended.time) == (began, 2.0)
    speech.answered = True
    assert turns.unanswered_speech is None
    turns.speech_started(3.0, None)
    turns.speech_stopped(4.0, None)
    turns.speech_started(5.0, None)
    assert turns.unanswered_speech is None


def test_the_commit_of_an_idle_timeout_is_no_utterance_and_the_next_commit_is_one() -> None:
    turns = UserTurns()
    turns.idle_timeout()
    turns.committed(1.0)
    assert turns.unanswered_speech is None
    turns.committed(2.0)
    assert turns.unanswered_speech is not None


def test_parallel_calls_count_once_in_the_tool_time() -> None:
    tools = ToolTimes()
    for call, begin, end in (("a", 1.0, 3.0), ("b", 2.0, 4.0), ("c", 2.5, 3.5), ("d", 6.0, 7.0)):
        tools.announced(call, begin)
        tools.announced(call, begin + 0.1)
        tools.answered(call, end)
        tools.answered(call, end + 9)
    assert tools.busy_between(0.0, 10.0) == 4.0
    assert tools.busy_between(0.0, 6.5) == 3.5
    assert tools.busy_between(1.5, 10.0) == 3.0, "the first call was announced earlier"
    assert tools.busy_between(8.0, 9.0) is None


def test_an_unanswered_call_lasts_and_unknown_answers_are_ignored() -> None:
    tools = ToolTimes()
    tools.announced("a", 1.0)
    tools.answered("b", 2.0)
    tools.answered(None, 2.0)
    assert tools.busy_between(0.0, 5.0) == 4.0


def test_old_calls_are_forgotten() -> None:
    tools = ToolTimes()
    for call in range(3 * MAX_TIMED_CALLS):
        tools.announced(str(call), float(call))
    assert len(tools._calls) == MAX_TIMED_CALLS

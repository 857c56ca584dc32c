"""Who spoke last and is not answered yet, and how long tools were at work."""

from __future__ import annotations

import pytest

from langsmith_realtime.core.audio.user.input_buffer import InputBuffer
from langsmith_realtime.core.conversation.tool_calls import MAX_TIMED_CALLS, ToolTimes
from langsmith_realtime.core.conversation.user_turns import Moment, UserTurns

pytestmark = pytest.mark.newest


def test_a_moment_is_when_its_audio_was_captured_and_never_after_it_was_told() -> None:
    written = InputBuffer()
    written.append(1.02, 1000)
    assert Moment(5.0).time == 5.0
    assert Moment(5.0, written, 500).time == pytest.approx(0.52)
    assert Moment(0.1, written, 500).time == 0.1
    assert Moment(5.0, written, 5000).time == 5.0, "that was never written"


def test_speech_is_answered_once_and_forgotten_when_the_user_speaks_again() -> None:
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


def test_silence_that_is_committed_is_no_speech_but_what_comes_after_is() -> None:
    turns = UserTurns()
    turns.idle_timeout()
    turns.committed(1.0)
    assert turns.unanswered_speech is None
    turns.committed(2.0)
    assert turns.unanswered_speech is not None


def test_calls_at_once_count_once() -> None:
    tools = ToolTimes()
    for call, begin, end in (("a", 1.0, 3.0), ("b", 2.0, 4.0), ("c", 2.5, 3.5), ("d", 6.0, 7.0)):
        tools.announced(call, begin)
        tools.announced(call, begin + 0.1)
        tools.answered(call, end)
        tools.answered(call, end + 9)
    assert tools.busy_between(0.0, 10.0) == 4.0
    assert tools.busy_between(0.0, 6.5) == 3.5
    assert tools.busy_between(1.5, 10.0) == 3.0, "the first belongs to what was before"
    assert tools.busy_between(8.0, 9.0) is None


def test_a_call_nobody_answers_lasts_and_unknown_ones_are_none() -> None:
    tools = ToolTimes()
    tools.announced("a", 1.0)
    tools.answered("b", 2.0)
    tools.answered(None, 2.0)
    assert tools.busy_between(0.0, 5.0) == 4.0


def test_calls_of_long_ago_are_forgotten() -> None:
    tools = ToolTimes()
    for call in range(3 * MAX_TIMED_CALLS):
        tools.announced(str(call), float(call))
    assert len(tools._calls) == MAX_TIMED_CALLS

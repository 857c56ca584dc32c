"""Playback: when the agent's audio plays, and how much is heard after barge-ins, truncations and positions."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langsmith_realtime.core.audio.agent import playback as module
from langsmith_realtime.core.audio.agent.playback import Cut, Playback
from langsmith_realtime.core.audio.agent.playback_queue import TOLERANCE_S
from tests.support.audio.sounds import RATE, laid_out, near, numbered, properties, stretches, tone

if TYPE_CHECKING:
    from langsmith_realtime.core.audio.decoding import Samples

pytestmark = pytest.mark.newest
DELTA = 4800  # 200 ms


class Agent:
    """Sends deltas to a playback, and collects its writes."""

    def __init__(self) -> None:
        self.playback = Playback(RATE)

    def say(self, t: float, item_id: str, audio: Samples, delta: int = DELTA) -> None:
        """Send audio in deltas within a few milliseconds, as servers do."""
        for index, begin in enumerate(range(0, len(audio), delta)):
            self.playback.add(t + index * 0.001, item_id, audio[begin : begin + delta])

    def channel(self) -> Samples:
        """Return the samples of the channel."""
        return laid_out(self.playback.writes)

    def heard(self) -> list[tuple[float, float]]:
        """Return begin and end of all audio on the channel, in seconds."""
        return stretches(self.channel(), gap=0.002)


def test_deltas_that_arrive_faster_than_real_time_play_one_after_another() -> None:
    agent = Agent()
    agent.say(2.0, "a", numbered(5 * RATE))
    agent.say(2.5, "b", tone(1))
    assert np.array_equal(agent.channel(), np.r_[np.zeros(2 * RATE, np.int16), numbered(5 * RATE), tone(1)])
    assert agent.playback.playing_until("a") == 7.0
    assert agent.playback.playing_until("b") == 8.0
    assert agent.playback.playing_until("c") is None


def test_a_delta_that_arrives_at_an_empty_queue_plays_on_arrival() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(0.2))
    agent.say(1.5, "a", tone(0.2))
    agent.playback.add(1.8, "a", tone(0))
    assert agent.heard() == [(1.0, 1.2), (1.5, 1.7)]


@properties
@given(seed=st.integers(0, 1000))
def test_audio_that_arrives_in_real_time_with_jitter_plays_without_gaps(seed: int) -> None:
    dice, agent = random.Random(seed), Agent()
    for index in range(200):
        agent.playback.add(1 + index * 0.02 + dice.uniform(0, 0.009), "a", tone(0.02))
    [(start, end)] = agent.heard()
    assert (start, end) == (near(1.0, 0.01), near(5.0, 0.01))


def test_a_barge_in_cuts_queued_audio() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.say(1.0, "b", tone(1))
    agent.say(1.0, "c", tone(1))
    assert agent.playback.barge_in(2.25) == [Cut("b", 250.0), Cut("c", 0.0)]
    assert agent.heard() == [(1.0, 2.25)]
    assert agent.playback.playing_until("b") == 2.25
    assert agent.playback.playing_until("c") is None
    assert agent.playback.barge_in(2.25) == []


def test_deltas_of_a_cut_item_are_not_heard_and_delay_no_other_item() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.playback.barge_in(1.5)
    agent.say(1.6, "a", tone(3))
    agent.say(2.0, "b", tone(1))
    assert agent.heard() == [(1.0, 1.5), (2.0, 3.0)]


def test_an_item_muted_before_its_first_delta_is_not_heard() -> None:
    agent = Agent()
    agent.playback.mute(1.0, "a")
    agent.say(1.0, "a", tone(2))
    agent.say(1.5, "b", tone(1))
    assert agent.heard() == [(1.5, 2.5)]
    assert agent.playback.barge_in(2.0) == [Cut("b", 500.0)]


def test_a_muted_item_is_heard_up_to_the_deltas_that_had_arrived() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.playback.mute(1.2, "a")
    agent.say(1.3, "a", tone(1))
    agent.playback.mute(1.4, "a")
    assert agent.heard() == [(1.0, 2.0)]


def test_an_item_of_five_seconds_truncated_at_1500_ms_is_heard_for_1500_ms() -> None:
    agent = Agent()
    agent.say(10.0, "a", tone(5))
    assert agent.playback.truncate(11.6, "a", 1500) == Cut("a", 1500.0)
    assert agent.heard() == [(10.0, 11.5)]


@properties
@given(cut_s=st.floats(0.01, 4.9), heard_ms=st.integers(0, 5000), delta=st.integers(240, 30_000), refused=st.booleans())
def test_a_truncation_corrects_a_barge_in_in_both_directions_unless_it_is_refused(
    cut_s: float, heard_ms: int, delta: int, refused: bool
) -> None:
    agent, audio = Agent(), numbered(5 * RATE)
    agent.say(1.0, "a", audio, delta)
    [cut] = agent.playback.barge_in(1.0 + cut_s)
    assert cut.heard_ms == near(cut_s * 1000, 0.1)
    assert agent.playback.truncate(1.0 + cut_s, "a", heard_ms) == Cut("a", heard_ms)
    if refused:
        assert agent.playback.undo_truncation("a") == cut
    heard = round(cut.heard_ms * RATE / 1000) if refused else heard_ms * RATE // 1000
    wanted = np.r_[np.zeros(RATE, np.int16), audio[:heard], np.zeros(5 * RATE - heard, np.int16)]
    channel = agent.channel()
    assert np.array_equal(channel, wanted[: len(channel)])
    assert not wanted[len(channel) :].any()


def test_after_a_refused_truncation_the_whole_item_is_heard() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.truncate(1.5, "a", 500)
    assert agent.playback.undo_truncation("a") is None
    agent.say(1.6, "a", tone(1))
    assert agent.heard() == [(1.0, 4.0)]
    assert agent.playback.undo_truncation("a") is None
    assert agent.playback.undo_truncation("unknown") is None
    assert agent.heard() == [(1.0, 4.0)]


def test_a_barge_in_after_a_truncation_applies_once_the_truncation_is_refused() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.truncate(2.0, "a", 900)
    assert agent.playback.barge_in(2.1) == []  # the truncation is exact
    assert agent.heard() == [(1.0, 1.9)]
    assert agent.playback.undo_truncation("a") == Cut("a", 1100.0)
    assert agent.heard() == [(1.0, 2.1)]


def test_after_a_refused_second_truncation_the_first_applies() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.truncate(2.0, "a", 900)
    agent.playback.truncate(2.0, "a", 9000)
    assert agent.playback.undo_truncation("a") == Cut("a", 900.0)
    assert agent.heard() == [(1.0, 1.9)]


def test_a_truncation_before_the_first_delta_limits_later_deltas() -> None:
    agent = Agent()
    assert agent.playback.truncate(0.9, "a", 500) is None
    agent.say(1.0, "a", tone(0.3))
    agent.playback.mute(1.1, "a")
    agent.say(1.1, "a", tone(2))
    assert agent.heard() == [(1.0, 1.5)]


def test_a_truncation_beyond_the_audio_that_has_arrived_limits_later_deltas() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(0.3))
    assert agent.playback.truncate(1.2, "a", 500) == Cut("a", 300.0)
    agent.say(1.25, "a", tone(2))
    agent.say(1.3, "b", tone(1))
    assert agent.heard() == [(1.0, 2.5)]


def test_a_final_cut_prevails_over_a_longer_truncation() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.truncate(1.1, "a", 4000)
    assert agent.playback.barge_in(2.0, final=True) == [Cut("a", 1000.0)]
    assert agent.heard() == [(1.0, 2.0)]


def test_played_ms_counts_frames_before_a_time_heard_or_not() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.barge_in(1.5)
    assert agent.playback.played_ms("a", 2.0) == 1000
    assert agent.playback.played_ms("b", 2.0) == 0
    assert (agent.playback.begins("a"), agent.playback.begins("b")) == (1.0, None)


def test_samples_are_dropped_after_the_memory_time() -> None:
    agent = Agent()
    remembered = 0
    for second in range(600):
        item_id = f"item {second // 7}"
        if second % 7 == 5:
            agent.playback.mute(second, f"silent {second}")
            agent.playback.truncate(second, f"unknown {second}", 100)
        agent.say(second, item_id, tone(1))
        agent.playback.writes.clear()
        items = agent.playback._items.values()
        remembered = max(remembered, sum(len(part.samples) for item in items for part in item.segments))
        assert len(items) < 40
    assert remembered <= (Playback.MEMORY_S + 3) * RATE


def test_an_item_longer_than_the_memory_time_is_cut_at_its_playback_position() -> None:
    agent = Agent()
    for second in range(1, 61):
        agent.say(second, "a", tone(1.5))  # 90 s of audio within a minute
    assert agent.playback.barge_in(62.0) == [Cut("a", 61_000.0)]
    assert agent.heard() == [(1.0, 62.0)]
    assert agent.playback.truncate(62.1, "a", 60_500) == Cut("a", 60_500.0)
    assert agent.heard() == [(1.0, 61.5)]
    agent.playback.truncate(62.1, "a", 0)  # dropped samples cannot be silenced
    [(start, end)] = agent.heard()
    assert (start, end) == (1.0, near(62 - Playback.MEMORY_S, 1))


# Playback positions


def test_a_position_moves_the_item_and_all_later_ones() -> None:
    agent = Agent()
    agent.say(1.0, "a", numbered(2 * RATE))
    agent.say(1.0, "b", numbered(RATE, 777))
    assert agent.playback.played(1.68, "a", 500) == []
    assert agent.playback.begins("a") == near(1.18)
    assert np.array_equal(agent.channel()[round(1.18 * RATE) :], np.r_[numbered(2 * RATE), numbered(RATE, 777)])
    assert not agent.channel()[: round(1.18 * RATE)].any()
    assert agent.playback.playing_until("b") == near(4.18)
    agent.say(1.7, "b", tone(1))
    assert agent.playback.playing_until("b") == near(5.18)


def test_a_position_within_the_tolerance_moves_nothing() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.writes.clear()
    for ms in range(100, 2100, 100):
        assert agent.playback.played(1 + ms / 1000 + (0.019 if ms % 200 else -0.019), "a", ms) == []
    assert agent.playback.writes == []


def test_a_position_moves_only_the_audio_since_the_previous_position() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.played(1.5, "a", 500)
    agent.playback.played(2.3, "a", 1000)
    assert agent.heard() == [(1.0, 1.5), (1.8, 3.3)]


def test_a_delayed_position_is_corrected_by_the_next() -> None:
    agent, audio = Agent(), numbered(2 * RATE)
    agent.say(1.0, "a", audio)
    agent.playback.played(2.2, "a", 1000)
    agent.playback.played(2.4, "a", 1400)
    assert np.array_equal(agent.channel()[RATE : 3 * RATE], audio)
    assert not agent.channel()[3 * RATE :].any()


def test_no_position_moves_audio_before_its_arrival() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.playback.played(1.9, "a", 1000)
    assert agent.playback.begins("a") == 1.0
    agent.say(2.1, "b", tone(1))
    agent.playback.played(2.5, "b", 500)
    assert agent.heard() == [(1.0, 2.0), (2.1, 3.1)]


def test_a_repeated_position_inserts_a_pause() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.played(2.0, "a", 1000)
    agent.playback.played(2.7, "a", 1000)
    assert agent.heard() == [(1.0, 2.0), (2.7, 3.7)]


def test_a_lower_later_position_is_ignored_for_nothing_is_unplayed() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.played(2.5, "a", 1500)
    assert agent.playback.played(2.6, "a", 1000) is None
    assert agent.heard() == [(1.0, 3.0)]
    assert agent.playback.ignored_positions == 1


def test_a_tracker_that_starts_at_0_again_does_not_change_what_was_heard() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    for ms in range(200, 3400, 200):
        agent.playback.played(1 + ms / 1000, "a", ms)
    [cut] = agent.playback.barge_in(4.26)
    assert cut == Cut("a", near(3260, 0.1))
    for index, ms in enumerate((0, 200, 400)):
        assert agent.playback.played(4.3 + index * 0.2, "a", ms) is None
    assert agent.playback.heard_ms("a") == near(3260, 0.1)
    assert agent.heard() == [(1.0, 4.26)]
    assert agent.playback.ignored_positions == 3


def test_a_position_that_is_lower_by_a_rounding_error_is_not_counted() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.played(2.5, "a", 1500)
    assert agent.playback.played(2.505, "a", 1498) == []
    assert agent.heard() == [(1.0, 3.0)]
    assert agent.playback.ignored_positions == 0


@pytest.mark.parametrize("step", [20, 100, 200, 500])
@pytest.mark.parametrize("lag", [0.0, 0.15, 0.4, 1.0])
def test_marks_returned_at_once_by_a_clear_move_nothing_that_was_heard(step: int, lag: float) -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(4))
    agent.say(1.1, "b", tone(4))
    for ms in range(100, 2100, 100):
        agent.playback.played(1 + lag + ms / 1000, "a", ms)
    agent.playback.barge_in(3.05 + lag)
    for index, ms in enumerate(range(2000 + step, 4001, step)):
        agent.playback.played(3.08 + lag + index * 0.0001, "a", ms)
    for ms in range(step, 4001, step):
        agent.playback.played(3.12 + lag, "b", ms)
    assert agent.playback.begins("a") == near(1 + lag, 0.021)
    assert agent.playback.heard_ms("a") == near(2050, 60)
    assert agent.playback.heard_ms("b") == 0
    assert agent.playback.ignored_positions >= 3600 // step


@pytest.mark.parametrize("step", [20, 100, 200])
def test_marks_returned_at_once_move_little_if_no_barge_in_was_reported(step: int) -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    for ms in range(100, 2100, 100):
        agent.playback.played(1.4 + ms / 1000, "a", ms)
    for ms in range(2000 + step, 5001, step):
        agent.playback.played(3.45, "a", ms)
    assert agent.playback.begins("a") == near(1.4, 0.201)
    assert agent.playback.ignored_positions > 0


def test_positions_that_were_much_too_late_are_corrected_once_a_second_one_agrees() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.played(2.8, "a", 1000)
    assert agent.playback.played(3.0, "a", 2000) is None
    assert agent.playback.ignored_positions == 1
    agent.playback.played(3.5, "a", 2500)
    assert agent.heard() == [(1.0, 6.0)]
    assert agent.playback.ignored_positions == 0


def test_a_position_of_0_ms_can_only_delay_an_item() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.say(1.0, "b", tone(1))
    agent.playback.played(1.1, "b", 0)  # the item begins later in any case
    assert agent.heard() == [(1.0, 3.0)]
    agent.playback.played(2.5, "b", 0)
    assert agent.heard() == [(1.0, 2.0), (2.5, 3.5)]


def test_a_repeated_position_at_the_end_of_an_item_delays_nothing() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.say(1.0, "b", tone(1))
    for t in (2.0, 2.3, 2.6):
        agent.playback.played(t, "a", 1000)
    assert agent.heard() == [(1.0, 3.0)]


@pytest.mark.parametrize(
    ("t", "item_id", "ms"),
    [(2.6, "c", 10), (2.1, "b", 100), (2.6, "a", 900), (2.6, "b", 2900)],
    ids=["an unknown item", "earlier than the last position", "an earlier item", "more than can have been played"],
)
def test_implausible_positions_are_ignored(t: float, item_id: str, ms: float) -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.say(1.0, "b", tone(3))
    agent.playback.played(2.5, "b", 500)
    agent.playback.writes.clear()
    assert agent.playback.played(t, item_id, ms) is None
    assert agent.playback.writes == []


def test_marks_that_a_player_returns_at_once_when_cleared_are_ignored() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.played(1.68, "a", 500)
    [cut] = agent.playback.barge_in(2.18)
    assert cut == Cut("a", near(1000, 0.1))
    for ms in range(1500, 5500, 500):
        assert agent.playback.played(2.2, "a", ms) is None
    assert agent.heard() == [(1.18, 2.18)]


def test_a_position_beyond_the_audio_that_has_arrived_confirms_that_audio() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(0.5))
    agent.playback.played(2.0, "a", 800)
    assert agent.heard() == [(1.2, 1.7)]


# Positions after cuts


def test_a_position_after_a_barge_in_extends_the_heard_audio() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.barge_in(2.0)
    assert agent.playback.played(2.15, "a", 1150) == [Cut("a", near(1150, 0.1))]
    assert agent.heard() == [(1.0, 2.15)]


def test_a_position_after_a_barge_in_shortens_the_heard_audio() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.barge_in(2.0)
    for t in (2.1, 2.3):
        agent.playback.played(t, "a", 820)
    assert agent.playback.heard_ms("a") == 820
    assert agent.heard() == [(1.18, 2.0)]


def test_a_position_shows_that_an_item_was_still_playing_at_the_barge_in() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    assert agent.playback.barge_in(2.1) == []
    agent.say(2.12, "a", tone(0.5))
    assert agent.playback.played(2.05, "a", 800) == [Cut("a", near(850, 0.1))]
    assert agent.heard() == [(1.25, 2.1)]


def test_a_position_shows_that_a_muted_item_was_played() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.playback.mute(1.2, "a")
    agent.say(1.3, "a", tone(1))
    assert agent.playback.played(2.5, "a", 1500) == [Cut("a", 1500)]
    assert agent.heard() == [(1.0, 2.5)]


@pytest.mark.parametrize("heard_ms", [200, 900, 1400])
def test_a_truncation_prevails_over_earlier_and_later_positions(heard_ms: int) -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.played(1.68, "a", 500)
    agent.playback.barge_in(2.18)
    assert agent.playback.truncate(2.2, "a", heard_ms) == Cut("a", heard_ms)
    assert agent.playback.played(2.3, "a", heard_ms + 50) is None
    agent.playback.played(2.3, "a", heard_ms / 2)
    assert agent.playback.heard_ms("a") == heard_ms
    _, end = agent.heard()[-1]
    assert end <= max(2.2, 1.18 + heard_ms / 1000)
    assert agent.playback.undo_truncation("a") is not None


def test_a_truncation_that_extends_an_item_moves_later_items() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.barge_in(2.0)
    agent.say(3.0, "b", tone(1))
    agent.playback.truncate(3.1, "a", 2500)
    assert agent.playback.begins("b") == 3.5
    assert agent.heard() == [(1.0, 4.5)]


def test_a_late_truncation_of_a_long_moved_item_is_applied() -> None:
    agent = Agent()
    for second in range(1, 61):
        agent.say(second, "a", tone(1.5))
        agent.playback.played(second + 0.68, "a", second * 1000 - 500)
    assert agent.heard() == [(near(1.18, 0.03), near(91.18, 0.03))]
    agent.playback.barge_in(61.5)
    agent.playback.truncate(70.0, "a", 60_000)
    [(start, end)] = agent.heard()
    assert (start, end) == (near(1.18, 0.03), near(61.18, 0.03))


def test_queued_audio_at_the_end_is_not_heard_after_positions_moved_it() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.say(1.0, "b", tone(1))
    agent.playback.played(1.9, "a", 500)
    assert agent.playback.barge_in(2.5, final=True) == [Cut("b", near(100, 0.1))]
    assert agent.heard() == [(1.4, 2.5)]


@settings(properties, max_examples=30)
@given(seed=st.integers(0, 1000), lag=st.sampled_from([0.08, 0.18, 0.6]), jitter=st.sampled_from([0.0, 0.015]))
def test_a_delayed_player_that_confirms_positions_is_cut_at_its_position(seed: int, lag: float, jitter: float) -> None:
    dice, agent, audio = random.Random(seed), Agent(), numbered(4 * RATE)
    agent.say(1.0, "a", audio)
    spoken = dice.uniform(0.5, 3.9)
    for ms in range(200, round(spoken * 1000), 200):
        agent.playback.played(1 + lag + ms / 1000 + dice.uniform(0, jitter), "a", ms)
    [cut] = agent.playback.barge_in(1 + lag + spoken)
    assert cut.heard_ms == near(spoken * 1000, 20)
    agent.playback.truncate(1 + lag + spoken + 0.05, "a", round(spoken * 1000))
    times = agent.playback.begins("a"), agent.playback.playing_until("a")
    assert times == (near(1 + lag, 0.021), near(1 + lag + spoken, 0.021))
    heard = agent.channel()[np.flatnonzero(agent.channel())]
    assert np.array_equal(heard, audio[: len(heard)])


# Server events


def test_an_item_that_the_server_starts_later_plays_from_then() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    assert agent.playback.item_started(1.4, "a") == []
    agent.say(1.5, "a", tone(1))
    assert agent.playback.item_started(1.5, "unknown") is None
    assert agent.heard() == [(1.4, 4.4)]
    agent.playback.item_ended(4.41, "a")
    agent.playback.item_ended(4.41, "unknown")
    assert agent.heard() == [(1.4, 4.4)]


def test_an_item_that_the_server_starts_sooner_moves_the_previous_item_forward() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.played(2.5, "a", 1000)
    agent.say(2.0, "b", tone(1))
    agent.playback.item_ended(3.1, "a")
    agent.playback.item_started(3.1, "b")
    assert agent.heard() == [(near(1.1), near(4.1))]


def test_no_audio_of_an_item_is_heard_after_the_server_ended_it() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(3))
    agent.playback.item_ended(2.0, "a")
    assert agent.heard() == [(1.0, 2.0)]


# Past items


def test_lengths_and_times_are_remembered_after_the_samples_are_dropped() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.barge_in(2.0)
    for t in (40, 80, 500):
        agent.say(t, f"at {t}", tone(0.1))
    assert agent.playback._items.keys() == {"at 500"}
    assert (agent.playback.spoken_ms("a"), agent.playback.heard_ms("a")) == (5000, 1000)
    assert (agent.playback.begins("a"), agent.playback.playing_until("a")) == (1.0, 2.0)
    assert agent.playback.played(500.0, "a", 100) is None
    assert agent.playback.truncate(500.0, "a", 700) == Cut("a", 700)
    agent.say(800, "at 800", tone(0.1))
    agent.say(1405, "at 1405", tone(0.1))
    assert agent.playback.spoken_ms("a") == 0
    assert agent.playback.heard_ms("a") == 0


def test_the_number_of_past_items_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAST_ITEMS", 5)
    agent = Agent()
    for t in range(100):
        agent.say(t, f"at {t}", tone(0.1))
    assert len(agent.playback._past_items) == 5


# Any order of calls

HZ = 1000
CALLS = ("add", "played", "barge_in", "truncate", "undo", "mute", "started", "ended")
STEP = st.tuples(
    st.sampled_from([0.0, 0.005, 0.03, 0.2, 1.0]),
    st.sampled_from([*CALLS, "add", "add", "played", "played"]),
    st.sampled_from("abc"),
    st.sampled_from([0, 20, 50, 100, 500, 1000]) | st.integers(0, 3000),
    st.sampled_from([0.0, 0.0, 0.1, 0.6]),
)


@pytest.mark.nocover
@settings(properties, max_examples=300)
@given(steps=st.lists(STEP, max_size=15))
def test_in_any_order_of_calls_each_item_is_heard_from_its_first_frame_and_alone(
    steps: list[tuple[float, str, str, int, float]],
) -> None:
    playback, t = Playback(HZ), 0.0
    channel = np.zeros(60 * HZ, np.int16)
    arrived: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    base = {"a": 0, "b": 10_000, "c": 20_000}

    def write() -> None:
        for w in playback.writes:
            channel[w.start : w.start + len(w.samples)] = w.samples
        playback.writes.clear()

    for wait, call, item_id, number, ago in steps:
        t += wait
        if call == "add":
            playback.add(t, item_id, numbered(number, len(arrived[item_id]) + 1) % 9000 + base[item_id])
            arrived[item_id] += [round(t * HZ)] * number
        elif call == "played":
            playback.played(max(0, t - ago), item_id, number)
        elif call == "barge_in":
            playback.barge_in(t)
        elif call == "truncate":
            playback.truncate(t, item_id, number)
            assert playback.heard_ms(item_id) == min(number, len(arrived[item_id]))
        elif call == "undo":
            playback.undo_truncation(item_id)
        else:
            method = {"mute": playback.mute, "started": playback.item_started, "ended": playback.item_ended}[call]
            method(t, item_id)
        write()
        for known_id, arrivals in arrived.items():
            positions = np.flatnonzero((channel // 10_000 == base[known_id] // 10_000) & (channel != 0))
            assert np.array_equal(channel[positions], numbered(len(positions)) % 9000 + base[known_id]), (
                "the item is heard from its first frame, without a gap in its samples"
            )
            assert playback.heard_ms(known_id) == len(positions)
            assert (positions - arrivals[: len(positions)] >= -TOLERANCE_S * HZ).all(), (
                "no frame plays before it arrived"
            )
            if len(positions):
                assert playback.begins(known_id) == positions[0] / HZ
                assert playback.playing_until(known_id) == (positions[-1] + 1) / HZ
    playback.barge_in(t, final=True)
    write()
    assert not channel[round(t * HZ) :].any()

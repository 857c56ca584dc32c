"""The agent's speech: where it is played, and what of it was heard after a barge-in or a truncation."""

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
    """Says things, and remembers every write."""

    def __init__(self) -> None:
        self.playback = Playback(RATE)

    def say(self, t: float, item_id: str, sound: Samples, delta: int = DELTA) -> None:
        """All of it within a few milliseconds, as servers do."""
        for index, begin in enumerate(range(0, len(sound), delta)):
            self.playback.add(t + index * 0.001, item_id, sound[begin : begin + delta])

    def channel(self) -> Samples:
        return laid_out(self.playback.writes)

    def heard(self) -> list[tuple[float, float]]:
        return stretches(self.channel(), gap=0.002)


def test_deltas_that_arrive_faster_than_real_time_play_one_after_the_other() -> None:
    agent = Agent()
    agent.say(2.0, "a", numbered(5 * RATE))
    agent.say(2.5, "b", tone(1))
    assert np.array_equal(agent.channel(), np.r_[np.zeros(2 * RATE, np.int16), numbered(5 * RATE), tone(1)])
    assert agent.playback.playing_until("a") == 7.0
    assert agent.playback.playing_until("b") == 8.0
    assert agent.playback.playing_until("c") is None


def test_a_delta_that_comes_after_the_queue_ran_dry_plays_when_it_comes() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(0.2))
    agent.say(1.5, "a", tone(0.2))
    agent.playback.add(1.8, "a", tone(0))
    assert agent.heard() == [(1.0, 1.2), (1.5, 1.7)]


@properties
@given(seed=st.integers(0, 1000))
def test_a_client_that_hands_over_what_it_plays_while_it_plays_gives_no_clicks(seed: int) -> None:
    dice, agent = random.Random(seed), Agent()
    for index in range(200):
        agent.playback.add(1 + index * 0.02 + dice.uniform(0, 0.009), "a", tone(0.02))
    [(start, end)] = agent.heard()
    assert (start, end) == (near(1.0, 0.01), near(5.0, 0.01))


def test_a_barge_in_cuts_what_is_still_to_be_played() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.say(1.0, "b", tone(1))
    agent.say(1.0, "c", tone(1))
    assert agent.playback.barge_in(2.25) == [Cut("b", 250.0), Cut("c", 0.0)]
    assert agent.heard() == [(1.0, 2.25)]
    assert agent.playback.playing_until("b") == 2.25
    assert agent.playback.playing_until("c") is None
    assert agent.playback.barge_in(2.25) == []


def test_what_arrives_of_an_item_after_its_cut_is_not_heard_and_takes_no_time() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.playback.barge_in(1.5)
    agent.say(1.6, "a", tone(3))
    agent.say(2.0, "b", tone(1))
    assert agent.heard() == [(1.0, 1.5), (2.0, 3.0)]


def test_an_item_muted_before_its_first_delta_is_never_heard() -> None:
    agent = Agent()
    agent.playback.mute(1.0, "a")
    agent.say(1.0, "a", tone(2))
    agent.say(1.5, "b", tone(1))
    assert agent.heard() == [(1.5, 2.5)]
    assert agent.playback.barge_in(2.0) == [Cut("b", 500.0)]


def test_an_item_muted_in_the_middle_is_heard_as_far_as_it_had_come() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.playback.mute(1.2, "a")
    agent.say(1.3, "a", tone(1))
    agent.playback.mute(1.4, "a")
    assert agent.heard() == [(1.0, 2.0)]


def test_a_five_second_reply_truncated_at_1500_ms_is_heard_for_a_second_and_a_half() -> None:
    agent = Agent()
    agent.say(10.0, "a", tone(5))
    assert agent.playback.truncate(11.6, "a", 1500) == Cut("a", 1500.0)
    assert agent.heard() == [(10.0, 11.5)]


@properties
@given(cut_s=st.floats(0.01, 4.9), heard_ms=st.integers(0, 5000), delta=st.integers(240, 30_000), refused=st.booleans())
def test_a_truncation_corrects_the_barge_in_in_both_directions_until_it_is_refused(
    cut_s: float, heard_ms: int, delta: int, refused: bool
) -> None:
    agent, sound = Agent(), numbered(5 * RATE)
    agent.say(1.0, "a", sound, delta)
    [cut] = agent.playback.barge_in(1.0 + cut_s)
    assert cut.heard_ms == near(cut_s * 1000, 0.1)
    assert agent.playback.truncate(1.0 + cut_s, "a", heard_ms) == Cut("a", heard_ms)
    if refused:
        assert agent.playback.undo_truncation("a") == cut
    heard = round(cut.heard_ms * RATE / 1000) if refused else heard_ms * RATE // 1000
    wanted = np.r_[np.zeros(RATE, np.int16), sound[:heard], np.zeros(5 * RATE - heard, np.int16)]
    channel = agent.channel()
    assert np.array_equal(channel, wanted[: len(channel)])
    assert not wanted[len(channel) :].any()


def test_a_refused_truncation_gives_back_the_whole_reply() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.truncate(1.5, "a", 500)
    assert agent.playback.undo_truncation("a") is None
    agent.say(1.6, "a", tone(1))
    assert agent.heard() == [(1.0, 4.0)]
    assert agent.playback.undo_truncation("a") is None
    assert agent.playback.undo_truncation("never heard of") is None
    assert agent.heard() == [(1.0, 4.0)]


def test_a_barge_in_between_a_truncation_and_its_refusal_counts_once_it_is_refused() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.truncate(2.0, "a", 900)
    assert agent.playback.barge_in(2.1) == []  # the truncation knows better
    assert agent.heard() == [(1.0, 1.9)]
    assert agent.playback.undo_truncation("a") == Cut("a", 1100.0)
    assert agent.heard() == [(1.0, 2.1)]


def test_a_second_truncation_refused_leaves_the_first() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.truncate(2.0, "a", 900)
    agent.playback.truncate(2.0, "a", 9000)
    assert agent.playback.undo_truncation("a") == Cut("a", 900.0)
    assert agent.heard() == [(1.0, 1.9)]


def test_a_truncation_ahead_of_the_deltas_holds_for_what_still_comes() -> None:
    agent = Agent()
    assert agent.playback.truncate(0.9, "a", 500) is None
    agent.say(1.0, "a", tone(0.3))
    agent.playback.mute(1.1, "a")
    agent.say(1.1, "a", tone(2))
    assert agent.heard() == [(1.0, 1.5)]


def test_a_truncation_that_says_more_than_arrived_is_heard_as_it_arrives() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(0.3))
    assert agent.playback.truncate(1.2, "a", 500) == Cut("a", 300.0)
    agent.say(1.25, "a", tone(2))
    agent.say(1.3, "b", tone(1))
    assert agent.heard() == [(1.0, 2.5)]


def test_when_playing_stops_altogether_no_truncation_says_more() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.truncate(1.1, "a", 4000)
    assert agent.playback.barge_in(2.0, final=True) == [Cut("a", 1000.0)]
    assert agent.heard() == [(1.0, 2.0)]


def test_what_was_played_before_a_moment_counts_whether_it_was_heard_or_not() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.barge_in(1.5)
    assert agent.playback.played_ms("a", 2.0) == 1000
    assert agent.playback.played_ms("b", 2.0) == 0
    assert (agent.playback.begins("a"), agent.playback.begins("b")) == (1.0, None)


def test_nothing_is_remembered_beyond_the_memory() -> None:
    agent = Agent()
    held = 0
    for second in range(600):
        item_id = f"item {second // 7}"
        if second % 7 == 5:
            agent.playback.mute(second, f"never spoken {second}")
            agent.playback.truncate(second, f"unknown {second}", 100)
        agent.say(second, item_id, tone(1))
        agent.playback.writes.clear()
        items = agent.playback._items.values()
        held = max(held, sum(len(piece.samples) for item in items for piece in item.segments))
        assert len(items) < 40
    assert held <= (Playback.MEMORY_S + 3) * RATE


def test_a_reply_longer_than_the_memory_is_still_cut_where_it_is_playing() -> None:
    agent = Agent()
    for second in range(1, 61):
        agent.say(second, "a", tone(1.5))  # 90 s within a minute
    assert agent.playback.barge_in(62.0) == [Cut("a", 61_000.0)]
    assert agent.heard() == [(1.0, 62.0)]
    assert agent.playback.truncate(62.1, "a", 60_500) == Cut("a", 60_500.0)
    assert agent.heard() == [(1.0, 61.5)]
    agent.playback.truncate(62.1, "a", 0)  # what is forgotten cannot be taken back
    [(start, end)] = agent.heard()
    assert (start, end) == (1.0, near(62 - Playback.MEMORY_S, 1))


# Where the application says how far playing has come


def test_positions_move_the_reply_and_all_that_follows_it() -> None:
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


def test_a_position_within_the_slack_moves_nothing() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.writes.clear()
    for ms in range(100, 2100, 100):
        assert agent.playback.played(1 + ms / 1000 + (0.019 if ms % 200 else -0.019), "a", ms) == []
    assert agent.playback.writes == []


def test_only_what_was_played_since_the_last_position_comes_later() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.played(1.5, "a", 500)
    agent.playback.played(2.3, "a", 1000)
    assert agent.heard() == [(1.0, 1.5), (1.8, 3.3)]


def test_a_position_that_came_late_is_corrected_by_the_next() -> None:
    agent, sound = Agent(), numbered(2 * RATE)
    agent.say(1.0, "a", sound)
    agent.playback.played(2.2, "a", 1000)
    agent.playback.played(2.4, "a", 1400)
    assert np.array_equal(agent.channel()[RATE : 3 * RATE], sound)
    assert not agent.channel()[3 * RATE :].any()


def test_a_reply_is_never_played_before_it_arrived() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.playback.played(1.9, "a", 1000)
    assert agent.playback.begins("a") == 1.0
    agent.say(2.1, "b", tone(1))
    agent.playback.played(2.5, "b", 500)
    assert agent.heard() == [(1.0, 2.0), (2.1, 3.1)]


def test_a_player_that_stands_still_plays_the_rest_later() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.played(2.0, "a", 1000)
    agent.playback.played(2.7, "a", 1000)
    assert agent.heard() == [(1.0, 2.0), (2.7, 3.7)]


def test_a_position_that_goes_back_is_the_last_word() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.played(2.5, "a", 1500)
    agent.playback.played(2.6, "a", 1000)
    assert agent.heard() == [(1.0, 2.0), (2.6, 3.6)]


def test_nothing_played_yet_only_delays() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.say(1.0, "b", tone(1))
    agent.playback.played(1.1, "b", 0)  # it comes later than that anyway
    assert agent.heard() == [(1.0, 3.0)]
    agent.playback.played(2.5, "b", 0)
    assert agent.heard() == [(1.0, 2.0), (2.5, 3.5)]


def test_a_player_that_repeats_where_a_reply_ended_delays_nothing() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.say(1.0, "b", tone(1))
    for t in (2.0, 2.3, 2.6):
        agent.playback.played(t, "a", 1000)
    assert agent.heard() == [(1.0, 3.0)]


@pytest.mark.parametrize(
    ("t", "item_id", "ms"),
    [(2.6, "c", 10), (2.1, "b", 100), (2.6, "a", 900), (2.6, "b", 2900)],
    ids=["an item never heard of", "a moment before the last word", "an earlier item", "more than there was time for"],
)
def test_words_that_count_for_nothing(t: float, item_id: str, ms: float) -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.say(1.0, "b", tone(3))
    agent.playback.played(2.5, "b", 500)
    agent.playback.writes.clear()
    assert agent.playback.played(t, item_id, ms) is None
    assert agent.playback.writes == []


def test_marks_that_a_cleared_player_gives_back_at_once_are_no_playing() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.played(1.68, "a", 500)
    [cut] = agent.playback.barge_in(2.18)
    assert cut == Cut("a", near(1000, 0.1))
    for ms in range(1500, 5500, 500):
        assert agent.playback.played(2.2, "a", ms) is None
    assert agent.heard() == [(1.18, 2.18)]


def test_more_than_arrived_counts_as_far_as_it_arrived() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(0.5))
    agent.playback.played(2.0, "a", 800)
    assert agent.heard() == [(1.2, 1.7)]


# Positions and what was cut


def test_a_player_that_went_on_after_the_barge_in() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.barge_in(2.0)
    assert agent.playback.played(2.15, "a", 1150) == [Cut("a", near(1150, 0.1))]
    assert agent.heard() == [(1.0, 2.15)]


def test_a_player_that_had_not_come_that_far_when_it_was_stopped() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.barge_in(2.0)
    for t in (2.1, 2.3):
        agent.playback.played(t, "a", 820)
    assert agent.playback.heard_ms("a") == 820
    assert agent.heard() == [(1.18, 2.0)]


def test_a_reply_thought_to_be_over_was_still_playing_when_it_was_cut() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    assert agent.playback.barge_in(2.1) == []
    agent.say(2.12, "a", tone(0.5))
    assert agent.playback.played(2.05, "a", 800) == [Cut("a", near(850, 0.1))]
    assert agent.heard() == [(1.25, 2.1)]


def test_what_was_muted_was_played_all_the_same() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.playback.mute(1.2, "a")
    agent.say(1.3, "a", tone(1))
    assert agent.playback.played(2.5, "a", 1500) == [Cut("a", 1500)]
    assert agent.heard() == [(1.0, 2.5)]


@pytest.mark.parametrize("heard_ms", [200, 900, 1400])
def test_a_truncation_is_the_last_word_before_and_after_positions(heard_ms: int) -> None:
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


def test_a_truncation_that_says_more_makes_room_for_it() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.barge_in(2.0)
    agent.say(3.0, "b", tone(1))
    agent.playback.truncate(3.1, "a", 2500)
    assert agent.playback.begins("b") == 3.5
    assert agent.heard() == [(1.0, 4.5)]


def test_a_late_truncation_of_a_long_reply_that_was_moved() -> None:
    agent = Agent()
    for second in range(1, 61):
        agent.say(second, "a", tone(1.5))
        agent.playback.played(second + 0.68, "a", second * 1000 - 500)
    assert agent.heard() == [(near(1.18, 0.03), near(91.18, 0.03))]
    agent.playback.barge_in(61.5)
    agent.playback.truncate(70.0, "a", 60_000)
    [(start, end)] = agent.heard()
    assert (start, end) == (near(1.18, 0.03), near(61.18, 0.03))


def test_what_is_queued_at_the_end_was_not_heard_wherever_it_is() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.say(1.0, "b", tone(1))
    agent.playback.played(1.9, "a", 500)
    assert agent.playback.barge_in(2.5, final=True) == [Cut("b", near(100, 0.1))]
    assert agent.heard() == [(1.4, 2.5)]


@settings(properties, max_examples=30)
@given(seed=st.integers(0, 1000), lag=st.sampled_from([0.08, 0.18, 0.6]), jitter=st.sampled_from([0.0, 0.015]))
def test_a_phone_that_plays_later_than_it_is_sent_is_cut_where_it_was(seed: int, lag: float, jitter: float) -> None:
    dice, agent, sound = random.Random(seed), Agent(), numbered(4 * RATE)
    agent.say(1.0, "a", sound)
    spoken = dice.uniform(0.5, 3.9)
    for ms in range(200, round(spoken * 1000), 200):
        agent.playback.played(1 + lag + ms / 1000 + dice.uniform(0, jitter), "a", ms)
    [cut] = agent.playback.barge_in(1 + lag + spoken)
    assert cut.heard_ms == near(spoken * 1000, 20)
    agent.playback.truncate(1 + lag + spoken + 0.05, "a", round(spoken * 1000))
    times = agent.playback.begins("a"), agent.playback.playing_until("a")
    assert times == (near(1 + lag, 0.021), near(1 + lag + spoken, 0.021))
    heard = agent.channel()[np.flatnonzero(agent.channel())]
    assert np.array_equal(heard, sound[: len(heard)])


# Where the server says what it plays


def test_a_reply_the_server_began_later_plays_from_there() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    assert agent.playback.item_started(1.4, "a") == []
    agent.say(1.5, "a", tone(1))
    assert agent.playback.item_started(1.5, "unknown") is None
    assert agent.heard() == [(1.4, 4.4)]
    agent.playback.item_ended(4.41, "a")
    agent.playback.item_ended(4.41, "unknown")
    assert agent.heard() == [(1.4, 4.4)]


def test_a_reply_the_server_began_sooner_ends_the_one_before() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.played(2.5, "a", 1000)
    agent.say(2.0, "b", tone(1))
    agent.playback.item_ended(3.1, "a")
    agent.playback.item_started(3.1, "b")
    assert agent.heard() == [(near(1.1), near(4.1))]


def test_nothing_is_heard_after_the_server_ended_playing() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(3))
    agent.playback.item_ended(2.0, "a")
    assert agent.heard() == [(1.0, 2.0)]


# Numbers


def test_numbers_outlive_the_sound_they_are_about() -> None:
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


def test_the_items_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAST_ITEMS", 5)
    agent = Agent()
    for t in range(100):
        agent.say(t, f"at {t}", tone(0.1))
    assert len(agent.playback._past_items) == 5


# Whatever comes in whatever order

HZ = 1000
WORDS = ("chunk", "played", "cut", "truncate", "refused", "mute", "begins", "ends")
STEP = st.tuples(
    st.sampled_from([0.0, 0.005, 0.03, 0.2, 1.0]),
    st.sampled_from([*WORDS, "chunk", "chunk", "played", "played"]),
    st.sampled_from("abc"),
    st.sampled_from([0, 20, 50, 100, 500, 1000]) | st.integers(0, 3000),
    st.sampled_from([0.0, 0.0, 0.1, 0.6]),
)


@settings(properties, max_examples=300)
@given(steps=st.lists(STEP, max_size=15))
def test_in_any_order_each_item_is_heard_from_its_beginning_and_alone(
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

    for wait, word, item_id, number, ago in steps:
        t += wait
        if word == "chunk":
            playback.add(t, item_id, numbered(number, len(arrived[item_id]) + 1) % 9000 + base[item_id])
            arrived[item_id] += [round(t * HZ)] * number
        elif word == "played":
            playback.played(max(0, t - ago), item_id, number)
        elif word == "cut":
            playback.barge_in(t)
        elif word == "truncate":
            playback.truncate(t, item_id, number)
            assert playback.heard_ms(item_id) == min(number, len(arrived[item_id]))
        elif word == "refused":
            playback.undo_truncation(item_id)
        else:
            tell = {"mute": playback.mute, "begins": playback.item_started, "ends": playback.item_ended}[word]
            tell(t, item_id)
        write()
        for known, came in arrived.items():
            places = np.flatnonzero((channel // 10_000 == base[known] // 10_000) & (channel != 0))
            assert np.array_equal(channel[places], numbered(len(places)) % 9000 + base[known]), "from its beginning"
            assert playback.heard_ms(known) == len(places)
            assert (places - came[: len(places)] >= -TOLERANCE_S * HZ).all(), "not before it arrived"
            if len(places):
                assert playback.begins(known) == places[0] / HZ
                assert playback.playing_until(known) == (places[-1] + 1) / HZ
    playback.barge_in(t, final=True)
    write()
    assert not channel[round(t * HZ) :].any()

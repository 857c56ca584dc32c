"""The agent's speech: where it is played, and what of it was heard after a barge-in or a truncation."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.audio.playback import Cut, Playback
from tests.audio_kit import RATE, laid_out, near, numbered, properties, stretches, tone

if TYPE_CHECKING:
    from langsmith_realtime.audio.formats import Samples

DELTA = 4800  # 200 ms


class Agent:
    """Says things, and remembers every write."""

    def __init__(self) -> None:
        self.playback = Playback(RATE)

    def say(self, t: float, item_id: str, sound: Samples, delta: int = DELTA) -> None:
        """All of it within a few milliseconds, as servers do."""
        for index, begin in enumerate(range(0, len(sound), delta)):
            self.playback.chunk(t + index * 0.001, item_id, sound[begin : begin + delta])

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
    agent.playback.chunk(1.8, "a", tone(0))
    assert agent.heard() == [(1.0, 1.2), (1.5, 1.7)]


@properties
@given(seed=st.integers(0, 1000))
def test_a_client_that_hands_over_what_it_plays_while_it_plays_gives_no_clicks(seed: int) -> None:
    dice, agent = random.Random(seed), Agent()
    for index in range(200):
        agent.playback.chunk(1 + index * 0.02 + dice.uniform(0, 0.009), "a", tone(0.02))
    [(start, end)] = agent.heard()
    assert (start, end) == (near(1.0, 0.01), near(5.0, 0.01))


def test_a_barge_in_cuts_what_is_still_to_be_played() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.say(1.0, "b", tone(1))
    agent.say(1.0, "c", tone(1))
    assert agent.playback.cut(2.25) == [Cut("b", 250.0), Cut("c", 0.0)]
    assert agent.heard() == [(1.0, 2.25)]
    assert agent.playback.playing_until("b") == 2.25
    assert agent.playback.playing_until("c") is None
    assert agent.playback.cut(2.25) == []


def test_what_arrives_of_an_item_after_its_cut_is_not_heard_and_takes_no_time() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(1))
    agent.playback.cut(1.5)
    agent.say(1.6, "a", tone(3))
    agent.say(2.0, "b", tone(1))
    assert agent.heard() == [(1.0, 1.5), (2.0, 3.0)]


def test_an_item_muted_before_its_first_delta_is_never_heard() -> None:
    agent = Agent()
    agent.playback.mute(1.0, "a")
    agent.say(1.0, "a", tone(2))
    agent.say(1.5, "b", tone(1))
    assert agent.heard() == [(1.5, 2.5)]
    assert agent.playback.cut(2.0) == [Cut("b", 500.0)]


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
    [cut] = agent.playback.cut(1.0 + cut_s)
    assert cut.heard_ms == near(cut_s * 1000, 0.1)
    assert agent.playback.truncate(1.0 + cut_s, "a", heard_ms) == Cut("a", heard_ms)
    if refused:
        assert agent.playback.truncation_refused("a") == cut
    heard = round(cut.heard_ms * RATE / 1000) if refused else heard_ms * RATE // 1000
    wanted = np.r_[np.zeros(RATE, np.int16), sound[:heard], np.zeros(5 * RATE - heard, np.int16)]
    channel = agent.channel()
    assert np.array_equal(channel, wanted[: len(channel)])
    assert not wanted[len(channel) :].any()


def test_a_refused_truncation_gives_back_the_whole_reply() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.truncate(1.5, "a", 500)
    assert agent.playback.truncation_refused("a") is None
    agent.say(1.6, "a", tone(1))
    assert agent.heard() == [(1.0, 4.0)]
    assert agent.playback.truncation_refused("a") is None
    assert agent.playback.truncation_refused("never heard of") is None
    assert agent.heard() == [(1.0, 4.0)]


def test_a_barge_in_between_a_truncation_and_its_refusal_counts_once_it_is_refused() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(5))
    agent.playback.truncate(2.0, "a", 900)
    assert agent.playback.cut(2.1) == []  # the truncation knows better
    assert agent.heard() == [(1.0, 1.9)]
    assert agent.playback.truncation_refused("a") == Cut("a", 1100.0)
    assert agent.heard() == [(1.0, 2.1)]


def test_a_second_truncation_refused_leaves_the_first() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.truncate(2.0, "a", 900)
    agent.playback.truncate(2.0, "a", 9000)
    assert agent.playback.truncation_refused("a") == Cut("a", 900.0)
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
    assert agent.playback.cut(2.0, final=True) == [Cut("a", 1000.0)]
    assert agent.heard() == [(1.0, 2.0)]


def test_what_was_played_before_a_moment_counts_whether_it_was_heard_or_not() -> None:
    agent = Agent()
    agent.say(1.0, "a", tone(2))
    agent.playback.cut(1.5)
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
        held = max(held, sum(len(samples) for item in items for *_, samples in item.chunks))
        assert len(items) < 40
    assert held <= (Playback.MEMORY + 3) * RATE


def test_a_reply_longer_than_the_memory_is_still_cut_where_it_is_playing() -> None:
    agent = Agent()
    for second in range(1, 61):
        agent.say(second, "a", tone(1.5))  # 90 s within a minute
    assert agent.playback.cut(62.0) == [Cut("a", 61_000.0)]
    assert agent.heard() == [(1.0, 62.0)]
    assert agent.playback.truncate(62.1, "a", 60_500) == Cut("a", 60_500.0)
    assert agent.heard() == [(1.0, 61.5)]
    agent.playback.truncate(62.1, "a", 0)  # what is forgotten cannot be taken back
    [(start, end)] = agent.heard()
    assert (start, end) == (1.0, near(60 - Playback.MEMORY, 1))  # as of the last delta

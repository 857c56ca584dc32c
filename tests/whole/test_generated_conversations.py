"""Generated conversations, mutated as servers do, keep the invariants of a trace."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.support.fed_session import FedSession
from tests.support.generated_conversations import (
    MUTATIONS,
    WIRES,
    Conversation,
    Plan,
    Turn,
    assert_calls,
    assert_latencies,
    assert_sounds,
    assert_tokens,
    assert_words,
    build,
    check,
    fed,
    plans,
)

#: Every kind of turn: an answer that is interrupted, a call without and with words before it, and a typed turn.
EVERYTHING = Plan(
    (
        Turn(interrupted=True, answer=12),
        Turn(tool="silent", transcript="early"),
        Turn(tool="spoken", transcript="late"),
        Turn(typed=True),
    )
)
#: The user speaks, types and speaks again.
TYPED_BETWEEN = Plan(tuple(Turn(typed=typed, speech=4, think=1, answer=5, words=1) for typed in (False, True, False)))


def examples(number: int) -> settings:
    """Returns settings with equal examples in each run, so that only a change of the code can make one fail."""
    phases = (Phase.explicit, Phase.generate, Phase.shrink)
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=True,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.newest  # the other tests cover the differences between versions
@pytest.mark.nocover
@examples(200)
@given(plans())
def test_200_conversations_keep_the_invariants(plan: Plan) -> None:
    check(plan)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@examples(10_000)
@given(plans())
def test_10_000_conversations_keep_the_invariants(plan: Plan) -> None:
    check(plan)


ALONE = [(name,) for name in (*MUTATIONS, *WIRES)]
TOGETHER = [
    ("no output_item events", "no output in response.done"),
    ("no items in the conversation of the agent", "no output in response.done"),
]


@pytest.mark.parametrize("names", [*ALONE, *TOGETHER], ids=", ".join)
def test_each_mutation_and_each_format_keeps_the_invariants(names: tuple[str, ...]) -> None:
    wire = next((name for name in names if name in WIRES), EVERYTHING.wire)
    mutations = tuple(name for name in names if name in MUTATIONS)
    for plan in (EVERYTHING, TYPED_BETWEEN):
        check(dataclasses.replace(plan, wire=wire, mutations=mutations))


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_each_mutation_changes_what_is_sent(name: str) -> None:
    mutated = dataclasses.replace(EVERYTHING, mutations=(name,))
    assert build(mutated).steps != build(EVERYTHING).steps or name == "a microphone that is gated"


# A wrong trace breaks each invariant.


def _swap_words(truth: Conversation) -> None:
    (_, user), (_, agent) = truth.said[:2]
    truth.said[:2] = [("user", agent), ("assistant", user)]


def _say_a_word_twice(truth: Conversation) -> None:
    truth.said[0][1].append(truth.said[0][1][0])


def _forget_a_call(truth: Conversation) -> None:
    truth.calls.pop()


def _count_a_token_more(truth: Conversation) -> None:
    truth.tokens["input_audio_tokens"] += 1


def _move_a_sound(truth: Conversation) -> None:
    sound = truth.sounds[0]
    truth.sounds[0] = dataclasses.replace(sound, begin=sound.begin + 0.03, end=sound.end + 0.03)


def _change_a_pitch(truth: Conversation) -> None:
    truth.sounds[0] = dataclasses.replace(truth.sounds[0], hz=1_300)


def _forget_a_sound(truth: Conversation) -> None:
    truth.sounds.pop(0)


def _change_a_latency(truth: Conversation) -> None:
    truth.latencies["resp_1"] = (truth.latencies["resp_1"] or 0.0) + 0.06


def _forget_a_latency(truth: Conversation) -> None:
    truth.latencies["resp_1"] = None


def _expect_a_latency(truth: Conversation) -> None:
    truth.latencies["resp_2"] = 1.0


def _change_a_reaction(truth: Conversation) -> None:
    truth.reactions["resp_1"] += 0.06


@pytest.mark.parametrize(
    ("check_of", "falsify"),
    [
        (assert_words, _swap_words),
        (assert_words, _say_a_word_twice),
        (assert_calls, _forget_a_call),
        (assert_tokens, _count_a_token_more),
        (assert_sounds, _move_a_sound),
        (assert_sounds, _change_a_pitch),
        (assert_sounds, _forget_a_sound),
        (assert_latencies, _change_a_latency),
        (assert_latencies, _forget_a_latency),
        (assert_latencies, _expect_a_latency),
        (assert_latencies, _change_a_reaction),
    ],
)
def test_a_trace_that_differs_from_the_truth_breaks_an_invariant(
    check_of: Callable[[FedSession, Conversation], None], falsify: Callable[[Conversation], None]
) -> None:
    truth = build(EVERYTHING)
    session = fed(EVERYTHING, truth)
    check_of(session, truth)
    falsify(truth)
    with pytest.raises(AssertionError):
        check_of(session, truth)

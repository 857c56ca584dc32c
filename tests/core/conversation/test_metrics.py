"""The numbers of a whole conversation."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.core.audio.activity import Activity
from langsmith_realtime.core.conversation.numbers.metric_names import LATENCIES, NAMES, SCORES
from langsmith_realtime.core.conversation.numbers.metrics import percentile, response_metrics, scores, talk_metrics
from langsmith_realtime.core.protocol.usage import MODALITIES, Usage
from langsmith_realtime.delivery.operations import MissingReason
from tests import ROOT
from tests.support.driven_conversation import DrivenConversation, sound

pytestmark = pytest.mark.newest

RATE = 1000


# Latencies


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([7], 50, 7),
        ([7], 95, 7),
        ([1, 2], 50, 1),
        ([1, 2], 95, 2),
        ([3, 1, 2], 50, 2),
        (list(range(1, 20)), 95, 19),
        (list(range(1, 21)), 95, 19),
        (list(range(1, 101)), 95, 95),
        ([5, 6], 0, 5),
        ([5, 6], 100, 6),
    ],
)
def test_a_percentile_is_the_value_at_its_nearest_rank(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


def test_a_percentile_of_no_values_raises() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        percentile([], 50)


@given(st.lists(st.integers(0, 10_000), min_size=1), st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_enough_values_do_not_exceed(values: list[int], percent: int) -> None:
    found = percentile(values, percent)
    needed = math.ceil(percent * len(values) / 100)
    assert found in values
    assert sum(value <= found for value in values) >= needed > sum(value < found for value in values)


def test_percentiles_are_over_the_responses_that_have_the_latency() -> None:
    responses: list[dict[str, Any]] = [
        {"latency_to_first_audio_ms": 400, "voice_to_voice_ms": 700, "time_to_first_token_ms": 300},
        {"latency_to_first_audio_ms": 900, "barge_in_reaction_ms": 120},
        {"response_id": "without audio"},
        {"latency_to_first_audio_ms": 500},
    ]
    assert response_metrics(responses) == {
        "latency_to_first_audio_p50_ms": 500,
        "latency_to_first_audio_p95_ms": 900,
        "latency_to_first_audio_max_ms": 900,
        "voice_to_voice_p50_ms": 700,
        "voice_to_voice_p95_ms": 700,
        "voice_to_voice_max_ms": 700,
        "time_to_first_token_p50_ms": 300,
        "time_to_first_token_p95_ms": 300,
        "time_to_first_token_max_ms": 300,
        "barge_in_reaction_p50_ms": 120,
        "barge_in_reaction_p95_ms": 120,
        "barge_in_reaction_max_ms": 120,
    }


def test_without_responses_there_are_no_numbers() -> None:
    assert response_metrics([]) == {}
    assert response_metrics([{"latency_to_first_audio_ms": None, "spoken_ms": 0, "heard_ms": 0}]) == {}


def test_the_heard_share_is_total_heard_by_total_spoken() -> None:
    responses: list[dict[str, Any]] = [
        {"spoken_ms": 9000, "heard_ms": 9000},
        {"spoken_ms": 1000, "heard_ms": 0},
        {"spoken_ms": 5000},  # not counted, because heard_ms is missing
    ]
    assert response_metrics(responses) == {"heard_share": 0.9}
    assert response_metrics([{"spoken_ms": 1000, "heard_ms": 1003}]) == {"heard_share": 1.0}


# Talk


def audible(*spans: tuple[float, float]) -> Activity:
    """A channel that is audible in these spans, given in seconds."""
    activity = Activity(RATE)
    for begin, end in spans:
        activity.write(round(begin * RATE), np.full(round((end - begin) * RATE), 8000, dtype=np.int16))
    return activity


def test_talk_overlap_and_silence_are_in_seconds() -> None:
    user, agent = audible((1.0, 3.0), (8.0, 9.0)), audible((2.5, 6.0))
    assert talk_metrics(user, agent, 10.0) == {
        "user_talk_s": 3.0,
        "agent_talk_s": 3.5,
        "overlap_s": 0.5,
        "silence_s": 4.0,
        "longest_silence_s": 2.0,
    }


def test_a_pause_shorter_than_300_ms_counts_as_talk() -> None:
    numbers = talk_metrics(audible((0.0, 1.0), (1.25, 2.0)), audible((4.0, 5.0), (5.5, 6.0)), 6.0)
    assert (numbers["user_talk_s"], numbers["agent_talk_s"]) == (2.0, 1.5)
    assert (numbers["silence_s"], numbers["longest_silence_s"]) == (2.5, 2.0)


def test_a_side_that_was_not_recorded_has_no_talk_time() -> None:
    assert talk_metrics(None, audible((1.0, 2.0)), 4.0) == {
        "agent_talk_s": 1.0,
        "silence_s": 3.0,
        "longest_silence_s": 2.0,
    }
    assert talk_metrics(audible((1.0, 2.0)), None, 2.0) == {
        "user_talk_s": 1.0,
        "silence_s": 1.0,
        "longest_silence_s": 1.0,
    }
    assert talk_metrics(None, None, 4.0) == {}


def test_a_side_that_was_recorded_and_silent_has_talk_time_0() -> None:
    assert talk_metrics(audible(), audible((0.0, 2.0)), 2.0) == {
        "user_talk_s": 0,
        "agent_talk_s": 2.0,
        "overlap_s": 0,
        "silence_s": 0,
        "longest_silence_s": 0,
    }


SPANS = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 100)), max_size=8)


@given(SPANS, SPANS, st.integers(1, 500))
def test_talk_and_silence_add_up_to_the_duration(
    user: list[tuple[int, int]], agent: list[tuple[int, int]], deciseconds: int
) -> None:
    sides = [audible(*((begin / 10, (begin + length) / 10) for begin, length in side)) for side in (user, agent)]
    duration = deciseconds / 10
    numbers = talk_metrics(sides[0], sides[1], duration)
    talk = numbers["user_talk_s"] + numbers["agent_talk_s"] - numbers["overlap_s"]
    assert talk + numbers["silence_s"] == pytest.approx(duration, abs=0.01)
    assert 0 <= numbers["longest_silence_s"] <= numbers["silence_s"] + 0.001
    assert 0 <= numbers["overlap_s"] <= min(numbers["user_talk_s"], numbers["agent_talk_s"]) + 0.001


# Scores


def test_scores_are_the_requested_numbers_that_exist() -> None:
    metadata = {"turns": 3, "errors": 0, "voice_to_voice_p50_ms": 640, "model": "gpt-realtime", "duration_s": 61.2}
    assert scores(metadata, SCORES) == {"turns": 3, "errors": 0, "voice_to_voice_p50_ms": 640}
    assert scores(metadata, {"duration_s", "model", "silence_s"}) == {"duration_s": 61.2}
    assert scores(metadata, ()) == {}


def test_an_incomplete_cost_is_not_a_score() -> None:
    metadata = {"estimated_cost_usd": 0.1, "estimated_cost_incomplete": ["unknown"]}
    assert scores(metadata, SCORES) == {}
    assert scores({"estimated_cost_usd": 0.1}, SCORES) == {"estimated_cost_usd": 0.1}


def test_the_default_scores_are_names_of_numbers() -> None:
    assert set(SCORES) < set(NAMES)
    assert {f"{name}_p95_ms" for name in LATENCIES} < set(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_every_sum_of_tokens_can_be_a_score() -> None:
    usage, kinds = Usage(), dict.fromkeys(("text_tokens", "audio_tokens", "image_tokens"), 1)
    given = {**kinds, "cached_tokens": 3, "cached_tokens_details": kinds}
    made = {**kinds, "reasoning_tokens": 1}
    counts = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    usage.add_response("gpt-realtime", {**counts, "input_token_details": given, "output_token_details": made})
    usage.add_transcription("whisper-1", {"seconds": 1})
    usage.add_transcription("gpt-4o-transcribe", {"input_tokens": 1, "output_tokens": 1})
    assert set(usage.totals()) == {*(name for name in NAMES if name.endswith("_tokens")), "transcription_seconds"}


# In a conversation


def test_a_spoken_conversation_has_latencies_and_talk_times() -> None:
    driven = DrivenConversation()
    for piece in range(1, 101):
        driven.client("input_audio_buffer.append", at=piece * 0.02, audio=sound(0.02))
    driven.spoken(None)
    driven.begins("resp_1")
    driven.says("resp_1", "Sunny.", "a", seconds=1.0)
    driven.ends("resp_1")
    driven.close(at=6.0)
    numbers = driven.conversation.numbers()
    (response,) = driven.conversation._state.response_numbers
    for name in LATENCIES[:3]:
        assert [numbers[f"{name}_{which}_ms"] for which in ("p50", "p95", "max")] == [response[f"{name}_ms"]] * 3
    assert "barge_in_reaction_p50_ms" not in numbers
    assert numbers["heard_share"] == 1.0
    assert numbers["user_talk_s"] == pytest.approx(2.0, abs=0.05)
    assert numbers["agent_talk_s"] == pytest.approx(1.0, abs=0.05)
    assert numbers["silence_s"] == pytest.approx(3.0, abs=0.1)
    assert numbers["longest_silence_s"] == pytest.approx(2.9, abs=0.1)
    assert set(SCORES) - set(numbers) == {"estimated_cost_usd"}


def test_a_typed_conversation_has_no_talk_times() -> None:
    driven = DrivenConversation()
    driven.typed("Weather in Paris?")
    driven.begins("resp_1")
    driven.says("resp_1", "Sunny.", "a")
    driven.ends("resp_1")
    driven.close(at=2.0)
    numbers = driven.conversation.numbers()
    assert not [name for name in numbers if name.endswith("_s") or name.startswith(("voice", "latency", "heard"))]
    assert "time_to_first_token_p50_ms" in numbers


# Documentation

METADATA_KEY = re.compile(r"""\b(?:metadata|said|numbers|estimate)\["(\w+)"\] = |metadata=\{"(\w+)":""")


def _snapshot_keys(node: dict[str, Any]) -> set[str]:
    return set(node.get("metadata", {})).union(*map(_snapshot_keys, node.get("children", [])))


def _documented_patterns() -> set[str]:
    """The keys that docs/numbers.md documents as one pattern with a part in angle brackets."""
    tokens = {f"{what}_{kind}_tokens" for what in ("input", "output", "cached") for kind in MODALITIES}
    return tokens | {f"{name}_{which}_ms" for name in LATENCIES for which in ("p50", "p95", "max")}


def test_every_key_of_the_metadata_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "numbers.md").read_text(encoding="utf-8")))
    snapshot = json.loads((ROOT / "tests" / "whole" / "snapshots" / "conversation.json").read_text(encoding="utf-8"))
    package = ROOT / "langsmith_realtime"
    modules = set(package.rglob("*.py")) - {package / "journal" / "lines.py"}  # metadata of a file
    modules -= {path for other in ("collector", "testing") for path in (package / other).rglob("*.py")}
    sources = "".join(path.read_text(encoding="utf-8") for path in modules)
    found = {key for groups in METADATA_KEY.findall(sources) for key in groups if key}
    assert {"reconnections", "audio_truncated", "malformed_frames", "server_label"} <= found
    by_name = {*NAMES, *(f"{name}_ms" for name in LATENCIES), *(lack.value for lack in MissingReason)}
    foreign = {"shop", "ls_method"}  # set by the application, and by `@traceable`
    assert found | by_name | _snapshot_keys(snapshot) <= documented | _documented_patterns() | foreign

"""The usage, the model and the session's configuration of responses, as servers of all kinds report them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.conversation.run_data import ModelRun
from langsmith_realtime.core.protocol.prices import PRICES, Price
from tests import ROOT
from tests.support.driven_conversation import DrivenConversation, sound

CASES = ROOT / "../shared/cases"
GREETER = {"instructions": "Greet.", "tools": [{"type": "function", "name": "transfer"}], "voice": "ash"}
USAGE = {
    "input_tokens": 30,
    "output_tokens": 10,
    "total_tokens": 40,
    "input_token_details": {"text_tokens": 10, "audio_tokens": 20},
    "output_token_details": {"text_tokens": 4, "audio_tokens": 6},
}


def call(**options: Any) -> DrivenConversation:
    """A conversation of which the server has said nothing so far."""
    driven = DrivenConversation(set_up=False)
    driven.conversation = Conversation(**options)
    return driven


def model_runs(driven: DrivenConversation) -> list[ModelRun]:
    return [run for run in driven.happened if isinstance(run, ModelRun)]


def respond(driven: DrivenConversation, response_id: str, usage: object = None, **response: Any) -> None:
    driven.server("response.created", response={"id": response_id, "conversation_id": "c"})
    driven.server(
        "response.done",
        response={"id": response_id, "status": "completed", "conversation_id": "c", "usage": usage, **response},
    )


def played_case(name: str) -> DrivenConversation:
    """The conversation of a case, closed. A tone in it is other sound here."""
    path = Path(CASES, name, "input.jsonl")
    if not path.exists():
        pytest.skip(f"no case {name}")

    def filled(value: dict[str, Any]) -> Any:
        return sound(value["$sound"]) if "$sound" in value else value

    driven = call()
    for line in path.read_text("utf-8").splitlines():
        step = json.loads(line, object_hook=filled)
        name = step["event"].pop("type")
        (driven.server if step["dir"] == "server" else driven.client)(
            name, at=driven.t + step["after"], **step["event"]
        )
    driven.close()
    return driven


# The usage


def test_usage_beside_the_response_is_that_of_the_response() -> None:
    driven = played_case("01-xai-top-level-usage")
    (run,) = model_runs(driven)
    assert run.usage == {
        "input_tokens": 9,
        "output_tokens": 70,
        "total_tokens": 79,
        "input_token_details": {"audio": 0, "text": 9},
        "output_token_details": {"audio": 64, "text": 6},
    }
    numbers = driven.conversation.numbers()
    assert [numbers[f"{side}_tokens"] for side in ("input", "output", "total")] == [9, 70, 79]


def test_usage_of_a_transcription_event_of_another_name_is_counted() -> None:
    numbers = played_case("07-vllm-realtime").conversation.numbers()
    assert numbers["transcription_input_tokens"] + numbers["transcription_output_tokens"] == 34


def test_a_transcription_session_has_the_price_of_its_model() -> None:
    numbers = played_case("08-transcription-session-beta").conversation.numbers()
    assert numbers["estimated_cost_usd"] == 0.000135
    assert "estimated_cost_incomplete" not in numbers


@pytest.mark.parametrize("before_done", [True, False])
def test_usage_in_an_event_of_its_own_belongs_to_the_response_that_it_names(before_done: bool) -> None:
    driven = DrivenConversation()
    driven.spoken("Hello.")
    driven.server("response.created", response={"id": "r", "conversation_id": "c"})
    if before_done:
        driven.server("response.usage", response_id="r", usage=USAGE)
    driven.server("response.done", response={"id": "r", "status": "completed"}, usage=None if before_done else USAGE)
    driven.close()
    (run,) = model_runs(driven)
    assert run.usage is not None
    assert run.usage["total_tokens"] == driven.conversation.numbers()["total_tokens"] == 40


def test_usage_that_is_reported_twice_is_counted_once() -> None:
    driven = DrivenConversation()
    driven.server("response.created", response={"id": "r"})
    driven.server("response.output_item.done", response_id="r", item={"id": "a"}, usage={"output_tokens": 3})
    driven.server("response.done", response={"id": "r", "status": "completed", "usage": USAGE}, usage=USAGE)
    driven.close()
    assert driven.conversation.numbers()["total_tokens"] == 40


@pytest.mark.parametrize("later", [0.0, 30.0], ids=["before its run", "after its run"])
def test_a_response_that_ends_twice_is_one_model_run_and_counted_once(later: float) -> None:
    driven = DrivenConversation()
    driven.server("response.created", response={"id": "r"})
    done = {"id": "r", "status": "completed", "usage": USAGE}
    driven.server("response.done", response=done)
    driven.server("response.done", at=driven.t + later, response=done)
    driven.close()
    assert len(model_runs(driven)) == 1
    assert driven.conversation.numbers()["total_tokens"] == 40
    assert [run.name for run in driven.events].count("response.done") == 2


# A transcription that is completed several times


def test_a_transcription_in_progress_is_neither_final_nor_counted() -> None:
    driven = DrivenConversation(transcribes=True)
    driven.spoken(None, "u")
    respond(driven, "r")
    name = "conversation.item.input_audio_transcription.completed"
    driven.server(name, item_id="u", transcript="I want", status="in_progress", usage={"seconds": 1})
    driven.server(name, item_id="u", transcript="I want a", item={"status": "in_progress"}, usage={"seconds": 2})
    assert model_runs(driven) == []
    driven.server(name, item_id="u", transcript="I want a table.", status="completed", usage={"seconds": 3})
    (run,) = model_runs(driven)
    assert run.inputs == [{"role": "user", "content": "I want a table."}]
    assert driven.conversation.numbers()["transcription_seconds"] == 3


def test_a_transcription_in_progress_is_shown_if_no_other_one_comes() -> None:
    driven = DrivenConversation(transcribes=True)
    driven.spoken(None, "u")
    name = "conversation.item.input_audio_transcription.completed"
    driven.server(name, item_id="u", transcript="I want", status="in_progress")
    driven.close()
    assert [message["content"] for message in driven.conversation.messages()] == ["I want"]


def test_a_final_transcription_stays_when_an_older_one_comes_late() -> None:
    driven = DrivenConversation(transcribes=True)
    driven.spoken("A table.", "u")
    name = "conversation.item.input_audio_transcription.completed"
    driven.server(name, item_id="u", transcript="A", status="in_progress")
    assert [message["content"] for message in driven.conversation.messages()] == ["A table."]


# The instructions, the tools and the voice then


def test_responses_before_the_hand_over_is_confirmed_have_the_greeters_instructions() -> None:
    driven = played_case("21-handoff-mid-call")
    assert [run.role for run in model_runs(driven)] == [{}, {}]
    inputs = driven.conversation.inputs()
    assert inputs["instructions"] == "You are the greeter."
    assert [tool["name"] for tool in inputs["tools"]] == ["transfer_to_form"]
    assert driven.conversation.numbers()["session_changes"] == 1


def test_each_response_tells_what_differs_from_the_root() -> None:
    driven = call()
    driven.server("session.created", session={"id": "s", "model": "gpt-realtime", **GREETER})
    respond(driven, "r1")
    driven.server("session.updated", session={"id": "s", "instructions": "Take the order."})
    respond(driven, "r2")
    driven.server("session.updated", session={"id": "s", "tools": [], "voice": "sage"})
    respond(driven, "r3")
    driven.server("session.updated", session={"id": "s", **GREETER})
    respond(driven, "r4")
    driven.server("session.updated", session={"id": "s", "temperature": 0.7})
    driven.close()
    order = {"instructions": "Take the order."}
    assert [run.role for run in model_runs(driven)] == [{}, order, {**order, "tools": [], "voice": "sage"}, {}]
    assert driven.conversation.numbers()["session_changes"] == 3
    assert {key: driven.conversation.inputs()[key] for key in GREETER} == GREETER


def test_a_change_during_a_response_is_that_of_the_next_one() -> None:
    driven = call()
    driven.server("session.created", session={"id": "s", **GREETER})
    driven.server("response.created", response={"id": "r1", "conversation_id": "c"})
    driven.server("session.updated", session={"id": "s", "instructions": "Say goodbye."})
    driven.server("response.done", response={"id": "r1", "status": "completed", "conversation_id": "c"})
    respond(driven, "r2")
    driven.close()
    assert [run.role for run in model_runs(driven)] == [{}, {"instructions": "Say goodbye."}]


def test_what_changes_before_the_first_response_is_no_change() -> None:
    driven = call()
    driven.server("session.created", session={"id": "s", "instructions": "You are helpful.", "voice": "alloy"})
    driven.server("session.updated", session={"id": "s", **GREETER})
    respond(driven, "r1")
    driven.close()
    assert "session_changes" not in driven.conversation.numbers()
    assert driven.conversation.inputs()["instructions"] == "Greet."
    assert [run.role for run in model_runs(driven)] == [{}]


def test_a_response_with_a_voice_of_its_own_tells_it() -> None:
    driven = call()
    driven.server("session.created", session={"id": "s", "audio": {"output": {"voice": "ash", "speed": 1.0}}})
    respond(driven, "r1", audio={"output": {"voice": "coral"}})
    respond(driven, "r2", audio={"output": {"voice": None}}, voice="ash")
    respond(driven, "r3")
    driven.close()
    assert [run.role for run in model_runs(driven)] == [{"voice": "coral"}, {}, {}]


def test_parameters_are_those_of_the_response_then_of_the_session() -> None:
    driven = call()
    driven.server(
        "session.created",
        session={"id": "s", "temperature": 0.8, "max_response_output_tokens": "inf", "tool_choice": "auto"},
    )
    respond(driven, "r1", temperature=0.6, max_output_tokens=100)
    driven.server("session.updated", session={"id": "s", "temperature": 1.0})
    respond(driven, "r2")
    driven.close()
    first, second = (run.parameters for run in model_runs(driven))
    assert (first["temperature"], first["max_output_tokens"], first["tool_choice"]) == (0.6, 100, "auto")
    assert (second["temperature"], second["max_response_output_tokens"]) == (1.0, "inf")


# The model of a sideband


def cost_of(driven: DrivenConversation) -> dict[str, Any]:
    return {key: value for key, value in driven.conversation.numbers().items() if key.startswith("estimated_cost")}


FLAGSHIP_COST = (10 * 4 + 20 * 32 + 4 * 16 + 6 * 64) / 1_000_000


def test_without_any_name_the_cost_says_that_the_model_is_unknown() -> None:
    driven = call()
    respond(driven, "r1", USAGE)
    driven.close()
    assert [run.model for run in model_runs(driven)] == [None]
    assert cost_of(driven) == {"estimated_cost_incomplete": ["unknown"]}


def test_the_option_names_the_model_until_the_server_does() -> None:
    driven = call(model="gpt-realtime")
    driven.client("session.update", session={"model": "something-else"})
    respond(driven, "r1", USAGE)
    assert cost_of(driven) == {"estimated_cost_usd": pytest.approx(FLAGSHIP_COST)}
    driven.server("session.updated", session={"model": "gpt-realtime-2"})
    respond(driven, "r2", USAGE)
    driven.close()
    assert [run.model for run in model_runs(driven)] == ["gpt-realtime", "gpt-realtime-2"]


def test_a_model_that_session_updated_names_late_gives_the_whole_cost() -> None:
    driven = call()
    respond(driven, "r1", USAGE)
    driven.server("session.updated", session={"model": "gpt-realtime"})
    respond(driven, "r2", USAGE)
    driven.close()
    assert cost_of(driven) == {"estimated_cost_usd": pytest.approx(2 * FLAGSHIP_COST)}


def test_a_response_that_names_its_model_has_that_model() -> None:
    driven = call(model="gpt-realtime-mini")
    respond(driven, "r1", USAGE, model="gpt-realtime-2025-08-28")
    driven.close()
    assert [run.model for run in model_runs(driven)] == ["gpt-realtime-2025-08-28"]
    assert cost_of(driven) == {"estimated_cost_usd": pytest.approx(FLAGSHIP_COST)}


def test_a_model_that_only_the_client_names_is_used_unless_it_is_refused() -> None:
    driven = call()
    driven.client("session.update", event_id="first", model="gpt-realtime")
    respond(driven, "r1", USAGE)
    driven.server("error", error={"code": "model_not_found", "event_id": "first"})
    respond(driven, "r2")
    driven.close()
    assert [run.model for run in model_runs(driven)] == ["gpt-realtime", None]


def test_a_refusal_of_something_else_leaves_the_model() -> None:
    driven = call()
    driven.client("session.update", session={"model": "gpt-realtime"})
    driven.server("error", error={"code": "invalid_value", "param": "item.content"})
    respond(driven, "r1", USAGE)
    driven.close()
    assert [run.model for run in model_runs(driven)] == ["gpt-realtime"]


# The cost at the application's own prices


def test_a_response_at_the_applications_own_price_tells_its_cost() -> None:
    own = Price(text_input=1, audio_input=2, text_output=3, audio_output=4)
    driven = call(model="mine", prices={**PRICES, "mine": own})
    respond(driven, "r1", USAGE)
    driven.close()
    (run,) = model_runs(driven)
    assert run.usage is not None
    costs = {key: run.usage[key] for key in ("input_cost", "output_cost", "total_cost")}
    assert costs == {"input_cost": 50e-6, "output_cost": 36e-6, "total_cost": 86e-6}
    assert driven.conversation.numbers()["estimated_cost_usd"] == 86e-6


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"gpt-realtime": PRICES["gpt-realtime"]},
        {"gpt-realtime": Price(text_input=1)},
        {"other": Price(text_input=1)},
    ],
)
def test_the_cost_is_not_told_at_published_or_incomplete_prices(own: dict[str, Price]) -> None:
    driven = call(model="gpt-realtime", prices={**PRICES, **own})
    respond(driven, "r1", USAGE)
    driven.close()
    (run,) = model_runs(driven)
    assert run.usage is not None
    assert not [key for key in run.usage if key.endswith("_cost")]

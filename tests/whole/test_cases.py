"""The traces of situations from public reports, each as its ``expected.txt`` says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.cases import CaseTrace, answer_of, case_names, metadata_of, says_what_was_assumed, trace_of


def told_to(model: dict[str, Any]) -> str:
    """Returns what a model run says about its request, as JSON: its inputs and its metadata."""
    return json.dumps([model["inputs"], metadata_of(model)], ensure_ascii=False, default=str)


def usage_of(model: dict[str, Any]) -> dict[str, Any]:
    return dict(metadata_of(model).get("usage_metadata") or {})


def assert_one_piece(
    trace: CaseTrace, side: str, *, hz: int, seconds: float, begin: float | None = None, within: float = 0.02
) -> None:
    """Asserts that the only sound of a side is one tone, of that pitch and length; it may begin anywhere."""
    assert [piece[2] for piece in trace.heard(side)] == [pytest.approx(hz, abs=3)], trace.heard(side)
    ((started, ended, _),) = trace.heard(side)
    assert ended - started == pytest.approx(seconds, abs=within)
    if begin is not None:
        assert started == pytest.approx(begin, abs=within)


def test_every_case_has_a_test() -> None:
    named = set(re.findall(r'trace_of\("([^"]+)"\)', Path(__file__).read_text("utf-8")))
    assert set(case_names()) <= named


def test_01_usage_beside_the_response_is_counted() -> None:
    trace = trace_of("01-xai-top-level-usage")
    (model,) = trace.models
    usage = usage_of(model)
    assert {key: usage.get(key) for key in ("input_tokens", "output_tokens", "total_tokens")} == {
        "input_tokens": 9,
        "output_tokens": 70,
        "total_tokens": 79,
    }
    details = usage.get("output_token_details", {})
    assert (details.get("audio"), details.get("text")) == (64, 6)
    root = trace.metadata
    assert (root.get("input_tokens"), root.get("output_tokens"), root.get("total_tokens")) == (9, 70, 79)


def test_03_a_microphone_at_16_khz_is_heard_at_its_pitch_or_the_root_says_what_was_assumed() -> None:
    trace = trace_of("03-qwen-omni")
    if says_what_was_assumed(trace.metadata):
        return
    assert_one_piece(trace, "user", hz=300, seconds=2.0, begin=1.0, within=0.1)


def test_03_the_agent_is_heard_at_its_pitch() -> None:
    assert_one_piece(trace_of("03-qwen-omni"), "agent", hz=600, seconds=1.2)


def test_03_usage_with_plural_names_is_split_by_modality() -> None:
    (model,) = trace_of("03-qwen-omni").models
    inputs, outputs = (usage_of(model).get(f"{side}_token_details", {}) for side in ("input", "output"))
    assert (inputs.get("audio"), inputs.get("text")) == (110, 240)
    assert (outputs.get("audio"), outputs.get("text")) == (45, 15)


def test_04_responses_without_items_have_their_words_and_calls() -> None:
    first, second = trace_of("04-hf-s2s-no-items").models
    assert answer_of(first)["content"] == "Sure, one moment."
    assert [call["function"]["name"] for call in answer_of(first).get("tool_calls", [])] == ["set_light"]
    assert answer_of(second)["content"] == "The light is on."
    assert (metadata_of(first).get("spoken_ms"), metadata_of(second).get("spoken_ms")) == (800, 1000)


def test_04_the_second_response_was_told_the_users_words_and_the_tools_result() -> None:
    _, second = trace_of("04-hf-s2s-no-items").models
    messages = second["inputs"]["messages"]
    assert any(message["role"] == "tool" and message["content"] == "on" for message in messages)
    assert "Turn the light on." in told_to(trace_of("04-hf-s2s-no-items").models[0]) + told_to(second)


def test_04_the_latency_is_the_silence_between_the_two_sounds() -> None:
    trace = trace_of("04-hf-s2s-no-items")
    silence = trace.heard("agent")[0][0] - trace.heard("user")[-1][1]
    assert silence == pytest.approx(0.58, abs=0.05)
    assert metadata_of(trace.models[0]).get("voice_to_voice_ms") == pytest.approx(silence * 1000, abs=50)


def test_04_the_transcript_has_all_messages_in_order_and_one_turn() -> None:
    trace = trace_of("04-hf-s2s-no-items")
    shape = [(message["role"], bool(message.get("tool_calls"))) for message in trace.messages]
    spoken_with_its_call = [("user", False), ("assistant", True), ("tool", False), ("assistant", False)]
    apart = [("user", False), ("assistant", False), *spoken_with_its_call[1:]]
    assert shape in (spoken_with_its_call, apart)
    assert trace.metadata["turns"] == 1


def test_05_a_refused_result_is_an_error_and_no_answer() -> None:
    (run,) = trace_of("05-tool-output-refused").named("collect_name")
    assert "result refused: invalid_tool_call_id" in str(run.get("error"))
    assert metadata_of(run).get("answered") is False


def test_05_the_accepted_result_is_the_calls_result() -> None:
    trace = trace_of("05-tool-output-refused")
    (run,) = trace.named("get_slots")
    assert trace.seconds(run) == pytest.approx(0.96, abs=0.03)
    content = run["outputs"]["content"]
    assert (json.loads(content) if isinstance(content, str) else content) == [{"id": "1", "start": "10:00"}]
    assert run.get("error") is None


def test_06_each_response_shows_its_own_instructions() -> None:
    first, second = trace_of("06-response-instructions").models
    system = [message["content"] for message in first["inputs"]["messages"] if message["role"] == "system"]
    assert system == ["Greet the caller and ask for the order number."]
    assert '"tool_choice": "none"' in told_to(first)
    assert "Translate." in told_to(second)
    assert "Say it in French." in told_to(second)


def test_06_a_refused_response_leaves_nothing_in_the_others() -> None:
    models = trace_of("06-response-instructions").models
    assert len(models) == 2
    assert not [model for model in models if "Say goodbye." in told_to(model)]


def test_07_errors_have_their_codes_and_messages() -> None:
    errors = [run.get("error") for run in trace_of("07-vllm-realtime").named("error")]
    assert errors == ["model_not_found: Model 'gpt-4o' does not exist", "invalid_audio: the audio buffer is too long"]


def test_07_words_without_an_item_are_in_the_transcript_once() -> None:
    messages = trace_of("07-vllm-realtime").messages
    assert [(message["role"], message["content"]) for message in messages] == [("user", "Good morning.")]


def test_07_the_tokens_of_the_transcription_are_counted() -> None:
    metadata = trace_of("07-vllm-realtime").metadata
    counted = ("transcription_input_tokens", "transcription_output_tokens", "input_tokens", "output_tokens")
    assert sum(metadata.get(key, 0) for key in counted) == 34


def test_08_a_transcription_session_is_recorded_in_its_format() -> None:
    trace = trace_of("08-transcription-session-beta")
    assert trace.session.rate == 8_000
    assert_one_piece(trace, "user", hz=300, seconds=1.0, begin=0.6, within=0.1)


def test_08_the_root_has_the_configuration_of_the_transcription_session() -> None:
    inputs = trace_of("08-transcription-session-beta").root["inputs"]
    assert inputs.get("input_audio_format") == "g711_ulaw"
    assert inputs.get("transcription") == {"model": "gpt-4o-transcribe"}
    assert inputs.get("turn_detection", {}).get("silence_duration_ms") == 650


def test_08_the_transcription_costs_what_its_model_costs() -> None:
    cost = trace_of("08-transcription-session-beta").metadata.get("estimated_cost_usd")
    assert cost == pytest.approx(22 * 2.5e-6 + 8 * 10e-6, abs=1e-6)


def test_11_the_users_rate_is_that_of_the_session() -> None:
    assert_one_piece(trace_of("11-voice-live-16k"), "user", hz=300, seconds=1.5)


def test_11_the_agents_rate_is_that_of_the_format() -> None:
    trace = trace_of("11-voice-live-16k")
    assert_one_piece(trace, "agent", hz=600, seconds=2.0)
    assert metadata_of(trace.models[0])["spoken_ms"] == 2000


def test_21_each_response_tells_the_instructions_then_in_force() -> None:
    trace = trace_of("21-handoff-mid-call")
    for model in trace.models:
        told = {**trace.root["inputs"], **model["inputs"]}  # a model run tells what differs from the root
        assert told["instructions"] == "You are the greeter."
        assert [tool["name"] for tool in told["tools"]] == ["transfer_to_form"]
    assert trace.metadata["session_changes"] == 1
